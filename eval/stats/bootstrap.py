"""Cluster bootstrap intervals and a paired randomisation test; whole users are resampled, since cases of one user are not independent."""

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
"""Default number of bootstrap resamples."""
SIGN_FLIPS = 10_000
"""Number of random sign flips of the randomisation test."""
RESAMPLE_BLOCK = 250
"""Resamples held in memory at once."""
MAX_CACHED_WEIGHTS = 30_000_000
"""Largest number of users times resamples whose weights are cached for the next metric of the same users."""

Z_95, POWER_FACTOR = 1.96, 2.8
"""Standard errors on each side of a 95 % interval; and of a difference that is found with probability 0.8: 1.96 + 0.84."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A point estimate with its 95 % interval; undefined values are NaN.

    Attributes:
        value: Point estimate.
        low: Lower bound.
        high: Upper bound.
        p: Two-sided p-value, for differences only.
    """

    value: float
    low: float
    high: float
    p: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """Return the interval for JSON, with null for undefined values."""
        parts = {"value": self.value, "low": self.low, "high": self.high} | ({} if self.p is None else {"p": self.p})
        return {name: None if math.isnan(part) else round(part, 5) for name, part in parts.items()}


def bootstrap_mean(values: NDArray[np.float64], clusters: NDArray[np.int64], *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Return the mean with a percentile bootstrap interval over users; NaN values are left out.

    Args:
        values: (cases,) values.
        clusters: (cases,) user of each case.
        seed: Random seed.
        resamples: Number of resamples.

    Source: Efron and Tibshirani, 1993; Davison and Hinkley, 1997, for clusters.
    """
    sums, counts = _sums_by_user(values, clusters)
    if not counts.sum():
        return Interval(math.nan, math.nan, math.nan)
    mean = float(sums.sum() / counts.sum())
    if len(sums) < 2:
        return Interval(mean, math.nan, math.nan)
    parts = np.stack([sums, counts], axis=1).astype(np.float32)  # (users, 2)
    totals = np.concatenate([weights @ parts for weights in _resample_weights(len(sums), resamples, seed)])  # (resamples, 2)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], [0.025, 0.975])
    return Interval(mean, float(low), float(high))


def bootstrap_statistic(
    parts: NDArray[np.float64],
    clusters: NDArray[np.int64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return a statistic of sums, such as a kappa or a ratio, with a percentile bootstrap interval over users.

    Args:
        parts: (cases, k) contribution of each case to the sums.
        clusters: (cases,) user of each case.
        statistic: Function from (n, k) sums to (n,) values, NaN where undefined; such resamples are left out of the interval.
        seed: Random seed.
        resamples: Number of resamples.
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
    """Return several statistics of the same sums, each as in `bootstrap_statistic`.

    Args:
        parts: (cases, k) contribution of each case to the sums.
        clusters: (cases,) user of each case.
        statistics: Function from (n, k) sums to (n, statistics) values, NaN where undefined.
        seed: Random seed.
        resamples: Number of resamples.
    """
    _, user = np.unique(clusters, return_inverse=True)
    user_count = int(user.max()) + 1 if len(user) else 0
    sums = np.zeros((user_count, parts.shape[1]))
    np.add.at(sums, user, parts)
    values = statistics(sums.sum(axis=0)[None])[0]
    if user_count < 2:
        return [Interval(float(value), math.nan, math.nan) for value in values]
    resampled = np.concatenate(  # (resamples, statistics)
        [statistics(weights.astype(np.float64) @ sums) for weights in _resample_weights(user_count, resamples, seed)]
    )
    return [_percentile_interval(float(value), column) for value, column in zip(values, resampled.T, strict=True)]


def bootstrap_weights(clusters: NDArray[np.int64], *, seed: int = 0, resamples: int = RESAMPLES) -> Iterator[NDArray[np.float64]]:
    """Yield blocks of (resamples, cases) weights, for statistics that are not functions of sums.

    A weight is how often the case occurs in a resample of whole users.
    """
    _, user = np.unique(clusters, return_inverse=True)
    for weights in _resample_weights(int(user.max()) + 1 if len(user) else 0, resamples, seed):
        yield weights.astype(np.float64)[:, user]


def paired_difference(values: NDArray[np.float64], others: NDArray[np.float64], clusters: NDArray[np.int64], *, seed: int = 0) -> Interval:
    """Return the mean of `values - others` over cases, with its bootstrap interval and the p-value of a randomisation test.

    The p-value is the share of random sign flips of whole users' differences whose mean is at least as large in absolute value (Fisher,
    1935). One is added to numerator and denominator, so it is never 0.

    Args:
        values: (cases,) values of one system.
        others: (cases,) values of the other system on the same cases.
        clusters: (cases,) user of each case.
        seed: Random seed.
    """
    differences = values - others
    interval = bootstrap_mean(differences, clusters, seed=seed)
    sums, _ = _sums_by_user(differences, clusters)
    if len(sums) < 2:
        return Interval(interval.value, interval.low, interval.high, math.nan)
    random = np.random.default_rng(seed)
    observed, as_large = abs(sums.sum()) - 1e-12, 0
    for start in range(0, SIGN_FLIPS, RESAMPLE_BLOCK):
        signs = random.integers(0, 2, (min(RESAMPLE_BLOCK, SIGN_FLIPS - start), len(sums)), dtype=np.int8) * 2.0 - 1
        as_large += int((np.abs(signs @ sums) >= observed).sum())
    return Interval(interval.value, interval.low, interval.high, (as_large + 1) / (SIGN_FLIPS + 1))


def _percentile_interval(value: float, resampled: NDArray[np.float64]) -> Interval:
    resampled = resampled[~np.isnan(resampled)]
    if math.isnan(value) or not len(resampled):
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def _resample_weights(users: int, resamples: int, seed: int) -> Iterable[NDArray[np.float32]]:
    """Blocks of (resamples, users) weights, how often each user is in each resample; the same for all metrics of the same users."""
    if users * resamples <= MAX_CACHED_WEIGHTS:
        return _cached_weights(users, resamples, seed)
    return _generate_weights(users, resamples, seed)


@lru_cache(maxsize=2)
def _cached_weights(users: int, resamples: int, seed: int) -> tuple[NDArray[np.float32], ...]:
    return tuple(_generate_weights(users, resamples, seed))


def _generate_weights(users: int, resamples: int, seed: int) -> Iterator[NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    for start in range(0, resamples, RESAMPLE_BLOCK):
        block = range(min(RESAMPLE_BLOCK, resamples - start))
        yield np.stack([np.bincount(random.integers(0, users, users), minlength=users).astype(np.float32) for _ in block])


def _sums_by_user(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The sum and the number of defined values of each user."""
    defined = ~np.isnan(values)
    _, user = np.unique(clusters[defined], return_inverse=True)
    return np.bincount(user, weights=values[defined]).astype(np.float64), np.bincount(user).astype(np.float64)


def smallest_detectable(interval: Interval) -> float:
    """Return the difference that as many cases would show with probability 0.8 in a two-sided test at 0.05.

    Args:
        interval: 95 % interval of a difference, from which the standard error is taken.
    """
    return POWER_FACTOR * (interval.high - interval.low) / (2 * Z_95)
