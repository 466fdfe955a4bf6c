"""Wilson's interval against statsmodels, and clustered rates against simulated shops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from crossaisle.eval.stats.proportions import clustered_rate, effective_trials, wilson


@given(st.integers(0, 500), st.integers(1, 500))
@trials(max_examples=60, deadline=None)
def test_wilson_matches_statsmodels(hits: int, tried: int) -> None:
    hits = min(hits, tried)
    interval = wilson(hits / tried, tried)
    low, high = proportion_confint(hits, tried, alpha=0.05, method="wilson")
    assert (interval.low, interval.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


def test_undefined_without_trials() -> None:
    for interval in (
        wilson(0.0, 0),
        clustered_rate(np.empty(0, np.int64), np.empty(0, np.int64)),
        clustered_rate(np.array([0]), np.array([0])),
    ):
        assert all(math.isnan(part) for part in (interval.value, interval.low, interval.high))


def test_one_trial_per_user_is_plain_wilson() -> None:
    hits = np.array([1] * 7 + [0] * 33)
    interval, plain = clustered_rate(hits, np.ones(40, np.int64)), wilson(7 / 40, 40)
    assert interval.value == plain.value
    assert interval.low == pytest.approx(plain.low, abs=0.005)
    assert interval.low < plain.low, "estimating the variance over users costs a degree of freedom"


def test_fully_correlated_users_count_as_one_trial() -> None:
    """Forty users with ten slots each, all or none clicked, are worth forty independent slots."""
    hits, slots = np.array([10] * 8 + [0] * 32), np.full(40, 10)
    assert effective_trials(hits.astype(float), slots.astype(float), 0.2) == pytest.approx(39)
    assert clustered_rate(hits, slots).high - clustered_rate(hits, slots).low == pytest.approx(0.24, abs=0.02)


def test_no_clicks_still_have_an_upper_bound() -> None:
    interval = clustered_rate(np.zeros(50, np.int64), np.full(50, 10))
    assert (interval.value, interval.low) == (0.0, 0.0)
    assert interval.high == pytest.approx(proportion_confint(0, 50, method="wilson")[1], abs=1e-6)


def test_coverage_with_correlated_clicks() -> None:
    """300 shops of 80 users with 1 to 20 slots and their own click rate around 8 %; plain Wilson covers less often."""
    rng = np.random.default_rng(0)
    covered = plain = 0
    for _ in range(300):
        slots = rng.integers(1, 21, 80)
        rates = rng.beta(0.8, 9.2, 80)
        hits = rng.binomial(slots, rates)
        clustered, naive = clustered_rate(hits, slots), wilson(hits.sum() / slots.sum(), slots.sum())
        covered += clustered.low <= 0.08 <= clustered.high
        plain += naive.low <= 0.08 <= naive.high
    assert covered >= 0.91 * 300
    assert plain < covered
