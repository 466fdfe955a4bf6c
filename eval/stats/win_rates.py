"""Win rates of pairwise comparisons judged in both orders, and length-controlled win rates.

A verdict is 1 if the left system is better, 0 if the right one is, 0.5 for a tie, and NaN if the reply could not be parsed. Every pair is
judged twice, once with the left answer shown first and once with the right one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .bootstrap import Interval, bootstrap_mean, bootstrap_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MAX_NEWTON_STEPS, MAX_COEFFICIENT = 30, 12.0
"""Largest number of steps of Newton's method, and bound of the coefficients in nats, for separable data."""


@dataclass(frozen=True, slots=True)
class PairOutcomes:
    """Outcomes of pairs.

    Attributes:
        values: (pairs,) 1, 0.5 or 0 for the left system; NaN if one of the two verdicts could not be parsed.
        flips: Number of pairs whose two verdicts name different winners; they count as ties.
        unscored: Number of NaN outcomes.
    """

    values: Floats
    flips: int
    unscored: int


def pair_outcomes(left_first: Floats, right_first: Floats) -> PairOutcomes:
    """Return the outcome of each pair: a win if both orders agree on it, otherwise a tie.

    Args:
        left_first: (pairs,) verdict on the left system when it is shown first.
        right_first: (pairs,) verdict on the left system when it is shown second.
    """
    unscored = np.isnan(left_first) | np.isnan(right_first)
    values = np.where(unscored, np.nan, np.where(left_first == right_first, left_first, 0.5))
    flips = int((np.abs(left_first - right_first) == 1).sum())  # never with NaN
    return PairOutcomes(values, flips, int(unscored.sum()))


def win_rate(values: Floats, clusters: NDArray[np.int64], *, seed: int = 0) -> Interval:
    """Return the share of pairs that the left system wins, with a tie as half.

    Args:
        values: (pairs,) outcomes of `pair_outcomes`.
        clusters: (pairs,) user of each pair.
        seed: Random seed of the bootstrap.
    """
    return bootstrap_mean(values, clusters, seed=seed)


@dataclass(frozen=True, slots=True)
class LengthControlledWinRate:
    """A win rate controlled for text length.

    Attributes:
        win_rate: Predicted win rate at equal length.
        raw: Observed win rate.
        slope: Log odds of the largest length difference; above 0 the longer text is preferred.
    """

    win_rate: Interval
    raw: Interval
    slope: Interval


def length_controlled(
    values: Floats, left_lengths: Floats, right_lengths: Floats, clusters: NDArray[np.int64], *, seed: int = 0
) -> LengthControlledWinRate:
    """Return the win rate at equal length, from a logistic regression of the outcome on the length difference.

    If all lengths are equal, the win rate is the observed one and the slope is NaN. If one system is longer in every pair, equal length is
    outside the data and the win rate is NaN.

    Args:
        values: (pairs,) outcomes of `pair_outcomes`.
        left_lengths: (pairs,) length of the left text, in any unit.
        right_lengths: (pairs,) length of the right text, in the same unit.
        clusters: (pairs,) user of each pair.
        seed: Random seed of the bootstrap.

    Source: Dubois et al., Length-Controlled AlpacaEval, 2024: tanh of the difference over its standard deviation. Unlike there, without the
        difficulty of each instruction, which needs many systems, and without its regularisation.
    """
    scored = ~np.isnan(values)
    values, clusters = values[scored], clusters[scored]
    difference = (left_lengths - right_lengths)[scored]
    raw = win_rate(values, clusters, seed=seed)
    undefined = Interval(math.nan, math.nan, math.nan)
    deviation = float(difference.std()) if len(difference) else 0.0
    if not deviation:
        return LengthControlledWinRate(raw, raw, undefined)
    feature = np.tanh(difference / deviation)
    intercept, slope = _logistic_regression(values, feature, np.ones((1, len(values))))[0]
    if len(np.unique(clusters)) < 2:
        at_equal_length = Interval(float(_sigmoid(intercept)), math.nan, math.nan)
        return LengthControlledWinRate(at_equal_length, raw, Interval(float(slope), math.nan, math.nan))
    resampled = np.concatenate(  # (resamples, 2)
        [_logistic_regression(values, feature, weights) for weights in bootstrap_weights(clusters, seed=seed)]
    )
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    slope_interval = Interval(float(slope), float(low[1]), float(high[1]))
    if difference.min() > 0 or difference.max() < 0:
        return LengthControlledWinRate(undefined, raw, slope_interval)
    at_equal_length = Interval(*(float(_sigmoid(bound)) for bound in (intercept, low[0], high[0])))
    return LengthControlledWinRate(at_equal_length, raw, slope_interval)


def _logistic_regression(values: Floats, feature: Floats, weights: Floats) -> Floats:
    """(fits, 2) intercept and slope of weighted logistic regressions, by Newton's method, from (fits, pairs) weights."""
    design = np.stack([np.ones_like(feature), feature], axis=1)  # (pairs, 2)
    products = design[:, :, None] * design[:, None, :]  # (pairs, 2, 2)
    coefficients = np.zeros((len(weights), 2))
    for _ in range(MAX_NEWTON_STEPS):
        probability = _sigmoid(coefficients @ design.T)  # (fits, pairs)
        gradient = (weights * (values - probability)) @ design
        information = np.tensordot(weights * probability * (1 - probability), products, axes=1) + 1e-9 * np.eye(2)
        step = np.clip(np.linalg.solve(information, gradient[:, :, None])[:, :, 0], -2, 2)
        coefficients = np.clip(coefficients + step, -MAX_COEFFICIENT, MAX_COEFFICIENT)
        if np.abs(step).max() < 1e-9:
            break
    return coefficients


def _sigmoid(log_odds: Floats) -> Floats:
    probability: Floats = 1 / (1 + np.exp(-log_odds))
    return probability
