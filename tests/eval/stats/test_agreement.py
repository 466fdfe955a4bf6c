"""Agreement against hand-computed values, `krippendorff`, statsmodels, and what must always hold."""

from __future__ import annotations

import math

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa, to_table

from crossaisle.eval.stats.agreement import cohen_kappa, human_agreement, judge_agreement, krippendorff_alpha, majority, reliability_curve

NAN = math.nan
EXAMPLE = np.asarray(
    [  # Krippendorff's own, 2011, section C: four observers, twelve units, missing data
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
    """Cohen's table: 20 both yes, 15 both no, 5 and 10 apart: seen 0.7, by chance 0.5, kappa 0.4."""
    left = np.repeat([1.0, 1.0, 0.0, 0.0], [20, 5, 10, 15])
    right = np.repeat([1.0, 0.0, 1.0, 0.0], [20, 5, 10, 15])
    found = cohen_kappa(left, right, np.arange(50))
    assert found.value == pytest.approx(0.4)
    assert found.low < 0.4 < found.high


@pytest.mark.parametrize(("weights", "theirs"), [("unweighted", None), ("linear", "linear"), ("quadratic", "quadratic")])
def test_kappa_as_statsmodels_has_it(weights: str, theirs: str | None) -> None:
    left, right = two_raters(1)
    table, _ = to_table(np.stack([left, right], axis=1).astype(int) - 1, 5)
    expected = cohens_kappa(table, wt=theirs)
    found = cohen_kappa(left, right, np.arange(len(left)), weights=weights)
    assert found.value == pytest.approx(expected.kappa)
    # Their interval is the normal approximation, ours the bootstrap: they are about as wide.
    assert found.high - found.low == pytest.approx(expected.kappa_upp - expected.kappa_low, rel=0.15)


def test_a_label_that_nobody_used_changes_nothing() -> None:
    left, right = np.asarray([1.0, 1, 5, 5, 2]), np.asarray([1.0, 2, 5, 4, 2])
    table, _ = to_table(np.stack([left, right], axis=1).astype(int) - 1, 5)
    assert cohen_kappa(left, right, np.arange(5), weights="linear").value == pytest.approx(cohens_kappa(table, wt="linear").kappa)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_as_krippendorff_has_it(level: str) -> None:
    random = np.random.default_rng(7)
    left, right = two_raters(2)
    third = np.where(random.random(200) < 0.3, NAN, np.where(random.random(200) < 0.5, left, random.integers(1, 6, 200)))
    left[random.random(200) < 0.2] = NAN
    for ratings in (EXAMPLE, np.stack([left, right, third], axis=1)):
        theirs = krippendorff.alpha(reliability_data=ratings.T, level_of_measurement=level)
        assert krippendorff_alpha(ratings, np.arange(len(ratings)), level=level).value == pytest.approx(theirs)


def test_alpha_as_its_author_computed_it() -> None:
    alone = np.arange(12)
    assert krippendorff_alpha(EXAMPLE, alone).value == pytest.approx(0.743, abs=0.001)
    assert krippendorff_alpha(EXAMPLE, alone, level="ordinal").value == pytest.approx(0.815, abs=0.001)
    assert krippendorff_alpha(EXAMPLE, alone, level="interval").value == pytest.approx(0.849, abs=0.001)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=30), st.integers(-5, 5))
def test_what_always_holds(pairs: list[tuple[int, int]], shift: int) -> None:
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


def test_units_of_one_user_count_once() -> None:
    left, right = two_raters(3, 60)
    once = cohen_kappa(left, right, np.arange(60))
    often = cohen_kappa(np.repeat(left, 5), np.repeat(right, 5), np.repeat(np.arange(60), 5))
    naive = cohen_kappa(np.repeat(left, 5), np.repeat(right, 5), np.arange(300))
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.1)
    assert naive.high - naive.low < 0.6 * (once.high - once.low)


