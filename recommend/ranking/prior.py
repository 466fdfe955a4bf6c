"""The prior of the blend: models learned over other stores, for a store that has trained none or has few questions to train on.

There are two, because counts of co-purchases mean little where hardly any item has several users: one learned over stores with `common`
items, one over `sparse` stores. The file holds weights of channels and nothing of any item, user or category. It is written by
`benchmarks/prior.py` with `train.prior`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...retrieval.channels import declared_relations
from .features import LEVEL_FEATURES
from .learned_blend import BlendModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE = Path(__file__).with_name("prior.json")
"""File of the package with the two models."""
COMMON, SPARSE = "common", "sparse"
SPARSE_USERS = 3
"""Users of a typical item (see `typical_users`) below which a store is sparse."""
DECLARED_WEIGHT = 4.0
"""Weight of the level of the declared relations, about the largest of the learned ones: no store that the prior learned from declares any,
and what a store declares is meant to be shown."""


def load_prior(user_counts: NDArray[np.integer[Any]]) -> BlendModel:
    """Return the prior for a store.

    Args:
        user_counts: (items,) number of users of each item of the store.
    """
    models = json.loads(FILE.read_text("utf-8"))
    learned = BlendModel.from_dict(models[SPARSE if typical_users(user_counts) < SPARSE_USERS else COMMON])
    declared = [f"{declared_relations.NAME}:{feature}" for feature in LEVEL_FEATURES]
    return BlendModel(
        [*learned.feature_names, *declared],
        np.append(learned.mean, np.zeros(len(declared))),
        np.append(learned.scale, np.ones(len(declared))),
        np.append(learned.weights, np.full(len(declared), DECLARED_WEIGHT)),
        metrics=learned.metrics,
    )


def typical_users(user_counts: NDArray[np.integer[Any]]) -> int:
    """Return the number of users of the item of the median purchase; 0 without purchases.

    Args:
        user_counts: (items,) number of users of each item.
    """
    counts = np.sort(user_counts)
    purchases = np.cumsum(counts)
    return int(counts[np.searchsorted(purchases, purchases[-1] / 2)]) if len(counts) and purchases[-1] else 0


def with_channels(model: BlendModel, channels: Iterable[str]) -> BlendModel:
    """Return a weighted sum restricted to the features of some channels; the other channels count as average."""
    wanted = set(channels)
    kept = np.asarray([name.partition(":")[0] in wanted for name in model.feature_names], dtype=bool)
    names = [name for name, is_kept in zip(model.feature_names, kept, strict=True) if is_kept]
    return BlendModel(names, model.mean[kept], model.scale[kept], model.weights[kept], metrics=model.metrics)
