"""How far two who label the same things agree, beyond what chance would give them: kappa, alpha, and people beside a judge.

Labels are numbers, (units, raters), NaN where somebody said nothing; of names without an order the numbers are mere codes. Every figure
has an interval by resampling whole clusters (users, or source items), because units of one cluster are not independent. Knows nothing of
who the raters are: a judge is one more column.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from .bootstrap import Interval, bootstrap_mean, bootstrap_statistic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

KappaWeights = Literal["unweighted", "linear", "quadratic"]
MeasurementLevel = Literal["nominal", "ordinal", "interval"]
RELIABILITY_BINS = 10
"""Of a reliability curve."""


def cohen_kappa(
    left: Floats, right: Floats, clusters: NDArray[np.int64], *, weights: KappaWeights = "unweighted", seed: int = 0
) -> Interval:
    """Cohen's kappa of two raters: 1 is full agreement, 0 what chance would give, below 0 less; NaN where both always say one thing.

    Args:
        left, right: (units,) labels; units that one of them left out are not counted. clusters: (units,).
        weights: how much a disagreement counts: all alike, by the distance of the labels, or by its square. Distances are those of the
            values, not of their ranks, so that a label nobody used changes nothing.
    Source: Cohen, 1960, and 1968 for weights.
    """
    values = _values(left, right)
    return bootstrap_statistic(_table(left, right, values), clusters, _kappa_of(values, weights), seed=seed)


def krippendorff_alpha(ratings: Floats, clusters: NDArray[np.int64], *, level: MeasurementLevel = "nominal", seed: int = 0) -> Interval:
    """Krippendorff's alpha of any number of raters, some labels missing: 1 is full agreement, 0 chance; NaN where only one label occurs.

    Args: ratings: (units, raters); a unit with fewer than two labels says nothing. clusters: (units,). level: of measurement.
    Source: Krippendorff, Computing Krippendorff's Alpha-ReliabilityCurve, 2011.
    """
    if level == "interval":
        return bootstrap_statistic(_moments(ratings), clusters, _alpha_of_moments, seed=seed)
    values = _values(ratings)
    return bootstrap_statistic(_coincidences(ratings, values), clusters, _alpha_of(len(values), level), seed=seed)


@dataclass(frozen=True, slots=True)
class HumanAgreement:
    """How far people agree among themselves, which is as far as a judge can be asked to agree with them.

    Attributes:
        pairwise: the mean kappa of two people, each pair counted by the units that both labelled.
        leave_one_out: the mean kappa of one person with what most of the others say, counted likewise.
        alpha: Krippendorff's. units: with two labels or more. raters: people.
    """

    pairwise: Interval
    leave_one_out: Interval
    alpha: Interval
    units: int
    raters: int


def human_agreement(ratings: Floats, clusters: NDArray[np.int64], *, weights: KappaWeights = "unweighted", seed: int = 0) -> HumanAgreement:
    """How far the people agree among themselves. Args: ratings: (units, people). clusters: (units,). weights: of `cohen_kappa`."""
    values, people = _values(ratings), ratings.T
    pairs = [(a, b) for a, b in itertools.combinations(people, 2) if _both(a, b).any()]
    left_out = [(one, majority(np.delete(ratings, i, axis=1))) for i, one in enumerate(people)]
    level: MeasurementLevel = "nominal" if weights == "unweighted" else "interval"
    return HumanAgreement(
        _mean_kappa(pairs, values, clusters, weights, seed),
        _mean_kappa(left_out, values, clusters, weights, seed),
        krippendorff_alpha(ratings, clusters, level=level, seed=seed),
        int(((~np.isnan(ratings)).sum(axis=1) > 1).sum()),
        int((~np.isnan(ratings)).any(axis=0).sum()),
    )


@dataclass(frozen=True, slots=True)
class JudgeAgreement:
    """A judge beside people.

    Attributes:
        majority: kappa with what most people say. pairwise: the mean kappa with one person, to be held against people's own.
        beside: the mean over people of (kappa of the judge with the other people) - (kappa of that person with them): above zero the
            judge stands for the group better than one of its members does.
        accuracy: share of units where the judge says what most people say. answered: share of all units that it answered.
    """

    majority: Interval
    pairwise: Interval
    beside: Interval
    accuracy: Interval
    answered: float


def judge_agreement(
    judge: Floats, ratings: Floats, clusters: NDArray[np.int64], *, weights: KappaWeights = "unweighted", seed: int = 0
) -> JudgeAgreement:
    """How far a judge agrees with people.

    Args: judge: (units,), NaN where unscored. ratings: (units, people). clusters: (units,).
    Source: `beside` after Calderon et al., The Alternative Annotator Test for LLM-as-a-Judge, ACL 2025, with kappa for their accuracy.
    """
    most, people = majority(ratings), ratings.T
    values = _values(judge, ratings)
    right = np.where(_both(judge, most), judge == most, np.nan)
    with_people = [(judge, one) for one in people if _both(judge, one).any()]
    # The person and the judge are held against the same others on the same units.
    others = [(one, majority(np.delete(ratings, i, axis=1))) for i, one in enumerate(people)]
    theirs = [(np.where(np.isnan(judge), np.nan, one), rest) for one, rest in others]
    ours = [(np.where(np.isnan(one), np.nan, judge), rest) for one, rest in others]
    return JudgeAgreement(
        cohen_kappa(judge, most, clusters, weights=weights, seed=seed),
        _mean_kappa(with_people, values, clusters, weights, seed),
        _mean_kappa([*ours, *theirs], values, clusters, weights, seed, signs=[1] * len(ours) + [-1] * len(theirs)),
        bootstrap_mean(right, clusters, seed=seed),
        float((~np.isnan(judge)).mean()) if len(judge) else math.nan,
    )


def majority(ratings: Floats) -> Floats:
    """(units,) what most raters say; NaN where two labels are equally frequent, or none was given."""
    values = _values(ratings)
    if not len(values):
        return np.full(len(ratings), np.nan)
    counts = (ratings[:, :, None] == values).sum(axis=1)  # (units, values)
    most = counts.max(axis=1)
    told = ((counts == most[:, None]).sum(axis=1) == 1) & (most > 0)
    return np.where(told, values[counts.argmax(axis=1)], np.nan)


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Units whose prediction lies within low to high. Attributes: predicted: its mean. share: of people who say so, with interval."""

    low: float
    high: float
    predicted: float
    share: Interval
    units: int


