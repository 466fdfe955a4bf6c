"""Association statistics as vectorized functions of user counts: lift, intervals, log-likelihood ratio, p-values, false-discovery rate.

Of `source` users of A, `support` have B next; of all `users`, `base` would have it by chance. Counts may be real numbers: `base` is one
with directed counts (see `pair_counts`), and all four are with user weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Z = 1.959963984540054
"""Standard normal quantile of a two-sided 95 % interval."""


def wilson(support: ArrayLike, source: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % Wilson interval of support / source; (0, 1) where source is 0.

    Source: Wilson, JASA 1927.
    """
    k, n = np.asarray(support, np.float64), np.asarray(source, np.float64)
    safe = np.maximum(n, 1e-12)
    share = k / safe
    middle = (share + Z**2 / (2 * safe)) / (1 + Z**2 / safe)
    spread = Z / (1 + Z**2 / safe) * np.sqrt(np.maximum(share * (1 - share), 0) / safe + Z**2 / (4 * safe**2))
    # Rounding would leave 1e-17 where the interval touches 0 or 1 exactly.
    low = np.where(k <= 0, 0.0, np.clip(middle - spread, 0, 1))
    high = np.where(k >= n, 1.0, np.clip(middle + spread, 0, 1))
    return np.where(n > 0, low, 0.0), np.where(n > 0, high, 1.0)


def lift(support: ArrayLike, source: ArrayLike, base: ArrayLike, users: ArrayLike) -> NDArray[np.float64]:
    """Lift, (support / source) / (base / users); nan where a denominator is 0.

    Source: Brin et al., SIGMOD 1997.
    """
    k, n, m, total = (np.asarray(part, np.float64) for part in (support, source, base, users))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((n > 0) & (m > 0), k * total / (n * m), np.nan)


def lift_interval(
    support: ArrayLike, source: ArrayLike, base: ArrayLike, users: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % interval of the lift; (0, inf) where support is 0, nan where the lift is undefined.

    Delta method on the log scale for the 2x2 table: the variance is 1/k - 1/n - 1/m + (2 lift - 1)/N. Treating the two shares as
    independent samples would be too wide. The approximation fails for cells with fewer than five users; there the interval is the union
    with the exact interval of a Poisson count k and the Wilson intervals of k of n and k of m.
    Source: Agresti, Categorical Data Analysis, section 14.1 (delta method); Garwood, Biometrika 1936.
    """
    from scipy.special import gammaincinv

    k, n, m, total = (np.asarray(part, np.float64) for part in (support, source, base, users))
    middle = lift(k, n, m, total)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = 1 / k - 1 / n - 1 / m + (2 * middle - 1) / total
        factor = np.exp(Z * np.sqrt(np.maximum(variance, 0)))
        low, high = middle / factor, middle * factor
        few = np.minimum(np.minimum(k, n - k), m - k) < 5
        counted = gammaincinv(np.maximum(k, 1e-12), 0.025), gammaincinv(k + 1, 0.975)
        for bounds, times in ((wilson(k, n), total / m), (wilson(k, m), total / n), (counted, total / (n * m))):
            low, high = np.where(few, np.minimum(low, bounds[0] * times), low), np.where(few, np.maximum(high, bounds[1] * times), high)
    low, high = np.where(k > 0, low, 0.0), np.where(k > 0, high, np.inf)
    return np.where(np.isnan(middle), np.nan, low), np.where(np.isnan(middle), np.nan, high)


def log_likelihood_ratio(support: ArrayLike, source: ArrayLike, base: ArrayLike, users: ArrayLike) -> NDArray[np.float64]:
    """Dunning's log-likelihood ratio (G squared, 0 or more) of the 2x2 table of A and B; large when they are not independent.

    Source: Dunning, Computational Linguistics 1993.
    """
    k, n, m, total = (np.asarray(part, np.float64) for part in (support, source, base, users))

    def part(observed: NDArray[np.float64], row: NDArray[np.float64], column: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = row * column / total
            # A real-valued base may be slightly below the support: such a cell is empty.
            return np.where((observed > 0) & (expected > 0), observed * np.log(observed / expected), 0.0)

    cells = part(k, n, m) + part(n - k, n, total - m) + part(m - k, total - n, m) + part(total - n - m + k, total - n, total - m)
    return np.maximum(2 * cells, 0.0)


def poisson_tail(support: ArrayLike, source: ArrayLike, base: ArrayLike, users: ArrayLike) -> NDArray[np.float64]:
    """p-value of the support, or more, if B were as frequent after A as at the base rate; 0 to 1.

    Upper tail of a Poisson distribution with the expected support as its mean. It is above the exact (hypergeometric) tail where that is
    small, so it is conservative; unlike the exact tail it accepts weighted counts.
    """
    from scipy.special import gammainc

    k, n, m, total = (np.asarray(part, np.float64) for part in (support, source, base, users))
    expected = n * m / np.maximum(total, 1e-300)
    return np.where(k > 0, gammainc(np.maximum(k, 1e-300), expected), 1.0)


def false_discovery_rate(p_values: NDArray[np.float64], tests: int) -> NDArray[np.float64]:
    """Benjamini-Hochberg adjusted p-values, 0 to 1.

    Args:
        p_values: p-values of the tested pairs.
        tests: number of tests, including pairs without an entry in `p_values`; at least their number.
    Raises: ValueError: fewer tests than p-values.
    Source: Benjamini and Hochberg, JRSS B 1995.
    """
    if tests < len(p_values):
        raise ValueError(f"{tests} tests cannot have {len(p_values)} p-values")
    order = np.argsort(p_values, kind="stable")
    ranked = p_values[order] * tests / np.arange(1, len(p_values) + 1)
    rates = np.empty(len(p_values))
    rates[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return rates
