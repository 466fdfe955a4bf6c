"""What moves a judge besides quality: each bias as one number with its interval, from verdicts on texts that differ in one thing only.

Pure statistics: whoever holds the judge makes the pairs (the same answer first and second, short and padded, with one brand and with
another, at other places of a list, asked again) and hands over what it said. A bias of 0 is none. Scores may be of any scale; verdicts
on pairs are as `preferences` has them. All is resampled by cluster, and unscored cases (NaN) are left out.
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

Name = Literal["order", "flips", "length", "brand", "brand_any", "place", "own", "repeat", "repeat_spread"]
MEANINGS: dict[Name, str] = {
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
"""What a value of 1 would mean."""


@dataclass(frozen=True, slots=True)
class Bias:
    """One bias. Attributes: cases: that it was measured on."""

    name: Name
    value: Interval
    cases: int

    @property
    def shown(self) -> bool:
        """Whether the interval leaves 0 out; for shares and spreads, which cannot be below 0, whether it is above 0 at all."""
        return self.value.low > 0 or self.value.high < 0

    def to_dict(self) -> dict[str, object]:
        """As a report holds it."""
        return {"bias": self.name, **self.value.to_dict(), "cases": self.cases, "meaning": MEANINGS[self.name], "shown": self.shown}


def order(left_first: Floats, right_first: Floats, clusters: NDArray[np.int64], *, seed: int = 0) -> tuple[Bias, Bias]:
    """Whether it matters which of two is shown first: by how much, and in how many pairs the winner changes.

    Args: left_first, right_first: (pairs,) the verdict on the left one when it was shown first, and second. clusters: (pairs,).
    Source: Wang et al., Large Language Models are not Fair Evaluators, ACL 2024.
    """
    change = left_first - right_first
    flips = np.where(np.isnan(change), np.nan, np.abs(change) == 1)
    return _mean("order", change, clusters, seed), _mean("flips", flips, clusters, seed)


def length(
    plain: Floats, padded: Floats, plain_lengths: Floats, padded_lengths: Floats, clusters: NDArray[np.int64], *, seed: int = 0
) -> Bias:
    """How much a score changes for each doubling of a text by words that say nothing new.

    Args: (texts,) scores, and lengths above 0 in any one unit, of both versions. clusters: (texts,).
    """
    return _slope("length", np.log2(padded_lengths / plain_lengths), padded - plain, clusters, seed)


def brand(unknown: Floats, known: Floats, clusters: NDArray[np.int64], again: Floats | None = None, *, seed: int = 0) -> tuple[Bias, Bias]:
    """What a brand's name alone does to a score: toward the known brands, and either way.

    Args: unknown, known: (items,) scores of the same text with either. again: (items,) of the text with the unknown brand asked once more:
        what a swap moves is counted beyond that; without it, noise is counted as an effect.
    """
    moved = np.abs(known - unknown)
    noise = np.zeros_like(moved) if again is None else np.abs(again - unknown)
    return _mean("brand", known - unknown, clusters, seed), _mean("brand_any", moved - noise, clusters, seed)


def place(scores: Floats, places: Floats, items: NDArray[np.int64], clusters: NDArray[np.int64], *, seed: int = 0) -> Bias:
    """How much a score changes for each place further down, among scores of the same item in the same list, put at other places.

    Args: scores, places: (showings,). items: (showings,) which list and item it is: only showings of one are compared.
        clusters: (showings,).
    """
    told = ~np.isnan(scores)
    scores, places, items, clusters = scores[told], places[told], items[told], clusters[told]
    _, item = np.unique(items, return_inverse=True)
    times = np.maximum(np.bincount(item), 1)
    about = [values - (np.bincount(item, weights=values) / times)[item] for values in (places, scores)]
    return _slope("place", about[0], about[1], clusters, seed)


def own_base(judge: Floats, reference: Floats, clusters: NDArray[np.int64], *, seed: int = 0) -> Bias:
    """How much more a judge favours texts of its own base than a reference does, on the same pairs.

    Without a reference (people, or a judge of another base) it cannot be told from the texts being better.

    Args: judge, reference: (pairs,) verdicts on the text of the judge's own base against another, or differences of scores.
    Source: Panickssery et al., LLM Evaluators Recognize and Favor Their Own Generations, NeurIPS 2024.
    """
    return _mean("own", judge - reference, clusters, seed)


def repeat(first: Floats, again: Floats, clusters: NDArray[np.int64], *, seed: int = 0) -> tuple[Bias, Bias]:
    """How far a judge is from saying the same when asked the same again: how often it differs, and the noise of one score.

    Args: first, again: (calls,) both answers. clusters: (calls,).
    """
    change = again - first
    told = ~np.isnan(change)
    differs = np.where(told, change != 0, np.nan)
    parts = np.stack([np.where(told, change**2, 0), told.astype(float)], axis=1)

    def spread(sums: Floats) -> Floats:
        # Two independent answers differ by a variance twice that of one.
        return np.where(sums[:, 1] > 0, np.sqrt(sums[:, 0] / np.maximum(sums[:, 1], 1) / 2), np.nan)

    noise = Bias("repeat_spread", bootstrap_statistic(parts, clusters, spread, seed=seed), int(told.sum()))
    return _mean("repeat", differs, clusters, seed), noise


def _mean(name: Name, values: Floats, clusters: NDArray[np.int64], seed: int) -> Bias:
    return Bias(name, bootstrap_mean(values, clusters, seed=seed), int((~np.isnan(values)).sum()))


def _slope(name: Name, feature: Floats, change: Floats, clusters: NDArray[np.int64], seed: int) -> Bias:
    """The slope through the origin of a change on a feature; NaN where the feature never differs from 0."""
    told = ~np.isnan(change) & ~np.isnan(feature)
    parts = np.where(told[:, None], np.stack([feature * change, feature**2], axis=1), 0)

    def slope(sums: Floats) -> Floats:
        return np.where(sums[:, 1] > 0, sums[:, 0] / np.where(sums[:, 1] > 0, sums[:, 1], 1), math.nan)

    return Bias(name, bootstrap_statistic(parts, clusters, slope, seed=seed), int(told.sum()))
