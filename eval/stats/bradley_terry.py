"""How strong each of several systems is, from pairs of them: the model of Bradley and Terry, with ties as half a win each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .bootstrap import Interval, bootstrap_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MAX_NEWTON_STEPS = 40
"""Of Newton's method at most."""


@dataclass(frozen=True, slots=True)
class SystemStrength:
    """One system.

    Attributes:
        strength: log odds against a system of mean strength, 0 for the mean of all; NaN where no finite one exists, because some systems
            never lost to, or never met, the others. wins: of its pairs, a tie as half. pairs: that it stood in.
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
    """The strength of each system, the strongest first; those without a finite one keep their order, last.

    Args:
        left, right: (pairs,) numbers of the two systems. values: (pairs,) outcome for the left one, NaN unscored.
        clusters: (pairs,) the user of each. systems: the names.
    Source: Bradley and Terry, 1952; when a finite solution exists: Ford, 1957.
    """
    told = ~np.isnan(values)
    left, right, values, clusters = left[told], right[told], values[told], clusters[told]
    count = len(systems)
    parts = np.zeros((len(values), count * count))  # what each pair adds to the wins of one system over another
    rows = np.arange(len(values))
    parts[rows, left * count + right] += values
    parts[rows, right * count + left] += 1 - values
    wins = parts.sum(axis=0).reshape(count, count)
    found = bootstrap_statistics(parts, clusters, lambda sums: _strengths(sums.reshape(-1, count, count)), seed=seed)
    met = wins + wins.T
    listed = [
        SystemStrength(name, one, float(own), int(all_of))
        for name, one, own, all_of in zip(systems, found, wins.sum(axis=1), met.sum(axis=1), strict=True)
    ]
    return sorted(listed, key=lambda one: -np.nan_to_num(one.strength.value, nan=-np.inf))


def _strengths(wins: Floats) -> Floats:
    """(n, systems) log strengths with mean 0 from wins (n, systems, systems); NaN rows where there is no finite maximum."""
    n, count, _ = wins.shape
    met = wins + wins.transpose(0, 2, 1)
    found = np.zeros((n, count))
    finite = _connected(wins)
    wins, met = wins[finite], met[finite]
    own = np.zeros((len(wins), count))
    for _ in range(MAX_NEWTON_STEPS):
        chance = 1 / (1 + np.exp(own[:, None, :] - own[:, :, None]))  # of the row's system to win
        gradient = (wins - met * chance).sum(axis=2)
        weight = met * chance * (1 - chance)
        curve = -weight
        curve[:, range(count), range(count)] += weight.sum(axis=2)
        # Strengths are known up to a constant: the ones matrix fixes their sum and leaves the differences as they are.
        step = np.clip(np.linalg.solve(curve + 1, gradient[:, :, None])[:, :, 0], -3, 3)
        own += step
        if not len(step) or np.abs(step).max() < 1e-10:
            break
    found[finite] = own - own.mean(axis=1, keepdims=True)
    found[~finite] = np.nan
    return found


def _connected(wins: Floats) -> NDArray[np.bool_]:
    """(n,) whether every system reaches every other by a chain of wins (ties are wins of both)."""
    count = wins.shape[1]
    reach: NDArray[np.bool_] = np.logical_or(wins > 0, np.eye(count, dtype=bool))
    for _ in range(max(1, int(np.ceil(np.log2(max(count, 2)))))):
        reach = np.asarray((reach[:, :, :, None] & reach[:, None, :, :]).any(axis=2))
    return np.asarray(reach.all(axis=(1, 2)))
