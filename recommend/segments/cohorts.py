"""Cohorts: the users that a query tree describes, and what they did around the events that qualify them.

The *anchors* of a cohort are the events that qualify its users, such as buying a phone. Users of "phones and cases" are anchored from the
moment they have both; "not" removes users and anchors nobody. Events within the window after any anchor follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...data.errors import QueryError
from ...retrieval.associations.pair_counts import EventSequence, MarginalCounts, StreamingPairCounter
from ...retrieval.items.interactions import NEVER, Events, distinct
from .query.query_tree import Not, Or, QueryNode, Term

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.catalogue import Catalogue


@dataclass(frozen=True)
class Cohort:
    """Users and the events that qualify them.

    Attributes:
        users: (users,) int64 user numbers, ascending.
        anchors: (anchors,) int32 or int64 positions in the population's events, ascending.
        item_mask: (items,) bool, the items that the question names; they are never among what follows.
    """

    users: NDArray[np.int64]
    anchors: NDArray[np.integer[Any]]
    item_mask: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.users)

    def restricted_to(self, users: NDArray[np.bool_], events: Events) -> Cohort:
        """Return the cohort of some users, (users of the store,) bool, with or without anchors, and of their anchors."""
        return Cohort(np.flatnonzero(users), self.anchors[users[events.user[self.anchors]]], self.item_mask)


@dataclass(frozen=True)
class NearbyEvents:
    """Events of a cohort near its anchors.

    Attributes:
        user: (events,) int32 user numbers.
        row: (events,) int32 item rows.
        gap: (events,) int64 time to the nearest anchor on the other side, in the unit of the events' time.
    """

    user: NDArray[np.int32]
    row: NDArray[np.int32]
    gap: NDArray[np.int64]


class Population:
    """Users and events that a question is about: all of a store's, or those of a period.

    Args:
        events: By user, oldest first.
        window: Maximum time between an anchor and what follows it, in the unit of the events' time.
        weights: (users,) weight of each user, in `user_weights.UNIT`.
        stored: Returns stored marginal counts of a depth; they are counted if it is None.
    """

    def __init__(
        self,
        events: Events,
        catalogue: Catalogue,
        window: int,
        weights: NDArray[np.int64],
        stored: Callable[[int], MarginalCounts] | None = None,
    ) -> None:
        self.events, self.catalogue, self.window, self.weights, self._stored = events, catalogue, window, weights, stored
        self._margins: dict[int, MarginalCounts] = {}
        self._categories_of_users: dict[int, tuple[NDArray[np.int32], NDArray[np.int64]]] = {}

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Position of each user's first event, and the end, (users + 1,)."""
        return self.events.starts

    @cached_property
    def _by_item(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Positions of all events ordered by item row, (events,), and where each item's begin, with the end, (items + 1,)."""
        row = self.events.row
        key = np.sort((row.astype(np.int64) << 32) | np.arange(len(row)))  # several times faster than a stable argsort
        count = np.bincount(row, minlength=len(self.catalogue))
        return (key & 0xFFFFFFFF).astype(np.int32), np.concatenate([[0], np.cumsum(count)])

    @cached_property
    def user_count(self) -> int:
        """Number of users with any event."""
        return int((np.diff(self.starts) > 0).sum())

    def marginal_counts(self, depth: int) -> MarginalCounts:
        """Return the marginal counts of items (depth 0) or of a level of categories."""
        if depth not in self._margins:
            self._margins[depth] = self._stored(depth) if self._stored else self._count_margins(depth)
        return self._margins[depth]

    def _count_margins(self, depth: int) -> MarginalCounts:
        catalogue = self.catalogue
        code = np.arange(len(catalogue), dtype=np.int32) if depth == 0 else catalogue.tree.at(depth)
        size = len(catalogue) if depth == 0 else len(catalogue.tree)
        counter = StreamingPairCounter(EventSequence.of(self.events, code, size, self.window, self.weights))
        for _ in counter.blocks():
            pass  # only the margins are needed
        return counter.margins

    def in_period(self, since: int | None, until: int | None) -> Population:
        """Return the population with only the events from `since` to before `until`, in milliseconds.

        Raises:
            QueryError: The store has no times, or no event is in the period; the message has the period of the data.
        """
        events = self.events
        if events.order != "time":
            raise QueryError("the question has a period, but this store's interactions have no times; leave the period out")
        keep = events.time != NEVER
        if since is not None:
            keep &= events.time >= since
        if until is not None:
            keep &= events.time < until
        if not keep.any():
            known = events.time[events.time != NEVER]
            first, last = utc_day(int(known.min())), utc_day(int(known.max()))
            raise QueryError(f"nobody {self.catalogue.counted_past} anything in that period; the data goes from {first} to {last}")
        kept = Events(events.user[keep], events.row[keep], events.time[keep], events.order, events.users, events.verb)
        return Population(kept, self.catalogue, self.window, self.weights)

    # ------------------------------------------------------------------ users and anchors

    def cohort(self, tree: QueryNode, item_masks: Mapping[Term, NDArray[np.bool_]], *, at_least: int = 1) -> Cohort:
        """Return the users that a query tree describes, and their anchors.

        Args:
            item_masks: (items,) bool for each name, with the filters on items applied.
            at_least: Minimum number of events with each name that is not negated.
        """
        named = np.zeros(len(self.catalogue), dtype=bool)
        for mask in item_masks.values():
            named |= mask
        users, anchors = self._users_and_anchors(tree, item_masks, at_least)
        return Cohort(np.empty(0, np.int64), anchors, named).restricted_to(users, self.events)

    def _users_and_anchors(
        self, node: QueryNode, item_masks: Mapping[Term, NDArray[np.bool_]], at_least: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.integer[Any]]]:
        """Return the users of a node, (users,) bool, and the positions of their anchors."""
        events = self.events
        if isinstance(node, Term):
            positions, starts = self._by_item
            rows = np.flatnonzero(item_masks[node])
            of_term = np.sort(positions[_concatenated_ranges(starts[rows], starts[rows + 1])])
            event_counts = np.bincount(events.user[of_term], minlength=len(events.users))
            return event_counts >= at_least, of_term
        if isinstance(node, Not):
            excluded, _ = self._users_and_anchors(node.operand, item_masks, 1)
            return ~excluded & (np.diff(self.starts) > 0), np.empty(0, np.int64)
        results = [self._users_and_anchors(operand, item_masks, at_least) for operand in node.operands]
        is_anchor = np.zeros(len(events), dtype=bool)
        for _, operand_anchors in results:
            is_anchor[operand_anchors] = True
        anchors = np.flatnonzero(is_anchor)
        if isinstance(node, Or):
            return np.logical_or.reduce([users for users, _ in results]), anchors
        users = np.logical_and.reduce([users for users, _ in results])
        if events.order != "none":
            # Users qualify from the moment they have all operands: the latest of the first times.
            since = np.full(len(events.users), NEVER)
            for operand, (_, operand_anchors) in zip(node.operands, results, strict=True):
                if not isinstance(operand, Not):
                    first = np.full(len(events.users), np.iinfo(np.int64).max)
                    np.minimum.at(first, events.user[operand_anchors], events.time[operand_anchors])
                    since = np.maximum(since, first)
            anchors = anchors[events.time[anchors] >= since[events.user[anchors]]]
        return users, anchors

    # ------------------------------------------------------------------ events around the anchors

    def category_users(self, cohort: Cohort, depth: int) -> NDArray[np.int64]:
        """Return how many users of a cohort have any event in each category of a depth, at any time, (nodes,)."""
        if depth not in self._categories_of_users:
            node = self.catalogue.tree.at(depth)[self.events.row]
            keep = node >= 0
            key = distinct((self.events.user[keep].astype(np.int64) << 32) | node[keep])
            self._categories_of_users[depth] = (
                (key & 0xFFFFFFFF).astype(np.int32),
                np.searchsorted(key >> 32, np.arange(len(self.events.users) + 1)),
            )
        node, starts = self._categories_of_users[depth]
        first, end = starts[cohort.users], starts[cohort.users + 1]
        return np.bincount(node[_concatenated_ranges(first, end)], minlength=len(self.catalogue.tree))

    def events_after(self, cohort: Cohort) -> NearbyEvents:
        """Return the events of a cohort with or after an anchor, within the window, without the items that the question names."""
        return self._nearby(cohort, forward=True)

    def events_before(self, cohort: Cohort) -> NearbyEvents:
        """Return the events of a cohort with or before an anchor, within the window; `gap` is the time to the next anchor."""
        return self._nearby(cohort, forward=False)

    def _nearby(self, cohort: Cohort, *, forward: bool) -> NearbyEvents:
        """Collect the events near the anchors; the cost grows with the anchors, not with the users' whole histories."""
        events = self.events
        if events.order == "none":
            positions = _concatenated_ranges(self.starts[cohort.users], self.starts[cohort.users + 1])
            gap = np.zeros(len(positions), dtype=np.int64)
        else:
            # Both ends ascend with the anchors, so each event is assigned to one of them: the last before it, or the first after it.
            first, end = (bounds[cohort.anchors] for bounds in (self._ranges_after if forward else self._ranges_before))
            if forward:
                end[:-1] = np.minimum(end[:-1], first[1:])
            else:
                first[1:] = np.maximum(first[1:], end[:-1])
            positions = _concatenated_ranges(first, end)
            gap = np.abs(events.time[positions] - np.repeat(events.time[cohort.anchors], end - first))
        row = events.row[positions]
        other = ~cohort.item_mask[row]
        return NearbyEvents(events.user[positions[other]], row[other], gap[other])

    @cached_property
    def _ranges_after(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """First and end position of the events with or after each event, within the window, (events,) each."""
        times = self._global_times()
        end = _positions(times, times + self.window, "right")
        return self._first_simultaneous, self._empty_if_untimed(end, self._first_simultaneous)

    @cached_property
    def _ranges_before(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """First and end position of the events with or before each event, within the window, (events,) each."""
        times = self._global_times()
        end = _positions(times, times, "right")
        return self._empty_if_untimed(_positions(times, times - self.window, "left"), end), end

    @cached_property
    def _first_simultaneous(self) -> NDArray[np.int32]:
        """Position of the first event of the same user and time, (events,): a basket has no order, so its events go with each other."""
        user, time = self.events.user, self.events.time
        new = np.concatenate([[True], (user[1:] != user[:-1]) | (time[1:] != time[:-1])])[: len(user)]
        return np.maximum.accumulate(np.where(new, np.arange(len(user), dtype=np.int32), np.int32(0)))

    def _empty_if_untimed(self, end: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return `end` with `other` for events without a time, whose ranges are empty: they are neither before nor after anything."""
        return np.where(self.events.time == NEVER, other, end)

    def _global_times(self) -> NDArray[np.int64]:
        """Return times that ascend over all users, (events,): users are further apart than the window, so nearby times are of one user."""
        events = self.events
        known = events.time != NEVER
        time = events.time[known]
        low, high = (int(time.min()), int(time.max())) if len(time) else (0, 0)
        low -= self.window + 1  # events without a time are placed there, outside any window
        return np.where(known, events.time, low) - low + events.user.astype(np.int64) * (high - low + self.window + 1)


def _positions(times: NDArray[np.int64], values: NDArray[np.int64], side: Literal["left", "right"]) -> NDArray[np.int32]:
    """Return `np.searchsorted` as int32, half the memory: a store has fewer than 2**31 events."""
    return np.searchsorted(times, values, side=side).astype(np.int32)


def _concatenated_ranges(first: NDArray[np.integer[Any]], end: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return the integers of all ranges from `first` to before `end`, one range after another."""
    n = (end - first).astype(np.int64)
    return np.repeat(first - np.cumsum(n) + n, n) + np.arange(int(n.sum()))


def utc_day(time: int) -> str:
    """Return the UTC day of a time in milliseconds, as `2017-03-31`."""
    return str(np.datetime64(time, "ms").astype("datetime64[D]"))
