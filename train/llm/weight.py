"""Fits and measures the weight of a language model in a store's order, for any model that can rank.

    out-of-fold questions -> the model reads the blend's best candidates, until the time is up -> gate fitted by folds of users -> gain

A question tells something only if a purchase is among the candidates that are read and something else, too. The weight that is stored is
fitted to all questions that were read; its gain is that of weights fitted to the other users' questions, so nothing is measured on what it
was fitted to. The blend's scores are out of fold as well. A model that was trained on the store reads only users that it has not seen.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.atomic_files import write_atomically
from ...data.errors import StaleTrainingError, TrainingError, storage_errors
from ...eval.metrics.accuracy import ndcg
from ...eval.stats.bootstrap import paired_difference, smallest_detectable
from ...llm.models import adapters
from ...recommend.ranking.llm_loading import RANKER_FOLDER, ranking_adapter, weight_file
from ...recommend.ranking.llm_weight import LLMScoredQuery, LLMWeight, fit_llm_weight
from .question_reading import DEFAULT_SECONDS, ReadQuestions, open_ranker, read_questions
from .ranker import ELSEWHERE_KEY, QUESTIONS_KEY, calibration_queries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.settings import Settings
    from ...retrieval.channels.base import Progress
    from ...retrieval.items.catalogue import Catalogue
    from .ranker_examples import RankerExamples

MIN_FITTED = 20
"""Questions below which nothing is fitted."""
FOLDS = 5
"""Folds of users for the gain."""
PRIOR_SCALE = 0.3
"""Standard deviation of the prior of each part of the weight around 0."""
K = 10
"""Cutoff of the NDCG."""


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


def _unseen_questions(workspace: Path, settings: Settings, examples: RankerExamples) -> NDArray[np.int64]:
    """The informative questions of users that the model was not trained on."""
    questions = examples.informative(settings.rerank_depth)
    if ranking_adapter(workspace, settings) is None:
        return questions
    card = adapters.read_card(workspace / RANKER_FOLDER)
    if card.get(ELSEWHERE_KEY):
        return questions
    if card.get(QUESTIONS_KEY) not in (None, examples.digest):  # None: it was trained on pairs alone, without these users
        raise StaleTrainingError(
            f"the adapter of {workspace} was trained on questions of another blend, so no question is known to be new to it; "
            f"run `crossaisle train -w {workspace} ranker` again"
        )
    return np.intersect1d(questions, calibration_queries(examples, int(card["settings"]["seed"])))


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
    blend, combined = out_of_fold_ndcg(read, seed)
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


def out_of_fold_ndcg(read: ReadQuestions, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (questions,) NDCG@10 of the blend, and with the LLM by weights fitted to the other users' questions.

    Args:
        read: questions that the model has read.
        seed: seed of the folds.
    """
    blend, combined = np.zeros(len(read.scored)), np.zeros(len(read.scored))
    for in_fold in _folds(read.users, seed):
        others = fit_llm_weight([_of_read(read.scored[i]) for i in np.flatnonzero(~in_fold).tolist()], PRIOR_SCALE)
        for i in np.flatnonzero(in_fold).tolist():
            blend[i] = ranking_ndcg(read.scored[i], None, int(read.relevant[i]))
            combined[i] = ranking_ndcg(read.scored[i], others, int(read.relevant[i]))
    return blend, combined


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
