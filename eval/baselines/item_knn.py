"""Baselines that count who had both: item-kNN, by cosine or BM25Config, and directed co-occurrence.

All of them score with one sparse product, histories by items, and cost no more than what their pairs hold.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...retrieval.channels.co_occurrence import bm25, cosine, follows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.ragged import Runs
    from ..splits.training_data import TrainingData


@dataclass(frozen=True, slots=True)
class CosineConfig:
    """Config of `ItemKNNScorer` by cosine."""

    neighbours: int = 200
    """Partners that each item keeps, the nearest."""
    shrinkage: float = 0.0
    """Users that a similarity is damped by: n / (n + shrinkage)."""
    partner: float = 0.5
    """Exponent of the partner's users in the norm: 0.5 is the cosine, 0 divides by the history item's root only."""


@dataclass(frozen=True, slots=True)
class BM25Config:
    """Config of `ItemKNNScorer` by BM25Config, constants as in the source."""

    neighbours: int = 200
    """Partners that each item keeps, the nearest."""
    k1: float = 1.2
    """How soon repeated interactions stop counting."""
    b: float = 0.75
    """How much users with many items count less."""


class ItemKNNScorer:
    """Sum, over the history, of how near each item is by its users.

    Source: Deshpande and Karypis, TOIS 2004; BM25Config as Robertson and Zaragoza, 2009, of an item as document and its users as terms.
    """

    def __init__(self, training: TrainingData, config: CosineConfig | BM25Config) -> None:
        count = bm25 if isinstance(config, BM25Config) else cosine
        self.near = count(training.histories, training.item_count, **asdict(config))

    def scores(self, histories: Runs) -> NDArray[np.float32]:
        """(cases, items) 0 or more."""
        return np.asarray((histories.matrix(self.near.shape[0]) @ self.near).toarray())


@dataclass(frozen=True, slots=True)
class CoOccurrenceConfig:
    """Config of `CoOccurrenceScorer`."""

    window: int = 10
    """How many places behind an item another one still follows it."""
    shrinkage: float = 5.0
    """Users that a share is damped by."""
    decay: float = 0.8
    """Weight of a history item relative to the next newer one."""
    order: Literal["directed", "either"] = "directed"
    """Whether only what came after counts."""


class CoOccurrenceScorer:
    """Of the users who had an item, how many had another one after it; summed over the history, newer items for more."""

    def __init__(self, training: TrainingData, config: CoOccurrenceConfig) -> None:
        self.config = config
        self.follows = follows(
            training.histories, training.item_count, window=config.window, shrinkage=config.shrinkage, either=config.order == "either"
        )

    def scores(self, histories: Runs) -> NDArray[np.float32]:
        """(cases, items) 0 or more."""
        decayed = np.power(self.config.decay, histories.age).astype(np.float32)
        return np.asarray((histories.matrix(self.follows.shape[0], decayed) @ self.follows).toarray())
