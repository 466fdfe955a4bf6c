"""Out-of-fold queries: what a blend is fitted to.

Users are divided into folds. For each fold, all channels are recomputed from the other users' data alone, and then score queries of the
fold's users at the moment they entered a category. So no score includes the user it is computed for, as in serving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..data.errors import TrainingError
from ..data.splits import hash_uniforms
from ..eval.offline.channel_systems import BUILTIN_CHANNELS, purchase_profile
from ..eval.splits.cases import Cases, EligibleItems
from ..eval.splits.leakage import near_duplicates
from ..eval.splits.training_view import TrainingView
from ..recommend.profiles.profile import ItemAttributes
from ..recommend.ranking import candidate_facts
from ..recommend.ranking.features import FeatureExtractor
from ..recommend.ranking.trained_ranker import CANDIDATES_PER_CHANNEL
from ..retrieval.channels.base import TrainingContext
from ..retrieval.items.ordered_events import OrderedEvents, first_in_category
from ..retrieval.items.ragged import RaggedArray
from .blend import RankingDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..retrieval.channels.base import Channel
    from ..retrieval.retriever import Retriever

FOLDS = 5
MAX_QUERIES = 3000
"""Number of queries after which no further fold is processed."""
ENTRIES_PER_USER = 3
"""Largest number of queries of a user, for the categories entered last."""
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
    """

    dataset: RankingDataset
    users: Sequence[str]
    histories: RaggedArray
    rows: NDArray[np.int32]
    pair_counts: NDArray[np.int32]


class _ScoredQuery(NamedTuple):
    """One query with its candidates."""

    user: str
    history: NDArray[np.int32]
    features: NDArray[np.float32]
    purchased: NDArray[np.bool_]
    rows: NDArray[np.int32]
    pair_counts: NDArray[np.int32]


def collect_queries(view: TrainingView, context: TrainingContext, fit_channels: FitChannels) -> OutOfFoldQueries:
    """Return the queries of the training users, fold by fold until there are `MAX_QUERIES`.

    Args:
        view: Data to train on.
        context: Seed and progress of the run.
        fit_channels: Called once per fold with the view without its users.

    Raises:
        TrainingError: No user has entered a second category.
    """
    cases = category_entries(view, context)
    users = view.events.users
    fold_of_case = (hash_uniforms(cases.users, context.seed + 1) * FOLDS).astype(int)
    fold_of_user = (hash_uniforms(users.to_list(), context.seed + 1) * FOLDS).astype(int)
    queries: list[_ScoredQuery] = []
    channel_names: list[str] = []
    processed = 0
    for fold in range(FOLDS):
        fold_cases = np.flatnonzero(fold_of_case == fold)
        if processed >= MAX_QUERIES or not len(fold_cases):
            continue
        if len(fold_cases) > MAX_QUERIES:
            fold_cases = np.sort(context.rng().choice(fold_cases, MAX_QUERIES, replace=False))
        fold_view = view.without_users(frozenset(users.filter(fold_of_user == fold).to_list()))
        fold_context = _with_stage(context, f"fold {fold + 1} of {FOLDS}: ")
        channels = fit_channels(fold_view, fold_context)
        channel_names = channel_names or [*BUILTIN_CHANNELS, *channels]  # features of a channel that a later fold lacks are 0
        extractor = FeatureExtractor(fold_view.catalogue, channel_names)
        scored = _scored_queries(cases.take(fold_cases), fold_view.with_channels(channels), extractor)
        for done, query in enumerate(scored, start=1):
            queries.append(query)
            fold_context.progress("scoring queries", done, len(fold_cases))
        processed += len(fold_cases)
    if not queries:
        raise TrainingError(
            "no user has purchases in two categories, so there is nothing to train on; ingest data of at least two categories with "
            "common users"
        )
    user_number = {user: number for number, user in enumerate(dict.fromkeys(query.user for query in queries))}
    dataset = RankingDataset(
        FeatureExtractor(view.catalogue, channel_names).names,
        np.concatenate([query.features for query in queries]),
        np.concatenate([query.purchased for query in queries]),
        np.concatenate([[0], np.cumsum([len(query.rows) for query in queries])]).astype(np.int64),
        np.asarray([user_number[query.user] for query in queries], dtype=np.int64),
    )
    return OutOfFoldQueries(
        dataset,
        [query.user for query in queries],
        RaggedArray.of([query.history.tolist() for query in queries]),
        np.concatenate([query.rows for query in queries]),
        np.concatenate([query.pair_counts for query in queries]),
    )


def category_entries(view: TrainingView, context: TrainingContext) -> Cases:
    """Return a case for each of the last `ENTRIES_PER_USER` categories that a user entered.

    The history is what the user had before the first item of the category, or, without an order, everything of other categories; the
    targets are the user's items of the category.
    """
    events = OrderedEvents.from_events(view.events, context.seed)
    ordered = view.events.order != "none"
    category = view.catalogue.category[events.row]
    entry = np.flatnonzero(first_in_category(events, view.catalogue.category))  # index of the first event in a category
    begin, end = events.starts[events.user[entry]], events.starts[events.user[entry] + 1]
    has_history = entry > begin if ordered else np.bincount(events.user[entry], minlength=len(events.ids))[events.user[entry]] > 1
    entry, begin, end = entry[has_history], begin[has_history], end[has_history]
    user = events.user[entry]
    is_recent = np.searchsorted(user, user, side="right") - 1 - np.arange(len(user)) < ENTRIES_PER_USER
    users, histories, targets = [], [], []
    for first, start, stop in zip(entry[is_recent].tolist(), begin[is_recent].tolist(), end[is_recent].tolist(), strict=True):
        rows, in_category = events.row[start:stop], category[start:stop] == category[first]
        is_later = np.arange(start, stop) >= first if ordered else in_category
        users.append(str(events.ids[int(events.user[first])]))
        histories.append(_distinct(rows[~is_later]))
        targets.append(_distinct(rows[is_later & in_category]))
    eligible = EligibleItems(view.catalogue, "new")
    cases = Cases(users, RaggedArray.of(histories), RaggedArray.of(targets), [None] * len(users)).with_eligible_targets(eligible)
    is_duplicate = near_duplicates(cases, view.vectors)
    return replace(cases, targets=cases.targets.where(~is_duplicate)).with_eligible_targets(eligible)


def _scored_queries(cases: Cases, retriever: Retriever, extractor: FeatureExtractor) -> Iterator[_ScoredQuery]:
    """The cases that have candidates, with their features."""
    attributes, eligible = ItemAttributes.from_catalogue(retriever.catalogue), EligibleItems(retriever.catalogue, "new")
    for case in range(len(cases)):
        profile = purchase_profile(cases.histories[case], attributes)
        query = profile.candidate_query()
        candidates = retriever.propose(query, eligible.mask(cases, slice(case, case + 1))[0], CANDIDATES_PER_CHANNEL)
        if len(candidates):
            yield _ScoredQuery(
                cases.users[case],
                cases.histories[case],
                extractor.features(candidates, profile).values,
                np.isin(candidates.rows, cases.targets[case]),
                candidates.rows.astype(np.int32),
                candidate_facts.anchor_pair_counts(candidates, query, retriever.associations),
            )


def _with_stage(context: TrainingContext, prefix: str) -> TrainingContext:
    """The context with a prefix before each stage of the progress."""
    return replace(context, progress=lambda stage, done, total: context.progress(prefix + stage, done, total))


def _distinct(rows: NDArray[np.int32]) -> Sequence[int]:
    """Each row once, at its latest position."""
    return list(dict.fromkeys(rows[::-1].tolist()))[::-1]
