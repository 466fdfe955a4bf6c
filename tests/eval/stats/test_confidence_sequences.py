"""Confidence sequences: validity over all looks in simulations, and agreement with the mixture bound."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crossaisle.eval.stats.confidence_sequences import ALPHA, MIN_USERS_PER_ARM, PLANNED_USERS, aipw_scores, compare_arms, half_width

USERS = 3000


def looks(values: np.ndarray, is_b: np.ndarray, share: float = 0.5) -> list[str]:
    """Verdicts of looks after every 25 users."""
    return [compare_arms(values[:n], is_b[:n], share).verdict for n in range(25, len(values) + 1, 25)]


def test_half_width_is_the_normal_mixture_bound() -> None:
    """Robbins 1970: |S_t| stays below the root of (t + 1/r)(log(1 + t r) + 2 log(1/alpha)), for sums of unit variance."""
    log = -2 * math.log(ALPHA)
    r = (log + math.log(log + 1)) / PLANNED_USERS
    for t in (100, 1000, 20_000):
        bound = math.sqrt((t + 1 / r) * (math.log(1 + t * r) + 2 * math.log(1 / ALPHA)))
        assert half_width(t, 1.0) * t == pytest.approx(bound)
    assert half_width(1000, 2.0) == pytest.approx(2 * half_width(1000, 1.0))
    assert half_width(4000, 1.0) < half_width(2000, 1.0) < half_width(1000, 1.0)


def test_width_relative_to_a_fixed_sample_interval() -> None:
    ratio = half_width(PLANNED_USERS, 1.0) / (1.96 / math.sqrt(PLANNED_USERS))
    assert 1.3 < ratio < 1.7


def test_false_positive_rate_with_peeking() -> None:
    """200 A/A tests with 120 looks each. An ordinary interval with as many looks has far more false positives."""
    rng = np.random.default_rng(1)
    false_positives = naive_false_positives = 0
    for _ in range(200):
        values, is_b = (rng.random(USERS) < 0.1).astype(float), rng.random(USERS) < 0.5
        false_positives += any("better" in verdict for verdict in looks(values, is_b))
        for n in range(200, USERS + 1, 25):
            a, b = values[:n][~is_b[:n]], values[:n][is_b[:n]]
            if abs(b.mean() - a.mean()) > 1.96 * math.sqrt(b.var() / len(b) + a.var() / len(a)):
                naive_false_positives += 1
                break
    assert false_positives <= 0.05 * 200 + 6
    assert naive_false_positives > 3 * max(false_positives, 4)


def test_difference_is_detected_with_its_sign() -> None:
    rng = np.random.default_rng(2)
    is_b = rng.random(USERS) < 0.5
    values = (rng.random(USERS) < np.where(is_b, 0.25, 0.15)).astype(float)
    assert looks(values, is_b)[-1] == "B is better"
    assert looks(values, ~is_b)[-1] == "A is better"
    comparison = compare_arms(values, is_b)
    assert comparison.difference[0] == pytest.approx(0.1, abs=0.04)
    assert comparison.difference[1] > 0


def test_unequal_assignment_is_not_a_difference() -> None:
    rng = np.random.default_rng(3)
    values, is_b = (rng.random(20_000) < 0.3).astype(float), rng.random(20_000) < 0.1
    comparison = compare_arms(values, is_b, b_share=0.1)
    assert comparison.difference[1] < 0 < comparison.difference[2]
    assert abs(comparison.difference[0]) < 0.04


def test_mean_of_aipw_scores_is_unbiased() -> None:
    """Over all equally likely assignments of four users, the mean is the true difference."""
    values = np.array([1.0, 0.0, 1.0, 1.0])
    means = [aipw_scores(values + np.array(arm), np.array(arm, bool), 0.5).mean() for arm in np.ndindex(2, 2, 2, 2)]
    assert np.mean(means) == pytest.approx(1.0)


def test_no_verdict_with_too_few_users() -> None:
    values = np.ones(2 * MIN_USERS_PER_ARM)
    is_b = np.arange(2 * MIN_USERS_PER_ARM) % 2 == 0
    assert compare_arms(values[:-1], is_b[:-1]).verdict == "too few"
    assert compare_arms(values, is_b).verdict != "too few"
    comparison = compare_arms(np.empty(0), np.empty(0, bool)).to_dict()
    assert comparison["difference"] == {"value": None, "low": None, "high": None}
    assert comparison["means"] == {"A": None, "B": None}
