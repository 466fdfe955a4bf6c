"""Beyond-accuracy metrics: coverage, popularity, novelty, diversity, calibration and gaps between user groups.

All functions take the top k as (cases, k) item rows, -1 where nothing is ranked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..stats.bootstrap import Interval, bootstrap_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.ragged import RaggedArray
    from ..splits.cases import Cases


def coverage(top: NDArray[np.int32], rankable: NDArray[np.bool_]) -> float:
    """Share of the rankable items that are recommended to anyone, 0 to 1."""
    recommended = np.unique(top[top >= 0])
    return float(rankable[recommended].sum() / max(rankable.sum(), 1))


def gini(top: NDArray[np.int32], rankable: NDArray[np.bool_]) -> float:
    """Gini coefficient of how often each rankable item is recommended: 0 if all equally often, towards 1 if always the same item."""
    frequencies = np.sort(np.bincount(top[top >= 0], minlength=len(rankable))[rankable]).astype(np.float64)
    if not frequencies.sum():
        return math.nan
    rank = np.arange(1, len(frequencies) + 1)
    return float((2 * rank - len(frequencies) - 1) @ frequencies / (len(frequencies) * frequencies.sum()))


def average_popularity(top: NDArray[np.int32], user_counts: NDArray[np.int64]) -> float:
    """Mean number of training users of the recommended items."""
    return float(user_counts[top[top >= 0]].mean()) if (top >= 0).any() else math.nan


def popularity_lift(top: NDArray[np.int32], user_counts: NDArray[np.int64], histories: RaggedArray) -> float:
    """Relative difference between the popularity of the recommended items and of the users' histories; 0 means equal.

    The popularity of the histories is the mean over users, so each user counts once.

    Source: Abdollahpouri et al., RMSE workshop at RecSys 2019.
    """
    sums = np.bincount(histories.row_index, weights=user_counts[histories.rows], minlength=len(histories))
    nonempty = histories.lengths > 0
    history_popularity = float((sums[nonempty] / histories.lengths[nonempty]).mean()) if len(histories.rows) else 0.0
    return float((average_popularity(top, user_counts) - history_popularity) / history_popularity) if history_popularity else math.nan


def novelty(top: NDArray[np.int32], user_counts: NDArray[np.int64], total_users: int) -> float:
    """Mean self-information of the recommended items, -log2 of their share of the training users, in bits.

    An item without users counts as having half a user.

    Source: Zhou et al., PNAS 2010.
    """
    recommended = top[top >= 0]
    shares = np.maximum(user_counts[recommended], 0.5) / max(total_users, 1)
    return float(-np.log2(shares).mean()) if len(recommended) else math.nan


def diversity(top: NDArray[np.int32], vectors: NDArray[np.float32]) -> float:
    """Mean intra-list diversity over the lists of two or more: 1 minus the mean cosine of all pairs of a list, 0 to 2.

    Args:
        top: (cases, k) item rows, -1 where nothing is ranked.
        vectors: (items, dimensions) text embeddings of length 1.

    Source: Ziegler et al., WWW 2005.
    """
    from scipy import sparse

    ranked = top >= 0
    count = ranked.sum(axis=1)
    membership = sparse.csr_array(
        (np.ones(int(count.sum()), np.float32), top[ranked], np.concatenate([[0], np.cumsum(count)])), (len(top), len(vectors))
    )
    sums = membership @ vectors  # (cases, dimensions)
    # Sum over all pairs: the squared sum without each vector's product with itself (1, or 0 for an item without text).
    self_products = np.linalg.norm(vectors, axis=1)[np.maximum(top, 0)] ** 2 * ranked
    pairs = count * (count - 1)
    mean_cosines = ((sums**2).sum(axis=1) - self_products.sum(axis=1))[pairs > 0] / pairs[pairs > 0]
    return float(1 - mean_cosines.mean()) if len(mean_cosines) else math.nan


def cross_category_rate(top: NDArray[np.int32], cases: Cases, category: NDArray[np.int32]) -> float:
    """Share of the recommended items in a category that the history does not have, 0 to 1."""
    in_history = np.zeros((len(cases), int(category.max(initial=0)) + 1), dtype=bool)
    in_history[cases.histories.row_index, category[cases.histories.rows]] = True
    case, rank = np.nonzero(top >= 0)
    return float(1 - in_history[case, category[top[case, rank]]].mean()) if len(case) else math.nan


def calibration(top: NDArray[np.int32], targets: RaggedArray, category: NDArray[np.int32]) -> float:
    """Jensen-Shannon divergence between the category shares of the recommended items and of the targets, in bits: 0 (equal) to 1.

    Every case has the same weight on both sides, whatever the length of its list and the number of its targets. Adapted from Steck, RecSys
    2018, with the targets in place of the history: in cross-category recommendation the history's shares should not come back.
    """
    counted = (top >= 0) & (targets.lengths > 0)[:, None]
    case, rank = np.nonzero(counted)
    width = int(category.max(initial=0)) + 1
    recommended = np.bincount(category[top[case, rank]], weights=1 / counted.sum(axis=1)[case], minlength=width)
    has_list = counted.sum(axis=1)[targets.row_index] > 0
    wanted = np.bincount(category[targets.rows[has_list]], weights=1 / targets.lengths[targets.row_index[has_list]], minlength=width)
    if not recommended.sum() or not wanted.sum():
        return math.nan
    p, q = recommended / recommended.sum(), wanted / wanted.sum()
    middle = (p + q) / 2
    return float(sum((part[part > 0] * np.log2(part[part > 0] / middle[part > 0])).sum() / 2 for part in (p, q)))


def group_gap(values: NDArray[np.float64], groups: Sequence[str | None], clusters: NDArray[np.int64]) -> dict[str, Interval]:
    """Return the mean of each user group with its interval, and under `gap` the best group's mean minus the worst's.

    Users without a group are left out. The interval of the gap treats the two groups as independent, since they share no user: its
    half-width is the root of the summed squares of both half-widths. Best and worst are selected from the data, so with many small groups a
    gap is partly due to chance.

    Args:
        values: (cases,) metric values.
        groups: (cases,) group names.
        clusters: (cases,) user numbers.
    """
    intervals = {}
    for name in sorted({group for group in groups if group is not None}):
        in_group = np.asarray([group == name for group in groups])
        intervals[name] = bootstrap_mean(values[in_group], clusters[in_group])
    defined = [interval for interval in intervals.values() if not math.isnan(interval.low)]
    if len(defined) > 1:
        best, worst = max(defined, key=lambda i: i.value), min(defined, key=lambda i: i.value)
        below = math.hypot(best.value - best.low, worst.high - worst.value)
        above = math.hypot(best.high - best.value, worst.value - worst.low)
        gap = best.value - worst.value
        intervals["gap"] = Interval(gap, gap - below, gap + above)
    return intervals
