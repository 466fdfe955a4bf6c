"""Win rates, Bradley-Terry strengths and power against hand-computed values, scipy and statsmodels, and on simulated data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower

from crossaisle.eval.stats.bootstrap import Interval
from crossaisle.eval.stats.bradley_terry import bradley_terry
from crossaisle.eval.stats.power import conclusions, decisive_wins, minimum_detectable_effect, pairs_needed, standard_error
from crossaisle.eval.stats.win_rates import length_controlled, pair_outcomes, win_rate

NAN = math.nan
VERDICTS = st.sampled_from([0.0, 0.5, 1.0, NAN])


def test_flips_are_ties_and_unparsed_replies_are_unscored() -> None:
    first = np.asarray([1, 1, 0, 0.5, 1, NAN, 0])
    second = np.asarray([1, 0, 1, 0.5, 0.5, 1, 0])
    outcomes = pair_outcomes(first, second)
    assert np.array_equal(outcomes.values, [1, 0.5, 0.5, 0.5, 0.5, NAN, 0], equal_nan=True)
    assert (outcomes.flips, outcomes.unscored) == (2, 1)
    assert win_rate(outcomes.values, np.arange(7)).value == pytest.approx(3 / 6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(VERDICTS, VERDICTS), min_size=1, max_size=20))
def test_swapping_the_systems_inverts_the_outcomes(pairs: list[tuple[float, float]]) -> None:
    first, second = (np.asarray(side) for side in zip(*pairs, strict=True))
    ours, theirs = pair_outcomes(first, second), pair_outcomes(1 - second, 1 - first)
    assert np.array_equal(ours.values, 1 - theirs.values, equal_nan=True)
    assert (ours.flips, ours.unscored) == (theirs.flips, theirs.unscored)


def some_matches(seed: int, truth: np.ndarray, pairs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    left = random.integers(0, len(truth), pairs)
    right = (left + random.integers(1, len(truth), pairs)) % len(truth)
    chance = 1 / (1 + np.exp(truth[right] - truth[left]))
    values = np.where(random.random(pairs) < 0.15, 0.5, (random.random(pairs) < chance).astype(float))
    return left, right, values


def test_strengths_match_a_logistic_regression() -> None:
    left, right, values = some_matches(4, np.asarray([0.8, 0.1, -0.2, -0.7]), 300)
    strengths = bradley_terry(left, right, values, np.arange(300), ["a", "b", "c", "d"])
    design = np.zeros((300, 4))
    design[np.arange(300), left] += 1
    design[np.arange(300), right] -= 1
    fit = sm.GLM(values, design[:, 1:], family=sm.families.Binomial()).fit()
    expected = np.concatenate([[0], fit.params])
    expected -= expected.mean()
    assert {system.system: system.strength.value for system in strengths} == pytest.approx(
        dict(zip("abcd", expected, strict=True)), abs=1e-6
    )
    assert [system.system for system in strengths] == [list("abcd")[i] for i in np.argsort(-expected)]
    assert sum(system.wins for system in strengths) == 300
    assert sum(system.pairs for system in strengths) == 600


def test_two_systems_by_hand() -> None:
    """Three wins out of four: the log odds between the systems are ln 3."""
    strengths = bradley_terry(np.zeros(4, int), np.ones(4, int), np.asarray([1.0, 1, 1, 0]), np.arange(4), ["a", "b"])
    assert strengths[0].strength.value - strengths[1].strength.value == pytest.approx(math.log(3))


def test_no_finite_strength_without_losses() -> None:
    strengths = bradley_terry(np.zeros(3, int), np.ones(3, int), np.ones(3), np.arange(3), ["a", "b"])
    assert all(math.isnan(system.strength.value) for system in strengths)
    unconnected = bradley_terry(np.asarray([0, 0, 2, 2]), np.asarray([1, 1, 3, 3]), np.asarray([1.0, 0, 1, 0]), np.arange(4), list("abcd"))
    assert all(math.isnan(system.strength.value) for system in unconnected)


def test_strength_interval_coverage() -> None:
    truth = np.asarray([0.6, 0.0, -0.6])
    covered = 0
    for seed in range(60):
        random = np.random.default_rng([1, seed])
        left = random.integers(0, 3, 240)
        right = (left + random.integers(1, 3, 240)) % 3
        values = (random.random(240) < 1 / (1 + np.exp(truth[right] - truth[left]))).astype(float)
        intervals = {system.system: system.strength for system in bradley_terry(left, right, values, np.arange(240), ["0", "1", "2"])}
        covered += intervals["0"].low <= 0.6 <= intervals["0"].high
    assert covered >= 52


def longer_wins(seed: int, truth: float, pairs: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Verdicts that prefer the left system by `truth` log odds, and longer texts; the left system's texts are longer."""
    random = np.random.default_rng(seed)
    left, right = random.normal(60, 15, pairs), random.normal(40, 15, pairs)
    difference = left - right
    nats = truth + 1.5 * np.tanh(difference / difference.std())
    return (random.random(pairs) < 1 / (1 + np.exp(-nats))).astype(float), left, right


