"""Which of two is preferred: pairs judged in both orders, the share that one wins, and that share if both were equally long.

A verdict is 1 where the left system is held better, 0 where the right one is, 0.5 for a tie, NaN where the reply could not be read. Every
pair is asked twice, once with the left answer shown first and once with the right one.
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
"""Of Newton's method at most; and the largest coefficient, in nats, where the data would have it infinite."""


@dataclass(frozen=True, slots=True)
class PairOutcomes:
    """What became of pairs.

    Attributes:
        values: (pairs,) 1, 0.5 or 0 for the left system; NaN where one of the two verdicts could not be read.
        flips: pairs whose two verdicts name different winners: counted as ties. unscored: pairs with NaN.
    """

    values: Floats
    flips: int
    unscored: int

    @property
    def flip_rate(self) -> float:
        """Share of the scored pairs that flipped; NaN where none was scored."""
        scored = len(self.values) - self.unscored
        return self.flips / scored if scored else math.nan


def pair_outcomes(left_first: Floats, right_first: Floats) -> PairOutcomes:
    """The outcome of each pair: a win only where both orders say so; anything else is a tie.

    Args: left_first, right_first: (pairs,) the verdict on the left system when it was shown first, and when it was shown second.
    """
    unscored = np.isnan(left_first) | np.isnan(right_first)
    values = np.where(unscored, np.nan, np.where(left_first == right_first, left_first, 0.5))
    flips = int((np.abs(left_first - right_first) == 1).sum())  # NaN differs from nothing
    return PairOutcomes(values, flips, int(unscored.sum()))


def win_rate(values: Floats, clusters: NDArray[np.int64], *, seed: int = 0) -> Interval:
    """The share of pairs that the left system wins, a tie as half. Args: values: of `outcomes`. clusters: (pairs,) the user of each."""
    return bootstrap_mean(values, clusters, seed=seed)


@dataclass(frozen=True, slots=True)
class LengthControlledWinRate:
    """A win rate with the share of length taken out.

    Attributes:
        win_rate: what it would be if both texts were equally long. raw: as it is.
        slope: log odds that the difference in length adds at most; above 0 the longer text is preferred.
    """

    win_rate: Interval
    raw: Interval
    slope: Interval


def length_controlled(
    values: Floats, left_lengths: Floats, right_lengths: Floats, clusters: NDArray[np.int64], *, seed: int = 0
) -> LengthControlledWinRate:
    """The win rate at equal length: logistic regression of the outcome on the squashed difference in length, read off at zero.

    Where lengths never differ, or the outcome follows from length alone, nothing can be told apart; the first gives the raw win rate and
    a slope that is NaN. Where one is the longer in every pair, equal length lies outside of what was seen: the win rate there is NaN.

    Args: values: (pairs,) of `outcomes`. lengths: (pairs,) of what each system said, in any one unit. clusters: (pairs,).
    Source: Dubois et al., Length-Controlled AlpacaEval, 2024: tanh of the difference over its standard deviation. Left out of theirs: the
        difficulty of each instruction, which needs many systems, and with it the regularisation.
    """
    told = ~np.isnan(values)
    values, clusters = values[told], clusters[told]
    difference = (left_lengths - right_lengths)[told]
    raw = win_rate(values, clusters, seed=seed)
    spread = float(difference.std()) if len(difference) else 0.0
    if not spread:
        return LengthControlledWinRate(raw, raw, Interval(math.nan, math.nan, math.nan))
    squashed = np.tanh(difference / spread)
    found = _logistic(values, squashed, np.ones((1, len(values))))[0]
    if len(np.unique(clusters)) < 2:
        alone = Interval(float(_sigmoid(found[0])), math.nan, math.nan)
        return LengthControlledWinRate(alone, raw, Interval(float(found[1]), math.nan, math.nan))
    drawn = np.concatenate([_logistic(values, squashed, weights) for weights in bootstrap_weights(clusters, seed=seed)])  # (draws, 2)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    if difference.min() > 0 or difference.max() < 0:
        nowhere = Interval(math.nan, math.nan, math.nan)
        return LengthControlledWinRate(nowhere, raw, Interval(float(found[1]), float(low[1]), float(high[1])))
    at_zero = Interval(*(float(_sigmoid(side)) for side in (found[0], low[0], high[0])))
    return LengthControlledWinRate(at_zero, raw, Interval(float(found[1]), float(low[1]), float(high[1])))


def _logistic(values: Floats, feature: Floats, weights: Floats) -> Floats:
    """(fits, 2) intercept and slope of weighted logistic regressions, by Newton's method. Args: weights: (fits, pairs)."""
    design = np.stack([np.ones_like(feature), feature], axis=1)  # (pairs, 2)
    products = design[:, :, None] * design[:, None, :]  # (pairs, 2, 2)
    found = np.zeros((len(weights), 2))
    for _ in range(MAX_NEWTON_STEPS):
        chance = _sigmoid(found @ design.T)  # (fits, pairs)
        gradient = (weights * (values - chance)) @ design
        curve = np.tensordot(weights * chance * (1 - chance), products, axes=1) + 1e-9 * np.eye(2)
        step = np.clip(np.linalg.solve(curve, gradient[:, :, None])[:, :, 0], -2, 2)
        found = np.clip(found + step, -MAX_COEFFICIENT, MAX_COEFFICIENT)
        if np.abs(step).max() < 1e-9:
            break
    return found


def _sigmoid(nats: Floats) -> Floats:
    chance: Floats = 1 / (1 + np.exp(-nats))
    return chance
