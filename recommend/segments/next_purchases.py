"""Transition statistics of a cohort: how many of its users buy from each category, or each item, next, compared with the base rate.

Statistics only: which of them may be shown is decided in `disclosure_control`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...retrieval.associations import statistics
from ...retrieval.associations.user_weights import UNIT
from ...retrieval.items.interactions import distinct
from .cohorts import Cohort, NearbyEvents, Population

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

OWN_CATEGORY_SHARE = 0.1
"""Minimum share of a cohort's anchors in a category that makes it the cohort's own, which is never a need."""
_GAP_BITS = 24


@dataclass(frozen=True)
class TransitionStats:
    """Counts and statistics of the transitions between a cohort and categories or items; all arrays are (codes,).

    Attributes:
        kind: `after` for the cohort's next categories, `before` for its earlier ones, `item` for its next items.
        codes: Item rows, or nodes of the category tree.
        users: Users who made the transition.
        totals: Users who could have made it.
        cohort_users: Users of the cohort with any event in the category or of the item, at any time.
        store_users: Users of the store with any event there.
        baseline_users: Users of the whole population who made the transition from, or to, anything.
        base_rate: Share of users who make it from, or to, anything, 0 to 1.
        median_gap: Median over users of the shortest time between the two, in the unit of the events' time; nan without users.
        share: users / totals.
        share_low: Lower end of its 95 % interval.
        share_high: Upper end of its 95 % interval.
        lift: share / base_rate.
        lift_low: Lower end of its 95 % interval.
        lift_high: Upper end of its 95 % interval.
        llr: Log-likelihood ratio, with weighted users.
        p_value: Probability of so many users by chance, with weighted users.
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


class _Counts(NamedTuple):
    """Users of some transitions, weighted or not; arrays are (codes,). See `TransitionStats`."""

    users: NDArray[Any]
    totals: NDArray[Any]
    baseline_users: NDArray[Any]
    base_rate: ArrayLike


@dataclass(frozen=True, slots=True)
class _UserCounts:
    """Distinct users, their weight in `UNIT`, and the median over users of the shortest gap, (codes,) each."""

    users: NDArray[np.int64]
    weight: NDArray[np.int64]
    median_gap: NDArray[np.float64]


def next_categories(population: Population, cohort: Cohort, following: NearbyEvents, depth: int) -> TransitionStats:
    """Return the transitions from a cohort to every category of a depth but its own.

    Args:
        following: Events after the cohort's anchors (see `Population.events_after`).
    """
    code_of_row, codes = population.catalogue.tree.at(depth), _other_categories(population, cohort, depth)
    cohort_users = population.category_users(cohort, depth)[codes]
    return _forward("after", population, cohort, following, code_of_row, codes, depth, cohort_users)


def next_items(
    population: Population, cohort: Cohort, following: NearbyEvents, item_mask: NDArray[np.bool_], *, min_users: int = 1
) -> TransitionStats:
    """Return the transitions from a cohort to items with enough events; their `cohort_users` are only those who made the transition.

    Args:
        following: Events after the cohort's anchors (see `Population.events_after`).
        item_mask: (items,) bool, items to count.
        min_users: Minimum number of events of an item.
    """
    event_counts = np.bincount(following.row, minlength=len(item_mask))
    codes = np.flatnonzero((event_counts >= max(min_users, 1)) & item_mask)
    return _forward("item", population, cohort, following, np.arange(len(item_mask), dtype=np.int32), codes, 0)


def source_categories(population: Population, cohort: Cohort, depth: int) -> TransitionStats:
    """Return the transitions to a cohort from every category of a depth but its own."""
    codes, code_of_row = _other_categories(population, cohort, depth), population.catalogue.tree.at(depth)
    margins, weight = population.marginal_counts(depth), population.weights
    preceding = population.events_before(cohort)
    counts = _count_users(code_of_row, codes, preceding, weight)
    users, user_weight = margins.users[0, codes], margins.users[1, codes]
    # Base rate: transitions to the cohort from any of these categories, per user of any of them.
    base_rate, weighted_base_rate = counts.users.sum() / max(users.sum(), 1), counts.weight.sum() / max(user_weight.sum(), 1)
    reached = distinct(preceding.user)
    return _statistics(
        "before",
        codes,
        _Counts(counts.users, users, np.full(len(codes), len(reached)), base_rate),
        _Counts(counts.weight / UNIT, user_weight / UNIT, np.full(len(codes), weight[reached].sum() / UNIT), weighted_base_rate),
        cohort_users=population.category_users(cohort, depth)[codes],
        store_users=np.full(len(codes), len(cohort)),
        median_gap=counts.median_gap,
    )


