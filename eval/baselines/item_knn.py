"""Co-occurrence baselines: item-kNN with cosine or BM25 similarity, and directed co-occurrence.

Each scores with one sparse product of (cases, items) histories and (items, items) similarities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...retrieval.channels.co_occurrence import bm25, cosine_from_counts, sequential

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.ragged import RaggedArray
    from ..splits.training_data import TrainingData


@dataclass(frozen=True, slots=True)
class CosineConfig:
    """Hyperparameters of `ItemKNNScorer` with cosine similarity."""

    neighbours: int = 200
    """Number of nearest neighbors per item."""
    shrinkage: float = 0.0
    """Shrinkage in users: a similarity from n users is multiplied by n / (n + shrinkage)."""
    partner: float = 0.5
    """Exponent of the neighbor's user count in the norm: 0.5 is the cosine, 0 normalises by the history item only."""


@dataclass(frozen=True, slots=True)
class BM25Config:
    """Hyperparameters of `ItemKNNScorer` with BM25 similarity; the defaults are those of the source."""

    neighbours: int = 200
    """Number of nearest neighbors per item."""
    k1: float = 1.2
    """Saturation of repeated interactions."""
    b: float = 0.75
    """Length normalisation: how strongly users with many items are down-weighted, 0 to 1."""


class ItemKNNScorer:
    """Item-kNN: the sum, over the history, of each item's similarity by common users.

    Source: Deshpande and Karypis, TOIS 2004; BM25 of Robertson and Zaragoza, 2009, with items as documents and their users as terms.
    """

    def __init__(self, training: TrainingData, config: CosineConfig | BM25Config) -> None:
        if isinstance(config, BM25Config):
            similarities = bm25(training.histories, training.item_count, max_neighbors=config.neighbours, k1=config.k1, b=config.b)
        else:
            similarities = cosine_from_counts(
                training.pair_counts,
                training.user_counts,
                max_neighbors=config.neighbours,
                shrinkage=config.shrinkage,
                partner_exponent=config.partner,
            )
        self.similarities = similarities  # (items, items)

    def scores(self, histories: RaggedArray) -> NDArray[np.float32]:
        """Return (cases, items) scores of 0 or more."""
        return np.asarray((histories.matrix(self.similarities.shape[0]) @ self.similarities).toarray())


@dataclass(frozen=True, slots=True)
class CoOccurrenceConfig:
    """Hyperparameters of `CoOccurrenceScorer`."""

    window: int = 10
    """Largest distance between two items of a history that counts as co-occurrence, in positions."""
    shrinkage: float = 5.0
    """Shrinkage in users, added to the denominator of a share."""
    decay: float = 0.8
    """Weight of a history item relative to the next newer one."""
    order: Literal["directed", "either"] = "directed"
    """`directed` counts only items after the history item, `either` also those before it."""


class CoOccurrenceScorer:
    """Directed co-occurrence: the share of an item's users with another item after it, summed over the history with decay."""

    def __init__(self, training: TrainingData, config: CoOccurrenceConfig) -> None:
        self.config = config
        self.shares = sequential(
            training.histories,
            training.item_count,
            window=config.window,
            shrinkage=config.shrinkage,
            both_directions=config.order == "either",
        )  # (items, items)

    def scores(self, histories: RaggedArray) -> NDArray[np.float32]:
        """Return (cases, items) scores of 0 or more."""
        weights = np.power(self.config.decay, histories.age).astype(np.float32)
        return np.asarray((histories.matrix(self.shares.shape[0], weights) @ self.shares).toarray())
