"""Out-of-fold queries: what a blend is fitted to.

Users are divided into folds. For each fold, all channels are recomputed from the other users' data alone, and then score questions of
several kinds about the fold's users (see `questions`). So no score includes the user it is computed for, as in serving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..data.errors import TrainingError
from ..data.splits import hash_uniforms
from ..eval.splits.cases import EligibleItems
from ..eval.splits.training_view import TrainingView
from ..recommend.profiles.profile import ItemAttributes, purchase_profile
from ..recommend.ranking import candidate_facts
from ..recommend.ranking.blend_ranker import CANDIDATES_PER_CHANNEL
from ..recommend.ranking.features import FeatureExtractor, is_fitted
from ..retrieval.channels.base import BUILTIN_CHANNELS, TrainingContext
from ..retrieval.channels.matrix_factorization import MatrixFactorization
from ..retrieval.items.ragged import RaggedArray
from .fold_factors import FoldFactors
from .questions import KINDS, Questions, sample_questions
from .ranking_dataset import RankingDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..retrieval.channels.base import Channel
    from ..retrieval.retriever import Retriever

FOLDS = 5
MAX_QUERIES_PER_KIND = 800
"""Largest number of queries of each kind over all folds."""
FitChannels = Callable[[TrainingView, TrainingContext], Mapping[str, "Channel"]]
"""Fits the channels to blend to a view."""


@dataclass(frozen=True)
class OutOfFoldQueries:
    """Queries with their candidates and features, and what an LLM's prompt says about the candidates.

    Attributes:
        dataset: Features and purchases of the candidates.
        users: (queries,) user ids.
        histories: (queries,) item rows, oldest first.
        rows: (candidates,) item rows.
        pair_counts: (candidates, 3) as in `recommend.ranking.candidate_facts`, counted without the query's user.
        factors: (folds) of the factorization, the folds in the order of their queries; empty if a fold has none.
        fold: (queries,) index into `factors`.
    """

    dataset: RankingDataset
    users: Sequence[str]
    histories: RaggedArray
    rows: NDArray[np.int32]
    pair_counts: NDArray[np.int32]
    factors: Sequence[FoldFactors] = ()
    fold: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


class _ScoredQuery(NamedTuple):
    """One query with its candidates."""

    user: str
    kind: int
    history: NDArray[np.int32]
    features: NDArray[np.float32]
    purchased: NDArray[np.bool_]
    rows: NDArray[np.int32]
    pair_counts: NDArray[np.int32]


def collect_queries(view: TrainingView, context: TrainingContext, fit_channels: FitChannels) -> OutOfFoldQueries:
    """Return queries of every kind about the training users, the same number from each fold.

    Args:
        view: Data to train on.
        context: Seed and progress of the run.
        fit_channels: Called once per fold with the view without its users.

    Raises:
        TrainingError: No user has entered a second category.
    """
    users = view.events.users
    fold_of_user = (hash_uniforms(users.to_list(), context.seed + 1) * FOLDS).astype(int)
    queries: list[_ScoredQuery] = []
    factors: list[FoldFactors | None] = []
    folds: list[int] = []
    channel_names: list[str] = []
    for fold in range(FOLDS):
        in_fold = fold_of_user == fold
        fold_view = view.without_users(frozenset(users.filter(in_fold).to_list()))
        rng, per_kind = context.rng(5, fold), MAX_QUERIES_PER_KIND // FOLDS
        questions = sample_questions(view, in_fold, fold_view.catalogue.users, rng, per_kind).sampled(per_kind, rng)
        if not len(questions):
            continue
        fold_context = _with_stage(context, f"fold {fold + 1} of {FOLDS}: ")
        channels = fit_channels(fold_view, fold_context)
        channel_names = channel_names or [*BUILTIN_CHANNELS, *channels]  # features of a channel that a later fold lacks are 0
        extractor = FeatureExtractor(fold_view.catalogue, channel_names)
        scored: list[_ScoredQuery] = []
        for done, query in enumerate(_scored_queries(questions, fold_view.with_channels(channels), extractor), start=1):
            scored.append(query)
            fold_context.progress("scoring queries", done, len(questions))
        queries += scored
        folds += [len(factors)] * len(scored)
        factors.append(_fold_factors(channels, [query.history for query in scored]))
    if not queries:
        raise TrainingError(
            "no user has purchases in two categories, so there is nothing to train on; ingest data of at least two categories with "
            "common users"
        )
    user_number = {user: number for number, user in enumerate(dict.fromkeys(query.user for query in queries))}
    dataset = RankingDataset(
        [name for name in FeatureExtractor(view.catalogue, channel_names).names if is_fitted(name)],
        np.concatenate([query.features for query in queries]),
        np.concatenate([query.purchased for query in queries]),
        np.concatenate([[0], np.cumsum([len(query.rows) for query in queries])]).astype(np.int64),
        np.asarray([user_number[query.user] for query in queries], dtype=np.int64),
        np.asarray([query.kind for query in queries], dtype=np.int8),
        KINDS,
    )
    return OutOfFoldQueries(
        dataset,
        [query.user for query in queries],
        RaggedArray.of([query.history.tolist() for query in queries]),
        np.concatenate([query.rows for query in queries]),
        np.concatenate([query.pair_counts for query in queries]),
        [each for each in factors if each is not None] if None not in factors else (),
        np.asarray(folds, dtype=np.int64),
    )


def _fold_factors(channels: Mapping[str, Channel], histories: Sequence[NDArray[np.int32]]) -> FoldFactors | None:
    """The factors of a fold and of the histories of its queries; None without the channel."""
    channel = channels.get(MatrixFactorization.name)
    if not isinstance(channel, MatrixFactorization):
        return None
    size = channel.items.shape[1]
    solved = [channel.history_factors(rows, np.ones(len(rows))) for rows in (np.unique(history).astype(np.int64) for history in histories)]
    return FoldFactors(channel.items, np.asarray(solved, dtype=np.float32).reshape(len(histories), size))


def _scored_queries(questions: Questions, retriever: Retriever, extractor: FeatureExtractor) -> Iterator[_ScoredQuery]:
    """The questions that have candidates, with their features."""
    cases = questions.cases
    columns = [column for column, name in enumerate(extractor.names) if is_fitted(name)]
    attributes, eligible = ItemAttributes.from_catalogue(retriever.catalogue), EligibleItems(retriever.catalogue, "new")
    for case in range(len(cases)):
        profile = purchase_profile(cases.histories[case], attributes)
        query = profile.candidate_query()
        candidates = retriever.propose(query, eligible.mask(cases, slice(case, case + 1))[0], CANDIDATES_PER_CHANNEL)
        if len(candidates):
            yield _ScoredQuery(
                cases.users[case],
                int(questions.kind[case]),
                cases.histories[case],
                extractor.features(candidates, profile).values[:, columns],
                np.isin(candidates.rows, cases.targets[case]),
                candidates.rows.astype(np.int32),
                candidate_facts.anchor_pair_counts(candidates, query, retriever.associations),
            )


def _with_stage(context: TrainingContext, prefix: str) -> TrainingContext:
    """The context with a prefix before each stage of the progress."""
    return replace(context, progress=lambda stage, done, total: context.progress(prefix + stage, done, total))
