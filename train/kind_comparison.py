"""Compares the ranking of a blend with the best single channel of each kind of question.

A kind counts the same whatever its number of questions, and each kind's NDCG@10 is taken relative to what its best channel reaches, so that
kinds with few easy targets and kinds with many hard ones can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..recommend.ranking.features import LEVEL_FEATURES
from .ranking_dataset import RankingDataset, ndcg

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOT_COMPARED = frozenset({"cold"})
"""Kinds that take part in the fit but not in the choice by the worst kind: for cold targets the text channel is best by a wide margin, and
a blend that had to reach it would lose all others."""
MIN_QUERIES_COMPARED = 50
"""Queries of a kind from which on it takes part in the choice, if any kind has so many: the mean of fewer is mostly chance."""


def channel_ndcg(answered: RankingDataset) -> dict[str, NDArray[np.float64]]:
    """Return channel to (queries,) NDCG@10 of its own order of the candidates.

    Args:
        answered: Queries with a purchase among their candidates.
    """
    levels: dict[str, NDArray[np.float64]] = {}
    for column, name in enumerate(answered.feature_names):
        channel, _, feature = name.partition(":")
        if feature in LEVEL_FEATURES:  # they add up to the channel's level
            levels[channel] = levels.get(channel, 0.0) + answered.features[:, column].astype(np.float64)
    return {channel: ndcg(answered, level) for channel, level in levels.items()}


def means_by_kind(answered: RankingDataset, values: NDArray[np.float64]) -> dict[str, float]:
    """Return the mean of each kind that has queries.

    Args:
        answered: Queries with a purchase among their candidates.
        values: (queries,) any values.
    """
    codes = answered.kind_codes
    return {kind: float(values[codes == code].mean()) for code, kind in enumerate(answered.kinds) if (codes == code).any()}


def best_channels(answered: RankingDataset, channels: Mapping[str, NDArray[np.float64]]) -> dict[str, tuple[str, float]]:
    """Return kind to its best channel and that channel's mean NDCG@10.

    Args:
        answered: Queries with a purchase among their candidates.
        channels: Channel to (queries,) NDCG@10.
    """
    means = {name: means_by_kind(answered, values) for name, values in channels.items()}
    kinds = means_by_kind(answered, np.zeros(len(answered)))
    return {kind: max(((name, by_kind[kind]) for name, by_kind in means.items()), key=lambda pair: pair[1]) for kind in kinds if means}


def relative_to_best(
    answered: RankingDataset, values: NDArray[np.float64], channels: Mapping[str, NDArray[np.float64]]
) -> dict[str, float]:
    """Return kind to its mean relative to its best channel, minus 1; without kinds that are not compared.

    Args:
        answered: Queries with a purchase among their candidates.
        values: (queries,) NDCG@10.
        channels: Channel to (queries,) NDCG@10.
    """
    means, counts = means_by_kind(answered, values), np.bincount(answered.kind_codes, minlength=len(answered.kinds))
    best = {kind: value for kind, (_, value) in best_channels(answered, channels).items() if kind not in NOT_COMPARED and value > 0}
    many = {kind for kind, count in zip(answered.kinds, counts.tolist(), strict=True) if count >= MIN_QUERIES_COMPARED}
    return {kind: means[kind] / value - 1 for kind, value in best.items() if kind in many or not many & best.keys()}


def worst_relative(answered: RankingDataset, values: NDArray[np.float64], channels: Mapping[str, NDArray[np.float64]]) -> float:
    """Return the lowest of `relative_to_best`; the mean NDCG@10 where no channel can be compared.

    Args:
        answered: Queries with a purchase among their candidates.
        values: (queries,) NDCG@10.
        channels: Channel to (queries,) NDCG@10.
    """
    return min(relative_to_best(answered, values, channels).values(), default=float(values.mean()))


def mean_relative(answered: RankingDataset, values: NDArray[np.float64], channels: Mapping[str, NDArray[np.float64]]) -> float:
    """Return the mean of `relative_to_best`; the mean NDCG@10 where no channel can be compared.

    Args:
        answered: Queries with a purchase among their candidates.
        values: (queries,) NDCG@10.
        channels: Channel to (queries,) NDCG@10.
    """
    relative = list(relative_to_best(answered, values, channels).values())
    return float(np.mean(relative)) if relative else float(values.mean())
