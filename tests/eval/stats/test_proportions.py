"""Wilson's interval against a second implementation, and clustered counts against many simulated shops."""

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
def test_wilson_as_statsmodels_has_it(hits: int, tried: int) -> None:
    hits = min(hits, tried)
    found = wilson(hits / tried, tried)
    low, high = proportion_confint(hits, tried, alpha=0.05, method="wilson")
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


def test_without_trials_nothing_is_told() -> None:
    for found in (
        wilson(0.0, 0),
        clustered_rate(np.empty(0, np.int64), np.empty(0, np.int64)),
        clustered_rate(np.array([0]), np.array([0])),
    ):
        assert all(math.isnan(part) for part in (found.value, found.low, found.high))


def test_one_trial_a_user_is_plain_wilson() -> None:
    hits = np.array([1] * 7 + [0] * 33)
    found, plain = clustered_rate(hits, np.ones(40, np.int64)), wilson(7 / 40, 40)
    assert found.value == plain.value
    assert found.low == pytest.approx(plain.low, abs=0.005)
    assert found.low < plain.low, "the variance is estimated over users, which costs a degree of freedom"


def test_users_who_are_all_alike_count_once_each() -> None:
    """Forty users of ten places, all or none clicked: no more is known than from forty places."""
    hits, tried = np.array([10] * 8 + [0] * 32), np.full(40, 10)
    assert effective_trials(hits.astype(float), tried.astype(float), 0.2) == pytest.approx(39)
    assert clustered_rate(hits, tried).high - clustered_rate(hits, tried).low == pytest.approx(0.24, abs=0.02)


def test_no_click_at_all_is_not_certainty() -> None:
    found = clustered_rate(np.zeros(50, np.int64), np.full(50, 10))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(proportion_confint(0, 50, method="wilson")[1], abs=1e-6)


def test_it_covers_the_truth_where_clicks_of_a_user_are_alike() -> None:
    """300 shops: 80 users with 1 to 20 places and their own click rate around 8 %; plain Wilson misses far more often."""
    draw = np.random.default_rng(0)
    covered = plain = 0
    for _ in range(300):
        tried = draw.integers(1, 21, 80)
        own = draw.beta(0.8, 9.2, 80)
        hits = draw.binomial(tried, own)
        clustered, naive = clustered_rate(hits, tried), wilson(hits.sum() / tried.sum(), tried.sum())
        covered += clustered.low <= 0.08 <= clustered.high
        plain += naive.low <= 0.08 <= naive.high
    assert covered >= 0.91 * 300
    assert plain < covered
