"""Inter-rater agreement beyond chance: Cohen's kappa, Krippendorff's alpha, agreement of people with each other and with a judge.

Ratings are (units, raters) numbers, NaN where a rater gave no label; for nominal labels the numbers are mere codes. Every statistic has a
bootstrap interval over clusters (users or source items), because units of one cluster are not independent. This module does not know who
the raters are: a judge is one more column.
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


def cohen_kappa(
    left: Floats, right: Floats, clusters: NDArray[np.int64], *, weights: KappaWeights = "unweighted", seed: int = 0
) -> Interval:
    """Return Cohen's kappa of two raters: 1 for full agreement, 0 for chance, below 0 for less; NaN if both always give the same label.

    Args:
        left: (units,) labels of one rater; units without both labels are left out.
        right: (units,) labels of the other rater.
        clusters: (units,) cluster of each unit.
        weights: Cost of a disagreement: constant, the distance of the labels, or its square. Distances are between values, not ranks, so
            unused labels have no effect.
        seed: Random seed of the bootstrap.

    Source: Cohen, 1960, and 1968 for weights.
    """
    values = _label_values(left, right)
    return bootstrap_statistic(_contingency(left, right, values), clusters, _kappa_of(values, weights), seed=seed)


def krippendorff_alpha(ratings: Floats, clusters: NDArray[np.int64], *, level: MeasurementLevel = "nominal", seed: int = 0) -> Interval:
    """Return Krippendorff's alpha of any number of raters: 1 for full agreement, 0 for chance; NaN if only one label occurs.

    Args:
        ratings: (units, raters) labels; units with fewer than two labels are left out.
        clusters: (units,) cluster of each unit.
        level: Level of measurement.
        seed: Random seed of the bootstrap.

    Source: Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011.
    """
    if level == "interval":
        return bootstrap_statistic(_moments(ratings), clusters, _alpha_of_moments, seed=seed)
    values = _label_values(ratings)
    return bootstrap_statistic(_coincidences(ratings, values), clusters, _alpha_of(len(values), level), seed=seed)


@dataclass(frozen=True, slots=True)
class HumanAgreement:
    """Agreement of people with each other, which bounds the agreement that a judge can reach with them.

    Attributes:
        pairwise: Mean kappa of two people, weighted by the units that both labelled.
        leave_one_out: Mean kappa of one person with the majority of the others, weighted likewise.
        alpha: Krippendorff's alpha.
        units: Number of units with two labels or more.
        raters: Number of people.
    """

    pairwise: Interval
    leave_one_out: Interval
    alpha: Interval
    units: int
    raters: int


def human_agreement(ratings: Floats, clusters: NDArray[np.int64], *, weights: KappaWeights = "unweighted", seed: int = 0) -> HumanAgreement:
    """Return the agreement of people with each other.

    Args:
        ratings: (units, people) labels.
        clusters: (units,) cluster of each unit.
        weights: Cost of a disagreement, see `cohen_kappa`.
        seed: Random seed of the bootstrap.
    """
    values, people = _label_values(ratings), ratings.T
    pairs = [(a, b) for a, b in itertools.combinations(people, 2) if _both_labelled(a, b).any()]
    with_majority = [(person, majority(np.delete(ratings, i, axis=1))) for i, person in enumerate(people)]
    level: MeasurementLevel = "nominal" if weights == "unweighted" else "interval"
    return HumanAgreement(
        pairwise=_mean_kappa(pairs, values, clusters, weights, seed),
        leave_one_out=_mean_kappa(with_majority, values, clusters, weights, seed),
        alpha=krippendorff_alpha(ratings, clusters, level=level, seed=seed),
        units=int(((~np.isnan(ratings)).sum(axis=1) > 1).sum()),
        raters=int((~np.isnan(ratings)).any(axis=0).sum()),
    )


@dataclass(frozen=True, slots=True)
class JudgeAgreement:
    """Agreement of a judge with people.

    Attributes:
        majority: Kappa with the majority of people.
        pairwise: Mean kappa with one person, to compare with that of people with each other.
        beside: Mean over people of the judge's kappa with the other people minus that person's kappa with them; above zero, the judge
            represents the group better than one of its members does.
        accuracy: Share of units on which the judge agrees with the majority.
        answered: Share of all units that the judge answered.
    """

    majority: Interval
    pairwise: Interval
    beside: Interval
    accuracy: Interval
    answered: float


def judge_agreement(
    judge: Floats, ratings: Floats, clusters: NDArray[np.int64], *, weights: KappaWeights = "unweighted", seed: int = 0
) -> JudgeAgreement:
    """Return the agreement of a judge with people.

    Args:
        judge: (units,) labels of the judge, NaN where unscored.
        ratings: (units, people) labels.
        clusters: (units,) cluster of each unit.
        weights: Cost of a disagreement, see `cohen_kappa`.
        seed: Random seed of the bootstrap.

    Source: `beside` after Calderon et al., The Alternative Annotator Test for LLM-as-a-Judge, ACL 2025, with kappa for their accuracy.
    """
    majority_labels, people = majority(ratings), ratings.T
    values = _label_values(judge, ratings)
    correct = np.where(_both_labelled(judge, majority_labels), judge == majority_labels, np.nan)
    with_people = [(judge, person) for person in people if _both_labelled(judge, person).any()]
    # The person and the judge are compared with the same others on the same units.
    with_others = [(person, majority(np.delete(ratings, i, axis=1))) for i, person in enumerate(people)]
    person_pairs = [(np.where(np.isnan(judge), np.nan, person), others) for person, others in with_others]
    judge_pairs = [(np.where(np.isnan(person), np.nan, judge), others) for person, others in with_others]
    signs = [1] * len(judge_pairs) + [-1] * len(person_pairs)
    return JudgeAgreement(
        majority=cohen_kappa(judge, majority_labels, clusters, weights=weights, seed=seed),
        pairwise=_mean_kappa(with_people, values, clusters, weights, seed),
        beside=_mean_kappa([*judge_pairs, *person_pairs], values, clusters, weights, seed, signs=signs),
        accuracy=bootstrap_mean(correct, clusters, seed=seed),
        answered=float((~np.isnan(judge)).mean()) if len(judge) else math.nan,
    )


def majority(ratings: Floats) -> Floats:
    """(units,) most frequent label of each unit; NaN for a tie or without labels."""
    values = _label_values(ratings)
    if not len(values):
        return np.full(len(ratings), np.nan)
    counts = (ratings[:, :, None] == values).sum(axis=1)  # (units, values)
    largest = counts.max(axis=1)
    is_unique = ((counts == largest[:, None]).sum(axis=1) == 1) & (largest > 0)
    return np.where(is_unique, values[counts.argmax(axis=1)], np.nan)


def _label_values(*ratings: Floats) -> Floats:
    """The labels that occur, ascending."""
    labels = np.concatenate([np.ravel(array) for array in ratings])
    return np.unique(labels[~np.isnan(labels)])


def _both_labelled(left: Floats, right: Floats) -> NDArray[np.bool_]:
    return ~np.isnan(left) & ~np.isnan(right)


def _contingency(left: Floats, right: Floats, values: Floats) -> Floats:
    """(units, values * values) contribution of each unit to the contingency table of left and right; 0 if one label is missing."""
    table = np.zeros((len(left), len(values) ** 2))
    both = np.flatnonzero(_both_labelled(left, right))
    table[both, np.searchsorted(values, left[both]) * len(values) + np.searchsorted(values, right[both])] = 1
    return table


def _kappa_of(values: Floats, weights: KappaWeights) -> Callable[[Floats], Floats]:
    """Kappa as a function of (n, values * values) contingency tables, NaN where the expected disagreement is 0."""
    distance = np.abs(values[:, None] - values[None, :])
    cost = {"unweighted": (distance > 0).astype(float), "linear": distance, "quadratic": distance**2}[weights]

    def kappa(tables: Floats) -> Floats:
        table = tables.reshape(-1, len(values), len(values))
        total = table.sum(axis=(1, 2))
        observed = (table * cost).sum(axis=(1, 2))
        expected = np.einsum("ni,nj,ij->n", table.sum(axis=2), table.sum(axis=1), cost)
        return 1 - _ratio(observed * total, expected)

    return kappa


def _mean_kappa(
    pairs: Sequence[tuple[Floats, Floats]],
    values: Floats,
    clusters: NDArray[np.int64],
    weights: KappaWeights,
    seed: int,
    signs: Sequence[int] | None = None,
) -> Interval:
    """Mean kappa of pairs of raters, weighted by the units that both labelled; with signs, the mean of +1 minus the mean of -1."""
    if not pairs or not len(values):
        return Interval(math.nan, math.nan, math.nan)
    width, kappa = len(values) ** 2, _kappa_of(values, weights)
    sides = np.asarray(signs or [1] * len(pairs))

    def mean(tables: Floats) -> Floats:
        pair_tables = tables.reshape(len(tables) * len(pairs), width)
        kappas = kappa(pair_tables).reshape(len(tables), -1)  # (n, pairs)
        units = np.where(np.isnan(kappas), 0, pair_tables.sum(axis=1).reshape(len(tables), -1))
        total = np.zeros(len(tables))
        for sign in set(sides.tolist()):
            side = sides == sign
            total += sign * _ratio((np.nan_to_num(kappas) * units)[:, side].sum(axis=1), units[:, side].sum(axis=1))
        return total

    parts = np.concatenate([_contingency(left, right, values) for left, right in pairs], axis=1)
    return bootstrap_statistic(parts, clusters, mean, seed=seed)


def _coincidences(ratings: Floats, values: Floats) -> Floats:
    """(units, values * values) coincidences of each unit: its pairs of labels over the number of its labels minus one."""
    counts = (ratings[:, :, None] == values).sum(axis=1).astype(float)  # (units, values)
    labels = counts.sum(axis=1)
    pairs: Floats = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(values))
    pairs /= np.maximum(labels - 1, 1)[:, None, None]
    pairs[labels < 2] = 0
    return np.asarray(pairs.reshape(len(ratings), -1), dtype=np.float64)


def _alpha_of(size: int, level: MeasurementLevel) -> Callable[[Floats], Floats]:
    """Alpha as a function of (n, values * values) coincidences; the ordinal distance depends on the frequencies of the labels."""

    def alpha(tables: Floats) -> Floats:
        table = tables.reshape(-1, size, size)
        frequencies = table.sum(axis=2)  # (n, values)
        if level == "nominal":
            distance = np.broadcast_to(1 - np.eye(size), table.shape)
        else:
            # Number of labels from one value to the other, with half of the labels of each of the two.
            midpoints = frequencies.cumsum(axis=1) - frequencies / 2
            distance = (midpoints[:, :, None] - midpoints[:, None, :]) ** 2
        total = frequencies.sum(axis=1)
        expected = np.einsum("ni,nj,nij->n", frequencies, frequencies, distance)
        return 1 - _ratio((table * distance).sum(axis=(1, 2)) * (total - 1), expected)

    return alpha


def _moments(ratings: Floats) -> Floats:
    """(units, 4): number of labels, their sum, the sum of their squares, and the sum of squared distances of pairs over the number of
    labels minus one. Labels are centred on their overall mean."""
    is_labelled = ~np.isnan(ratings)
    labels = is_labelled.sum(axis=1).astype(float)
    centre = np.nanmean(ratings) if is_labelled.any() else 0.0  # has no effect on alpha, and keeps the squares small
    centred = np.where(is_labelled, ratings - centre, 0)
    first, second = centred.sum(axis=1), (centred**2).sum(axis=1)
    distances = 2 * (labels * second - first**2) / np.maximum(labels - 1, 1)
    moments = np.stack([labels, first, second, distances], axis=1)
    moments[labels < 2] = 0
    return moments


def _alpha_of_moments(sums: Floats) -> Floats:
    """(n,) alpha at the interval level from (n, 4) sums of `_moments`."""
    labels, first, second, distances = sums.T
    return 1 - _ratio(distances * (labels - 1), 2 * (labels * second - first**2))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """numerator / denominator, NaN where the denominator is 0 up to rounding."""
    defined = denominator > 1e-9
    return np.where(defined, numerator / np.where(defined, denominator, 1), np.nan)
