"""Confidence sequences for A/B tests: an interval of the difference B - A that is valid at all times together.

An ordinary interval holds at one number of users, fixed in advance: someone who checks it every day and stops when it excludes 0 finds
spurious differences far more often than one time in twenty. A confidence sequence holds at all times simultaneously, so the test may stop
whenever it excludes 0. The data is one value per user, in the order in which the users entered the test.

Source: asymptotic confidence sequences, Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Annals of Statistics 2024 (Theorem 2.2 for the
interval, section 3 for randomised experiments), based on the normal mixture of Robbins, Annals of Mathematical Statistics 1970. The
guarantee is asymptotic, so no interval is reported below `MIN_USERS_PER_ARM`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALPHA = 0.05
"""Probability of ever excluding 0 if the arms are equal."""
MIN_USERS_PER_ARM = 100
"""Users of each arm below which no interval is reported."""
PLANNED_USERS = 2000
"""Number of users at which the interval is narrowest. It is fixed in advance: choosing it from the data would invalidate the guarantee."""
STOPPING_RULE = (
    f"look as often as you like and stop whenever the interval of B - A excludes 0, once each arm has {MIN_USERS_PER_ARM} users; "
    f"the chance ever to see a difference that is not there is about {ALPHA:.0%}"
)
"""The rule for users of a report."""
Verdict = Literal["B is better", "A is better", "go on", "too few"]


@dataclass(frozen=True, slots=True)
class ArmComparison:
    """Comparison of two arms at the current number of users.

    Attributes:
        users: Users of A and of B.
        means: Means of A and of B, NaN without users.
        difference: B - A, with its lower and upper bound; NaN below `MIN_USERS_PER_ARM`.
        verdict: `B is better`, `A is better`, `go on` (the interval includes 0) or `too few` (below `MIN_USERS_PER_ARM`).
    """

    users: tuple[int, int]
    means: tuple[float, float]
    difference: tuple[float, float, float]
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison for JSON, with null for undefined values."""

        def rounded(value: float) -> float | None:
            return None if math.isnan(value) else round(value, 5)

        value, low, high = map(rounded, self.difference)
        return {
            "users": dict(zip("AB", self.users, strict=True)),
            "means": dict(zip("AB", map(rounded, self.means), strict=True)),
            "difference": {"value": value, "low": low, "high": high},
            "verdict": self.verdict,
        }


def compare_arms(values: NDArray[np.float64], is_b: NDArray[np.bool_], b_share: float = 0.5) -> ArmComparison:
    """Return the comparison of B with A after the users so far.

    Args:
        values: (users,) one bounded value per user, in the order in which the users entered the test.
        is_b: (users,) whether the user is in arm B.
        b_share: Assignment probability of B, as configured, not as observed.
    """
    users = int((~is_b).sum()), int(is_b.sum())
    means = tuple(float(values[arm].mean()) if arm.any() else math.nan for arm in (~is_b, is_b))
    if min(users) < MIN_USERS_PER_ARM:
        return ArmComparison(users, (means[0], means[1]), (math.nan, math.nan, math.nan), "too few")
    scores = aipw_scores(values, is_b, b_share)
    margin = half_width(len(scores), float(scores.std()))
    value = float(scores.mean())
    low, high = value - margin, value + margin
    verdict: Verdict = "B is better" if low > 0 else "A is better" if high < 0 else "go on"
    return ArmComparison(users, (means[0], means[1]), (value, low, high), verdict)


def aipw_scores(values: NDArray[np.float64], is_b: NDArray[np.bool_], b_share: float) -> NDArray[np.float64]:
    """(users,) augmented inverse-propensity-weighted scores, whose mean estimates B - A.

    The outcome model of an arm is the mean of its earlier users, so no user's value predicts itself. The augmentation makes the interval
    narrower; the estimate is unbiased with or without it.
    """
    expected_a, expected_b = _mean_of_earlier(values, ~is_b), _mean_of_earlier(values, is_b)
    residual_b = np.where(is_b, (values - expected_b) / b_share, 0.0)
    residual_a = np.where(is_b, 0.0, (values - expected_a) / (1 - b_share))
    return np.asarray(expected_b - expected_a + residual_b - residual_a)


def half_width(users: int, deviation: float, *, alpha: float = ALPHA, planned: int = PLANNED_USERS) -> float:
    """Return half the width of the confidence sequence of a mean.

    Args:
        users: Number of users so far.
        deviation: Standard deviation of their values.
        alpha: Probability of ever excluding the true mean.
        planned: Number of users at which the interval is narrowest.
    """
    log = -2 * math.log(alpha)
    rho2 = (log + math.log(log + 1)) / planned  # approximately optimal at `planned` (appendix of the source)
    spread = users * rho2 + 1
    return deviation * math.sqrt(2 * spread / (users**2 * rho2) * math.log(math.sqrt(spread) / alpha))


def _mean_of_earlier(values: NDArray[np.float64], arm: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(users,) mean of the arm's users before each user, 0 before the first."""
    total = np.concatenate([[0.0], np.cumsum(np.where(arm, values, 0.0))[:-1]])
    count = np.concatenate([[0], np.cumsum(arm)[:-1]])
    return np.asarray(total / np.maximum(count, 1))
