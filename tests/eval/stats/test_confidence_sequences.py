"""The confidence sequence: right at all looks together, against simulations and against the mixture bound itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crossaisle.eval.stats.confidence_sequences import ALPHA, MIN_USERS_PER_ARM, PLANNED_USERS, aipw_scores, compare_arms, half_width

USERS = 3000


def looks(values: np.ndarray, is_b: np.ndarray, share: float = 0.5) -> list[str]:
    """The verdicts of somebody who looks after every 25 users."""
    return [compare_arms(values[:n], is_b[:n], share).verdict for n in range(25, len(values) + 1, 25)]


def test_the_margin_is_the_normal_mixture() -> None:
    """Robbins 1970: |S_t| stays below the root of (t + 1/r)(log(1 + t r) + 2 log(1/alpha)), for sums of unit variance."""
    log = -2 * math.log(ALPHA)
    r = (log + math.log(log + 1)) / PLANNED_USERS
    for t in (100, 1000, 20_000):
        bound = math.sqrt((t + 1 / r) * (math.log(1 + t * r) + 2 * math.log(1 / ALPHA)))
        assert half_width(t, 1.0) * t == pytest.approx(bound)
    assert half_width(1000, 2.0) == pytest.approx(2 * half_width(1000, 1.0))
    assert half_width(4000, 1.0) < half_width(2000, 1.0) < half_width(1000, 1.0)


def test_it_is_wider_than_an_interval_for_one_look_and_not_by_much() -> None:
    ratio = half_width(PLANNED_USERS, 1.0) / (1.96 / math.sqrt(PLANNED_USERS))
    assert 1.3 < ratio < 1.7


def test_with_no_difference_hardly_anybody_who_peeks_is_fooled() -> None:
    """200 tests of equal arms, looked at 120 times each. An ordinary interval, looked at as often, is fooled far more often."""
    draw = np.random.default_rng(1)
    fooled = naive = 0
    for _ in range(200):
        values, is_b = (draw.random(USERS) < 0.1).astype(float), draw.random(USERS) < 0.5
        fooled += any("better" in verdict for verdict in looks(values, is_b))
        for n in range(200, USERS + 1, 25):
            a, b = values[:n][~is_b[:n]], values[:n][is_b[:n]]
            if abs(b.mean() - a.mean()) > 1.96 * math.sqrt(b.var() / len(b) + a.var() / len(a)):
                naive += 1
                break
    assert fooled <= 0.05 * 200 + 6
    assert naive > 3 * max(fooled, 4)


def test_a_difference_is_found_and_its_sign() -> None:
    draw = np.random.default_rng(2)
    is_b = draw.random(USERS) < 0.5
    values = (draw.random(USERS) < np.where(is_b, 0.25, 0.15)).astype(float)
    assert looks(values, is_b)[-1] == "B is better"
    assert looks(values, ~is_b)[-1] == "A is better"
    told = compare_arms(values, is_b)
    assert told.difference[0] == pytest.approx(0.1, abs=0.04)
    assert told.difference[1] > 0


def test_arms_of_unequal_share_are_not_mistaken_for_a_difference() -> None:
    draw = np.random.default_rng(3)
    values, is_b = (draw.random(20_000) < 0.3).astype(float), draw.random(20_000) < 0.1
    told = compare_arms(values, is_b, share=0.1)
    assert told.difference[1] < 0 < told.difference[2]
    assert abs(told.difference[0]) < 0.04


def test_the_mean_of_the_weighed_figures_is_the_difference() -> None:
    """Over all ways to part four users, each as likely: unbiased, whatever was expected of an arm."""
    values = np.array([1.0, 0.0, 1.0, 1.0])
    found = [aipw_scores(values + np.array(arm), np.array(arm, bool), 0.5).mean() for arm in np.ndindex(2, 2, 2, 2)]
    assert np.mean(found) == pytest.approx(1.0)


def test_too_few_users_are_no_verdict() -> None:
    values = np.ones(2 * MIN_USERS_PER_ARM)
    is_b = np.arange(2 * MIN_USERS_PER_ARM) % 2 == 0
    assert compare_arms(values[:-1], is_b[:-1]).verdict == "too few"
    assert compare_arms(values, is_b).verdict != "too few"
    told = compare_arms(np.empty(0), np.empty(0, bool)).to_dict()
    assert told["difference"] == {"value": None, "low": None, "high": None}
    assert told["means"] == {"A": None, "B": None}
