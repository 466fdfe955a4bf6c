"""What accuracy does not say of rankings: how much of the catalogue is shown, how popular, how new, how varied, to whom.

All of it over the first k of (cases, depth) item rows, -1 where nothing is ranked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..stats.bootstrap import Interval, bootstrap_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.ragged import Runs
    from ..splits.cases import Cases


def coverage(top: NDArray[np.int32], rankable: NDArray[np.bool_]) -> float:
    """Share of the items that may be shown which somebody is shown: 0 to 1."""
    shown = np.unique(top[top >= 0])
    return float(rankable[shown].sum() / max(rankable.sum(), 1))


def gini(top: NDArray[np.int32], rankable: NDArray[np.bool_]) -> float:
    """How unevenly items are shown: 0 when all are shown alike, towards 1 when one is shown to all."""
    shown = np.sort(np.bincount(top[top >= 0], minlength=len(rankable))[rankable]).astype(np.float64)
    if not shown.sum():
        return math.nan
    place = np.arange(1, len(shown) + 1)
    return float((2 * place - len(shown) - 1) @ shown / (len(shown) * shown.sum()))


def average_popularity(top: NDArray[np.int32], users: NDArray[np.int64]) -> float:
    """Mean training users of what is shown."""
    return float(users[top[top >= 0]].mean()) if (top >= 0).any() else math.nan


def popularity_lift(top: NDArray[np.int32], users: NDArray[np.int64], histories: Runs) -> float:
    """How much more popular what is shown is than what the shoppers had, each shopper counting once, relative to the latter; 0 is alike.

    Source: Abdollahpouri et al., RMSE workshop at RecSys 2019.
    """
    summed = np.bincount(histories.owner, weights=users[histories.rows], minlength=len(histories))
    had = float((summed[histories.lengths > 0] / histories.lengths[histories.lengths > 0]).mean()) if len(histories.rows) else 0.0
    return float((average_popularity(top, users) - had) / had) if had else math.nan


def novelty(top: NDArray[np.int32], users: NDArray[np.int64], everybody: int) -> float:
    """Mean of -log2 of the share of training users who have what is shown, in bits; an item nobody had counts as one of half a user.

    Source: Zhou et al., PNAS 2010.
    """
    shown = top[top >= 0]
    return float(-np.log2(np.maximum(users[shown], 0.5) / max(everybody, 1)).mean()) if len(shown) else math.nan


def diversity(top: NDArray[np.int32], vectors: NDArray[np.float32]) -> float:
    """1 minus the mean cosine of all pairs within a list, over the lists of two or more: 0 to 2.

    Args: vectors: (items, dimensions) of length 1.
    Source: Ziegler et al., WWW 2005.
    """
    from scipy import sparse

    there = top >= 0
    count = there.sum(axis=1)
    shown = sparse.csr_array(
        (np.ones(int(count.sum()), np.float32), top[there], np.concatenate([[0], np.cumsum(count)])), (len(top), len(vectors))
    )
    summed = shown @ vectors  # (cases, dimensions)
    # The sum over all pairs is that of everything with everything, without each vector with itself (1, or 0 for what has no text).
    own = np.linalg.norm(vectors, axis=1)[np.maximum(top, 0)] ** 2 * there
    pairs = count * (count - 1)
    likeness = ((summed**2).sum(axis=1) - own.sum(axis=1))[pairs > 0] / pairs[pairs > 0]
    return float(1 - likeness.mean()) if len(likeness) else math.nan


def cross_category_rate(top: NDArray[np.int32], cases: Cases, category: NDArray[np.int32]) -> float:
    """Share of what is shown that is of a category absent from the history: 0 to 1."""
    known = np.zeros((len(cases), int(category.max(initial=0)) + 1), dtype=bool)
    known[cases.histories.owner, category[cases.histories.rows]] = True
    case, place = np.nonzero(top >= 0)
    return float(1 - known[case, category[top[case, place]]].mean()) if len(case) else math.nan


def calibration(top: NDArray[np.int32], targets: Runs, category: NDArray[np.int32]) -> float:
    """How far the category shares of what is shown are from those of the targets: Jensen-Shannon divergence in bits, 0 alike to 1.

    Every case counts once on either side, however long its list and however many its targets. After Steck, RecSys 2018; against the
    targets, because across categories nothing of the history's shares should come back.
    """
    there = (top >= 0) & (targets.lengths > 0)[:, None]
    case, place = np.nonzero(there)
    width = int(category.max(initial=0)) + 1
    shown = np.bincount(category[top[case, place]], weights=1 / there.sum(axis=1)[case], minlength=width)
    told = there.sum(axis=1)[targets.owner] > 0
    wanted = np.bincount(category[targets.rows[told]], weights=1 / targets.lengths[targets.owner[told]], minlength=width)
    if not shown.sum() or not wanted.sum():
        return math.nan
    p, q = shown / shown.sum(), wanted / wanted.sum()
    middle = (p + q) / 2
    return float(sum((part[part > 0] * np.log2(part[part > 0] / middle[part > 0])).sum() / 2 for part in (p, q)))


def group_gap(values: NDArray[np.float64], groups: Sequence[str | None], clusters: NDArray[np.int64]) -> dict[str, Interval]:
    """The mean of each group of users with its interval, and as `gap` the best group's minus the worst's; those of no group are left out.

    The gap's interval takes the two groups, which share no user, as independent: the root of the summed squares of both half-widths. Best
    and worst are chosen after looking, so with many small groups a gap is partly chance.
    """
    found = {}
    for name in sorted({group for group in groups if group is not None}):
        inside = np.asarray([group == name for group in groups])
        found[name] = bootstrap_mean(values[inside], clusters[inside])
    told = [interval for interval in found.values() if not math.isnan(interval.low)]
    if len(told) > 1:
        best, worst = max(told, key=lambda i: i.value), min(told, key=lambda i: i.value)
        below = math.hypot(best.value - best.low, worst.high - worst.value)
        above = math.hypot(best.high - best.value, worst.value - worst.low)
        gap = best.value - worst.value
        found["gap"] = Interval(gap, gap - below, gap + above)
    return found
