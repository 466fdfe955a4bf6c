"""What a cohort goes on to, or came from: for every category, and for items, how many did against how many usually do.

Figures only. What of them may be shown is decided by whoever shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...retrieval.associations import statistics
from ...retrieval.associations.user_weights import UNIT
from ...retrieval.items.interactions import distinct
from .cohorts import Cohort, NearbyEvents, Population

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

OWN_CATEGORY_SHARE = 0.1
"""Share of a cohort's anchors from which a category is the cohort's own, and not another one it could need."""
_GAP_BITS = 24


@dataclass(frozen=True)
class TransitionStats:
    """How many users went from one thing to another, with everything that a figure of it needs; all arrays are (things,).

    Attributes:
        what: in a word, which step: `after`, `before`, or `item`.
        things: item rows, or nodes of the category tree. users: who went. of: how many could have.
        had: who of the cohort had the thing at any time. holders: who of the store.
        went: users of the whole population who took the step from, or to, anything. base_rate: how usual it is, 0 to 1.
        gap: median over users of the shortest gap, in the events' unit; nan where nobody went.
        share, low, high: users / of with its interval. lift, lift_low, lift_high. llr, chance: by weighted users.
    """

    kind: str
    codes: NDArray[np.int64]
    users: NDArray[np.int64]
    totals: NDArray[np.int64]
    cohort_users: NDArray[np.int64]
    store_users: NDArray[np.int64]
    baseline_users: NDArray[np.int64]
    base_rate: NDArray[np.float64]
    median_gap: NDArray[np.float64]
    share: NDArray[np.float64]
    share_low: NDArray[np.float64]
    share_high: NDArray[np.float64]
    lift: NDArray[np.float64]
    lift_low: NDArray[np.float64]
    lift_high: NDArray[np.float64]
    llr: NDArray[np.float64]
    p_value: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _TransitionCounts:
    """(things,) distinct users, their weight in `UNIT`, and the median over users of the shortest gap."""

    users: NDArray[np.int64]
    weight: NDArray[np.int64]
    gap: NDArray[np.float64]


def next_categories(population: Population, cohort: Cohort, followed: NearbyEvents, depth: int) -> TransitionStats:
    """The steps from a cohort to every category of a depth but its own. `followed`: see `Population.followed`."""
    code, things = population.catalogue.tree.at(depth), _other_categories(population, cohort, depth)
    return _forward("after", population, cohort, followed, code, things, depth, had=population.category_users(cohort, depth)[things])


def next_items(
    population: Population, cohort: Cohort, followed: NearbyEvents, item_mask: NDArray[np.bool_], *, min_users: int = 1
) -> TransitionStats:
    """The steps from a cohort to the items of some, (items,) which, that it went to at least so often; `had` is only who went."""
    often = np.bincount(followed.row, minlength=len(item_mask))
    things, code = np.flatnonzero((often >= max(min_users, 1)) & item_mask), np.arange(len(item_mask), dtype=np.int32)
    return _forward("item", population, cohort, followed, code, things, 0)


def source_categories(population: Population, cohort: Cohort, depth: int) -> TransitionStats:
    """The steps to a cohort from every category of a depth but its own: of its users, how many went on to what makes the cohort."""
    things, code = _other_categories(population, cohort, depth), population.catalogue.tree.at(depth)
    margins, weight = population.marginal_counts(depth), population.weights
    preceded = population.events_before(cohort)
    went = _count_users(code, things, preceded, weight)
    users, by_weight = margins.users[0, things], margins.users[1, things]
    # How usual it is to go on to the cohort's thing from any other category; nobody is asked twice whether they did.
    base, base_weight = went.users.sum() / max(users.sum(), 1), went.weight.sum() / max(by_weight.sum(), 1)
    reached = distinct(preceded.user)
    return _statistics(
        "before",
        things,
        (went.users, users, np.full(len(things), len(reached)), base),
        (went.weight / UNIT, by_weight / UNIT, np.full(len(things), weight[reached].sum() / UNIT), base_weight),
        population.category_users(cohort, depth)[things],
        np.full(len(things), len(cohort)),
        went.gap,
    )


def _forward(
    what: str,
    population: Population,
    cohort: Cohort,
    followed: NearbyEvents,
    code: NDArray[np.int32],
    things: NDArray[np.int64],
    depth: int,
    *,
    had: NDArray[np.int64] | None = None,
) -> TransitionStats:
    margins, weight = population.marginal_counts(depth), population.weights
    went = _count_users(code, things, followed, weight)
    n, by_weight = np.full(len(things), len(cohort)), np.full(len(things), weight[cohort.users].sum() / UNIT)
    return _statistics(
        what,
        things,
        (went.users, n, margins.followers[0, things], margins.base_rate[0, things]),
        (went.weight / UNIT, by_weight, margins.followers[1, things] / UNIT, margins.base_rate[1, things]),
        went.users if had is None else had,
        margins.users[0, things],
        went.gap,
    )


def _statistics(
    what: str,
    things: NDArray[np.int64],
    heads: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], ArrayLike],
    weighted: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], ArrayLike],
    had: NDArray[np.int64],
    holders: NDArray[np.int64],
    gap: NDArray[np.float64],
) -> TransitionStats:
    """The step with its figures. `heads`, `weighted`: users who went, users who could, users who went from anything, base rate."""

    def sample(went: NDArray[np.float64], rate: ArrayLike) -> NDArray[np.float64]:
        """How many users the base rate was taken from."""
        rates = np.broadcast_to(np.asarray(rate, np.float64), went.shape)
        return np.divide(went, rates, out=np.zeros(went.shape), where=rates > 0)

    users, of, went, base = heads
    table = (users, of, went, sample(went.astype(np.float64), base))
    by_weight = (*weighted[:3], sample(weighted[2], weighted[3]))
    low, high = statistics.wilson(users, of)
    lift_low, lift_high = statistics.lift_interval(*table)
    return TransitionStats(
        kind=what,
        codes=things,
        users=users,
        totals=of,
        cohort_users=had,
        store_users=holders,
        baseline_users=went,
        base_rate=np.broadcast_to(np.asarray(base, np.float64), users.shape),
        median_gap=gap,
        share=users / np.maximum(of, 1),
        share_low=low,
        share_high=high,
        lift=statistics.lift(*table),
        lift_low=lift_low,
        lift_high=lift_high,
        llr=statistics.log_likelihood_ratio(*by_weight),
        p_value=statistics.poisson_tail(*by_weight),
    )


def _other_categories(population: Population, cohort: Cohort, depth: int) -> NDArray[np.int64]:
    """The nodes at a depth that are not what the cohort itself is made of."""
    tree = population.catalogue.tree
    code = tree.at(depth)
    wanted = np.zeros(len(tree), dtype=bool)
    wanted[code[code >= 0]] = True
    anchored = code[population.events.row[cohort.anchors]]
    count = np.bincount(anchored[anchored >= 0], minlength=len(tree))
    wanted[count >= max(1, OWN_CATEGORY_SHARE * len(anchored))] = False
    return np.flatnonzero(wanted)


def _count_users(code: NDArray[np.int32], things: NDArray[np.int64], done: NearbyEvents, weight: NDArray[np.int64]) -> _TransitionCounts:
    """Users by thing; `code` says which thing an item row is, and only `things` are counted."""
    place = np.full(int(max(code.max(initial=-1), things.max(initial=-1))) + 2, -1, dtype=np.int64)  # one more: code -1 reads the last
    place[things] = np.arange(len(things))
    thing = place[code[done.row]]
    keep = thing >= 0
    thing, user, gap = thing[keep], done.user[keep], done.gap[keep]
    bits = int(max(len(weight) - 1, 1)).bit_length()
    key = (thing << bits) | user  # int64, as `thing` is
    longest = int(gap.max(initial=0))
    middle = np.full(len(things), np.nan)
    if not longest:
        key = distinct(key)
        thing, user = key >> bits, key & ((1 << bits) - 1)
        users = np.bincount(thing, minlength=len(things))
        middle[users > 0] = 0.0
    else:
        # One sort finds the distinct (thing, user) and the shortest gap of each; a gap is kept to a sixteen-millionth of the longest.
        scale = ((1 << _GAP_BITS) - 1) / longest
        full = np.sort((key << _GAP_BITS) | (gap * scale).astype(np.int64))
        first = np.concatenate([[True], full[1:] >> _GAP_BITS != full[:-1] >> _GAP_BITS])
        full = full[first]
        thing, user, shortest = full >> (_GAP_BITS + bits), (full >> _GAP_BITS) & ((1 << bits) - 1), full & ((1 << _GAP_BITS) - 1)
        users = np.bincount(thing, minlength=len(things))
        ranked = np.sort((thing << _GAP_BITS) | shortest) & ((1 << _GAP_BITS) - 1)
        starts, some = np.cumsum(users) - users, users > 0
        middle[some] = (ranked[starts[some] + (users[some] - 1) // 2] + ranked[starts[some] + users[some] // 2]) / 2 / scale
    return _TransitionCounts(users, np.bincount(thing, weights=weight[user], minlength=len(things)).astype(np.int64), middle)
