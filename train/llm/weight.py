"""Fits and measures the weight of a language model in a store's order, for any model that can rank.

    out-of-fold questions -> the model reads the blend's best candidates, until the time is up -> gate fitted by folds of users -> gain

A question tells something only if a purchase is among the candidates that are read and something else, too. The weight that is stored is
fitted to all questions that were read; its gain is that of weights fitted to the other users' questions, so nothing is measured on what it
was fitted to. The blend's scores are out of fold as well. A model that was trained on the store reads only users that it has not seen.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...data.atomic_files import write_atomically
from ...data.errors import StaleTrainingError, TrainingError, storage_errors
from ...eval.metrics.accuracy import ndcg
from ...eval.stats.bootstrap import paired_difference, smallest_detectable
from ...llm.models import adapters
from ...llm.models.language_model import LanguageModel
from ...llm.models.usage import measure_usage
from ...llm.ranking.ranker import Ranker
from ...llm.ranking.remote_ranker import OFFLINE_SECONDS, RemoteRanker
from ...recommend.ranking.llm_loading import RANKER_FOLDER, load_ranking_llm, ranking_adapter, weight_file
from ...recommend.ranking.llm_weight import LLMScoredQuery, LLMWeight, fit_llm_weight, gate_features
from ...recommend.ranking.text_weight import adapter_knows_texts
from .prompt_facts import prompt_facts
from .ranker import QUESTIONS_KEY, calibration_queries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.records import Item
    from ...data.settings import Settings
    from ...llm.models.projector import ProjectorInputs
    from ...llm.ranking.packs import SoftInputs
    from ...retrieval.channels.base import Progress
    from ...retrieval.items.catalogue import Catalogue
    from .ranker_examples import RankerExamples

DEFAULT_SECONDS, MIN_QUESTIONS = 600.0, 400
"""Time after which no further question is read, and the number of questions that are read whatever it takes, where there are so many."""
MIN_FITTED = 20
"""Questions below which nothing is fitted."""
FOLDS = 5
"""Folds of users for the gain."""
PRIOR_SCALE = 0.3
"""Standard deviation of the prior of each part of the weight around 0."""
K = 10
"""Cutoff of the NDCG."""


class MarginScorer(Protocol):
    """What reads candidates: `llm.ranking.ranker.Ranker`, or a remote one."""

    @property
    def behaviour_inputs(self) -> ProjectorInputs | None:
        """What it reads about behaviour; None for texts alone."""
        ...

    def scores(
        self,
        history: Sequence[Item],
        need: str | None,
        candidates: Sequence[Item],
        facts: Sequence[str | None] | None = None,
        behaviour: SoftInputs | None = None,
    ) -> NDArray[np.float32]:
        """Return (candidates,) the logit margin of each candidate, in nats."""
        ...


@dataclass(frozen=True)
class ReadQuestions:
    """Questions that a model has read.

    Attributes:
        users: (questions,) user numbers.
        scored: (questions) all candidates of each, with margins of those that were read and NaN for the others.
        relevant: (questions,) number of purchases of each.
        seconds: time that the reading took.
        tokens: tokens that the model read.
    """

    users: NDArray[np.int64]
    scored: Sequence[LLMScoredQuery]
    relevant: NDArray[np.int64]
    seconds: float
    tokens: int


def measure_weight(
    workspace: Path,
    settings: Settings,
    examples: RankerExamples,
    catalogue: Catalogue,
    *,
    seed: int,
    seconds: float = DEFAULT_SECONDS,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Let the settings' model, with the workspace's adapter for it, read questions; store its weight and return the figures.

    Args:
        workspace: Folder of the workspace.
        settings: The model, and the number of candidates to read.
        examples: The blend's out-of-fold questions.
        catalogue: The items.
        seed: Seed of the order of the questions, of the folds and of the bootstrap.
        seconds: See `read_questions`.
        progress: Progress callback.

    Raises:
        TrainingError: There are too few questions.
        StaleTrainingError: The adapter was trained on questions of another blend, some of which these may be.
        ModelError, ModelMissingError: The model cannot be used or is not installed.
        EndpointError: The endpoint fails.
    """
    questions = _unseen_questions(workspace, settings, examples)
    questions = np.random.default_rng([seed, 6]).permutation(questions)
    with open_ranker(workspace, settings) as (ranker, about):
        read = read_questions(
            examples,
            questions,
            catalogue,
            ranker,
            prompt_version=ranker.prompt.version,
            depth=settings.rerank_depth,
            seconds=seconds,
            progress=progress,
        )
    informative = {"informative": len(questions), "of": len(examples)}
    figures = {**about, **measured_weight(read, depth=settings.rerank_depth, seed=seed), **informative}
    save_weight(weight_file(workspace, settings), figures)
    return figures


