"""What accuracy does not say of rankings: how much of the catalogue is shown, how popular, how new, how varied, to whom.

All of it over the first k of (cases, depth) item rows, -1 where nothing is ranked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .intervals import Interval, bootstrap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .cases import Cases
    from .runs import Runs


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
    """How much more popular what is shown is than what the shoppers had, relative to the latter; 0 is alike.

    Source: Abdollahpouri et al., RecSys 2019.
    """
    had = users[histories.rows].mean() if len(histories.rows) else 0
    return float((average_popularity(top, users) - had) / had) if had else math.nan


def novelty(top: NDArray[np.int32], users: NDArray[np.int64], everybody: int) -> float:
    """Mean of -log2 of the share of training users who have what is shown, in bits; an item nobody had counts as one of half a user.

    Source: Zhou et al., PNAS 2010.
    """
    shown = top[top >= 0]
    return float(-np.log2(np.maximum(users[shown], 0.5) / max(everybody, 1)).mean()) if len(shown) else math.nan


def diversity(top: NDArray[np.int32], vectors: NDArray[np.float32]) -> float:
    """1 minus the mean cosine of all pairs within a list, over the lists of two or more: 0 to 2.

    Source: Ziegler et al., WWW 2005.
    """
    there = top >= 0
    count = there.sum(axis=1)
    summed = np.stack([vectors[row[kept]].sum(axis=0) for row, kept in zip(top, there, strict=True)])
    # The sum over all pairs is half of (the length of the summed vectors minus the vectors' own).
    own = (np.linalg.norm(vectors, axis=1) ** 2)[np.maximum(top, 0)] * there
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

    After Steck, RecSys 2018; against the targets, because across categories nothing of the history's shares should come back.
    """
    shown = np.bincount(category[top[top >= 0]], minlength=int(category.max(initial=0)) + 1)
    wanted = np.bincount(category[targets.rows], minlength=len(shown))
    if not shown.sum() or not wanted.sum():
        return math.nan
    p, q = shown / shown.sum(), wanted / wanted.sum()
    middle = (p + q) / 2
    return float(sum((part[part > 0] * np.log2(part[part > 0] / middle[part > 0])).sum() / 2 for part in (p, q)))


def group_gap(values: NDArray[np.float64], groups: Sequence[str | None], clusters: NDArray[np.int64]) -> dict[str, Interval]:
    """The mean of each group of users with its interval, and as `gap` the best group's minus the worst's; those of no group are left out.

    The gap's interval is of independent groups: the root of the summed squares of both half-widths.
    """
    found = {}
    for name in sorted({group for group in groups if group is not None}):
        inside = np.asarray([group == name for group in groups])
        found[name] = bootstrap(values[inside], clusters[inside])
    told = [interval for interval in found.values() if not math.isnan(interval.low)]
    if len(told) > 1:
        best, worst = max(told, key=lambda i: i.value), min(told, key=lambda i: i.value)
        below = math.hypot(best.value - best.low, worst.high - worst.value)
        above = math.hypot(best.high - best.value, worst.value - worst.low)
        gap = best.value - worst.value
        found["gap"] = Interval(gap, gap - below, gap + above)
    return found
