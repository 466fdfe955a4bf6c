"""Whether B does better than A, told at any time and as often as one likes: a confidence sequence of the difference.

An ordinary interval is right once, at a number of users fixed beforehand; who looks every day and stops when it excludes 0 finds a
difference that is not there far more often than one time in twenty. The interval here holds at all times together, so the rule is simple:
**stop whenever it excludes 0**. What is compared is one figure a user, in the order in which users first came.

Source: asymptotic confidence sequences, Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Annals of Statistics 2024 (Theorem 2.2 for the
interval, section 3 for a randomised comparison), on the normal mixture of Robbins, Annals of Mathematical Statistics 1970. Asymptotic:
the promise is for many users, so nothing is said before `MIN_USERS_PER_ARM` of them in each arm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALPHA = 0.05
MIN_USERS_PER_ARM = 100
"""Users of each arm before anything is said."""
PLANNED_USERS = 2000
"""Users at which the interval is narrowest for its level. It is chosen beforehand and once: chosen afterwards it would be a way to peek."""
STOPPING_RULE = (
    f"look as often as you like and stop whenever the interval of B - A excludes 0, once each arm has {MIN_USERS_PER_ARM} users; "
    f"the chance ever to see a difference that is not there is about {ALPHA:.0%}"
)


@dataclass(frozen=True, slots=True)
class ArmComparison:
    """What is known of two arms now.

    Attributes:
        users: of A and of B. means: of A and of B, NaN without users. difference: B less A, with low and high; NaN before `MIN_USERS_PER_ARM`.
        verdict: `B is better`, `A is better`, `go on`, or `too few`.
    """

    users: tuple[int, int]
    means: tuple[float, float]
    difference: tuple[float, float, float]
    verdict: Literal["B is better", "A is better", "go on", "too few"]

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it: null for what cannot be told."""

        def told(value: float) -> float | None:
            return None if math.isnan(value) else round(value, 5)

        value, low, high = map(told, self.difference)
        return {
            "users": dict(zip("AB", self.users, strict=True)),
            "means": dict(zip("AB", map(told, self.means), strict=True)),
            "difference": {"value": value, "low": low, "high": high},
            "verdict": self.verdict,
        }


def compare_arms(values: NDArray[np.float64], is_b: NDArray[np.bool_], share: float = 0.5) -> ArmComparison:
    """B less A, as it stands after the users so far.

    Args:
        values: (users,) one bounded figure a user, in the order in which the users came. is_b: (users,) who got B.
        share: the chance of B, as it was set; not as it came out.
    """
    users = int((~is_b).sum()), int(is_b.sum())
    means = tuple(float(values[arm].mean()) if arm.any() else math.nan for arm in (~is_b, is_b))
    if min(users) < MIN_USERS_PER_ARM:
        return ArmComparison(users, (means[0], means[1]), (math.nan, math.nan, math.nan), "too few")
    scores = aipw_scores(values, is_b, share)
    half = half_width(len(scores), float(scores.std()))
    value = float(scores.mean())
    low, high = value - half, value + half
    verdict: Literal["B is better", "A is better", "go on"] = "B is better" if low > 0 else "A is better" if high < 0 else "go on"
    return ArmComparison(users, (means[0], means[1]), (value, low, high), verdict)


def aipw_scores(values: NDArray[np.float64], is_b: NDArray[np.bool_], share: float) -> NDArray[np.float64]:
    """(users,) figures whose mean is B less A: each user's own, weighed by the chance of the arm, beside what was expected of either arm.

    What is expected is the mean of the arm's users that came before, so no user's figure tells of itself (augmented inverse-propensity
    weighting; without it the interval would be wider and still right).
    """
    expected_a, expected_b = _before(values, ~is_b), _before(values, is_b)
    of_b = np.where(is_b, (values - expected_b) / share, 0.0)
    of_a = np.where(is_b, 0.0, (values - expected_a) / (1 - share))
    return np.asarray(expected_b - expected_a + of_b - of_a)


def half_width(users: int, deviation: float, *, alpha: float = ALPHA, planned: int = PLANNED_USERS) -> float:
    """Half the width of the confidence sequence of a mean after so many users. Args: deviation: the standard deviation so far."""
    log = -2 * math.log(alpha)
    rho2 = (log + math.log(log + 1)) / planned  # narrowest near `planned` (the paper's appendix)
    spread = users * rho2 + 1
    return deviation * math.sqrt(2 * spread / (users**2 * rho2) * math.log(math.sqrt(spread) / alpha))


def _before(values: NDArray[np.float64], arm: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(users,) the mean of an arm's users that came before each user, 0 where none had."""
    total = np.concatenate([[0.0], np.cumsum(np.where(arm, values, 0.0))[:-1]])
    number = np.concatenate([[0], np.cumsum(arm)[:-1]])
    return np.asarray(total / np.maximum(number, 1))
