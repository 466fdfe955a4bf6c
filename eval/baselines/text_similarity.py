"""Baselines that read: likeness of item texts, and the training-free sum of it with co-occurrence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from .item_knn import CosineConfig, ItemKNNScorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.ragged import Runs
    from ..splits.training_data import TrainingData


@dataclass(frozen=True, slots=True)
class TextSimilarityConfig:
    """Config of `TextSimilarityScorer`."""

    last: int = 10
    """History items that are looked from, the newest."""
    how: Literal["mean", "max"] = "mean"
    """The cosine with the mean of them, or the highest cosine with any."""


class TextSimilarityScorer:
    """How alike an item's text is to those of the history."""

    def __init__(self, training: TrainingData, config: TextSimilarityConfig) -> None:
        self.vectors, self.config = training.vectors, config

    def scores(self, histories: Runs) -> NDArray[np.float32]:
        """(cases, items) cosines, or sums of them."""
        histories = histories.newest(self.config.last)
        if self.config.how == "mean":
            mean = histories.matrix(len(self.vectors)) @ self.vectors  # (cases, dimensions); its length changes no order
            return mean @ self.vectors.T
        found = np.full((len(histories), len(self.vectors)), -1.0, dtype=np.float32)
        for age in range(self.config.last):
            there = histories.where(histories.age == age)
            some = there.lengths > 0
            found[some] = np.maximum(found[some], self.vectors[there.rows] @ self.vectors.T)
        return found


@dataclass(frozen=True, slots=True)
class TextCoOccurrenceConfig:
    """Config of `TextCoOccurrenceScorer`."""

    last: int = 3
    """History items that are looked from, the newest."""
    decay: float = 0.7
    """Weight of a history item relative to the next newer one."""
    text: float = 0.5
    """Share of the text's part; the rest is co-occurrence."""


class TextCoOccurrenceScorer:
    """Text likeness and co-occurrence of the last few items, each over its highest score of the case, and added: nothing is trained."""

    def __init__(self, training: TrainingData, config: TextCoOccurrenceConfig) -> None:
        self.vectors, self.config = training.vectors, config
        self.pairs = ItemKNNScorer(training, CosineConfig(neighbours=500)).near

    def scores(self, histories: Runs) -> NDArray[np.float32]:
        """(cases, items) at most 1."""
        histories = histories.newest(self.config.last)
        seen = histories.matrix(len(self.vectors), np.power(self.config.decay, histories.age).astype(np.float32))
        pairs = (seen @ self.pairs).toarray()
        text = (seen @ self.vectors) @ self.vectors.T
        return self.config.text * _scaled(text) + (1 - self.config.text) * _scaled(pairs)


def _scaled(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(scores / np.maximum(scores.max(axis=1, keepdims=True, initial=0), 1e-9), dtype=np.float32)
