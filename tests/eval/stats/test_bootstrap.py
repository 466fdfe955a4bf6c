"""Bootstrap intervals and randomisation tests against scipy, and their coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from crossaisle.eval.stats.bootstrap import bootstrap_mean, paired_difference


def test_interval_matches_scipy_with_one_case_per_user() -> None:
    values = np.random.default_rng(3).gamma(0.5, size=300)
    ours = bootstrap_mean(values, np.arange(300), resamples=8000)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=8000, rng=np.random.default_rng(1)).confidence_interval
    width = theirs.high - theirs.low
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=0.06 * width), pytest.approx(theirs.high, abs=0.06 * width))


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3])
def test_p_value_matches_scipy(shift: float) -> None:
    random = np.random.default_rng(5)
    left, right = random.random(60) + shift, random.random(60)
    theirs = stats.permutation_test(
        (left, right), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples", n_resamples=20_000, rng=random
    )
    ours = paired_difference(left, right, np.arange(60))
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.02)
    assert ours.value == pytest.approx((left - right).mean())


def test_cases_of_one_user_are_not_independent() -> None:
    values = np.random.default_rng(0).random(50)
    single, clustered = bootstrap_mean(values, np.arange(50)), bootstrap_mean(np.repeat(values, 8), np.repeat(np.arange(50), 8))
    naive = bootstrap_mean(np.repeat(values, 8), np.arange(400))
    assert clustered.high - clustered.low == pytest.approx(single.high - single.low, rel=0.05)
    assert naive.high - naive.low < 0.5 * (single.high - single.low)


def test_interval_coverage() -> None:
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        user_means = random.normal(0.4, 1, 60)  # effect shared by the cases of a user
        values = np.repeat(user_means, 3) + random.normal(0, 0.3, 180)
        interval = bootstrap_mean(values, np.repeat(np.arange(60), 3), resamples=500)
        covered += interval.low <= 0.4 <= interval.high
    assert 0.91 <= covered / 300 <= 0.98


def test_false_positive_rate() -> None:
    random = np.random.default_rng(4)
    false_positives = sum(paired_difference(random.random(40), random.random(40), np.arange(40)).p < 0.05 for _ in range(100))
    assert false_positives <= 12


def test_undefined_values_are_null() -> None:
    empty = bootstrap_mean(np.full(3, np.nan), np.arange(3))
    assert empty.to_dict() == {"value": None, "low": None, "high": None}
    one_user = bootstrap_mean(np.asarray([0.5, 0.7, np.nan]), np.zeros(3, np.int64))
    assert one_user.value == pytest.approx(0.6)
    assert math.isnan(one_user.low)
    assert paired_difference(np.ones(2), np.zeros(2), np.zeros(2, np.int64)).to_dict()["p"] is None
