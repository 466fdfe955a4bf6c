"""Intervals against scipy, and whether they hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from crossaisle.eval.stats.bootstrap import bootstrap_mean, paired_difference


def test_as_scipy_has_it_where_every_case_is_a_user() -> None:
    values = np.random.default_rng(3).gamma(0.5, size=300)
    ours = bootstrap_mean(values, np.arange(300), resamples=8000)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=8000, rng=np.random.default_rng(1)).confidence_interval
    width = theirs.high - theirs.low
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=0.06 * width), pytest.approx(theirs.high, abs=0.06 * width))


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3])
def test_p_as_scipy_has_it(shift: float) -> None:
    random = np.random.default_rng(5)
    left, right = random.random(60) + shift, random.random(60)
    theirs = stats.permutation_test(
        (left, right), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples", n_resamples=20_000, rng=random
    )
    ours = paired_difference(left, right, np.arange(60))
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.02)
    assert ours.value == pytest.approx((left - right).mean())


def test_cases_of_one_user_count_once() -> None:
    values = np.random.default_rng(0).random(50)
    once, often = bootstrap_mean(values, np.arange(50)), bootstrap_mean(np.repeat(values, 8), np.repeat(np.arange(50), 8))
    naive = bootstrap_mean(np.repeat(values, 8), np.arange(400))
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.05)
    assert naive.high - naive.low < 0.5 * (once.high - once.low)


def test_ninety_five_of_a_hundred_intervals_hold_the_truth() -> None:
    random = np.random.default_rng(2)
    inside = 0
    for _ in range(300):
        mine = random.normal(0.4, 1, 60)  # what a user's cases share
        values = np.repeat(mine, 3) + random.normal(0, 0.3, 180)
        found = bootstrap_mean(values, np.repeat(np.arange(60), 3), resamples=500)
        inside += found.low <= 0.4 <= found.high
    assert 0.91 <= inside / 300 <= 0.98


def test_chance_is_called_chance() -> None:
    random = np.random.default_rng(4)
    false = sum(paired_difference(random.random(40), random.random(40), np.arange(40)).p < 0.05 for _ in range(100))
    assert false <= 12


def test_what_cannot_be_told_is_null() -> None:
    nothing = bootstrap_mean(np.full(3, np.nan), np.arange(3))
    assert nothing.to_dict() == {"value": None, "low": None, "high": None}
    alone = bootstrap_mean(np.asarray([0.5, 0.7, np.nan]), np.zeros(3, np.int64))
    assert alone.value == pytest.approx(0.6)
    assert math.isnan(alone.low)
    assert paired_difference(np.ones(2), np.zeros(2), np.zeros(2, np.int64)).to_dict()["p"] is None
