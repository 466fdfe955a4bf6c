"""Judge biases, each as one number with its interval, from verdicts on texts that differ in one property only.

Pure statistics: the caller makes the pairs (the same answer first and second, short and padded, with one brand and with another, at other
positions of a list, repeated) and passes the judge's verdicts. A bias of 0 is none. Scores may have any scale; verdicts on pairs are as in
`pairwise`. Intervals resample clusters; unscored cases (NaN) are excluded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..stats.bootstrap import Interval, bootstrap_mean, bootstrap_statistic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BiasName = Literal["order", "flips", "length", "brand", "brand_any", "place", "own", "repeat", "repeat_spread"]
MEANINGS: dict[BiasName, str] = {
    "order": "share of verdicts that the place alone decides, the first shown winning; below 0 the second",
    "flips": "share of pairs whose winner changes with the order",
    "length": "change of the score when a text becomes twice as long and says no more",
    "brand": "change of the score when an unknown brand is replaced by a known one",
    "brand_any": "how far a score moves either way when a brand is swapped, beyond what asking again moves it",
    "place": "change of the score when the same item stands one place further down a list",
    "own": "how much more the judge favours texts of its own base than the reference does",
    "repeat": "share of repeated calls with another verdict",
    "repeat_spread": "standard deviation of a score when the same is asked again",
}
"""Meaning of a value of 1; texts of `judge.json`."""


@dataclass(frozen=True, slots=True)
class Bias:
    """Estimate of one bias.

    Attributes:
        name: Kind of bias.
        value: Estimate with its interval.
        cases: Number of scored cases.
    """

    name: BiasName
    value: Interval
    cases: int

    @property
    def significant(self) -> bool:
        """True if the interval excludes 0. Shares and spreads cannot be below 0: there, True if the interval is above 0."""
        return self.value.low > 0 or self.value.high < 0

    def to_dict(self) -> dict[str, object]:
        """Return the bias as JSON."""
        return {
            "bias": self.name,
            **self.value.to_dict(),
            "cases": self.cases,
            "meaning": MEANINGS[self.name],
            "shown": self.significant,
        }


def order_bias(left_first: Floats, right_first: Floats, clusters: NDArray[np.int64], *, seed: int = 0) -> tuple[Bias, Bias]:
    """Return the preference for the first text, and the share of pairs whose winner changes with the order.

    Args:
        left_first: (pairs,) verdict on the left text when it is shown first.
        right_first: (pairs,) verdict on the left text when it is shown second.
        clusters: (pairs,) cluster of each pair.
        seed: Seed of the bootstrap.

    Source: Wang et al., Large Language Models are not Fair Evaluators, ACL 2024.
    """
    change = left_first - right_first
    flips = np.where(np.isnan(change), np.nan, np.abs(change) == 1)
    return _mean("order", change, clusters, seed), _mean("flips", flips, clusters, seed)


def length_bias(
    plain: Floats, padded: Floats, plain_lengths: Floats, padded_lengths: Floats, clusters: NDArray[np.int64], *, seed: int = 0
) -> Bias:
    """Return the change of the score per doubling of a text by words without information.

    Args:
        plain: (texts,) scores of the plain texts.
        padded: (texts,) scores of the padded texts.
        plain_lengths: (texts,) lengths above 0, in any unit.
        padded_lengths: (texts,) lengths in the same unit.
        clusters: (texts,) cluster of each text.
        seed: Seed of the bootstrap.
    """
    return _slope("length", np.log2(padded_lengths / plain_lengths), padded - plain, clusters, seed)


def brand_bias(
    unknown: Floats, known: Floats, clusters: NDArray[np.int64], repeated: Floats | None = None, *, seed: int = 0
) -> tuple[Bias, Bias]:
    """Return the effect of a brand name: towards the known brands, and in either direction.

    Args:
        unknown: (items,) scores with an unknown brand.
        known: (items,) scores of the same items with a known brand.
        clusters: (items,) cluster of each item.
        repeated: (items,) scores of a second call with the unknown brand; the difference between the calls is subtracted from the effect in
            either direction. Without it, noise counts as an effect.
        seed: Seed of the bootstrap.
    """
    change = np.abs(known - unknown)
    noise = np.zeros_like(change) if repeated is None else np.abs(repeated - unknown)
    return _mean("brand", known - unknown, clusters, seed), _mean("brand_any", change - noise, clusters, seed)


def position_bias(scores: Floats, positions: Floats, items: NDArray[np.int64], clusters: NDArray[np.int64], *, seed: int = 0) -> Bias:
    """Return the change of the score per position further down, for the same item at several positions of the same list.

    Args:
        scores: (cases,) scores.
        positions: (cases,) positions from the top.
        items: (cases,) index of the item and list; only cases with the same index are compared.
        clusters: (cases,) cluster of each case.
        seed: Seed of the bootstrap.
    """
    scored = ~np.isnan(scores)
    scores, positions, items, clusters = scores[scored], positions[scored], items[scored], clusters[scored]
    _, item = np.unique(items, return_inverse=True)
    counts = np.maximum(np.bincount(item), 1)
    centered = [values - (np.bincount(item, weights=values) / counts)[item] for values in (positions, scores)]
    return _slope("place", centered[0], centered[1], clusters, seed)


def self_preference_bias(judge: Floats, reference: Floats, clusters: NDArray[np.int64], *, seed: int = 0) -> Bias:
    """Return how much more a judge favours texts of its own base model than a reference does, on the same pairs.

    Without a reference (people, or a judge with another base model) a preference cannot be distinguished from better texts.

    Args:
        judge: (pairs,) the judge's verdicts on the text of its own base model, or score differences.
        reference: (pairs,) the reference's verdicts on the same text.
        clusters: (pairs,) cluster of each pair.
        seed: Seed of the bootstrap.

    Source: Panickssery et al., LLM Evaluators Recognize and Favor Their Own Generations, NeurIPS 2024.
    """
    return _mean("own", judge - reference, clusters, seed)


def repeat_bias(first: Floats, second: Floats, clusters: NDArray[np.int64], *, seed: int = 0) -> tuple[Bias, Bias]:
    """Return the inconsistency of repeated calls: the share that differs, and the standard deviation of one score.

    Args:
        first: (calls,) verdicts of the first calls.
        second: (calls,) verdicts of the repetitions.
        clusters: (calls,) cluster of each call.
        seed: Seed of the bootstrap.
    """
    change = second - first
    scored = ~np.isnan(change)
    differs = np.where(scored, change != 0, np.nan)
    terms = np.stack([np.where(scored, change**2, 0), scored.astype(float)], axis=1)

    def spread(sums: Floats) -> Floats:
        # The variance of the difference of two independent answers is twice that of one.
        return np.where(sums[:, 1] > 0, np.sqrt(sums[:, 0] / np.maximum(sums[:, 1], 1) / 2), np.nan)

    noise = Bias("repeat_spread", bootstrap_statistic(terms, clusters, spread, seed=seed), int(scored.sum()))
    return _mean("repeat", differs, clusters, seed), noise


def _mean(name: BiasName, values: Floats, clusters: NDArray[np.int64], seed: int) -> Bias:
    return Bias(name, bootstrap_mean(values, clusters, seed=seed), int((~np.isnan(values)).sum()))


def _slope(name: BiasName, feature: Floats, change: Floats, clusters: NDArray[np.int64], seed: int) -> Bias:
    """Return the slope through the origin of a change on a feature; NaN if the feature is always 0."""
    scored = ~np.isnan(change) & ~np.isnan(feature)
    terms = np.where(scored[:, None], np.stack([feature * change, feature**2], axis=1), 0)

    def slope(sums: Floats) -> Floats:
        return np.where(sums[:, 1] > 0, sums[:, 0] / np.where(sums[:, 1] > 0, sums[:, 1], 1), math.nan)

    return Bias(name, bootstrap_statistic(terms, clusters, slope, seed=seed), int(scored.sum()))
