"""Fits the prior of the blend: weights learned over many stores, for a store that has trained nothing.

Every store and every kind of question counts the same, whatever its number of queries. Only features that mean the same in every store
take part (`FITTED_FEATURES`), so the prior holds no item, no user and no category. It is served by `recommend.ranking.prior`, and written
by `benchmarks/prior.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..recommend.ranking.features import FITTED_FEATURES, FeatureMatrix
from ..recommend.ranking.learned_blend import BlendModel
from .blend_regression import fit_regression
from .ranking_dataset import RankingDataset

PENALTY = 0.1
"""L2 penalty of the prior on standardized weights. Chosen among 0.003, 0.03, 0.1 and 0.3 on stores left out, with their training users."""
NEGATIVES_PER_QUERY = 120
"""Negative candidates per query."""
MAX_WEIGHT = 6.0
"""Largest weight per unit of a feature: one that is nearly constant in the stores of the fit would get a weight that nothing supports."""


def fit_prior(datasets: Mapping[str, RankingDataset], penalty: float = PENALTY) -> BlendModel:
    """Return the weighted sum fitted to the queries of several stores; its weights are per unit of the feature.

    Args:
        datasets: Store to its queries; those without a purchase among their candidates are left out.
        penalty: L2 penalty.

    Raises:
        ValueError: There are no datasets.
    """
    model = fit_regression(pooled(datasets), penalty)
    weights = np.minimum(model.weights / model.scale, MAX_WEIGHT).round(4)
    return replace(model, mean=model.mean.round(4), scale=np.ones(len(weights)), weights=weights, metrics={"stores": sorted(datasets)})


def pooled(datasets: Mapping[str, RankingDataset]) -> RankingDataset:
    """Return the queries of several stores as one dataset whose kinds are those of each store.

    Args:
        datasets: Store to its queries.

    Raises:
        ValueError: There are no datasets.
    """
    if not datasets:
        raise ValueError("a prior needs the queries of at least one store")
    answered = {store: dataset.with_purchases().with_sampled_negatives(0, NEGATIVES_PER_QUERY) for store, dataset in datasets.items()}
    names = list(
        dict.fromkeys(name for part in answered.values() for name in part.feature_names if name.partition(":")[2] in FITTED_FEATURES)
    )
    kinds = [f"{store}/{kind}" for store, part in answered.items() for kind in part.kinds]
    features, kind_codes, users, offset, user_offset = [], [], [], 0, 0
    for part in answered.values():
        features.append(FeatureMatrix(part.feature_names, part.features).select(names))
        kind_codes.append(part.kind_codes + offset)
        users.append(part.user + user_offset)
        offset += len(part.kinds)
        user_offset += int(part.user.max(initial=-1)) + 1
    lengths = np.concatenate([np.diff(part.starts) for part in answered.values()])
    return RankingDataset(
        names,
        np.concatenate(features),
        np.concatenate([part.purchased for part in answered.values()]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate(users),
        np.concatenate(kind_codes).astype(np.int16),
        kinds,
    )