def test_length_control_matches_statsmodels() -> None:
    values, left, right = longer_wins(2, -0.3)
    difference = left - right
    design = sm.add_constant(np.tanh(difference / difference.std()))
    users = np.repeat(np.arange(100), 4)
    fit = sm.GLM(values, design, family=sm.families.Binomial()).fit(cov_type="cluster", cov_kwds={"groups": users})
    result = length_controlled(values, left, right, users)
    assert result.win_rate.value == pytest.approx(1 / (1 + np.exp(-fit.params[0])), abs=1e-6)
    assert result.slope.value == pytest.approx(fit.params[1], abs=1e-6)
    low, high = fit.conf_int()[1]
    assert result.slope.high - result.slope.low == pytest.approx(high - low, rel=0.2)


def test_length_control_removes_the_effect_of_length() -> None:
    values, left, right = longer_wins(3, 0.0)
    result = length_controlled(values, left, right, np.arange(400))
    assert result.raw.low > 0.55
    assert result.win_rate.low < 0.5 < result.win_rate.high
    assert result.slope.low > 0
    equal_lengths = length_controlled(values, left, left, np.arange(400))
    assert equal_lengths.win_rate == equal_lengths.raw
    assert math.isnan(equal_lengths.slope.value)
    # The longer text always wins: the slope is infinite, and the win rate is still defined.
    separable = length_controlled((left > right).astype(float), left, right, np.arange(400))
    assert 0 <= separable.win_rate.low <= separable.win_rate.high <= 1


def test_minimum_detectable_effect_matches_statsmodels() -> None:
    values = np.random.default_rng(0).normal(0, 1, 80)
    effect = TTestPower().solve_power(nobs=80, alpha=0.05, power=0.8)
    assert minimum_detectable_effect(values, np.arange(80)) == pytest.approx(effect * values.std(ddof=1), rel=0.01)
    assert standard_error(values, np.arange(80)) == pytest.approx(stats.sem(values))
    clustered = minimum_detectable_effect(np.repeat(values, 5), np.repeat(np.arange(80), 5))
    assert clustered == pytest.approx(minimum_detectable_effect(values, np.arange(80)))
    assert pairs_needed(values, np.arange(80), minimum_detectable_effect(values, np.arange(80)) / 2) == pytest.approx(320, abs=1)
    assert math.isnan(minimum_detectable_effect(values, np.zeros(80, int)))


def test_minimum_detectable_effect_has_the_stated_power() -> None:
    random, users = np.random.default_rng(6), np.repeat(np.arange(40), 3)
    detected = 0
    for _ in range(400):
        values = np.repeat(random.normal(0, 0.5, 40), 3) + random.normal(0, 1, 120)
        true = minimum_detectable_effect(values, users)
        error = standard_error(values, users)
        shifted = random.normal(true, error)  # the mean of another such sample
        detected += abs(shifted) > stats.t.ppf(0.975, 39) * error
    assert 0.74 <= detected / 400 <= 0.88


@pytest.mark.parametrize("pairs", [0, 3, 5, 6, 9, 15, 19])
def test_decisive_wins_match_scipy(pairs: int) -> None:
    significant = (
        [wins for wins in range(pairs + 1) if 2 * wins > pairs and stats.binomtest(wins, pairs, 0.5).pvalue <= 0.05] if pairs else []
    )
    assert decisive_wins(pairs) == (significant[0] if significant else None)


def conclusions_of(values: list[float], users: np.ndarray | None = None) -> str:
    array = np.asarray(values)
    users = np.arange(len(array)) if users is None else users
    return " ".join(conclusions(array, users, win_rate(array, users), "ours", "theirs"))


def test_conclusions_from_few_pairs() -> None:
    assert "not even if all had gone one way" in conclusions_of([1, 1, 1, 1, 0.5])
    assert "ours is better cannot be concluded: it won 8 of 12" in conclusions_of([1.0] * 8 + [0.0] * 4)
    assert "theirs is better than ours on pairs like these is beyond chance (12 of 12" in conclusions_of([0.0] * 12)
    assert "not independent" in conclusions_of([1.0] * 12, np.repeat(np.arange(4), 3))
    assert "197 pairs" in conclusions_of([1.0] * 8 + [0.0] * 4)
    assert conclusions_of([NAN, NAN]) == "No pair could be scored: nothing can be concluded."


def test_conclusions_from_many_pairs() -> None:
    clear, unclear = conclusions_of([1.0] * 80 + [0.0] * 20), conclusions_of([1.0] * 51 + [0.0] * 49)
    assert "ours is preferred to theirs: it wins 80% of the pairs" in clear
    assert "Neither is shown to be better" in unclear
    assert "100 pairs of 100 users would detect a true win rate of 64% or more four times in five" in unclear


def test_conclusions_from_one_pair() -> None:
    assert conclusions(np.asarray([1.0]), np.zeros(1, int), Interval(1, NAN, NAN), "a", "b")[0].startswith("There are only 1 pairs")