@contextmanager
def open_ranker(workspace: Path, settings: Settings, *, texts: bool = False) -> Iterator[tuple[Ranker | RemoteRanker, dict[str, Any]]]:
    """The ranker of the settings with the workspace's adapter for it, and what the figures say about it.

    Args:
        workspace: Folder of the workspace.
        settings: The model.
        texts: Whether it is to read text queries, which an adapter that was not trained on pairs is not used for.

    Raises:
        ModelError, ModelMissingError: The model cannot be used or is not installed.
        EndpointError: The endpoint fails.
    """
    if settings.is_remote:
        with closing(RemoteRanker(settings.llm, str(settings.llm_model), seconds=OFFLINE_SECONDS)) as remote:
            yield remote, {"model": settings.llm_model, "protocol": remote.protocol, "adapter": False, "prompt": remote.prompt.version}
        return
    has_adapter = ranking_adapter(workspace, settings) is not None and (not texts or adapter_knows_texts(workspace, settings))
    llm = load_ranking_llm(workspace, settings) if has_adapter else LanguageModel.load(settings)
    ranker = Ranker(llm)
    yield ranker, {"model": llm.name, "quantization": llm.quantization, "adapter": has_adapter, "prompt": ranker.prompt.version}


def _unseen_questions(workspace: Path, settings: Settings, examples: RankerExamples) -> NDArray[np.int64]:
    """The informative questions of users that the model was not trained on."""
    questions = informative_questions(examples, settings.rerank_depth)
    if ranking_adapter(workspace, settings) is None:
        return questions
    card = adapters.read_card(workspace / RANKER_FOLDER)
    if card.get(QUESTIONS_KEY) != examples.digest:
        raise StaleTrainingError(
            f"the adapter of {workspace} was trained on questions of another blend, so no question is known to be new to it; "
            f"run `crossaisle train -w {workspace} ranker` again"
        )
    return np.intersect1d(questions, calibration_queries(examples, int(card["settings"]["seed"])))


def informative_questions(examples: RankerExamples, depth: int) -> NDArray[np.int64]:
    """Return the questions with a purchase and another item among the candidates that are read.

    Args:
        examples: questions with their candidates, by the blend's order.
        depth: number of candidates that are read.
    """
    is_read = examples.rank < depth
    purchases = np.bincount(examples.query, examples.purchased & is_read, minlength=len(examples))
    others = np.bincount(examples.query, ~examples.purchased & is_read, minlength=len(examples))
    return np.flatnonzero((purchases > 0) & (others > 0))


def read_questions(
    examples: RankerExamples,
    questions: NDArray[np.int64],
    catalogue: Catalogue,
    ranker: MarginScorer,
    *,
    prompt_version: int,
    depth: int,
    seconds: float = DEFAULT_SECONDS,
    progress: Progress = lambda *_: None,
) -> ReadQuestions:
    """Let a model read questions in the given order until the time is up, but at least `MIN_QUESTIONS` of them.

    Args:
        examples: questions with their candidates.
        questions: indices into `examples`, in random order.
        catalogue: the items.
        ranker: reads the candidates.
        prompt_version: version of the prompt that the facts are for.
        depth: number of candidates to read for each question.
        seconds: time after which no further question is read.
        progress: progress callback.
    """
    start, users, scored, relevant = time.monotonic(), [], [], []
    with measure_usage() as usage:
        for done, question in enumerate(questions.tolist()):
            if done >= MIN_QUESTIONS and time.monotonic() - start > seconds:
                break
            progress("the LLM reads questions", done, len(questions))
            every = examples.candidates(question)
            read = slice(every.start, min(every.start + depth, every.stop))
            history = catalogue.records(examples.histories[question].tolist())
            items = catalogue.records(examples.rows[read].tolist())
            margins = np.full(every.stop - every.start, np.nan, np.float32)
            facts = prompt_facts(examples, read, catalogue, prompt_version)
            soft = examples.soft_inputs(question, read, ranker.behaviour_inputs)
            margins[: read.stop - read.start] = ranker.scores(history, None, items, facts, soft)
            bought = examples.purchased[every]
            features = gate_features(
                catalogue.users[examples.rows[every]] - bought, len(examples.histories[question]), examples.disagreement[every]
            )
            users.append(int(examples.user[question]))
            scored.append(LLMScoredQuery(examples.scores[every].astype(np.float64), margins, bought, features))
            relevant.append(int(bought.sum()))
    progress("the LLM reads questions", len(questions), len(questions))
    return ReadQuestions(
        np.asarray(users, dtype=np.int64), scored, np.asarray(relevant, dtype=np.int64), time.monotonic() - start, usage.tokens_in
    )


