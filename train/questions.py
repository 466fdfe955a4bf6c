"""Questions of several kinds that a blend is fitted to, sampled from the histories of training users.

    entry   history before a category was entered; targets: the category's items
    whole   history in all other categories, however old; targets: everything of the category
    cut     history before a random moment; targets: later items of categories that are new then
    short   one to three items in other categories; targets: everything of the category
    cold    as `whole`; targets: items with at most two users

A blend answers best what it was taught, so it is taught all of them. In data without an order, the entered category and the moment are
sampled, and `entry` and `whole` ask the same. This module does not know channels or scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..eval.splits.cases import Cases, EligibleItems
from ..eval.splits.leakage import near_duplicates
from ..retrieval.items.ordered_events import OrderedEvents, first_in_category
from ..retrieval.items.ragged import RaggedArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..eval.splits.training_view import TrainingView

KINDS = ("entry", "whole", "cut", "short", "cold")
"""Kinds of questions; their codes are the positions here."""
CATEGORIES_PER_USER = 3
"""Largest number of a user's categories asked about, for each kind."""
COLD_MAX_USERS = 2
"""Number of users up to which a target is cold."""
MAX_SHORT_HISTORY = 3
"""Largest number of items in a short history."""


@dataclass(frozen=True)
class Questions:
    """Cases with their kinds.

    Attributes:
        cases: The cases; each ranks the items outside the categories of its history.
        kind: (cases,) codes into `KINDS`.
    """

    cases: Cases
    kind: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.cases)

    def take(self, indices: NDArray[np.int64]) -> Questions:
        """Return the questions with these indices, in this order."""
        return Questions(self.cases.take(indices), self.kind[indices])

    def sampled(self, per_kind: int, rng: np.random.Generator) -> Questions:
        """Return at most `per_kind` questions of each kind, at random."""
        chosen = [rng.permutation(np.flatnonzero(self.kind == code))[:per_kind] for code in range(len(KINDS))]
        return self.take(np.sort(np.concatenate(chosen)).astype(np.int64))


def sample_questions(
    view: TrainingView, users: NDArray[np.bool_], user_counts: NDArray[np.integer[Any]], rng: np.random.Generator, max_users: int
) -> Questions:
    """Return questions of every kind about some of the users of a view.

    Args:
        view: Data that the users are in.
        users: (users,) which of the view's users to ask about.
        user_counts: (items,) number of users of each item without those users, which decides what is cold.
        rng: Random numbers.
        max_users: Largest number of users, sampled at random.
    """
    events = OrderedEvents.from_events(view.events, int(rng.integers(2**31)))
    ordered, eligible = view.events.order != "none", EligibleItems(view.catalogue, "new")
    items = _Items(view.catalogue.category, eligible.rankable, user_counts <= COLD_MAX_USERS)
    chosen = np.flatnonzero(users & _has_two_categories(events, items))
    drafts: list[_Draft] = []
    asked = 0
    for user in rng.permutation(chosen).tolist():
        rows = events.row[events.starts[user] : events.starts[user + 1]]
        found = _user_drafts(str(events.ids[user]), rows, items, rng, ordered=ordered)
        drafts += found
        asked += bool(found)
        if asked == max_users:
            break
    cases = Cases(
        [draft.user for draft in drafts],
        RaggedArray.of([draft.history for draft in drafts]),
        RaggedArray.of([draft.targets for draft in drafts]),
        [None] * len(drafts),
    )
    return _usable(Questions(cases, np.asarray([draft.kind for draft in drafts], dtype=np.int8)), view, eligible)


def _has_two_categories(events: OrderedEvents, items: _Items) -> NDArray[np.bool_]:
    """(users,) which users have items of two categories; about the others there is nothing to ask."""
    entering = events.user[first_in_category(events, items.category)]
    return np.bincount(entering, minlength=len(events.starts) - 1) >= 2


@dataclass(frozen=True, slots=True)
class _Items:
    """(items,) category codes, whether an item can be ranked, and whether few users have it."""

    category: NDArray[np.int32]
    rankable: NDArray[np.bool_]
    cold: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A question before targets that cannot be ranked are removed."""

    user: str
    kind: int
    history: Sequence[int]
    targets: Sequence[int]


def _user_drafts(name: str, events: NDArray[np.int32], items: _Items, rng: np.random.Generator, *, ordered: bool) -> list[_Draft]:
    """Draft questions of every kind about one user with items of two categories or more.

    Args:
        name: User id.
        events: Item rows of the user, oldest first, repeated items included.
        items: The items.
        rng: Random numbers.
        ordered: Whether the events have an order.
    """
    rows = _distinct(events)
    category, can_be_target = items.category[rows], set(items.category[rows[items.rankable[rows]]].tolist())
    categories = [code for code in dict.fromkeys(items.category[events].tolist()) if code in can_be_target]  # as entered
    drafts = []

    def add(kind: str, history: NDArray[np.int32], targets: NDArray[np.int32]) -> None:
        if len(history) and len(targets):
            drafts.append(_Draft(name, KINDS.index(kind), history.tolist(), targets.tolist()))

    entered = categories[-CATEGORIES_PER_USER:] if ordered else rng.permutation(categories)[:CATEGORIES_PER_USER].tolist()
    for code in entered:
        inside = category == code
        before = _distinct(events[: np.flatnonzero(items.category[events] == code)[0]]) if ordered else rows[~inside]
        add("entry", before, rows[inside])
    for code in rng.permutation(categories)[:CATEGORIES_PER_USER].tolist():
        inside = category == code
        others = rows[~inside]
        add("whole", others, rows[inside])
        count = int(rng.integers(1, MAX_SHORT_HISTORY + 1))
        add("short", others[-count:] if ordered else rng.permutation(others)[:count], rows[inside])
        add("cold", others, rows[inside & items.cold[rows]])
    sequence = events if ordered else rng.permutation(rows)
    moment = int(rng.integers(1, len(sequence)))
    earlier, later = _distinct(sequence[:moment]), _distinct(sequence[moment:])
    add("cut", earlier, later[~np.isin(items.category[later], items.category[earlier])])
    return drafts


def _usable(questions: Questions, view: TrainingView, eligible: EligibleItems) -> Questions:
    """The questions with the targets that are ranked and are no near-duplicates of a history item."""
    cases = questions.cases
    is_ranked = eligible.rankable[cases.targets.rows] & ~_targets_in_history_categories(cases, view.catalogue.category)
    targets = cases.targets.where(is_ranked & ~near_duplicates(cases, view.vectors))
    kept = np.flatnonzero((targets.lengths > 0) & (cases.histories.lengths > 0)).astype(np.int64)
    return Questions(replace(cases, targets=targets), questions.kind).take(kept)


def _targets_in_history_categories(cases: Cases, category: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(targets,) which targets are in a category of their case's history."""
    size = int(category.max(initial=0)) + 1
    known = np.unique(cases.histories.row_index * size + category[cases.histories.rows])
    return np.isin(cases.targets.row_index * size + category[cases.targets.rows], known)


def _distinct(rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """Each row once, at its latest position."""
    _, reversed_position = np.unique(rows[::-1], return_index=True)
    return rows[np.sort(len(rows) - 1 - reversed_position)]
