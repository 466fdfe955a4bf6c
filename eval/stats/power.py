"""Power analysis of pairwise comparisons: minimum detectable effect, required sample size, and conclusions in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .bootstrap import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

POWER, LEVEL = 0.8, 0.05
"""Default power and significance level."""
MIN_BOOTSTRAP_PAIRS = 20
"""Pairs below which an exact test replaces the bootstrap, whose intervals are too narrow for so few."""


def standard_error(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> float:
    """Return the cluster-robust standard error of the mean; NaN for fewer than two users.

    Args:
        values: (cases,) values; NaN values are left out.
        clusters: (cases,) user of each case.

    Source: Liang and Zeger, 1986, for a mean, with the usual correction for few clusters.
    """
    defined = ~np.isnan(values)
    values, (users, user) = values[defined], np.unique(clusters[defined], return_inverse=True)
    if len(users) < 2:
        return math.nan
    sums = np.bincount(user, weights=values - values.mean())
    return float(np.sqrt(len(users) / (len(users) - 1) * (sums**2).sum()) / len(values))


def minimum_detectable_effect(
    values: NDArray[np.float64], clusters: NDArray[np.int64], *, power: float = POWER, level: float = LEVEL
) -> float:
    """Return the smallest true difference of a mean from its reference that such a sample would detect with the given power.

    It has the unit of the values: for outcomes of pairs, the distance of the win rate from one half. It depends on the variance within and
    between users of this sample: 0, and not informative, if all values are equal, and NaN for fewer than two users.

    Args:
        values: (cases,) values; NaN values are left out.
        clusters: (cases,) user of each case.
        power: Probability of detecting the difference.
        level: Significance level of the two-sided test.

    Source: Bloom, 1995 (minimum detectable effects), with t quantiles of users - 1 degrees of freedom.
    """
    from scipy import stats

    users = len(np.unique(clusters[~np.isnan(values)]))
    if users < 2:
        return math.nan
    quantiles = float(stats.t.ppf(1 - level / 2, users - 1)) + float(stats.t.ppf(power, users - 1))
    return quantiles * standard_error(values, clusters)


def pairs_needed(values: NDArray[np.float64], clusters: NDArray[np.int64], difference: float) -> int | None:
    """Return the approximate number of such pairs, with the same pairs per user, that detects a difference; None if undefined."""
    smallest, pairs = minimum_detectable_effect(values, clusters), int((~np.isnan(values)).sum())
    return math.ceil(pairs * (smallest / difference) ** 2) if smallest > 0 else None


def decisive_wins(pairs: int, *, level: float = LEVEL) -> int | None:
    """Return the smallest number of wins out of `pairs` decided pairs that is significant; None if not even all are.

    Two-sided exact sign test. Source: Dixon and Mood, 1946.
    """
    from scipy import stats

    significant = [wins for wins in range(pairs // 2 + 1, pairs + 1) if 2 * stats.binom.sf(wins - 1, pairs, 0.5) <= level]
    return significant[0] if significant else None


def conclusions(values: NDArray[np.float64], clusters: NDArray[np.int64], win: Interval, left: str, right: str) -> list[str]:
    """Return sentences on what can and cannot be concluded from the outcomes of pairs.

    Args:
        values: (pairs,) outcomes of `win_rates.pair_outcomes`.
        clusters: (pairs,) user of each pair.
        win: Win rate of the left system.
        left: Name of the left system.
        right: Name of the right system.
    """
    scored = values[~np.isnan(values)]
    users = len(np.unique(clusters[~np.isnan(values)]))
    if not len(scored):
        return ["No pair could be scored: nothing can be concluded."]
    if len(scored) < MIN_BOOTSTRAP_PAIRS:
        return _small_sample_conclusions(scored, users, left, right)
    better, other = (left, right) if win.value > 0.5 else (right, left)
    share = max(win.value, 1 - win.value)
    if win.low > 0.5 or win.high < 0.5:
        sentences = [f"{better} is preferred to {other}: it wins {share:.0%} of the pairs, and the interval is above one half."]
    else:
        sentences = [f"Neither is shown to be better: {better} wins {share:.0%} of the pairs, and the interval holds one half."]
    smallest = minimum_detectable_effect(values, clusters)
    if smallest > 0:
        reach = f"{0.5 + smallest:.0%} or more" if smallest < 0.5 else "none at all"
        sentences.append(f"{len(scored)} pairs of {users} users would detect a true win rate of {reach} four times in five.")
    return sentences


def _pairs_for_difference(difference: float) -> int:
    """Number of decided pairs, one per user, that detects a win rate with this distance from one half."""
    from scipy import stats

    quantiles = float(stats.norm.ppf(1 - LEVEL / 2)) + float(stats.norm.ppf(POWER))
    return math.ceil((quantiles * 0.5 / difference) ** 2)


def _small_sample_conclusions(values: NDArray[np.float64], users: int, left: str, right: str) -> list[str]:
    """Sentences for few pairs, from an exact test of the decided ones."""
    wins, losses = int((values > 0.5).sum()), int((values < 0.5).sum())
    decided = wins + losses
    better, other = (left, right) if wins >= losses else (right, left)
    sentences = [
        f"There are only {len(values)} pairs of {users} users, fewer than {MIN_BOOTSTRAP_PAIRS}: what can be said is which won more of "
        f"these very pairs ({left} {wins}, {right} {losses}, tied {len(values) - decided}), and each of them can be read.",
    ]
    required = decisive_wins(decided)
    if required is None:
        sentences.append(
            f"That one is better than the other cannot be concluded from {decided} decided pairs, not even if all had gone one way: "
            "at least 6 are needed."
        )
    elif users < len(values):
        sentences.append("Pairs of one user are not independent, so no exact test applies: that one is better cannot be concluded.")
    elif max(wins, losses) >= required:
        sentences.append(
            f"That {better} is better than {other} on pairs like these is beyond chance ({max(wins, losses)} of {decided} decided pairs; "
            f"{required} would do); by how much cannot be concluded."
        )
    else:
        sentences.append(
            f"That {better} is better cannot be concluded: it won {max(wins, losses)} of {decided} decided pairs, and {required} would be "
            "needed."
        )
    sentences.append(
        f"By how much one is better, or for whom, cannot be concluded: a true win rate of 60 % is detected by about "
        f"{_pairs_for_difference(0.1)} pairs of as many users."
    )
    return sentences
