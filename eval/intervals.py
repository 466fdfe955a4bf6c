"""How sure a mean is, and a difference of two: by resampling whole users, because cases of one user are not independent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 2000
FLIPS = 10_000
BLOCK = 250
"""Resamples that are held at once."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % interval; NaN where it cannot be told. `p`, two-sided, only for a difference."""

    value: float
    low: float
    high: float
    p: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """As JSON holds it: null for what cannot be told."""
        parts = {"value": self.value, "low": self.low, "high": self.high} | ({} if self.p is None else {"p": self.p})
        return {name: None if math.isnan(part) else round(part, 5) for name, part in parts.items()}


def bootstrap(values: NDArray[np.float64], clusters: NDArray[np.int64], *, seed: int = 0, draws: int = DRAWS) -> Interval:
    """The mean of (cases,) values, with the percentile bootstrap of whole users; NaN values are left out.

    Args: clusters: (cases,) the user of each. Source: Efron and Tibshirani, 1993; Davison and Hinkley, 1997, for clusters.
    """
    sums, counts = _by_user(values, clusters)
    if not counts.sum():
        return Interval(math.nan, math.nan, math.nan)
    mean = float(sums.sum() / counts.sum())
    if len(sums) < 2:
        return Interval(mean, math.nan, math.nan)
    random = np.random.default_rng(seed)
    means = np.concatenate(
        [
            (times @ sums) / (times @ counts)
            for start in range(0, draws, BLOCK)
            for times in [random.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=min(BLOCK, draws - start))]
        ]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(mean, float(low), float(high))


def paired(values: NDArray[np.float64], others: NDArray[np.float64], clusters: NDArray[np.int64], *, seed: int = 0) -> Interval:
    """The mean of `values - others` case by case, with its interval, and how often chance alone would make it as large.

    p: share of random flips of whole users' differences that come to as much, by the randomisation test (Fisher, 1935), with one added
    above and below so that it is never 0.
    """
    differences = values - others
    found = bootstrap(differences, clusters, seed=seed)
    sums, _ = _by_user(differences, clusters)
    if len(sums) < 2:
        return Interval(found.value, found.low, found.high, math.nan)
    random = np.random.default_rng(seed)
    observed, reached = abs(sums.sum()) - 1e-12, 0
    for start in range(0, FLIPS, BLOCK):
        signs = random.integers(0, 2, (min(BLOCK, FLIPS - start), len(sums)), dtype=np.int8) * 2.0 - 1
        reached += int((np.abs(signs @ sums) >= observed).sum())
    return Interval(found.value, found.low, found.high, (reached + 1) / (FLIPS + 1))


def _by_user(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    told = ~np.isnan(values)
    _, user = np.unique(clusters[told], return_inverse=True)
    return np.bincount(user, weights=values[told]).astype(np.float64), np.bincount(user).astype(np.float64)
