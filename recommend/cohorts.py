"""Who is meant by a question, from when on, and what they did next: sets of users over the events of a store.

A cohort is users and *anchors*, the events that put them there: buying a phone. Who is in "phones and cases" is anchored from the moment
both were there; "not" takes users out and anchors nobody. What a user did after any anchor, within the window, is what followed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..data.errors import QueryError
from ..retrieval.events import NEVER, Events, distinct
from ..retrieval.pairs import Counting, Margins, Moments
from .question import Node, Not, Or, Term

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..retrieval.catalogue import Catalogue


@dataclass(frozen=True)
class Cohort:
    """Users and what put them there.

    Attributes:
        users: (users,) int64 numbers, ascending. anchors: (anchors,) int64 places in the population's events, ascending.
        rows: (items,) bool, the items that the question names; what follows is never one of them.
    """

    users: NDArray[np.int64]
    anchors: NDArray[np.int64]
    rows: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.users)

    def only(self, users: NDArray[np.bool_], events: Events) -> Cohort:
        """The cohort of these users, (users of the store,) which, and of their anchors; who has no anchor is in it all the same."""
        return Cohort(np.flatnonzero(users), self.anchors[users[events.user[self.anchors]]], self.rows)


@dataclass(frozen=True)
class Followed:
    """What a cohort did after its anchors.

    Attributes:
        user: (events,) int64. row: (events,) int64 item rows. gap: (events,) int64 since the last anchor before it, in the events' unit.
    """

    user: NDArray[np.int64]
    row: NDArray[np.int64]
    gap: NDArray[np.int64]


class Population:
    """Events that a question is asked of: all of a store's, or those of a period.

    Args:
        events: by user, oldest first. window: how far behind an anchor something still follows it, in the unit of the events' time.
        weights: (users,) what each user counts, in `weights.UNIT`. stored: the margins of a depth, where they are known already.
    """

    def __init__(
        self, events: Events, catalogue: Catalogue, window: int, weights: NDArray[np.int64], stored: Callable[[int], Margins] | None = None
    ) -> None:
        self.events, self.catalogue, self.window, self.weights, self._stored = events, catalogue, window, weights, stored
        self._margins: dict[int, Margins] = {}

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(users + 1,) where each user's events begin, and the end."""
        return self.events.starts

    @cached_property
    def total(self) -> int:
        """Users with any event."""
        return int((np.diff(self.starts) > 0).sum())

    def margins(self, depth: int) -> Margins:
        """The margins of items (0) or of a level of categories."""
        if depth not in self._margins:
            if self._stored:
                self._margins[depth] = self._stored(depth)
            else:
                catalogue = self.catalogue
                code = np.arange(len(catalogue), dtype=np.int32) if depth == 0 else catalogue.tree.at(depth)
                things = len(catalogue) if depth == 0 else len(catalogue.tree)
                counting = Counting(Moments.of(self.events, code, things, self.window, self.weights))
                for _ in counting.blocks():
                    pass  # only the margins are wanted
                self._margins[depth] = counting.margins
        return self._margins[depth]

    def during(self, since: int | None, until: int | None) -> Population:
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
                f"nobody {events.verb} anything in that period; the data goes from {day(int(known.min()))} to {day(int(known.max()))}"
            )
        kept = Events(events.user[keep], events.row[keep], events.time[keep], events.order, events.users, events.verb)
        return Population(kept, self.catalogue, self.window, self.weights)

    # ------------------------------------------------------------------ who

    def cohort(self, tree: Node, rows: Mapping[Term, NDArray[np.bool_]], *, at_least: int = 1) -> Cohort:
        """The users that a tree of names means.

        Args:
            rows: (items,) bool, what each name means, filters on items applied.
            at_least: how often each name that is wanted must have been had.
        """
        named = np.zeros(len(self.catalogue), dtype=bool)
        for mask in rows.values():
            named |= mask
        users, anchors = self._of(tree, rows, at_least)
        return Cohort(np.empty(0, np.int64), anchors, named).only(users, self.events)

    def _of(self, node: Node, rows: Mapping[Term, NDArray[np.bool_]], at_least: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """(users,) who, and the events that put them there."""
        events = self.events
        if isinstance(node, Term):
            anchors = np.flatnonzero(rows[node][events.row])
            often = np.bincount(events.user[anchors], minlength=len(events.users))
            return often >= at_least, anchors
        if isinstance(node, Not):
            inside, _ = self._of(node.part, rows, 1)
            return ~inside & (np.diff(self.starts) > 0), np.empty(0, np.int64)
        parts = [self._of(part, rows, at_least) for part in node.parts]
        anchors = distinct(np.concatenate([found for _, found in parts]))
        if isinstance(node, Or):
            return np.logical_or.reduce([users for users, _ in parts]), anchors
        users = np.logical_and.reduce([users for users, _ in parts])
        if events.order != "none":
            # From when on all of it was there: the latest of the first times.
            since = np.full(len(events.users), NEVER)
            for part, (_, found) in zip(node.parts, parts, strict=True):
                if not isinstance(part, Not):
                    first = np.full(len(events.users), np.iinfo(np.int64).max)
                    np.minimum.at(first, events.user[found], events.time[found])
                    since = np.maximum(since, first)
            anchors = anchors[events.time[anchors] >= since[events.user[anchors]]]
        return users, anchors

    # ------------------------------------------------------------------ what next, and what before

    def of_users(self, users: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places of all events of some users, in order."""
        first = self.starts[users]
        n = self.starts[users + 1] - first
        return np.repeat(first - np.cumsum(n) + n, n) + np.arange(int(n.sum()))

    def followed(self, cohort: Cohort) -> Followed:
        """What the users of a cohort did with or after an anchor, within the window, the named items left out."""
        return self._around(cohort, 1)

    def preceded(self, cohort: Cohort) -> Followed:
        """What the users of a cohort did with or before an anchor, within the window; `gap` is up to the next anchor."""
        return self._around(cohort, -1)

    def _around(self, cohort: Cohort, way: int) -> Followed:
        events = self.events
        place = self.of_users(cohort.users)
        if events.order == "none":
            near, gap = np.ones(len(place), dtype=bool), np.zeros(len(place), dtype=np.int64)
        else:
            line, basket, known = self._timeline
            anchors = cohort.anchors if known is None else cohort.anchors[known[cohort.anchors]]
            anchor = np.zeros(len(events), dtype=bool)
            anchor[anchors] = True
            moment, here = line[place], anchor[place]
            if way > 0:
                gap = moment - np.maximum.accumulate(np.where(here, moment, -(1 << 62)))
            else:
                gap = np.minimum.accumulate(np.where(here, moment, 1 << 62)[::-1])[::-1] - moment
            # A basket has no order: an anchor at the same moment counts, wherever it stands.
            beside = np.zeros(int(basket[-1]) + 1 if len(basket) else 0, dtype=bool)
            beside[basket[anchors]] = True
            together = beside[basket[place]]
            near = (gap <= self.window) | together
            gap[together] = 0
            if known is not None:
                near &= known[place]
        place, gap = place[near], gap[near]
        row = events.row[place]
        other = ~cohort.rows[row]
        return Followed(events.user[place[other]].astype(np.int64), row[other].astype(np.int64), gap[other])

    @cached_property
    def _timeline(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_] | None]:
        """All users' times end to end, further apart than any window, so that a gap within one is of one user; baskets; known times."""
        events = self.events
        known = events.time != NEVER
        time = events.time[known]
        low, high = (int(time.min()), int(time.max())) if len(time) else (0, 0)
        line = np.where(known, events.time, low) - low + events.user.astype(np.int64) * (high - low + self.window + 1)
        new = np.diff(events.user, prepend=-1) != 0
        new[1:] |= events.time[1:] != events.time[:-1]
        return line, np.cumsum(new) - 1, None if known.all() else known


def day(time: int) -> str:
    """A moment in milliseconds as its day, UTC: `2017-03-31`."""
    return str(np.datetime64(time, "ms").astype("datetime64[D]"))
