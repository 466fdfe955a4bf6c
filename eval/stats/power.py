"""What a sample could show at all: the smallest difference it would detect, and what few pairs can and cannot say, in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .bootstrap import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

POWER, LEVEL = 0.8, 0.05
MIN_BOOTSTRAP_PAIRS = 20
"""Pairs below which a bootstrap of them is not to be trusted: of so few its intervals are too narrow, and an exact test is used."""


def standard_error(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> float:
    """Of the mean of (cases,) values when whole users are drawn; NaN for fewer than two users.

    Source: Liang and Zeger, 1986, for a mean, with the usual correction for few clusters.
    """
    told = ~np.isnan(values)
    values, (names, user) = values[told], np.unique(clusters[told], return_inverse=True)
    if len(names) < 2:
        return math.nan
    sums = np.bincount(user, weights=values - values.mean())
    return float(np.sqrt(len(names) / (len(names) - 1) * (sums**2).sum()) / len(values))


def minimum_detectable_effect(
    values: NDArray[np.float64], clusters: NDArray[np.int64], *, power: float = POWER, level: float = LEVEL
) -> float:
    """The smallest true difference of a mean from what it is held against that such a sample would find with the given power.

    In the unit of the values: for outcomes of pairs, points of the win rate away from one half. NaN for fewer than two users. It depends
    on how values vary within and between users, so it is the sample's own; where all values are alike it is 0 and says nothing.

    Args: level: of the two-sided test.
    Source: Bloom, 1995 (minimum detectable effects), with t quantiles of users less one.
    """
    from scipy import stats

    users = len(np.unique(clusters[~np.isnan(values)]))
    if users < 2:
        return math.nan
    quantiles = float(stats.t.ppf(1 - level / 2, users - 1)) + float(stats.t.ppf(power, users - 1))
    return quantiles * standard_error(values, clusters)


def pairs_needed(values: NDArray[np.float64], clusters: NDArray[np.int64], difference: float) -> int | None:
    """About how many pairs like these, of as many users in proportion, would detect a difference; None where that cannot be told."""
    smallest, pairs = minimum_detectable_effect(values, clusters), int((~np.isnan(values)).sum())
    return math.ceil(pairs * (smallest / difference) ** 2) if smallest > 0 else None


def decisive_wins(pairs: int, *, level: float = LEVEL) -> int | None:
    """How many of so many decided pairs one system must win before chance is ruled out; None where not even all would do.

    Two-sided exact sign test. Source: Dixon and Mood, 1946.
    """
    from scipy import stats

    enough = [wins for wins in range(pairs // 2 + 1, pairs + 1) if 2 * stats.binom.sf(wins - 1, pairs, 0.5) <= level]
    return enough[0] if enough else None


def conclusions(values: NDArray[np.float64], clusters: NDArray[np.int64], win: Interval, left: str, right: str) -> list[str]:
    """What can and what cannot be concluded from outcomes of pairs, for a person.

    Args: values: (pairs,) of `preferences.outcomes`. clusters: (pairs,) the user of each. win: the win rate of `left`.
    """
    told = values[~np.isnan(values)]
    users = len(np.unique(clusters[~np.isnan(values)]))
    if not len(told):
        return ["No pair could be scored: nothing can be concluded."]
    if len(told) < MIN_BOOTSTRAP_PAIRS:
        return _few(told, users, left, right)
    found = []
    better, other = (left, right) if win.value > 0.5 else (right, left)
    share = max(win.value, 1 - win.value)
    if win.low > 0.5 or win.high < 0.5:
        found.append(f"{better} is preferred to {other}: it wins {share:.0%} of the pairs, and the interval is above one half.")
    else:
        found.append(f"Neither is shown to be better: {better} wins {share:.0%} of the pairs, and the interval holds one half.")
    smallest = minimum_detectable_effect(values, clusters)
    if smallest > 0:
        reach = f"{0.5 + smallest:.0%} or more" if smallest < 0.5 else "none at all"
        found.append(f"{len(told)} pairs of {users} users would detect a true win rate of {reach} four times in five.")
    return found


def _wanted(difference: float) -> int:
    """Pairs of as many users, all decided, that would detect a win rate so far from one half."""
    from scipy import stats

    quantiles = float(stats.norm.ppf(1 - LEVEL / 2)) + float(stats.norm.ppf(POWER))
    return math.ceil((quantiles * 0.5 / difference) ** 2)


def _few(told: NDArray[np.float64], users: int, left: str, right: str) -> list[str]:
    """Sentences where pairs are few: the exact test counts the decided ones."""
    wins, losses = int((told > 0.5).sum()), int((told < 0.5).sum())
    decided = wins + losses
    better, other = (left, right) if wins >= losses else (right, left)
    found = [
        f"There are only {len(told)} pairs of {users} users, fewer than {MIN_BOOTSTRAP_PAIRS}: what can be said is which won more of these very pairs "
        f"({left} {wins}, {right} {losses}, tied {len(told) - decided}), and each of them can be read.",
    ]
    wanted = decisive_wins(decided)
    if wanted is None:
        found.append(
            f"That one is better than the other cannot be concluded from {decided} decided pairs, not even if all had gone one way: "
            "at least 6 are needed."
        )
    elif users < len(told):
        found.append("Pairs of one user are not independent, so no exact test applies: that one is better cannot be concluded.")
    elif max(wins, losses) >= wanted:
        found.append(
            f"That {better} is better than {other} on pairs like these is beyond chance ({max(wins, losses)} of {decided} decided pairs; "
            f"{wanted} would do); by how much cannot be concluded."
        )
    else:
        found.append(
            f"That {better} is better cannot be concluded: it won {max(wins, losses)} of {decided} decided pairs, and {wanted} would be "
            "needed."
        )
    found.append(
        f"By how much one is better, or for whom, cannot be concluded: a true win rate of 60 % is detected by about {_wanted(0.1)} pairs "
        "of as many users."
    )
    return found