def test_ninety_five_of_a_hundred_intervals_hold_the_truth() -> None:
    """A rater that repeats the other's fair coin with chance 0.5 and else tosses its own: kappa is 0.5."""
    random, inside = np.random.default_rng(0), 0
    for _ in range(100):
        left = random.integers(0, 2, 150).astype(float)
        right = np.where(random.random(150) < 0.5, left, random.integers(0, 2, 150))
        found = cohen_kappa(left, right, np.arange(150))
        inside += found.low <= 0.5 <= found.high
    assert inside >= 89


def test_people_among_themselves_by_hand() -> None:
    """The second differs once in four from the first, the third never: kappa 0.5, 1, 0.5 of the pairs."""
    ratings = np.asarray([[0.0, 0, 0], [0, 0, 0], [1, 1, 1], [1, 0, 1]])
    found = human_agreement(ratings, np.arange(4))
    assert found.pairwise.value == pytest.approx((0.5 + 1 + 0.5) / 3)
    # The first against the other two: three units on which they agree, all as it says; the second against two who agree on all four.
    assert found.leave_one_out.value == pytest.approx((1 * 3 + 0.5 * 4 + 1 * 3) / 10)
    assert (found.units, found.raters) == (4, 3)


def test_a_judge_like_a_person_stands_beside_people_and_a_worse_one_below() -> None:
    random = np.random.default_rng(11)
    truth = random.integers(0, 3, 600)
    said = [np.where(random.random(600) < 0.75, truth, random.integers(0, 3, 600)).astype(float) for _ in range(4)]
    worse = np.where(random.random(600) < 0.3, truth, random.integers(0, 3, 600)).astype(float)
    people, users = np.stack(said[:3], axis=1), np.repeat(np.arange(200), 3)
    alike, low = judge_agreement(said[3], people, users), judge_agreement(worse, people, users)
    assert alike.beside.low < 0 < alike.beside.high
    assert low.beside.high < 0
    assert alike.pairwise.value == pytest.approx(human_agreement(people, users).pairwise.value, abs=0.06)
    assert alike.accuracy.value == pytest.approx((said[3] == majority(people))[~np.isnan(majority(people))].mean())
    assert judge_agreement(np.where(np.arange(600) < 150, NAN, said[3]), people, users).answered == 0.75


def test_most_say_it_or_nobody_can_tell() -> None:
    ratings = np.asarray([[1.0, 1, 2], [1, 2, NAN], [NAN, NAN, 3], [NAN, NAN, NAN]])
    assert np.array_equal(majority(ratings), [1, NAN, 3, NAN], equal_nan=True)
    assert np.isnan(majority(np.full((2, 2), NAN))).all()


def test_a_curve_by_hand_and_of_a_judge_that_knows_how_sure_it_is() -> None:
    curve = reliability_curve(np.asarray([0.05, 0.15, 1.0, 0.95]), np.asarray([0.0, 0.5, 1.0, 0.5]), np.arange(4))
    assert [(one.low, one.units) for one in curve.bins] == [(0.0, 1), (0.1, 1), (0.9, 2)]
    assert curve.error == pytest.approx((0.05 + 0.35 + 2 * abs(0.975 - 0.75)) / 4)
    random = np.random.default_rng(1)
    sure = random.random(4000)
    came = (random.random(4000) < sure).astype(float)
    honest, boastful = reliability_curve(sure, came, np.arange(4000)), reliability_curve(np.sqrt(sure), came, np.arange(4000))
    assert honest.error < 0.03 < boastful.error
    assert sum(one.share.low <= one.predicted <= one.share.high for one in honest.bins) >= 8
    with pytest.raises(ValueError, match="0 to 1"):
        reliability_curve(np.asarray([1.2]), np.asarray([1.0]), np.arange(1))


def test_what_cannot_be_told_is_nan() -> None:
    same, alone = np.ones(4), np.arange(4)
    assert math.isnan(cohen_kappa(same, same, alone).value)
    assert math.isnan(krippendorff_alpha(np.ones((4, 2)), alone).value)
    assert math.isnan(krippendorff_alpha(np.full((4, 2), NAN), alone, level="interval").value)
    assert math.isnan(cohen_kappa(np.full(3, NAN), np.ones(3), np.arange(3)).value)
    assert reliability_curve(np.full(3, NAN), np.ones(3), np.arange(3)).bins == ()
