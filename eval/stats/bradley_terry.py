"""Bradley-Terry model: the strength of several systems from pairwise comparisons, with a tie as half a win for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .bootstrap import Interval, bootstrap_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MAX_NEWTON_STEPS = 40
"""Largest number of steps of Newton's method."""


@dataclass(frozen=True, slots=True)
class SystemStrength:
    """Strength of one system.

    Attributes:
        system: Name of the system.
        strength: Log odds against a system of mean strength (0). NaN where no finite estimate exists, because some systems never lost to,
            or were never compared with, the others.
        wins: Number of pairs won, with a tie as half.
        pairs: Number of pairs with the system.
    """

    system: str
    strength: Interval
    wins: float
    pairs: int


def bradley_terry(
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    values: Floats,
    clusters: NDArray[np.int64],
    systems: list[str],
    *,
    seed: int = 0,
) -> list[SystemStrength]:
    """Return the strength of each system, strongest first; systems without a finite estimate come last, in their order.

    Args:
        left: (pairs,) index of the left system.
        right: (pairs,) index of the right system.
        values: (pairs,) outcome for the left system: 1 win, 0.5 tie, 0 loss, NaN unscored.
        clusters: (pairs,) user of each pair.
        systems: Names of the systems.
        seed: Random seed of the bootstrap.

    Source: Bradley and Terry, 1952; existence of a finite solution: Ford, 1957.
    """
    scored = ~np.isnan(values)
    left, right, values, clusters = left[scored], right[scored], values[scored], clusters[scored]
    count = len(systems)
    parts = np.zeros((len(values), count * count))  # contribution of each pair to the wins of one system over another
    pairs = np.arange(len(values))
    parts[pairs, left * count + right] += values
    parts[pairs, right * count + left] += 1 - values
    wins = parts.sum(axis=0).reshape(count, count)
    intervals = bootstrap_statistics(parts, clusters, lambda sums: _strengths(sums.reshape(-1, count, count)), seed=seed)
    comparisons = wins + wins.T
    strengths = [
        SystemStrength(system, interval, float(won), int(compared))
        for system, interval, won, compared in zip(systems, intervals, wins.sum(axis=1), comparisons.sum(axis=1), strict=True)
    ]
    return sorted(strengths, key=lambda system: -np.nan_to_num(system.strength.value, nan=-np.inf))


def _strengths(wins: Floats) -> Floats:
    """(n, systems) log strengths with mean 0 from (n, systems, systems) wins; rows of NaN where no finite maximum exists."""
    n, count, _ = wins.shape
    comparisons = wins + wins.transpose(0, 2, 1)
    finite = _connected(wins)
    wins, comparisons = wins[finite], comparisons[finite]
    strengths = np.zeros((len(wins), count))
    for _ in range(MAX_NEWTON_STEPS):
        probability = 1 / (1 + np.exp(strengths[:, None, :] - strengths[:, :, None]))  # that the system of the row wins
        gradient = (wins - comparisons * probability).sum(axis=2)
        weight = comparisons * probability * (1 - probability)
        information = -weight
        information[:, range(count), range(count)] += weight.sum(axis=2)
        # Strengths are identified up to a constant: adding 1 everywhere fixes their sum and leaves the differences unchanged.
        step = np.clip(np.linalg.solve(information + 1, gradient[:, :, None])[:, :, 0], -3, 3)
        strengths += step
        if not len(step) or np.abs(step).max() < 1e-10:
            break
    result = np.full((n, count), np.nan)
    result[finite] = strengths - strengths.mean(axis=1, keepdims=True)
    return result


def _connected(wins: Floats) -> NDArray[np.bool_]:
    """(n,) whether every system reaches every other one by a chain of wins; a tie is a win of both."""
    count = wins.shape[1]
    reach: NDArray[np.bool_] = np.logical_or(wins > 0, np.eye(count, dtype=bool))
    for _ in range(max(1, int(np.ceil(np.log2(max(count, 2)))))):
        reach = np.asarray((reach[:, :, :, None] & reach[:, None, :, :]).any(axis=2))
    return np.asarray(reach.all(axis=(1, 2)))
