"""How many users went from one thing to another: directed counts over a whole store, in blocks of bounded memory.

A *thing* is an item or a category. A user goes from A to B when some event with B comes with or after some event with A, no later
than a window; one user counts once for a pair, however often. Where there is no order, having both is going either way.

What is usual is counted in the same way, or a window would make everything look rare, and busy shoppers everything common: the base
rate of B is the share of all (user, thing) pairs, B itself left out, from which the user went to B. It is what the confidence would be
after any thing at all. Dividing by the share of users who have B, as is common, calls independent things associated wherever some users
have more than others, because who has A is one of the busier ones.

Counts add up: those of a snapshot less those of the users who changed, as they were, plus the same users as they are, are the counts of
the next snapshot, exactly.
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
"""Pairs of events looked at at once; about 300 MB."""
MOST_EVENTS = 500
"""Latest events of a user that count: a shopper with more is a shop, and would cost as much as ten thousand others."""


@dataclass(frozen=True)
class Moments:
    """Events of one kind of thing: by user, oldest first, each user with at most `MOST_EVENTS`; without an order, by user and thing,
    each thing of a user once.

    Attributes:
        user: (moments,) int32. thing: (moments,) int32 code. time: (moments,) int64. things, users: how many codes there are of each.
        weight: (users,) int64 what a user counts, in `weights.UNIT`.
        order: what `time` is. window: how far B may be behind A, in the unit of `time`.
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
        cls, events: Events, code: NDArray[np.int32], things: int, window: int, weight: NDArray[np.int64], *, most: int = MOST_EVENTS
    ) -> Moments:
        """The moments of events.

        Args:
            code: (items,) the thing that each item row is, -1 for none. window: in the unit of the events' time.
            weight: (users,) see `weights.weights`.
        """
        thing = code[events.row]
        keep = thing >= 0
        user, thing, time = events.user[keep], thing[keep], events.time[keep]
        if len(user):  # a basket with three of a category is one moment
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
        """(moments,) which come with or after something else of the same user, within the window."""
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

    def only(self, chosen: NDArray[np.bool_]) -> Moments:
        """The moments of some users, (users,) which."""
        keep = chosen[self.user]
        return Moments(self.user[keep], self.thing[keep], self.time[keep], self.things, self.users, self.weight, self.order, self.window)


