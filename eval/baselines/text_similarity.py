"""Text baselines: similarity of item texts, and its untrained sum with co-occurrence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from .item_knn import CosineConfig, ItemKNNScorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.ragged import RaggedArray
    from ..splits.training_data import TrainingData


@dataclass(frozen=True, slots=True)
class TextSimilarityConfig:
    """Hyperparameters of `TextSimilarityScorer`."""

    last: int = 10
    """Number of newest history items to use."""
    how: Literal["mean", "max"] = "mean"
    """`mean` compares with the mean vector of the history, `max` takes the highest cosine with any history item."""


class TextSimilarityScorer:
    """Similarity of each item's text to the texts of the history."""

    def __init__(self, training: TrainingData, config: TextSimilarityConfig) -> None:
        self.vectors, self.config = training.vectors, config

    def scores(self, histories: RaggedArray) -> NDArray[np.float32]:
        """Return (cases, items) cosines, or sums of them."""
        histories = histories.newest(self.config.last)
        if self.config.how == "mean":
            sums = histories.matrix(len(self.vectors)) @ self.vectors  # (cases, dimensions); not normalised, which changes no order
            return sums @ self.vectors.T
        scores = np.full((len(histories), len(self.vectors)), -1.0, dtype=np.float32)
        for age in range(self.config.last):
            at_age = histories.where(histories.age == age)
            present = at_age.lengths > 0
            scores[present] = np.maximum(scores[present], self.vectors[at_age.rows] @ self.vectors.T)
        return scores


@dataclass(frozen=True, slots=True)
class TextCoOccurrenceConfig:
    """Hyperparameters of `TextCoOccurrenceScorer`."""

    last: int = 3
    """Number of newest history items to use."""
    decay: float = 0.7
    """Weight of a history item relative to the next newer one."""
    text: float = 0.5
    """Weight of text similarity, 0 to 1; the rest is co-occurrence."""


class TextCoOccurrenceScorer:
    """Weighted sum of text similarity and co-occurrence with the newest history items, each divided by the case's maximum; untrained."""

    def __init__(self, training: TrainingData, config: TextCoOccurrenceConfig) -> None:
        self.vectors, self.config = training.vectors, config
        self.similarities = ItemKNNScorer(training, CosineConfig(neighbours=500)).similarities

    def scores(self, histories: RaggedArray) -> NDArray[np.float32]:
        """Return (cases, items) scores of at most 1."""
        histories = histories.newest(self.config.last)
        weighted = histories.matrix(len(self.vectors), np.power(self.config.decay, histories.age).astype(np.float32))
        co_occurrence = (weighted @ self.similarities).toarray()
        text = (weighted @ self.vectors) @ self.vectors.T
        for scores, weight in ((text, self.config.text), (co_occurrence, 1 - self.config.text)):
            scores /= np.maximum(scores.max(axis=1, keepdims=True, initial=0), 1e-9)
            scores *= weight
        text += co_occurrence
        return np.asarray(text)
