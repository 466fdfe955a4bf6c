"""Where two cohorts differ in what they go on to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...data.records import Category
from ...retrieval.associations import statistics
from ...retrieval.associations.rules import SIGNIFICANCE_LEVEL
from .next_purchases import TransitionStats
from .results import CohortDifference


def cohort_differences(
    paths: Sequence[Category], one: TransitionStats, other: TransitionStats, min_users: int, k: int
) -> tuple[CohortDifference, ...]:
    """The categories, of those that both steps lead to, whose shares differ beyond chance; the surest difference first.

    The interval of the ratio is that of two independent samples on the log scale, and the test that of its logarithm against 0; users
    who are in both cohorts make it too wide. Figures of fewer than `min_users` users, or of all but as few, are left out.
    Source: Katz et al., Biometrics 1978.
    """
    from scipy.special import ndtr

    _, left, right = np.intersect1d(one.codes, other.codes, return_indices=True)
    (a, n), (b, m) = ((step.users[at], step.totals[at]) for step, at in ((one, left), (other, right)))
    fit = (a >= min_users) & (b >= min_users)
    for users, of in ((a, n), (b, m)):
        fit &= (users == of) | (of - users >= min_users)
    left, a, n, b, m = left[fit], a[fit], n[fit], b[fit], m[fit]
    ratio = (a / n) / (b / m)
    spread = np.sqrt(np.maximum(1 / a - 1 / n + 1 / b - 1 / m, 1e-12))
    chance = 2 * ndtr(-np.abs(np.log(ratio)) / spread)
    fdr = statistics.false_discovery_rate(chance, len(chance))
    factor = np.exp(statistics.Z * spread)
    sure = np.flatnonzero(fdr <= SIGNIFICANCE_LEVEL)
    sure = sure[np.argsort(chance[sure], kind="stable")][:k]
    sure = sure[np.argsort(-ratio[sure], kind="stable")]
    return tuple(
        CohortDifference(
            paths[int(one.codes[left[i]])],
            (int(a[i]), int(b[i])),
            (float(a[i] / n[i]), float(b[i] / m[i])),
            float(ratio[i]),
            (float(ratio[i] / factor[i]), float(ratio[i] * factor[i])),
            float(fdr[i]),
        )
        for i in sure
    )
