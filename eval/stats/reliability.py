"""Reliability curves: calibration of a judge's probabilities against the share of people who agree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .bootstrap import Interval, bootstrap_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RELIABILITY_BINS = 10
"""Default number of bins."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bin of a reliability curve.

    Attributes:
        low: Lower edge.
        high: Upper edge.
        predicted: Mean prediction.
        share: Share of people who agree, with its interval.
        units: Number of units.
    """

    low: float
    high: float
    predicted: float
    share: Interval
    units: int


@dataclass(frozen=True, slots=True)
class ReliabilityCurve:
    """Calibration of a judge's probabilities against the share of people who agree.

    Attributes:
        bins: Non-empty bins, in ascending order.
        error: Expected calibration error: mean distance of prediction and share over the bins, weighted by units, 0 to 1. By chance it is
            above 0 for a perfect judge too, the more so with fewer units per bin.
    """

    bins: tuple[ReliabilityBin, ...]
    error: float


def reliability_curve(
    predicted: Floats, share: Floats, clusters: NDArray[np.int64], *, bins: int = RELIABILITY_BINS, seed: int = 0
) -> ReliabilityCurve:
    """Return the reliability curve of predictions in bins of equal width; empty bins are left out.

    Args:
        predicted: (units,) probabilities, 0 to 1, NaN where missing.
        share: (units,) share of people who agree, 0 to 1, NaN where missing.
        clusters: (units,) cluster of each unit.
        bins: Number of bins.
        seed: Random seed of the bootstrap.

    Raises:
        ValueError: A prediction or share is outside 0 to 1.

    Source: Murphy and Winkler, 1977; the error as Naeini et al., AAAI 2015.
    """
    defined = ~np.isnan(predicted) & ~np.isnan(share)
    predicted, share, clusters = predicted[defined], share[defined], clusters[defined]
    if len(predicted) and (min(predicted.min(), share.min()) < 0 or max(predicted.max(), share.max()) > 1):
        raise ValueError("predictions and shares must be 0 to 1")
    bin_index = np.minimum((predicted * bins).astype(int), bins - 1)
    curve = [
        ReliabilityBin(
            low=i / bins,
            high=(i + 1) / bins,
            predicted=float(predicted[in_bin].mean()),
            share=bootstrap_mean(share[in_bin], clusters[in_bin], seed=seed),
            units=int(in_bin.sum()),
        )
        for i in range(bins)
        if (in_bin := bin_index == i).any()
    ]
    error = sum(abs(b.predicted - b.share.value) * b.units for b in curve) / len(predicted) if curve else math.nan
    return ReliabilityCurve(tuple(curve), float(error))
