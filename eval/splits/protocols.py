"""Cases drawn from a snapshot, and what must be held out for each protocol.

    users           whole users are held out; the category that a user entered last is to be found from all that came before it
    leave-one-out   everybody's last interaction is to be found from the ones before
    temporal        what users had from a moment on is to be found from what they had before it

Of a store's interactions only those count that figures are counted from (purchases, else ratings, else everything; see `Events`), so that a
look at the target never stands in the history. Where there is no order, the category, or the last item, is drawn by the seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import QueryError
from ...data.splits import HeldOut, Part, Split
from ...retrieval.items.interactions import NEVER
from ...retrieval.items.ragged import Runs
from .cases import CandidateScope, Cases

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from ...retrieval.items.catalogue import Catalogue
    from ...retrieval.items.interactions import Events

MIN_TEST_CASES = 1000
"""Test cases that a split by users aims at."""
TEST_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Shares of the users that may be tested; the first that gives `MIN_TEST_CASES` cases is taken, else the last."""


@dataclass(frozen=True)
class SampledCases:
    """Cases, and what a training for them must not see."""

    cases: Cases
    held_out: HeldOut


@dataclass(frozen=True)
class OrderedEvents:
    """Events by user, oldest first, those of one moment in an order that the seed draws.

    Attributes: user, row, time: (events,) as in `Events`, repeated items included. starts: (users + 1,) ids: user ids by number.
    """

    user: NDArray[np.int32]
    row: NDArray[np.int32]
    time: NDArray[np.int64]
    starts: NDArray[np.int64]
    ids: pl.Series

    @classmethod
    def from_events(cls, events: Events, seed: int) -> OrderedEvents:
        """The events with ties in time shuffled. What has no time comes first."""
        lot = np.random.default_rng(seed).random(len(events))
        order = np.lexsort((lot, events.time, events.user))
        return cls(events.user[order], events.row[order], events.time[order], events.starts, events.users)