@dataclass(frozen=True)
class Margins:
    """What single things come to; each array is (2, ...): heads, and the same by weight in `UNIT`.

    Attributes:
        users: (2, things) who had each. went: (2, things) who went to each from something else.
        ways: (2, things) from how many other things they went there, added up over users.
        total: (2,) users who had anything. things: (2,) how many things they had, added up over users.
    """

    users: NDArray[np.int64]
    went: NDArray[np.int64]
    ways: NDArray[np.int64]
    total: NDArray[np.int64]
    things: NDArray[np.int64]

    @property
    def base_rate(self) -> NDArray[np.float64]:
        """(2, things) the share of users who go to each after any other thing, 0 to 1."""
        return np.asarray(self.ways / np.maximum(self.things[:, None] - self.users, 1))

    @property
    def usual(self) -> NDArray[np.float64]:
        """(2, things) of how many users `went` is that base rate: the size of sample that the rate is worth. 0 where nobody went."""
        rate = self.base_rate
        return np.divide(self.went, rate, out=np.zeros_like(rate), where=rate > 0)

    def __add__(self, other: Margins) -> Margins:
        return self._joined(other, 1)

    def __sub__(self, other: Margins) -> Margins:
        return self._joined(other, -1)

    def _joined(self, other: Margins, sign: int) -> Margins:
        return Margins(*(getattr(self, name) + sign * getattr(other, name) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class PairCounts:
    """Users by pair of things.

    Attributes:
        key: (pairs,) int64 source * things + target, ascending and distinct.
        both: (pairs,) int32 who had both. support: (pairs,) int32 who went from source to target. weight: (pairs,) int64 the support
            by weight, in `UNIT`.
    """

    key: NDArray[np.int64]
    both: NDArray[np.int32]
    support: NDArray[np.int32]
    weight: NDArray[np.int64]

    @classmethod
    def none(cls) -> PairCounts:
        """No pair at all."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64))

    @classmethod
    def chained(cls, parts: Sequence[PairCounts]) -> PairCounts:
        """Parts put end to end; their keys ascend from one to the next."""
        if not parts:
            return cls.none()
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("key", "both", "support", "weight")))

    def where(self, keep: NDArray[np.bool_]) -> PairCounts:
        """Some of the pairs, (pairs,) which."""
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


class Counting:
    """One pass over moments: iterate over `blocks()` to the end, then read `margins`."""

    def __init__(self, moments: Moments, *, chunk: int = CHUNK) -> None:
        self.moments, self._chunk = moments, chunk
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
        """(2, things) heads and weight of (user, thing) pairs."""
        m = self.moments
        weight = np.bincount(thing, weights=m.weight[user], minlength=m.things)  # whole numbers below 2**53: exact
        return np.stack([np.bincount(thing, minlength=m.things), weight.astype(np.int64)])

    @property
    def margins(self) -> Margins:
        """The margins; complete when `blocks` has ended."""
        present, weight = self._has > 0, self.moments.weight
        total = np.asarray([present.sum(), weight[present].sum()], dtype=np.int64)
        things = np.asarray([self._has.sum(), (self._has * weight).sum()], dtype=np.int64)
        return Margins(self._users, self._went, self._ways, total, things)

    def blocks(self, least: int = 1) -> Iterator[PairCounts]:
        """The counts, by ascending source; no source is in two blocks. Pairs that fewer than `least` users had both of are left out."""
        m = self.moments
        if m.order == "none":
            yield from self._together(least)
            return
        anchors = np.argsort(m.thing, kind="stable")  # by thing, then user, then time
        cost = np.diff(self._starts)[m.user[anchors]]
        source = m.thing[anchors]
        ends = np.flatnonzero(np.diff(source, append=-1)) + 1  # after the last anchor of each source
        for some in stretches(cost, self._chunk, ends):
            counts = self._block(anchors[some], cost[some])
            yield counts.where(counts.both >= least) if least > 1 else counts

    def _together(self, least: int) -> Iterator[PairCounts]:
        """The counts where nothing has an order: having both is all there is to count, and a product of sparse matrices counts it."""
        from scipy import sparse

        m = self.moments
        user, thing = m.user, m.thing
        # One product adds up both, heads above the bits that all weights together need.
        bits = int(m.weight.sum()).bit_length()
        whole = sparse.csr_array(((1 << bits) | m.weight[user], (user, thing)), shape=(m.users, m.things))
        by_thing = sparse.csr_array((np.ones(len(user), dtype=np.int64), (thing, user)), shape=(m.things, m.users))
        # From each of the user's other things there is a way to this one.
        for heads, ways in enumerate((self._has - 1, (self._has - 1) * m.weight)):
            self._ways[heads] = np.bincount(thing, weights=ways[user], minlength=m.things).astype(np.int64)
        for some in stretches(np.bincount(thing, weights=self._has[user], minlength=m.things), self._chunk):
            product = sparse.csr_array(by_thing[some] @ whole)
            enough = np.flatnonzero(product.data >> bits >= least)  # nearly all pairs are of few: they are not worth sorting
            source = some.start + np.searchsorted(product.indptr, enough, side="right") - 1
            target, both = product.indices[enough].astype(np.int64), product.data[enough]
            key = source * m.things + target
            order = np.argsort(key, kind="stable")
            order = order[source[order] != target[order]]
            support = (both[order] >> bits).astype(np.int32)
            yield PairCounts(key[order], support, support, both[order] & ((1 << bits) - 1))

    def _block(self, anchors: NDArray[np.int64], cost: NDArray[np.int64]) -> PairCounts:
        """The counts of whole sources; one too popular for a single chunk is counted in several and added up."""
        counts = PairCounts.none()
        # A user's events with one source must stay in one chunk, or the user would count twice.
        user, thing = self.moments.user[anchors], self.moments.thing[anchors]
        ends = np.flatnonzero(np.concatenate([(user[1:] != user[:-1]) | (thing[1:] != thing[:-1]), [True]])) + 1
        for some in stretches(cost, self._chunk, ends):
            counts = counts + self._count(anchors[some])
        return counts

    def _count(self, anchors: NDArray[np.int64]) -> PairCounts:
        m = self.moments
        user, low = m.user[anchors].astype(np.int64), int(m.thing[anchors].min())
        # Every anchor against every event of its user: (pairs of events,)
        n = np.diff(self._starts)[user]
        other = np.repeat(self._starts[user] - np.cumsum(n) + n, n) + np.arange(int(n.sum()))
        target = m.thing[other]
        window = np.where(m.time[anchors] == NEVER, -1, m.window)  # what has no time leads nowhere
        gap = m.time[other] - np.repeat(m.time[anchors], n)
        goes = (gap >= 0) & (gap <= np.repeat(window, n))
        pair = np.repeat((m.thing[anchors] - low).astype(np.int64) * m.things, n) + target
        bits = max(m.users - 1, 1).bit_length()
        key = (((pair << bits) | np.repeat(user, n)) << 1) | goes
        key = key[target != np.repeat(m.thing[anchors], n)]
        key.sort()
        # Of a user's several ways from source to target the last one says whether any is within the window.
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


def stretches(cost: NDArray[Any], most: float, ends: NDArray[np.int64] | None = None) -> Iterator[slice]:
    """Neighbours that together cost at most `most`, as many as that allows; what costs more on its own comes alone.

    Args:
        cost: (n,) 0 or more. ends: ascending places behind which may be cut, n the last of them; None: behind any.
    """
    ends = np.arange(1, len(cost) + 1) if ends is None else ends
    until = np.cumsum(cost)[ends - 1]
    part = 0
    while part < len(ends):
        fits = int(np.searchsorted(until, (until[part - 1] if part else 0) + most, side="right"))
        following = max(part + 1, fits)
        yield slice(int(ends[part - 1]) if part else 0, int(ends[following - 1]))
        part = following
