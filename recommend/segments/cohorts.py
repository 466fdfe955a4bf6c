"""Who is meant by a question, from when on, and what they did next: sets of users over the events of a store.

A cohort is users and *anchors*, the events that put them there: buying a phone. Who is in "phones and cases" is anchored from the moment
both were there; "not" takes users out and anchors nobody. What a user did after any anchor, within the window, is what followed.
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
    """Users and what put them there.

    Attributes:
        users: (users,) int64 numbers, ascending. anchors: (anchors,) int32 or int64 places in the population's events, ascending.
        rows: (items,) bool, the items that the question names; what follows is never one of them.
    """

    users: NDArray[np.int64]
    anchors: NDArray[np.integer[Any]]
    item_mask: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.users)

    def restricted_to(self, users: NDArray[np.bool_], events: Events) -> Cohort:
        """The cohort of these users, (users of the store,) which, and of their anchors; who has no anchor is in it all the same."""
        return Cohort(np.flatnonzero(users), self.anchors[users[events.user[self.anchors]]], self.item_mask)


@dataclass(frozen=True)
class NearbyEvents:
    """What a cohort did after its anchors.

    Attributes:
        user: (events,) int32. row: (events,) int32 item rows. gap: (events,) int64 since the last anchor before it, in the events' unit.
    """

    user: NDArray[np.int32]
    row: NDArray[np.int32]
    gap: NDArray[np.int64]


class Population:
    """Events that a question is asked of: all of a store's, or those of a period.

    Args:
        events: by user, oldest first. window: how far behind an anchor something still follows it, in the unit of the events' time.
        weights: (users,) what each user counts, in `weights.UNIT`. stored: the margins of a depth, where they are known already.
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
        self._had: dict[int, tuple[NDArray[np.int32], NDArray[np.int64]]] = {}

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(users + 1,) where each user's events begin, and the end."""
        return self.events.starts

    @cached_property
    def _by_item(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """(events,) the places of all events by item row, ascending, and (items + 1,) where each item's begin, and the end."""
        row = self.events.row
        key = np.sort((row.astype(np.int64) << 32) | np.arange(len(row)))  # several times faster than a stable argsort
        count = np.bincount(row, minlength=len(self.catalogue))
        return (key & 0xFFFFFFFF).astype(np.int32), np.concatenate([[0], np.cumsum(count)])

    @cached_property
    def user_count(self) -> int:
        """Users with any event."""
        return int((np.diff(self.starts) > 0).sum())

    def marginal_counts(self, depth: int) -> MarginalCounts:
        """The margins of items (0) or of a level of categories."""
        if depth not in self._margins:
            if self._stored:
                self._margins[depth] = self._stored(depth)
            else:
                catalogue = self.catalogue
                code = np.arange(len(catalogue), dtype=np.int32) if depth == 0 else catalogue.tree.at(depth)
                things = len(catalogue) if depth == 0 else len(catalogue.tree)
                counting = StreamingPairCounter(EventSequence.of(self.events, code, things, self.window, self.weights))
                for _ in counting.blocks():
                    pass  # only the margins are wanted
                self._margins[depth] = counting.margins
        return self._margins[depth]

    def in_period(self, since: int | None, until: int | None) -> Population:
        """The same store as though only the events from `since` to before `until` had happened (milliseconds).

        Raises: QueryError: the store has no clock, or nothing happened then; says when something did.
        """
        events = self.events
        if events.order != "time":
            raise QueryError("a period was asked for, but this store's interactions have no times; leave the period out")
        keep = events.time != NEVER
        if since is not None:
            keep &= events.time >= since
        if until is not None:
            keep &= events.time < until
        if not keep.any():
            known = events.time[events.time != NEVER]
            raise QueryError(
                f"nobody {events.verb} anything in that period; the data goes from {utc_day(int(known.min()))} to {utc_day(int(known.max()))}"
            )
        kept = Events(events.user[keep], events.row[keep], events.time[keep], events.order, events.users, events.verb)
        return Population(kept, self.catalogue, self.window, self.weights)

    # ------------------------------------------------------------------ who

    def cohort(self, tree: QueryNode, rows: Mapping[Term, NDArray[np.bool_]], *, at_least: int = 1) -> Cohort:
        """The users that a tree of names means.

        Args:
            rows: (items,) bool, what each name means, filters on items applied.
            at_least: how often each name that is wanted must have been had.
        """
        named = np.zeros(len(self.catalogue), dtype=bool)
        for mask in rows.values():
            named |= mask
        users, anchors = self._users_and_anchors(tree, rows, at_least)
        return Cohort(np.empty(0, np.int64), anchors, named).restricted_to(users, self.events)

    def _users_and_anchors(
        self, node: QueryNode, rows: Mapping[Term, NDArray[np.bool_]], at_least: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.integer[Any]]]:
        """(users,) who, and the events that put them there."""
        events = self.events
        if isinstance(node, Term):
            places, starts = self._by_item
            row = np.flatnonzero(rows[node])
            mine = np.sort(places[_concatenated_ranges(starts[row], starts[row + 1])])
            often = np.bincount(events.user[mine], minlength=len(events.users))
            return often >= at_least, mine
        if isinstance(node, Not):
            inside, _ = self._users_and_anchors(node.operand, rows, 1)
            return ~inside & (np.diff(self.starts) > 0), np.empty(0, np.int64)
        parts = [self._users_and_anchors(part, rows, at_least) for part in node.operands]
        some = np.zeros(len(events), dtype=bool)
        for _, part_of_it in parts:
            some[part_of_it] = True
        anchors = np.flatnonzero(some)
        if isinstance(node, Or):
            return np.logical_or.reduce([users for users, _ in parts]), anchors
        users = np.logical_and.reduce([users for users, _ in parts])
        if events.order != "none":
            # From when on all of it was there: the latest of the first times.
            since = np.full(len(events.users), NEVER)
            for part, (_, found) in zip(node.operands, parts, strict=True):
                if not isinstance(part, Not):
                    first = np.full(len(events.users), np.iinfo(np.int64).max)
                    np.minimum.at(first, events.user[found], events.time[found])
                    since = np.maximum(since, first)
            anchors = anchors[events.time[anchors] >= since[events.user[anchors]]]
        return users, anchors

    # ------------------------------------------------------------------ what next, and what before

    def category_users(self, cohort: Cohort, depth: int) -> NDArray[np.int64]:
        """(nodes,) how many users of a cohort had anything of each category of a depth, at any time."""
        if depth not in self._had:
            node = self.catalogue.tree.at(depth)[self.events.row]
            keep = node >= 0
            key = distinct((self.events.user[keep].astype(np.int64) << 32) | node[keep])
            self._had[depth] = (key & 0xFFFFFFFF).astype(np.int32), np.searchsorted(key >> 32, np.arange(len(self.events.users) + 1))
        node, starts = self._had[depth]
        first, end = starts[cohort.users], starts[cohort.users + 1]
        return np.bincount(node[_concatenated_ranges(first, end)], minlength=len(self.catalogue.tree))

    def events_after(self, cohort: Cohort) -> NearbyEvents:
        """What the users of a cohort did with or after an anchor, within the window, the named items left out."""
        return self._nearby(cohort, forward=True)

    def events_before(self, cohort: Cohort) -> NearbyEvents:
        """What the users of a cohort did with or before an anchor, within the window; `gap` is up to the next anchor."""
        return self._nearby(cohort, forward=False)

    def _nearby(self, cohort: Cohort, *, forward: bool) -> NearbyEvents:
        """Works outwards from the anchors, which are few, and not through all that the users ever did."""
        events = self.events
        if events.order == "none":
            place = _concatenated_ranges(self.starts[cohort.users], self.starts[cohort.users + 1])
            gap = np.zeros(len(place), dtype=np.int64)
        else:
            # Both ends ascend with the anchors, so each event is given to one of them: the last that it follows, the first it precedes.
            first, end = (ends[cohort.anchors] for ends in (self._ranges_after if forward else self._ranges_before))
            if forward:
                end[:-1] = np.minimum(end[:-1], first[1:])
            else:
                first[1:] = np.maximum(first[1:], end[:-1])
            place = _concatenated_ranges(first, end)
            gap = np.abs(events.time[place] - np.repeat(events.time[cohort.anchors], end - first))
        row = events.row[place]
        other = ~cohort.item_mask[row]
        return NearbyEvents(events.user[place[other]], row[other], gap[other])

    @cached_property
    def _ranges_after(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(events,) where the run begins of what comes with or after each event, no later than the window, and where it has ended."""
        line = self._global_times()
        return self._first_simultaneous, self._empty_if_untimed(_positions(line, line + self.window, "right"), self._first_simultaneous)

    @cached_property
    def _ranges_before(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(events,) where the run begins of what comes with or before each event, no earlier than the window, and where it has ended."""
        line = self._global_times()
        end = _positions(line, line, "right")
        return self._empty_if_untimed(_positions(line, line - self.window, "left"), end), end

    @cached_property
    def _first_simultaneous(self) -> NDArray[np.int32]:
        """(events,) the first event of the same user and moment: a basket has no order, and what lies beside something comes with it."""
        user, time = self.events.user, self.events.time
        new = np.concatenate([[True], (user[1:] != user[:-1]) | (time[1:] != time[:-1])])[: len(user)]
        return np.maximum.accumulate(np.where(new, np.arange(len(user), dtype=np.int32), np.int32(0)))

    def _empty_if_untimed(self, end: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.int32]:
        """What has no time comes with nothing, before or after: its run is empty."""
        return np.where(self.events.time == NEVER, other, end)

    def _global_times(self) -> NDArray[np.int64]:
        """(events,) all users' times end to end, ascending, further apart than any window, so that what is near is of one user."""
        events = self.events
        known = events.time != NEVER
        time = events.time[known]
        low, high = (int(time.min()), int(time.max())) if len(time) else (0, 0)
        low -= self.window + 1  # what has no time lies there, out of reach
        return np.where(known, events.time, low) - low + events.user.astype(np.int64) * (high - low + self.window + 1)


def _positions(line: NDArray[np.int64], moments: NDArray[np.int64], side: Literal["left", "right"]) -> NDArray[np.int32]:
    """Where moments belong in a line, in half the memory: a store has fewer than two thousand million events."""
    return np.searchsorted(line, moments, side=side).astype(np.int32)


def _concatenated_ranges(first: NDArray[np.integer[Any]], end: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The whole numbers from each `first` to before its `end`, one run after another."""
    n = (end - first).astype(np.int64)
    return np.repeat(first - np.cumsum(n) + n, n) + np.arange(int(n.sum()))


def utc_day(time: int) -> str:
    """A moment in milliseconds as its day, UTC: `2017-03-31`."""
    return str(np.datetime64(time, "ms").astype("datetime64[D]"))