def first_in_category(events: OrderedEvents, category: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(events,) which are a user's first of their category. Args: category: (items,) codes."""
    key = (events.user.astype(np.int64) << 32) | category[events.row]
    _, first = np.unique(key, return_index=True)
    found = np.zeros(len(events.row), dtype=bool)
    found[first] = True
    return found


def with_test_share(split: Split, events: Events, catalogue: Catalogue) -> Split:
    """The split with shares of the users that give enough cases, for a store of few; half as many users are for validation."""
    user, category = events.user.astype(np.int64), catalogue.category[events.row].astype(np.int64)
    several = np.bincount(np.unique(user * len(catalogue.nodes) + category) // len(catalogue.nodes), minlength=len(events.users)) > 1
    share = next((share for share in TEST_SHARES if share * several.sum() >= MIN_TEST_CASES), TEST_SHARES[-1])
    return split.with_(test=share, validation=min(share, 0.5 - share / 2 if share < 0.5 else 0.2))


def resolve_split(split: Split, events: Events, catalogue: Catalogue) -> Split:
    """The split with all that hangs on the data: the shares of `users`, the moments of `temporal`.

    Args: split: its moment, if it has one, is when a temporal test begins.
    Raises: QueryError: a temporal split of what has no clock, or with nothing before or after its moment.
    """
    if split.protocol == "users":
        return with_test_share(split, events, catalogue)
    if split.protocol == "temporal":
        moment, before = split_moments(events, split.moment)
        return split.with_(moment=moment, validation_moment=before)
    return split


def sample_cases(split: Split, events: Events, catalogue: Catalogue, part: Part, scope: CandidateScope) -> SampledCases:
    """The cases of one part of a split.

    For `validation` what is held out for the test is held out as well: nothing may be tuned on it.
    """
    shuffled = OrderedEvents.from_events(events, split.seed)
    if split.protocol == "users":
        drawn = _held_out_user_cases(split, shuffled, catalogue, part, ordered=events.order != "none")
    elif split.protocol == "leave-one-out":
        drawn = _leave_one_out_cases(shuffled, catalogue, part)
    else:
        drawn = _temporal_cases(split, shuffled, part)
    return SampledCases(replace(drawn.cases, scope=scope), drawn.held_out)


def held_out_for_file(cases: Cases, events: Events) -> HeldOut:
    """What is held out for the cases of a file: everything of the users it names."""
    known = set(events.users.to_list())
    return HeldOut(users=frozenset(user for user in cases.users if user in known))


# ---------------------------------------------------------------------- the three ways


def _held_out_user_cases(split: Split, events: OrderedEvents, catalogue: Catalogue, part: Part, *, ordered: bool) -> SampledCases:
    ids = events.ids.to_list()
    tested, chosen = split.users(ids, "test"), split.users(ids, part)
    out = tested | chosen
    category, categories = catalogue.category[events.row], len(catalogue.nodes)
    placed = catalogue.nodes[category] >= 0  # what has no category is of none that could be entered
    mine = chosen[events.user] & placed
    # The first event of every (user, category), in the order of events.
    key = events.user[mine].astype(np.int64) * categories + category[mine]
    entered, first = np.unique(key, return_index=True)
    place = np.flatnonzero(mine)[first]
    owner = entered // categories
    # Without an order, any of a user's categories may be the one to find.
    rank = place.astype(np.float64) if ordered else np.random.default_rng(split.seed + 1).random(len(entered))
    order = np.lexsort((rank, owner))
    last = np.flatnonzero(np.append(np.diff(owner[order]) != 0, True)) if len(order) else np.empty(0, np.int64)
    several = np.bincount(owner, minlength=len(ids)) > 1
    target_category = np.full(len(ids), -1, dtype=np.int64)
    entry = np.full(len(ids), np.iinfo(np.int64).max, dtype=np.int64)
    target_category[owner[order[last]]] = entered[order[last]] % categories
    entry[owner[order[last]]] = place[order[last]]
    case = several[events.user]
    target = case & (category == target_category[events.user])
    before = (np.arange(len(events.user)) < entry[events.user]) | (not ordered)
    cases = _cases(events, case & ~target & before, target, {"users of one category only": int((chosen & ~several).sum())})
    return SampledCases(cases, HeldOut(users=frozenset(user for user, held in zip(ids, out, strict=True) if held)))


def _leave_one_out_cases(events: OrderedEvents, catalogue: Catalogue, part: Part) -> SampledCases:
    import polars as pl

    back = 1 if part == "test" else 2
    from_end = events.starts[1:][events.user] - 1 - np.arange(len(events.user))
    target, before = from_end == back - 1, from_end >= back
    lengths = np.diff(events.starts)
    long_enough = lengths > back
    cases = _cases(
        events,
        before & long_enough[events.user],
        target & long_enough[events.user],
        {"users with too few interactions": int((~long_enough).sum())},
    )
    held = from_end < back
    pairs = pl.DataFrame({"user_id": events.ids.gather(events.user[held]), "item_id": catalogue.items["item_id"].gather(events.row[held])})
    return SampledCases(cases, HeldOut(pairs=pairs))


def _temporal_cases(split: Split, events: OrderedEvents, part: Part) -> SampledCases:
    start = split.moment if part == "test" else split.validation_moment
    if start is None:
        raise ValueError("a temporal split needs its moments; see `moments`")
    end = np.iinfo(np.int64).max if part == "test" or split.moment is None else split.moment
    before, target = events.time < start, (events.time >= start) & (events.time < end)
    count = len(events.ids)
    some = (np.bincount(events.user[before], minlength=count) > 0) & (np.bincount(events.user[target], minlength=count) > 0)
    nothing_before = int((np.bincount(events.user[target], minlength=count) > 0).sum() - some.sum())
    cases = _cases(events, before & some[events.user], target & some[events.user], {"users without a history then": nothing_before})
    return SampledCases(cases, HeldOut(moment=start))


def split_moments(events: Events, at: int | None = None) -> tuple[int, int]:
    """The moments from which on a temporal split tests and validates: 80 % and, of what is before, 90 % of the interactions lie before.

    Raises: QueryError: there is no clock, or nothing lies before or after.
    """
    known = np.sort(events.time[events.time != NEVER])
    if events.order != "time" or len(known) < 2:
        raise QueryError("the interactions have no times, so no date parts them; take --protocol users or leave-one-out")
    start = int(known[int(0.8 * len(known))]) if at is None else at
    earlier = known[known < start]
    if not len(earlier) or known[-1] < start:
        first, last = (np.datetime64(int(moment), "ms").astype("datetime64[D]") for moment in (known[0], known[-1]))
        raise QueryError(f"no interaction lies {'before' if not len(earlier) else 'after'} that date; they go from {first} to {last}")
    return start, int(earlier[int(0.9 * len(earlier))])


def _cases(events: OrderedEvents, history: NDArray[np.bool_], target: NDArray[np.bool_], exclusions: dict[str, int]) -> Cases:
    """Cases of all users who have a target: distinct items, a history's at their latest place."""
    users = np.unique(events.user[target])
    return Cases(
        [str(user) for user in events.ids.gather(users)],
        _distinct_rows(events, history, users),
        _distinct_rows(events, target, users),
        [None] * len(users),
        exclusions={why: n for why, n in exclusions.items() if n},
    )


def _distinct_rows(events: OrderedEvents, kept: NDArray[np.bool_], users: NDArray[np.int32]) -> Runs:
    place = np.flatnonzero(kept & np.isin(events.user, users))[::-1]  # newest first: np.unique then finds the latest place of an item
    key = (events.user[place].astype(np.int64) << 32) | events.row[place]
    _, first = np.unique(key, return_index=True)
    place = np.sort(place[first])
    starts = np.append(np.searchsorted(events.user[place], users), len(place))
    return Runs(starts.astype(np.int64), events.row[place])