def _forward(
    kind: str,
    population: Population,
    cohort: Cohort,
    following: NearbyEvents,
    code_of_row: NDArray[np.int32],
    codes: NDArray[np.int64],
    depth: int,
    cohort_users: NDArray[np.int64] | None = None,
) -> TransitionStats:
    margins, weight = population.marginal_counts(depth), population.weights
    counts = _count_users(code_of_row, codes, following, weight)
    totals, weighted_totals = np.full(len(codes), len(cohort)), np.full(len(codes), weight[cohort.users].sum() / UNIT)
    return _statistics(
        kind,
        codes,
        _Counts(counts.users, totals, margins.followers[0, codes], margins.base_rate[0, codes]),
        _Counts(counts.weight / UNIT, weighted_totals, margins.followers[1, codes] / UNIT, margins.base_rate[1, codes]),
        cohort_users=counts.users if cohort_users is None else cohort_users,
        store_users=margins.users[0, codes],
        median_gap=counts.median_gap,
    )


def _statistics(
    kind: str,
    codes: NDArray[np.int64],
    counts: _Counts,
    weighted: _Counts,
    *,
    cohort_users: NDArray[np.int64],
    store_users: NDArray[np.int64],
    median_gap: NDArray[np.float64],
) -> TransitionStats:

    def sample_size(baseline_users: NDArray[np.float64], base_rate: ArrayLike) -> NDArray[np.float64]:
        """Return the number of users that a base rate is estimated from."""
        rates = np.broadcast_to(np.asarray(base_rate, np.float64), baseline_users.shape)
        return np.divide(baseline_users, rates, out=np.zeros(baseline_users.shape), where=rates > 0)

    users, totals, baseline_users, base_rate = counts
    table = (users, totals, baseline_users, sample_size(baseline_users.astype(np.float64), base_rate))
    weighted_table = (*weighted[:3], sample_size(weighted.baseline_users, weighted.base_rate))
    share_low, share_high = statistics.wilson(users, totals)
    lift_low, lift_high = statistics.lift_interval(*table)
    return TransitionStats(
        kind=kind,
        codes=codes,
        users=users,
        totals=totals,
        cohort_users=cohort_users,
        store_users=store_users,
        baseline_users=baseline_users,
        base_rate=np.broadcast_to(np.asarray(base_rate, np.float64), users.shape),
        median_gap=median_gap,
        share=users / np.maximum(totals, 1),
        share_low=share_low,
        share_high=share_high,
        lift=statistics.lift(*table),
        lift_low=lift_low,
        lift_high=lift_high,
        llr=statistics.log_likelihood_ratio(*weighted_table),
        p_value=statistics.poisson_tail(*weighted_table),
    )


def _other_categories(population: Population, cohort: Cohort, depth: int) -> NDArray[np.int64]:
    """Return the nodes of a depth that are not the cohort's own categories."""
    tree = population.catalogue.tree
    code_of_row = tree.at(depth)
    counted = np.zeros(len(tree), dtype=bool)
    counted[code_of_row[code_of_row >= 0]] = True
    anchor_codes = code_of_row[population.events.row[cohort.anchors]]
    anchor_counts = np.bincount(anchor_codes[anchor_codes >= 0], minlength=len(tree))
    counted[anchor_counts >= max(1, OWN_CATEGORY_SHARE * len(anchor_codes))] = False
    return np.flatnonzero(counted)


def _count_users(code_of_row: NDArray[np.int32], codes: NDArray[np.int64], events: NearbyEvents, weight: NDArray[np.int64]) -> _UserCounts:
    """Count the users with an event of each of `codes`; `code_of_row` is the code of every item row, -1 for none."""
    index = np.full(int(max(code_of_row.max(initial=-1), codes.max(initial=-1))) + 2, -1, dtype=np.int64)  # code -1 reads the last
    index[codes] = np.arange(len(codes))
    code = index[code_of_row[events.row]]
    keep = code >= 0
    code, user, gap = code[keep], events.user[keep], events.gap[keep]
    bits = int(max(len(weight) - 1, 1)).bit_length()
    key = (code << bits) | user  # int64, as `code` is
    longest = int(gap.max(initial=0))
    median_gap = np.full(len(codes), np.nan)
    if not longest:
        key = distinct(key)
        code, user = key >> bits, key & ((1 << bits) - 1)
        users = np.bincount(code, minlength=len(codes))
        median_gap[users > 0] = 0.0
    else:
        # One sort finds the distinct (code, user) pairs and the shortest gap of each, in units of the longest gap / 2**24.
        scale = ((1 << _GAP_BITS) - 1) / longest
        full = np.sort((key << _GAP_BITS) | (gap * scale).astype(np.int64))
        first = np.concatenate([[True], full[1:] >> _GAP_BITS != full[:-1] >> _GAP_BITS])
        full = full[first]
        code, user, shortest = full >> (_GAP_BITS + bits), (full >> _GAP_BITS) & ((1 << bits) - 1), full & ((1 << _GAP_BITS) - 1)
        users = np.bincount(code, minlength=len(codes))
        gaps = np.sort((code << _GAP_BITS) | shortest) & ((1 << _GAP_BITS) - 1)  # ascending within each code
        starts, some = np.cumsum(users) - users, users > 0
        median_gap[some] = (gaps[starts[some] + (users[some] - 1) // 2] + gaps[starts[some] + users[some] // 2]) / 2 / scale
    return _UserCounts(users, np.bincount(code, weights=weight[user], minlength=len(codes)).astype(np.int64), median_gap)