@dataclass(frozen=True, slots=True)
class ReliabilityCurve:
    """Whether what a judge holds 70 % likely is said by 70 % of people.

    Attributes: error: the mean distance of prediction and share over the bins, by their units (expected calibration error), 0 to 1.
        It is above 0 for a perfect judge too, by chance: the more so, the fewer units a bin has.
    """

    bins: tuple[ReliabilityBin, ...]
    error: float


def reliability_curve(
    predicted: Floats, share: Floats, clusters: NDArray[np.int64], *, bins: int = RELIABILITY_BINS, seed: int = 0
) -> ReliabilityCurve:
    """The reliability curve of predictions, 0 to 1, against the share of people who say so, in bins of equal width; empty ones left out.

    Args: predicted, share: (units,), NaN where there is none. clusters: (units,).
    Raises: ValueError: a prediction or share outside 0 to 1.
    Source: Murphy and Winkler, 1977; the error as Naeini et al., AAAI 2015.
    """
    told = _both(predicted, share)
    predicted, share, clusters = predicted[told], share[told], clusters[told]
    if len(predicted) and (min(predicted.min(), share.min()) < 0 or max(predicted.max(), share.max()) > 1):
        raise ValueError("predictions and shares are 0 to 1")
    place = np.minimum((predicted * bins).astype(int), bins - 1)
    found = [
        ReliabilityBin(
            one / bins, (one + 1) / bins, float(predicted[at].mean()), bootstrap_mean(share[at], clusters[at], seed=seed), int(at.sum())
        )
        for one in range(bins)
        if (at := place == one).any()
    ]
    error = sum(abs(one.predicted - one.share.value) * one.units for one in found) / len(predicted) if found else math.nan
    return ReliabilityCurve(tuple(found), float(error))


def _values(*ratings: Floats) -> Floats:
    """The labels that occur, ascending."""
    every = np.concatenate([np.ravel(one) for one in ratings])
    return np.unique(every[~np.isnan(every)])


def _both(left: Floats, right: Floats) -> NDArray[np.bool_]:
    return ~np.isnan(left) & ~np.isnan(right)


def _table(left: Floats, right: Floats, values: Floats) -> Floats:
    """(units, values * values) what each unit adds to the table of left against right; nothing where one of them is missing."""
    out = np.zeros((len(left), len(values) ** 2))
    both = np.flatnonzero(_both(left, right))
    out[both, np.searchsorted(values, left[both]) * len(values) + np.searchsorted(values, right[both])] = 1
    return out


