"""Examples for the LLM ranker: per query, the candidates that matter, ranked by the blend of the other channels.

They are made from the out-of-fold queries that the blend was fitted to, so no score and no fact among them includes the query's user. They
are stored beside the blend, so the ranker can be trained, and resumed, without scoring all channels again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import NotTrainedError, StaleTrainingError
from ...llm.ranking.ranker import BEHAVIOUR_VERSIONS
from ...recommend.ranking import learned_blend
from ...recommend.ranking.features import FeatureMatrix
from ...recommend.ranking.learned_blend import BlendModel
from ...recommend.ranking.llm_weight import disagreement
from ...retrieval.items.ragged import RaggedArray
from ..blend import fit_blend
from ..out_of_fold import OutOfFoldQueries
from ..ranking_dataset import RankingDataset
from .behaviour_examples import BehaviourExamples, load_behaviour

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...llm.models.projector import ProjectorInputs
    from ...llm.ranking.packs import SoftInputs
    from ...retrieval.channels.base import TrainingContext
    from ...retrieval.channels.matrix_factorization import MatrixFactorization

FILE = "lessons.safetensors"
"""File in the blend's folder. Its name and the names of its arrays are part of the workspace format."""
MAX_EXAMPLES = 1000
"""Largest number of training examples of the LLM."""
TOP_CANDIDATES = 100
"""Candidates kept per query besides the purchases: those that the blend ranks highest."""
CV_FOLDS = 4
"""Cross-validation folds of the users for the blend's out-of-fold scores."""


@dataclass(frozen=True)
class RankerExamples:
    """Queries with the candidates that matter.

    Attributes:
        user: (queries,) user numbers.
        histories: (queries,) item rows, oldest first.
        starts: (queries + 1,) index of each query's first candidate, and the number of candidates.
        rows: (candidates,) item rows, by descending score within a query.
        scores: (candidates,) scores of a blend fitted without the user.
        purchased: (candidates,) labels.
        pair_counts: (candidates, 3) as in `recommend.ranking.candidate_facts`, counted without the user.
        disagreement: (candidates,) as of `recommend.ranking.llm_weight.disagreement`.
        behaviour: What the LLM can read as soft tokens; None for a blend without factors.
    """

    user: NDArray[np.int64]
    histories: RaggedArray
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    scores: NDArray[np.float32]
    purchased: NDArray[np.bool_]
    pair_counts: NDArray[np.int32]
    disagreement: NDArray[np.float32]
    behaviour: BehaviourExamples | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def from_queries(
        cls,
        queries: OutOfFoldQueries,
        model: BlendModel,
        context: TrainingContext,
        prior: Mapping[str, float] | None = None,
        factorization: tuple[MatrixFactorization, str] | None = None,
    ) -> RankerExamples:
        """Return the examples of out-of-fold queries.

        Args:
            queries: Queries with all their candidates.
            model: Blend fitted to all queries; its settings are used for the blends of the folds.
            context: Seed of the run.
            prior: Feature to its weight in the prior that the blend was fitted with; None for none.
            factorization: The factors that serve and their id; None without factors.
        """
        dataset = queries.dataset
        scores = _out_of_fold_scores(dataset, model, context, prior)
        order = np.lexsort((-scores, dataset.query))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order)) - dataset.starts[:-1][dataset.query[order]]
        kept = order[((rank < TOP_CANDIDATES) | dataset.purchased)[order]]
        lengths = np.bincount(dataset.query[kept], minlength=len(dataset))
        behaviour = None
        if factorization is not None and queries.factors:
            channel, factors_id = factorization
            behaviour = BehaviourExamples.of_candidates(
                [factors.rotated(channel.items) for factors in queries.factors],
                queries.fold[dataset.query[kept]],
                queries.rows[kept].astype(np.int32),
                FeatureMatrix(
                    model.feature_names, FeatureMatrix(dataset.feature_names, dataset.features[kept]).select(model.feature_names)
                ),
                factors_id,
            )
        return cls(
            dataset.user,
            queries.histories,
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            queries.rows[kept].astype(np.int32),
            scores[kept].astype(np.float32),
            dataset.purchased[kept],
            queries.pair_counts[kept].astype(np.int32),
            disagreement(dataset.feature_names, dataset.features[kept]).astype(np.float32),
            behaviour,
        )

    @cached_property
    def query(self) -> NDArray[np.int64]:
        """(candidates,) query of each candidate."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    @cached_property
    def rank(self) -> NDArray[np.int64]:
        """(candidates,) rank within the query, 0 the highest; from `TOP_CANDIDATES` on a lower bound."""
        return np.asarray(np.arange(len(self.query)) - self.starts[self.query], dtype=np.int64)

    def candidates(self, query: int) -> slice:
        """Return the slice of a query's candidates."""
        return slice(int(self.starts[query]), int(self.starts[query + 1]))

    def soft_inputs(self, query: int, candidates: NDArray[np.int64] | slice, inputs: ProjectorInputs | None) -> SoftInputs | None:
        """Return the numbers about some candidates for a model that reads behaviour; None if it reads none, or other numbers.

        Args:
            query: Index of the query.
            candidates: Which of its candidates, as indices of all candidates.
            inputs: What the model reads.
        """
        if inputs is None or self.behaviour is None or self.behaviour.inputs != inputs:
            return None
        return self.behaviour.soft_inputs(query, candidates, len(self.histories[query]))

    def informative(self, depth: int) -> NDArray[np.int64]:
        """Return the queries with a purchase and another item among the highest candidates. Args: depth: number of these candidates."""
        is_read = self.rank < depth
        purchases = np.bincount(self.query, self.purchased & is_read, minlength=len(self))
        others = np.bincount(self.query, ~self.purchased & is_read, minlength=len(self))
        return np.flatnonzero((purchases > 0) & (others > 0))

    @cached_property
    def digest(self) -> str:
        """Id of the questions and their users: an adapter that was trained on some of them has not seen the others."""
        parts = (self.user, self.starts, self.rows)
        return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()[:16]

    def save(self, folder: Path) -> None:
        """Write the examples into a folder."""
        from safetensors.numpy import save_file

        arrays = {
            "user": self.user,
            "starts": self.starts,
            "rows": self.rows,
            "scores": self.scores,
            "facts": self.pair_counts,
            "disagreement": self.disagreement,
            "bought": self.purchased.astype(np.uint8),
            "history_starts": self.histories.starts,
            "history_rows": self.histories.rows,
        }
        save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, folder / FILE)
        if self.behaviour is not None:
            self.behaviour.save(folder)