def measured_weight(read: ReadQuestions, *, depth: int, seed: int) -> dict[str, Any]:
    """Return the fitted weight and its figures, as stored in the file of `recommend.ranking.llm_loading.weight_file`.

    Args:
        read: questions that the model has read.
        depth: number of candidates that it read for each.
        seed: seed of the folds and of the bootstrap.

    Raises: TrainingError: there are fewer than `MIN_FITTED` questions.
    """
    count = len(read.scored)
    if count < MIN_FITTED:
        raise TrainingError(
            f"only {count} questions have a purchase among the {depth} candidates that the LLM reads, and a weight needs {MIN_FITTED}; "
            "ingest more interactions, or read deeper (--rerank-depth)"
        )
    weight = fit_llm_weight([_of_read(query) for query in read.scored], PRIOR_SCALE)
    blend, combined = np.zeros(count), np.zeros(count)
    for in_fold in _folds(read.users, seed):
        others = fit_llm_weight([_of_read(read.scored[i]) for i in np.flatnonzero(~in_fold).tolist()], PRIOR_SCALE)
        for i in np.flatnonzero(in_fold).tolist():
            blend[i] = ranking_ndcg(read.scored[i], None, int(read.relevant[i]))
            combined[i] = ranking_ndcg(read.scored[i], others, int(read.relevant[i]))
    gain = paired_difference(combined, blend, read.users, seed=seed)
    alone = np.asarray([_llm_ndcg(query, int(number)) for query, number in zip(read.scored, read.relevant.tolist(), strict=True)])
    oracle = np.asarray([_oracle_ndcg(query, int(number)) for query, number in zip(read.scored, read.relevant.tolist(), strict=True)])
    return {
        "weight": weight.to_dict(),
        "gain": gain.to_dict(),
        "smallest_detectable_gain": round(smallest_detectable(gain), 5),
        "depth": depth,
        "questions": count,
        "users": len(np.unique(read.users)),
        "ndcg@10": {
            "blend": round(float(blend.mean()), 5),
            "with the LLM": round(float(combined.mean()), 5),
            "LLM alone": round(float(alone.mean()), 5),
            "oracle over the same candidates": round(float(oracle.mean()), 5),
        },
        "tokens_per_question": round(read.tokens / count),
        "ms_per_question": round(1000 * read.seconds / count),
    }


def save_weight(file: Path, figures: dict[str, Any]) -> None:
    """Write the figures of a measured weight. Args: file: see `recommend.ranking.llm_loading.weight_file`."""
    with storage_errors(f"the weight in {file}"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, (json.dumps(figures, indent=1, ensure_ascii=False) + "\n").encode())


def ranking_ndcg(query: LLMScoredQuery, weight: LLMWeight | None, relevant: int) -> float:
    """Return the NDCG@10 of the candidates of a question as they are served.

    Args:
        query: all candidates; margins of those that were not read are NaN.
        weight: weight of the LLM; None for the blend alone.
        relevant: number of purchases of the question.
    """
    scores = query.scores
    if weight is not None:
        read = _of_read(query)
        scores = scores.copy()
        scores[np.isfinite(query.logit_margins)] += weight.contributions(read.logit_margins, read.gate_features)
    return _ndcg(query.bought[np.argsort(-scores, kind="stable")], relevant)


def _llm_ndcg(query: LLMScoredQuery, relevant: int) -> float:
    """NDCG@10 of the read candidates in the LLM's own order, the others after them."""
    read = np.isfinite(query.logit_margins)
    margins = np.where(read, np.nan_to_num(query.logit_margins), -np.inf)
    return _ndcg(query.bought[np.argsort(-margins, kind="stable")], relevant)


def _oracle_ndcg(query: LLMScoredQuery, relevant: int) -> float:
    """NDCG@10 with the purchases among the read candidates first: the most that an order of them could reach."""
    read = np.isfinite(query.logit_margins)
    return _ndcg(np.sort(query.bought[read])[::-1], relevant)


def _ndcg(bought: NDArray[np.bool_], relevant: int) -> float:
    hits = np.zeros((1, max(len(bought), K)), dtype=bool)
    hits[0, : len(bought)] = bought
    return float(ndcg(hits, np.asarray([max(relevant, 1)]), K)[0])


def _of_read(query: LLMScoredQuery) -> LLMScoredQuery:
    """The candidates of a question that were read."""
    read = np.isfinite(query.logit_margins)
    features = None if query.gate_features is None else query.gate_features[read]
    return LLMScoredQuery(query.scores[read], query.logit_margins[read], query.bought[read], features)


def _folds(users: NDArray[np.int64], seed: int) -> list[NDArray[np.bool_]]:
    """(questions,) for each fold, which questions are of its users."""
    shuffled = np.random.default_rng([seed, 7]).permutation(np.unique(users))
    return [np.isin(users, shuffled[fold::FOLDS]) for fold in range(FOLDS)]
