"""Configurations of the channels that are counted from interactions, and their form as JSON.

A training chooses them for its store and stores them beside the blend; serving counts the channels with the stored configurations. This
module does not know how a channel counts (`behavioural`, `user_knn`) or how configurations are chosen (`train.channel_tuning`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ItemKNNConfig:
    """Configuration of item-kNN."""

    similarity: Literal["cosine", "bm25"] = "cosine"
    """Similarity of two items by their users."""
    partner_exponent: float = 0.25
    """For the cosine: exponent of the partner's users in the norm; 0.5 is the cosine, 0 does not penalize popular partners."""
    shrinkage: float = 0.0
    """For the cosine: users that a similarity is damped by."""
    k1: float = 100.0
    """For BM25: saturation of the term frequency."""
    b: float = 0.25
    """For BM25: normalization of the document length, from 0 to 1."""
    max_neighbors: int = 1000
    """Neighbors kept per item."""
    decay: float = 1.0
    """Weight of a history item relative to the next newer one."""


@dataclass(frozen=True, slots=True)
class RandomWalkConfig:
    """Configuration of the random walk (RP3beta)."""

    popularity_exponent: float = 0.3
    """Exponent of the target's users that the probability is divided by; 0 does not penalize popular items."""
    max_neighbors: int = 1000
    """Targets kept per item."""
    decay: float = 1.0
    """Weight of a history item relative to the next newer one."""


@dataclass(frozen=True, slots=True)
class UserKNNConfig:
    """Configuration of user-kNN."""

    neighbors: int = 2000
    """Most similar users whose items count."""
    length_exponent: float = 0.5
    """Exponent of a neighbor's number of items that the similarity is divided by."""
    rarity_exponent: float = 0.5
    """Exponent of a common item's number of users that its weight is divided by."""


@dataclass(frozen=True, slots=True)
class SequentialConfig:
    """Configuration of sequential co-occurrence."""

    window: int = 10
    """Number of later events that count as following an item."""
    shrinkage: float = 20.0
    """Users that a share is damped by."""
    decay: float = 0.8
    """Weight of a history item relative to the next newer one."""


@dataclass(frozen=True, slots=True)
class TextSmoothedConfig:
    """Configuration of co-occurrence smoothed by text; in stores with an order it counts within the window, in both directions."""

    window: int = 10
    """Number of events before and after an item that count, in histories with an order."""
    shrinkage: float = 20.0
    """Users that a similarity is damped by."""
    partner_exponent: float = 0.25
    """Exponent of the partner's users in the norm, in histories without an order."""
    decay: float = 0.8
    """Weight of a history item relative to the next newer one."""


@dataclass(frozen=True, slots=True)
class RecentPopularityChannelConfig:
    """Configuration of recent popularity."""

    days: int = 180
    """Age in days up to which an event counts."""


@dataclass(frozen=True, slots=True)
class CategoryPopularityChannelConfig:
    """Configuration of popularity by category."""

    prior: float = 10.0
    """Number of pseudo-users with the overall share of each category, for smoothing."""


CountedConfig = (
    ItemKNNConfig
    | RandomWalkConfig
    | UserKNNConfig
    | SequentialConfig
    | TextSmoothedConfig
    | RecentPopularityChannelConfig
    | CategoryPopularityChannelConfig
)
_CLASSES: Mapping[str, type[CountedConfig]] = MappingProxyType(
    {
        "item_knn": ItemKNNConfig,
        "co_occurrence": ItemKNNConfig,
        "random_walk": RandomWalkConfig,
        "user_knn": UserKNNConfig,
        "sequential": SequentialConfig,
        "text_smoothed": TextSmoothedConfig,
        "category_popularity": CategoryPopularityChannelConfig,
        "lately": RecentPopularityChannelConfig,
    }
)
DEFAULT_CONFIGS: Mapping[str, CountedConfig] = MappingProxyType(
    {
        "item_knn": ItemKNNConfig(),
        "random_walk": RandomWalkConfig(),
        "user_knn": UserKNNConfig(),
        "sequential": SequentialConfig(),
        "text_smoothed": TextSmoothedConfig(),
        "category_popularity": CategoryPopularityChannelConfig(),
        "lately": RecentPopularityChannelConfig(),
    }
)
"""The counted channels with their configurations where none was chosen. `sequential` is counted only in stores with an order."""
FORMER_CONFIGS: Mapping[str, CountedConfig] = MappingProxyType(
    {
        "sequential": SequentialConfig(),
        "item_knn": ItemKNNConfig(similarity="bm25"),
        "co_occurrence": ItemKNNConfig(partner_exponent=0.0),
        "text_smoothed": TextSmoothedConfig(),
        "lately": RecentPopularityChannelConfig(),
    }
)
"""The channels of blends that were trained before configurations were stored beside them."""


def to_jsonable(configs: Mapping[str, CountedConfig]) -> dict[str, dict[str, Any]]:
    """Return the configurations as plain JSON types, by channel."""
    return {name: asdict(config) for name, config in configs.items()}


def from_jsonable(fields: Mapping[str, Mapping[str, Any]]) -> dict[str, CountedConfig]:
    """Restore configurations from the output of `to_jsonable`.

    Raises:
        KeyError: A channel is unknown.
        TypeError: A field is unknown.
    """
    return {name: _CLASSES[name](**values) for name, values in fields.items()}