def _kappa_of(values: Floats, weights: KappaWeights) -> Callable[[Floats], Floats]:
    """Kappa as a function of tables (n, values * values), NaN where chance could not disagree."""
    apart = np.abs(values[:, None] - values[None, :])
    cost = {"unweighted": (apart > 0).astype(float), "linear": apart, "quadratic": apart**2}[weights]

    def kappa(tables: Floats) -> Floats:
        table = tables.reshape(-1, len(values), len(values))
        total = table.sum(axis=(1, 2))
        seen = (table * cost).sum(axis=(1, 2))
        by_chance = np.einsum("ni,nj,ij->n", table.sum(axis=2), table.sum(axis=1), cost)
        return 1 - _divided(seen * total, by_chance)

    return kappa


def _mean_kappa(
    pairs: Sequence[tuple[Floats, Floats]],
    values: Floats,
    clusters: NDArray[np.int64],
    weights: KappaWeights,
    seed: int,
    signs: Sequence[int] | None = None,
) -> Interval:
    """The mean kappa of several pairs of raters by the units that both labelled; with signs, the mean of those with +1 less that of -1."""
    if not pairs or not len(values):
        return Interval(math.nan, math.nan, math.nan)
    width, kappa = len(values) ** 2, _kappa_of(values, weights)
    sides = np.asarray(signs or [1] * len(pairs))

    def mean(tables: Floats) -> Floats:
        each = tables.reshape(len(tables) * len(pairs), width)
        found, units = kappa(each).reshape(len(tables), -1), each.sum(axis=1).reshape(len(tables), -1)  # (n, pairs)
        units = np.where(np.isnan(found), 0, units)
        total = np.zeros(len(tables))
        for sign in set(sides.tolist()):
            own = sides == sign
            total += sign * _divided((np.nan_to_num(found) * units)[:, own].sum(axis=1), units[:, own].sum(axis=1))
        return total

    parts = np.concatenate([_table(left, right, values) for left, right in pairs], axis=1)
    return bootstrap_statistic(parts, clusters, mean, seed=seed)


def _coincidences(ratings: Floats, values: Floats) -> Floats:
    """(units, values * values) the coincidences of each unit: its pairs of labels, over one less than it has."""
    counts = (ratings[:, :, None] == values).sum(axis=1).astype(float)  # (units, values)
    labels = counts.sum(axis=1)
    pairs: Floats = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(values))
    pairs /= np.maximum(labels - 1, 1)[:, None, None]
    pairs[labels < 2] = 0
    return np.asarray(pairs.reshape(len(ratings), -1), dtype=np.float64)


def _alpha_of(size: int, level: MeasurementLevel) -> Callable[[Floats], Floats]:
    """Alpha as a function of coincidences (n, values * values); the ordinal distance depends on how often each label occurs."""

    def alpha(tables: Floats) -> Floats:
        table = tables.reshape(-1, size, size)
        often = table.sum(axis=2)  # (n, values)
        if level == "nominal":
            apart = np.broadcast_to(1 - np.eye(size), table.shape)
        else:
            upto = often.cumsum(axis=1)
            # Labels from one value to the other, each of the two counted half.
            middle = upto - often / 2
            apart = (middle[:, :, None] - middle[:, None, :]) ** 2
        total = often.sum(axis=1)
        by_chance = np.einsum("ni,nj,nij->n", often, often, apart)
        return 1 - _divided((table * apart).sum(axis=(1, 2)) * (total - 1), by_chance)

    return alpha


def _moments(ratings: Floats) -> Floats:
    """(units, 4): labels, their sum, the sum of their squares about the middle of all, and the sum of squared distances of pairs over
    one less than the labels."""
    told = ~np.isnan(ratings)
    labels = told.sum(axis=1).astype(float)
    centre = np.nanmean(ratings) if told.any() else 0.0  # shifts nothing, and keeps the squares small
    shifted = np.where(told, ratings - centre, 0)
    first, second = shifted.sum(axis=1), (shifted**2).sum(axis=1)
    apart = 2 * (labels * second - first**2) / np.maximum(labels - 1, 1)
    out = np.stack([labels, first, second, apart], axis=1)
    out[labels < 2] = 0
    return out


def _alpha_of_moments(sums: Floats) -> Floats:
    labels, first, second, apart = sums.T
    return 1 - _divided(apart * (labels - 1), 2 * (labels * second - first**2))


def _divided(above: Floats, below: Floats) -> Floats:
    """above / below, NaN where below is nothing (as far as rounding lets it be told)."""
    told = below > 1e-9
    return np.where(told, above / np.where(told, below, 1), np.nan)
