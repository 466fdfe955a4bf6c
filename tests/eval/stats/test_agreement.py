"""Agreement statistics against hand-computed values, `krippendorff` and statsmodels, and their invariants."""

from __future__ import annotations

import math

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa, to_table

from crossaisle.eval.stats.agreement import cohen_kappa, human_agreement, judge_agreement, krippendorff_alpha, majority
from crossaisle.eval.stats.reliability import reliability_curve

NAN = math.nan
EXAMPLE = np.asarray(
    [  # example of Krippendorff, 2011, section C: four observers, twelve units, missing data
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T


def two_raters(seed: int, units: int = 200, values: int = 5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    left = random.integers(1, values + 1, units).astype(float)
    right = np.where(random.random(units) < 0.6, left, random.integers(1, values + 1, units))
    return left, right


def test_kappa_by_hand() -> None:
    """Contingency table with 20 both yes, 15 both no, 5 and 10 disagreements: observed 0.7, expected 0.5, kappa 0.4."""
    left = np.repeat([1.0, 1.0, 0.0, 0.0], [20, 5, 10, 15])
    right = np.repeat([1.0, 0.0, 1.0, 0.0], [20, 5, 10, 15])
    kappa = cohen_kappa(left, right, np.arange(50))
    assert kappa.value == pytest.approx(0.4)
    assert kappa.low < 0.4 < kappa.high


@pytest.mark.parametrize(("weights", "theirs"), [("unweighted", None), ("linear", "linear"), ("quadratic", "quadratic")])
def test_kappa_matches_statsmodels(weights: str, theirs: str | None) -> None:
    left, right = two_raters(1)
    table, _ = to_table(np.stack([left, right], axis=1).astype(int) - 1, 5)
    expected = cohens_kappa(table, wt=theirs)
    kappa = cohen_kappa(left, right, np.arange(len(left)), weights=weights)
    assert kappa.value == pytest.approx(expected.kappa)
    # Their interval is the normal approximation, ours the bootstrap: the widths are similar.
    assert kappa.high - kappa.low == pytest.approx(expected.kappa_upp - expected.kappa_low, rel=0.15)


def test_unused_label_has_no_effect() -> None:
    left, right = np.asarray([1.0, 1, 5, 5, 2]), np.asarray([1.0, 2, 5, 4, 2])
    table, _ = to_table(np.stack([left, right], axis=1).astype(int) - 1, 5)
    assert cohen_kappa(left, right, np.arange(5), weights="linear").value == pytest.approx(cohens_kappa(table, wt="linear").kappa)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_matches_krippendorff(level: str) -> None:
    random = np.random.default_rng(7)
    left, right = two_raters(2)
    third = np.where(random.random(200) < 0.3, NAN, np.where(random.random(200) < 0.5, left, random.integers(1, 6, 200)))
    left[random.random(200) < 0.2] = NAN
    for ratings in (EXAMPLE, np.stack([left, right, third], axis=1)):
        expected = krippendorff.alpha(reliability_data=ratings.T, level_of_measurement=level)
        assert krippendorff_alpha(ratings, np.arange(len(ratings)), level=level).value == pytest.approx(expected)


def test_alpha_of_the_published_example() -> None:
    units = np.arange(12)
    assert krippendorff_alpha(EXAMPLE, units).value == pytest.approx(0.743, abs=0.001)
    assert krippendorff_alpha(EXAMPLE, units, level="ordinal").value == pytest.approx(0.815, abs=0.001)
    assert krippendorff_alpha(EXAMPLE, units, level="interval").value == pytest.approx(0.849, abs=0.001)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=30), st.integers(-5, 5))
def test_invariants(pairs: list[tuple[int, int]], shift: int) -> None:
    left, right = (np.asarray(side, float) for side in zip(*pairs, strict=True))
    units = np.arange(len(left))
    kappa, swapped = cohen_kappa(left, right, units, weights="linear").value, cohen_kappa(right, left, units, weights="linear").value
    moved = cohen_kappa(left + shift, right + shift, units, weights="linear").value
    both = np.stack([left, right], axis=1)
    alpha = krippendorff_alpha(both, units).value
    assert kappa == pytest.approx(swapped, nan_ok=True)
    assert kappa == pytest.approx(moved, nan_ok=True)
    assert alpha == pytest.approx(krippendorff_alpha(both[::-1, ::-1], units).value, nan_ok=True)
    assert not kappa > 1 + 1e-9
    if len(set(left)) > 1:
        assert cohen_kappa(left, left, units).value == pytest.approx(1)
        assert krippendorff_alpha(np.stack([left, left], axis=1), units, level="ordinal").value == pytest.approx(1)


def test_units_of_one_user_are_not_independent() -> None:
    left, right = two_raters(3, 60)
    single = cohen_kappa(left, right, np.arange(60))
    clustered = cohen_kappa(np.repeat(left, 5), np.repeat(right, 5), np.repeat(np.arange(60), 5))
    naive = cohen_kappa(np.repeat(left, 5), np.repeat(right, 5), np.arange(300))
    assert clustered.high - clustered.low == pytest.approx(single.high - single.low, rel=0.1)
    assert naive.high - naive.low < 0.6 * (single.high - single.low)


def test_interval_coverage() -> None:
    """A rater that copies the other's fair coin with probability 0.5 and else tosses its own: kappa is 0.5."""
    random, covered = np.random.default_rng(0), 0
    for _ in range(100):
        left = random.integers(0, 2, 150).astype(float)
        right = np.where(random.random(150) < 0.5, left, random.integers(0, 2, 150))
        kappa = cohen_kappa(left, right, np.arange(150))
        covered += kappa.low <= 0.5 <= kappa.high
    assert covered >= 89


def test_human_agreement_by_hand() -> None:
    """The second person differs from the first on one unit of four, the third never: pairwise kappa 0.5, 1, 0.5."""
    ratings = np.asarray([[0.0, 0, 0], [0, 0, 0], [1, 1, 1], [1, 0, 1]])
    agreement = human_agreement(ratings, np.arange(4))
    assert agreement.pairwise.value == pytest.approx((0.5 + 1 + 0.5) / 3)
    # First person: the other two agree on three units, all with the same label. Second person: the others agree on all four units.
    assert agreement.leave_one_out.value == pytest.approx((1 * 3 + 0.5 * 4 + 1 * 3) / 10)
    assert (agreement.units, agreement.raters) == (4, 3)


def test_judge_as_good_as_a_person_and_worse_judge() -> None:
    random = np.random.default_rng(11)
    truth = random.integers(0, 3, 600)
    raters = [np.where(random.random(600) < 0.75, truth, random.integers(0, 3, 600)).astype(float) for _ in range(4)]
    worse = np.where(random.random(600) < 0.3, truth, random.integers(0, 3, 600)).astype(float)
    people, users = np.stack(raters[:3], axis=1), np.repeat(np.arange(200), 3)
    equal, lower = judge_agreement(raters[3], people, users), judge_agreement(worse, people, users)
    assert equal.beside.low < 0 < equal.beside.high
    assert lower.beside.high < 0
    assert equal.pairwise.value == pytest.approx(human_agreement(people, users).pairwise.value, abs=0.06)
    assert equal.accuracy.value == pytest.approx((raters[3] == majority(people))[~np.isnan(majority(people))].mean())
    assert judge_agreement(np.where(np.arange(600) < 150, NAN, raters[3]), people, users).answered == 0.75


def test_majority_by_hand() -> None:
    ratings = np.asarray([[1.0, 1, 2], [1, 2, NAN], [NAN, NAN, 3], [NAN, NAN, NAN]])
    assert np.array_equal(majority(ratings), [1, NAN, 3, NAN], equal_nan=True)
    assert np.isnan(majority(np.full((2, 2), NAN))).all()


def test_reliability_curve_by_hand_and_of_a_calibrated_judge() -> None:
    curve = reliability_curve(np.asarray([0.05, 0.15, 1.0, 0.95]), np.asarray([0.0, 0.5, 1.0, 0.5]), np.arange(4))
    assert [(b.low, b.units) for b in curve.bins] == [(0.0, 1), (0.1, 1), (0.9, 2)]
    assert curve.error == pytest.approx((0.05 + 0.35 + 2 * abs(0.975 - 0.75)) / 4)
    random = np.random.default_rng(1)
    probability = random.random(4000)
    outcome = (random.random(4000) < probability).astype(float)
    calibrated, overconfident = (
        reliability_curve(probability, outcome, np.arange(4000)),
        reliability_curve(np.sqrt(probability), outcome, np.arange(4000)),
    )
    assert calibrated.error < 0.03 < overconfident.error
    assert sum(b.share.low <= b.predicted <= b.share.high for b in calibrated.bins) >= 8
    with pytest.raises(ValueError, match="0 to 1"):
        reliability_curve(np.asarray([1.2]), np.asarray([1.0]), np.arange(1))


def test_undefined_agreement_is_nan() -> None:
    same, units = np.ones(4), np.arange(4)
    assert math.isnan(cohen_kappa(same, same, units).value)
    assert math.isnan(krippendorff_alpha(np.ones((4, 2)), units).value)
    assert math.isnan(krippendorff_alpha(np.full((4, 2), NAN), units, level="interval").value)
    assert math.isnan(cohen_kappa(np.full(3, NAN), np.ones(3), np.arange(3)).value)
    assert reliability_curve(np.full(3, NAN), np.ones(3), np.arange(3)).bins == ()
