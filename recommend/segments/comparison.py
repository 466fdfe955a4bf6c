"""Comparison of two cohorts: categories from which the users of one buy next significantly more often than those of the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...data.records import Category
from ...retrieval.associations import statistics
from ...retrieval.associations.rules import SIGNIFICANCE_LEVEL
from .next_purchases import TransitionStats
from .results import CohortDifference


def cohort_differences(
    paths: Sequence[Category], first: TransitionStats, second: TransitionStats, min_users: int, k: int
) -> tuple[CohortDifference, ...]:
    """Return the `k` most significant differences between two cohorts in their shares of users, largest ratio first.

    Interval and test are those of the log ratio of two independent proportions; users of both cohorts make the interval too wide.
    Categories are left out if the users, or the rest of a cohort, are fewer than `min_users`.

    Args:
        paths: Path of every category node.
        first: Transitions of the first cohort to categories.
        second: Transitions of the second cohort.
        min_users: Minimum number of users of a count.
        k: Maximum number of differences.

    Source: Katz et al., Biometrics 1978.
    """
    from scipy.special import ndtr

    codes, left, right = np.intersect1d(first.codes, second.codes, return_indices=True)
    a, n, b, m = first.users[left], first.totals[left], second.users[right], second.totals[right]
    disclosable = (a >= min_users) & (b >= min_users)
    for users, total in ((a, n), (b, m)):
        disclosable &= (users == total) | (total - users >= min_users)
    codes, a, n, b, m = codes[disclosable], a[disclosable], n[disclosable], b[disclosable], m[disclosable]
    ratio = (a / n) / (b / m)
    deviation = np.sqrt(np.maximum(1 / a - 1 / n + 1 / b - 1 / m, 1e-12))
    p_value = 2 * ndtr(-np.abs(np.log(ratio)) / deviation)
    fdr = statistics.false_discovery_rate(p_value, len(p_value))
    factor = np.exp(statistics.Z * deviation)
    chosen = np.flatnonzero(fdr <= SIGNIFICANCE_LEVEL)
    chosen = chosen[np.argsort(p_value[chosen], kind="stable")][:k]
    chosen = chosen[np.argsort(-ratio[chosen], kind="stable")]
    return tuple(
        CohortDifference(
            category=paths[int(codes[i])],
            users=(int(a[i]), int(b[i])),
            share=(float(a[i] / n[i]), float(b[i] / m[i])),
            ratio=float(ratio[i]),
            ratio_interval=(float(ratio[i] / factor[i]), float(ratio[i] * factor[i])),
            fdr=float(fdr[i]),
        )
        for i in chosen
    )
