"""How sure a mean is, and a difference of two: by resampling whole users, because cases of one user are not independent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 2000
SIGN_FLIPS = 10_000
RESAMPLE_BLOCK = 250
"""Resamples that are held at once."""
MAX_CACHED_WEIGHTS = 30_000_000
"""Largest number of users times resamples that is kept for the next figure of the same users."""


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


def bootstrap_mean(values: NDArray[np.float64], clusters: NDArray[np.int64], *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """The mean of (cases,) values, with the percentile bootstrap of whole users; NaN values are left out.

    Args: clusters: (cases,) the user of each. Source: Efron and Tibshirani, 1993; Davison and Hinkley, 1997, for clusters.
    """
    sums, counts = _by_user(values, clusters)
    if not counts.sum():
        return Interval(math.nan, math.nan, math.nan)
    mean = float(sums.sum() / counts.sum())
    if len(sums) < 2:
        return Interval(mean, math.nan, math.nan)
    parts = np.stack([sums, counts], axis=1).astype(np.float32)  # (users, 2)
    drawn = np.concatenate([times @ parts for times in _resamples(len(sums), resamples, seed)])
    means = drawn[:, 0] / drawn[:, 1]
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(mean, float(low), float(high))


def bootstrap_statistic(
    parts: NDArray[np.float64],
    clusters: NDArray[np.int64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """A statistic of sums (a kappa of a table, a ratio), with the percentile bootstrap of whole users.

    Args:
        parts: (cases, k), what each case adds to the sums. clusters: (cases,) the user of each.
        statistic: from sums (n, k) to (n,), NaN where it cannot be told; such resamples are left out of the interval.
    """
    return bootstrap_statistics(parts, clusters, lambda sums: statistic(sums)[:, None], seed=seed, resamples=resamples)[0]


def bootstrap_statistics(
    parts: NDArray[np.float64],
    clusters: NDArray[np.int64],
    statistics: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Interval]:
    """Several statistics of the same sums, each as `resampled` has it. Args: statistics: from sums (n, k) to (n, statistics)."""
    _, user = np.unique(clusters, return_inverse=True)
    count = int(user.max()) + 1 if len(user) else 0
    sums = np.zeros((count, parts.shape[1]))
    np.add.at(sums, user, parts)
    values = statistics(sums.sum(axis=0)[None])[0]
    if count < 2:
        return [Interval(float(value), math.nan, math.nan) for value in values]
    drawn = np.concatenate(
        [statistics(times.astype(np.float64) @ sums) for times in _resamples(count, resamples, seed)]
    )  # (resamples, statistics)
    return [_interval(float(value), found) for value, found in zip(values, drawn.T, strict=True)]


def bootstrap_weights(clusters: NDArray[np.int64], *, seed: int = 0, resamples: int = RESAMPLES) -> Iterator[NDArray[np.float64]]:
    """How often each case stands in each resample of whole users, (resamples, cases) in blocks, for what is no function of sums."""
    _, user = np.unique(clusters, return_inverse=True)
    for times in _resamples(int(user.max()) + 1 if len(user) else 0, resamples, seed):
        yield times.astype(np.float64)[:, user]


def _interval(value: float, drawn: NDArray[np.float64]) -> Interval:
    drawn = drawn[~np.isnan(drawn)]
    if math.isnan(value) or not len(drawn):
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def paired_difference(values: NDArray[np.float64], others: NDArray[np.float64], clusters: NDArray[np.int64], *, seed: int = 0) -> Interval:
    """The mean of `values - others` case by case, with its interval, and how often chance alone would make it as large.

    p: share of random flips of whole users' differences that come to as much, by the randomisation test (Fisher, 1935), with one added
    above and below so that it is never 0.
    """
    differences = values - others
    found = bootstrap_mean(differences, clusters, seed=seed)
    sums, _ = _by_user(differences, clusters)
    if len(sums) < 2:
        return Interval(found.value, found.low, found.high, math.nan)
    random = np.random.default_rng(seed)
    observed, reached = abs(sums.sum()) - 1e-12, 0
    for start in range(0, SIGN_FLIPS, RESAMPLE_BLOCK):
        signs = random.integers(0, 2, (min(RESAMPLE_BLOCK, SIGN_FLIPS - start), len(sums)), dtype=np.int8) * 2.0 - 1
        reached += int((np.abs(signs @ sums) >= observed).sum())
    return Interval(found.value, found.low, found.high, (reached + 1) / (SIGN_FLIPS + 1))


def _resamples(users: int, resamples: int, seed: int) -> Iterable[NDArray[np.float32]]:
    """How often each user is in each resample, (resamples, users) in blocks; the same for every figure of as many users."""
    return (
        _cached_resamples(users, resamples, seed)
        if users * resamples <= MAX_CACHED_WEIGHTS
        else _generate_resamples(users, resamples, seed)
    )


@lru_cache(maxsize=2)
def _cached_resamples(users: int, resamples: int, seed: int) -> tuple[NDArray[np.float32], ...]:
    return tuple(_generate_resamples(users, resamples, seed))


def _generate_resamples(users: int, resamples: int, seed: int) -> Iterator[NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    for start in range(0, resamples, RESAMPLE_BLOCK):
        block = range(min(RESAMPLE_BLOCK, resamples - start))
        yield np.stack([np.bincount(random.integers(0, users, users), minlength=users).astype(np.float32) for _ in block])


def _by_user(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    told = ~np.isnan(values)
    _, user = np.unique(clusters[told], return_inverse=True)
    return np.bincount(user, weights=values[told]).astype(np.float64), np.bincount(user).astype(np.float64)