def behaviour_inputs(examples: RankerExamples, prompt: int) -> ProjectorInputs | None:
    """Return what a model reads about behaviour; None if the examples have none, or this version of the prompt no place for it."""
    return None if examples.behaviour is None or prompt not in BEHAVIOUR_VERSIONS else examples.behaviour.inputs


def load_examples(workspace: Path) -> RankerExamples:
    """Return the examples of a workspace.

    Raises:
        NotTrainedError: There is no blend.
        StaleTrainingError: The examples cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    file = workspace / learned_blend.FOLDER / FILE
    remedy = f"run `crossaisle train -w {workspace} blend`"
    if not file.exists():
        raise NotTrainedError(f"the ranker is trained on the queries of the blend, and {workspace} has no blend; {remedy} first")
    try:
        arrays: Mapping[str, NDArray[np.generic]] = load_file(file)
        return RankerExamples(
            user=arrays["user"],  # type: ignore[arg-type]  # the file's types are those that `save` wrote
            histories=RaggedArray(arrays["history_starts"], arrays["history_rows"]),  # type: ignore[arg-type]
            starts=arrays["starts"],  # type: ignore[arg-type]
            rows=arrays["rows"],  # type: ignore[arg-type]
            scores=arrays["scores"],  # type: ignore[arg-type]
            purchased=arrays["bought"] > 0,  # type: ignore[operator]
            pair_counts=arrays["facts"],  # type: ignore[arg-type]
            disagreement=arrays.get("disagreement", np.zeros(len(arrays["rows"]), np.float32)),  # type: ignore[arg-type]  # former versions
            behaviour=load_behaviour(file.parent),
        )
    except (OSError, KeyError, SafetensorError) as error:
        raise StaleTrainingError(f"{file} cannot be read ({type(error).__name__}); {remedy}") from error


def _out_of_fold_scores(
    dataset: RankingDataset, model: BlendModel, context: TrainingContext, prior: Mapping[str, float] | None = None
) -> NDArray[np.float64]:
    """(candidates,) scores by a blend fitted without the query's user."""
    users = context.rng(1).permutation(np.unique(dataset.user))
    scores = np.empty(len(dataset.purchased))
    for fold in range(CV_FOLDS):
        in_fold = np.isin(dataset.user, users[fold::CV_FOLDS])
        fold_model = fit_blend(dataset.subset(~in_fold), seed=context.seed, prior=prior, template=model)
        candidates = in_fold[dataset.query]
        scores[candidates] = fold_model.scores(dataset.features[candidates])
    return scores
