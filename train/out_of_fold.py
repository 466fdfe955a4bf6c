"""Questions to known shoppers, answered by channels that were counted and trained without them: what a blend may be fitted to.

Whole users are parted into folds. For each fold everything is made again from the other users' doing alone, and the fold's users are asked
what they went to when they entered a category. So no score knows the shopper it is given for, as it will not when it is served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..data.errors import TrainingError
from ..data.splits import HeldOut, hash_uniforms
from ..eval.offline.channel_systems import BUILTIN_CHANNELS, purchase_profile
from ..eval.splits.cases import Cases, EligibleItems
from ..eval.splits.leakage import near_duplicates
from ..eval.splits.protocols import OrderedEvents, first_in_category
from ..eval.splits.training_view import TrainingView
from ..recommend.profiles.profile import ItemAttributes
from ..recommend.ranking import candidate_facts
from ..recommend.ranking.features import FeatureExtractor
from ..recommend.ranking.trained_ranker import CANDIDATES_PER_CHANNEL
from ..retrieval.items.ragged import RaggedArray
from .blend import RankingDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..data.workspace import Workspace
    from ..retrieval.channels.base import Channel
    from ..retrieval.retriever import Retriever

FOLDS = 5
MAX_QUERIES = 3000
"""Questions after which no further fold is asked."""
ENTRIES_PER_USER = 3
"""Categories of a user that are asked for, the ones entered last."""
Progress = Callable[[str, int, int], None]
FitChannels = Callable[[TrainingView, Progress], Mapping[str, "Channel"]]
"""Makes the channels that a blend stands on from what is known."""


@dataclass(frozen=True)
class OutOfFoldQueries:
    """Questions with what the LLM would be told of them.

    Attributes:
        questions: as a blend is fitted to. users: (questions) ids. histories: a run each. rows: (candidates,) item rows.
        facts: (candidates, 3) as `recommend.ranking.candidate_facts` has it, counted without the user who is asked.
    """

    dataset: RankingDataset
    users: Sequence[str]
    histories: RaggedArray
    rows: NDArray[np.int32]
    pair_counts: NDArray[np.int32]


def collect_queries(workspace: Workspace, known: TrainingView, held_out: HeldOut, seed: int, train: FitChannels, progress: Progress) -> OutOfFoldQueries:
    """Asks folds of the known users, one fold after another until there are `ENOUGH` questions.

    Args: train: called once a fold with what is known without its users.
    Raises: TrainingError: nobody entered a second category.
    """
    cases = category_entries(known, seed)
    fold = (hash_uniforms(cases.users, seed + 1) * FOLDS).astype(int)
    everyone = known.events.users
    of_user = (hash_uniforms(everyone.to_list(), seed + 1) * FOLDS).astype(int)
    answers: list[tuple[str, NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.int32], NDArray[np.int32]]] = []
    told: list[str] = []
    total = 0
    for number in range(FOLDS):
        mine = np.flatnonzero(fold == number)
        if total >= MAX_QUERIES or not len(mine):
            continue
        if len(mine) > MAX_QUERIES:
            mine = np.sort(np.random.default_rng(seed).choice(mine, MAX_QUERIES, replace=False))
        out = frozenset(everyone.filter(of_user == number).to_list())
        without = HeldOut(held_out.users | out, held_out.pairs, held_out.moment)
        part = TrainingView.from_workspace(workspace, without, known.index, known.vectors, known.text_neighbors)
        further = train(part, lambda stage, done, of, n=number: progress(f"fold {n + 1} of {FOLDS}: {stage}", done, of))  # type: ignore[misc]
        told = told or [*BUILTIN_CHANNELS, *further]  # what a later fold could not train is 0 there
        maker = FeatureExtractor(part.catalogue, told)
        for done, answer in enumerate(_answers(cases.take(mine), part.with_channels(further), maker), start=1):
            answers.append(answer)
            progress(f"fold {number + 1} of {FOLDS}: asking the channels", done, len(mine))
        total += len(mine)
    if not answers:
        raise TrainingError(
            "nobody went from one category to another, so there is nothing to learn; two categories with common shoppers are wanted"
        )
    users = [answer[0] for answer in answers]
    person = {user: i for i, user in enumerate(dict.fromkeys(users))}
    questions = RankingDataset(
        FeatureExtractor(known.catalogue, told).names,
        np.concatenate([answer[2] for answer in answers]),
        np.concatenate([answer[3] for answer in answers]),
        np.concatenate([[0], np.cumsum([len(answer[3]) for answer in answers])]).astype(np.int64),
        np.asarray([person[user] for user in users], dtype=np.int64),
    )
    histories = RaggedArray.of([answer[1].tolist() for answer in answers])
    return OutOfFoldQueries(
        questions, users, histories, np.concatenate([answer[4] for answer in answers]), np.concatenate([answer[5] for answer in answers])
    )


def _answers(
    cases: Cases, retriever: Retriever, maker: FeatureExtractor
) -> Iterator[tuple[str, NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.int32], NDArray[np.int32]]]:
    """For each case: user, history, features, which were bought, rows, facts."""
    known, eligible = ItemAttributes.from_catalogue(retriever.catalogue), EligibleItems(retriever.catalogue, "new")
    for number in range(len(cases)):
        profile = purchase_profile(cases.histories[number], known)
        seeds = profile.candidate_query()
        found = retriever.propose(seeds, eligible.mask(cases, slice(number, number + 1))[0], CANDIDATES_PER_CHANNEL)
        if len(found):
            yield (
                cases.users[number],
                cases.histories[number],
                maker.features(found, profile).values,
                np.isin(found.rows, cases.targets[number]),
                found.rows.astype(np.int32),
                candidate_facts.anchor_pair_counts(found, seeds, retriever.associations),
            )


def category_entries(known: TrainingView, seed: int) -> Cases:
    """What known users had when they entered a category, as history, and what they had of it, as targets; their last `ENTRIES_PER_USER` entries.

    Without an order everything of other categories is the history.
    """
    events = OrderedEvents.from_events(known.events, seed)
    ordered = known.events.order != "none"
    code = known.catalogue.category[events.row]
    place = np.flatnonzero(first_in_category(events, known.catalogue.category))
    begin, end = events.starts[events.user[place]], events.starts[events.user[place] + 1]
    several = place > begin if ordered else np.bincount(events.user[place], minlength=len(events.ids))[events.user[place]] > 1
    place, begin, end = place[several], begin[several], end[several]
    user = events.user[place]
    kept = np.searchsorted(user, user, side="right") - 1 - np.arange(len(user)) < ENTRIES_PER_USER
    users, histories, targets = [], [], []
    for at, first, last in zip(place[kept].tolist(), begin[kept].tolist(), end[kept].tolist(), strict=True):
        rows, inside = events.row[first:last], code[first:last] == code[at]
        since = np.arange(first, last) >= at if ordered else inside
        users.append(str(events.ids[int(events.user[at])]))
        histories.append(_distinct(rows[~since]))
        targets.append(_distinct(rows[since & inside]))
    eligible = EligibleItems(known.catalogue, "new")
    cases = Cases(users, RaggedArray.of(histories), RaggedArray.of(targets), [None] * len(users)).with_eligible_targets(eligible)
    alike = near_duplicates(cases, known.vectors)
    return Cases(cases.users, cases.histories, cases.targets.where(~alike), cases.target_categories).with_eligible_targets(eligible)


def _distinct(rows: NDArray[np.int32]) -> Sequence[int]:
    """Each row once, at its latest place."""
    return list(dict.fromkeys(rows[::-1].tolist()))[::-1]
