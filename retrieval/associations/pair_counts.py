"""Directed co-occurrence counts of items or categories over a whole store, in blocks of bounded memory.

A *thing* is an item or a category. A user supports the pair A, B when an event with B happens with or after an event with A, within the
window; a user counts once per pair. Without an order, co-occurrence counts in both directions.

The base rate is counted in the same way, since a window lowers and active users raise all shares: the base rate of B is the share of all
(user, thing) pairs other than B from which the user reached B, that is the confidence after any thing. The usual division by the share of
users of B makes independent things look associated when users differ in activity, because users of A are more active than average.

Counts are additive: the counts of a snapshot minus the old counts of the changed users plus their new counts are exactly the counts of the
next snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..items.interactions import NEVER, distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..items.interactions import Events, Order

CHUNK = 4_000_000
"""Pairs of events processed at once; about 300 MB."""
MAX_EVENTS_PER_USER = 500
"""Latest events counted per user: a user with more is a reseller, and would cost as much as ten thousand others."""


@dataclass(frozen=True)
class EventSequence:
    """Events with items or with categories: by user, oldest first, at most `MAX_EVENTS_PER_USER` per user; without an order, distinct
    things by user.

    Attributes:
        user: (events,) int32 user numbers.
        thing: (events,) int32 codes of items or categories.
        time: (events,) int64.
        things: number of codes.
        users: number of users.
        weight: (users,) int64 user weights, in units of `user_weights.UNIT`.
        order: meaning of `time`.
        window: maximum distance from A to B, in the unit of `time`.
    """

    user: NDArray[np.int32]
    thing: NDArray[np.int32]
    time: NDArray[np.int64]
    things: int
    users: int
    weight: NDArray[np.int64]
    order: Order
    window: int

    @classmethod
    def of(
        cls,
        events: Events,
        code: NDArray[np.int32],
        things: int,
        window: int,
        weight: NDArray[np.int64],
        *,
        most: int = MAX_EVENTS_PER_USER,
    ) -> EventSequence:
        """Build a sequence from events.

        Args:
            events: the counted events.
            code: (items,) code of each item row, -1 for none.
            things: number of codes.
            window: in the unit of the events' time.
            weight: (users,) see `user_weights`.
            most: latest events per user.
        """
        thing = code[events.row]
        keep = thing >= 0
        user, thing, time = events.user[keep], thing[keep], events.time[keep]
        if len(user):  # three items of a category in one basket are one event
            new = np.concatenate([[True], (user[1:] != user[:-1]) | (time[1:] != time[:-1])])
            basket = np.cumsum(new) - 1
            key = distinct((basket * things + thing).astype(np.int64))
            first = np.flatnonzero(new)[key // things]  # an event of the same basket
            user, thing, time = user[first], (key % things).astype(np.int32), time[first]
            ends = np.cumsum(np.bincount(user, minlength=len(events.users)))
            latest = ends[user] - np.arange(len(user)) <= most
            user, thing, time = user[latest], thing[latest], time[latest]
        return cls(user, thing, time, things, len(events.users), weight, events.order, window)

    def reached(self) -> NDArray[np.bool_]:
        """(events,) mask of events with or after another thing of the same user, within the window."""
        m, n = self, len(self.user)
        if not n:
            return np.empty(0, dtype=bool)
        if m.order == "none":  # something else, before or behind
            return np.asarray(np.bincount(m.user)[m.user] > 1)
        place = np.arange(n)
        change = np.concatenate([[True], (m.user[1:] != m.user[:-1]) | (m.thing[1:] != m.thing[:-1])])
        before = np.maximum.accumulate(np.where(change, place, 0)) - 1  # the last moment of another thing, or of another user
        after = np.minimum.accumulate(np.where(np.append(change[1:], True), place, n)[::-1])[::-1] + 1
        gap = m.time - m.time[before]
        behind = (before >= 0) & (m.user[before] == m.user) & (gap >= 0) & (gap <= m.window) & (m.time[before] != NEVER)
        beside = np.minimum(after, n - 1)
        together = (after < n) & (m.user[beside] == m.user) & (m.time[beside] == m.time)
        return np.asarray((behind | together) & (m.time != NEVER))

    def only(self, chosen: NDArray[np.bool_]) -> EventSequence:
        """The events of the users in `chosen`, a (users,) mask."""
        keep = chosen[self.user]
        return EventSequence(
            self.user[keep], self.thing[keep], self.time[keep], self.things, self.users, self.weight, self.order, self.window
        )


@dataclass(frozen=True)
class MarginalCounts:
    """Marginal counts; each array has a first axis of 2: user counts, and sums of user weights in `UNIT`.

    Attributes:
        users: (2, things) users of each thing.
        followers: (2, things) users who reached the thing from another thing.
        ways: (2, things) number of other things from which it was reached, summed over users.
        total: (2,) users of any thing.
        things: (2,) distinct things, summed over users.
    """

    users: NDArray[np.int64]
    followers: NDArray[np.int64]
    ways: NDArray[np.int64]
    total: NDArray[np.int64]
    things: NDArray[np.int64]

    @property
    def base_rate(self) -> NDArray[np.float64]:
        """(2, things) base rate: share of users who reach each thing after any other thing, 0 to 1."""
        return np.asarray(self.ways / np.maximum(self.things[:, None] - self.users, 1))

    @property
    def usual(self) -> NDArray[np.float64]:
        """(2, things) effective sample size of the base rate: `followers` divided by the rate; 0 without followers."""
        rate = self.base_rate
        return np.divide(self.followers, rate, out=np.zeros_like(rate), where=rate > 0)

    def __add__(self, other: MarginalCounts) -> MarginalCounts:
        return self._joined(other, 1)

    def __sub__(self, other: MarginalCounts) -> MarginalCounts:
        return self._joined(other, -1)

    def _joined(self, other: MarginalCounts, sign: int) -> MarginalCounts:
        return MarginalCounts(*(getattr(self, name) + sign * getattr(other, name) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class PairCounts:
    """User counts by pair of things.

    Attributes:
        key: (pairs,) int64 source * things + target, ascending and distinct.
        both: (pairs,) int32 users of both.
        support: (pairs,) int32 users with target after source.
        weight: (pairs,) int64 sum of the weights of the supporting users, in `UNIT`.
    """

    key: NDArray[np.int64]
    both: NDArray[np.int32]
    support: NDArray[np.int32]
    weight: NDArray[np.int64]

    @classmethod
    def none(cls) -> PairCounts:
        """Empty counts."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64))

    @classmethod
    def chained(cls, parts: Sequence[PairCounts]) -> PairCounts:
        """Concatenation of parts whose keys ascend from one part to the next."""
        if not parts:
            return cls.none()
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("key", "both", "support", "weight")))

    def where(self, keep: NDArray[np.bool_]) -> PairCounts:
        """The pairs in `keep`, a (pairs,) mask."""
        return PairCounts(self.key[keep], self.both[keep], self.support[keep], self.weight[keep])

    def __add__(self, other: PairCounts) -> PairCounts:
        return self._joined(other, 1)

    def __sub__(self, other: PairCounts) -> PairCounts:
        return self._joined(other, -1)

    def _joined(self, other: PairCounts, sign: int) -> PairCounts:
        if not len(other.key):
            return self
        key = np.concatenate([self.key, other.key])
        order = np.argsort(key, kind="stable")  # two sorted runs: a merge
        key = key[order]
        first = np.flatnonzero(np.diff(key, prepend=-1))

        def added(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
            return np.add.reduceat(np.concatenate([ours, sign * theirs])[order], first)

        both = added(self.both, other.both)
        whole = PairCounts(key[first], both, added(self.support, other.support), added(self.weight, other.weight))
        return whole.where(both != 0)


class StreamingPairCounter:
    """Counts pairs in one pass: iterate over `blocks()` to the end, then read `margins`."""

    def __init__(self, moments: EventSequence, *, chunk: int = CHUNK) -> None:
        self.sequence, self._chunk = moments, chunk
        m = moments
        self._starts = np.searchsorted(m.user, np.arange(m.users + 1)).astype(np.int64)
        own = (m.user.astype(np.int64) << 32) | m.thing
        went = distinct(own[m.reached()])
        own = own if m.order == "none" else distinct(own)  # (user, thing), distinct
        user, thing = own >> 32, own & 0xFFFFFFFF
        self._has = np.bincount(user, minlength=m.users)  # distinct things by user
        self._users, self._went = self._by_thing(user, thing), self._by_thing(went >> 32, went & 0xFFFFFFFF)
        self._ways = np.zeros((2, m.things), dtype=np.int64)

    def _by_thing(self, user: NDArray[np.int64], thing: NDArray[np.int64]) -> NDArray[np.int64]:
        """(2, things) counts and weights of (user, thing) pairs."""
        m = self.sequence
        weight = np.bincount(thing, weights=m.weight[user], minlength=m.things)  # whole numbers below 2**53: exact
        return np.stack([np.bincount(thing, minlength=m.things), weight.astype(np.int64)])

    @property
    def margins(self) -> MarginalCounts:
        """Marginal counts; complete when `blocks` is exhausted."""
        present, weight = self._has > 0, self.sequence.weight
        total = np.asarray([present.sum(), weight[present].sum()], dtype=np.int64)
        things = np.asarray([self._has.sum(), (self._has * weight).sum()], dtype=np.int64)
        return MarginalCounts(self._users, self._went, self._ways, total, things)

    def blocks(self, least: int = 1) -> Iterator[PairCounts]:
        """Yield counts by ascending source; no source is in two blocks. Pairs with fewer than `least` users are left out."""
        m = self.sequence
        if m.order == "none":
            yield from self._together(least)
            return
        anchors = np.argsort(m.thing, kind="stable")  # by thing, then user, then time
        cost = np.diff(self._starts)[m.user[anchors]]
        source = m.thing[anchors]
        ends = np.flatnonzero(np.diff(source, append=-1)) + 1  # after the last anchor of each source
        for some in chunks_by_cost(cost, self._chunk, ends):
            counts = self._block(anchors[some], cost[some])
            yield counts.where(counts.both >= least) if least > 1 else counts

    def _together(self, least: int) -> Iterator[PairCounts]:
        """Counts without an order: co-occurrence by a product of sparse matrices."""
        from scipy import sparse

        m = self.sequence
        user, thing = m.user, m.thing
        # One product sums both: user counts are stored above the bits needed for the weights.
        bits = int(m.weight.sum()).bit_length()
        whole = sparse.csr_array(((1 << bits) | m.weight[user], (user, thing)), shape=(m.users, m.things))
        by_thing = sparse.csr_array((np.ones(len(user), dtype=np.int64), (thing, user)), shape=(m.things, m.users))
        # Each of the user's other things leads to this one.
        for heads, ways in enumerate((self._has - 1, (self._has - 1) * m.weight)):
            self._ways[heads] = np.bincount(thing, weights=ways[user], minlength=m.things).astype(np.int64)
        for some in chunks_by_cost(np.bincount(thing, weights=self._has[user], minlength=m.things), self._chunk):
            product = sparse.csr_array(by_thing[some] @ whole)
            enough = np.flatnonzero(product.data >> bits >= least)  # most pairs have few users: filter before sorting
            source = some.start + np.searchsorted(product.indptr, enough, side="right") - 1
            target, both = product.indices[enough].astype(np.int64), product.data[enough]
            key = source * m.things + target
            order = np.argsort(key, kind="stable")
            order = order[source[order] != target[order]]
            support = (both[order] >> bits).astype(np.int32)
            yield PairCounts(key[order], support, support, both[order] & ((1 << bits) - 1))

    def _block(self, anchors: NDArray[np.int64], cost: NDArray[np.int64]) -> PairCounts:
        """Counts of whole sources; a source too large for one chunk is counted in several chunks."""
        counts = PairCounts.none()
        # A user's events with one source must stay in one chunk; otherwise the user would count twice.
        user, thing = self.sequence.user[anchors], self.sequence.thing[anchors]
        ends = np.flatnonzero(np.concatenate([(user[1:] != user[:-1]) | (thing[1:] != thing[:-1]), [True]])) + 1
        for some in chunks_by_cost(cost, self._chunk, ends):
            counts = counts + self._count(anchors[some])
        return counts

    def _count(self, anchors: NDArray[np.int64]) -> PairCounts:
        m = self.sequence
        user, low = m.user[anchors].astype(np.int64), int(m.thing[anchors].min())
        # Every source event paired with every event of its user: (pairs of events,)
        n = np.diff(self._starts)[user]
        other = np.repeat(self._starts[user] - np.cumsum(n) + n, n) + np.arange(int(n.sum()))
        target = m.thing[other]
        window = np.where(m.time[anchors] == NEVER, -1, m.window)  # events without a time support no pair
        gap = m.time[other] - np.repeat(m.time[anchors], n)
        goes = (gap >= 0) & (gap <= np.repeat(window, n))
        pair = np.repeat((m.thing[anchors] - low).astype(np.int64) * m.things, n) + target
        bits = max(m.users - 1, 1).bit_length()
        key = (((pair << bits) | np.repeat(user, n)) << 1) | goes
        key = key[target != np.repeat(m.thing[anchors], n)]
        key.sort()
        # After sorting, the last of a user's entries for a pair tells whether any is within the window.
        key = key[np.concatenate([(key[1:] >> 1) != (key[:-1] >> 1), [True]])] if len(key) else key
        went, who, pair = (key & 1).astype(np.int32), (key >> 1) & ((1 << bits) - 1), key >> (bits + 1)
        first = np.flatnonzero(np.diff(pair, prepend=-1))
        if not len(first):
            return PairCounts.none()
        support, weight = np.add.reduceat(went, first), np.add.reduceat(went * m.weight[who], first)
        target = pair[first] % m.things
        for heads, counted in enumerate((support, weight)):
            self._ways[heads] += np.bincount(target, weights=counted, minlength=m.things).astype(np.int64)
        return PairCounts(pair[first] + low * m.things, np.diff(first, append=len(pair)).astype(np.int32), support, weight)


def chunks_by_cost(cost: NDArray[Any], most: float, ends: NDArray[np.int64] | None = None) -> Iterator[slice]:
    """Yield slices of consecutive elements with a total cost of at most `most`; an element above the limit forms its own slice.

    Args:
        cost: (n,) costs, 0 or more.
        most: maximum cost of a slice.
        ends: ascending indices at which a slice may end, the last one n; None allows every index.
    """
    ends = np.arange(1, len(cost) + 1) if ends is None else ends
    until = np.cumsum(cost)[ends - 1]
    part = 0
    while part < len(ends):
        fits = int(np.searchsorted(until, (until[part - 1] if part else 0) + most, side="right"))
        following = max(part + 1, fits)
        yield slice(int(ends[part - 1]) if part else 0, int(ends[following - 1]))
        part = following
