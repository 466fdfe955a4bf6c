"""Text similarity over a whole catalogue: the channel `semantic` for the blend, and the nearest items by text.

A vector index finds a few nearest items fast, but a query such as "not of these categories" makes it go through much of the catalogue. With
all vectors in memory, one matrix product is faster. Only item texts are used, no reviews.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .base import CandidateQuery, ChannelScores

MAX_HISTORY = 6
"""Number of newest history items to compare with, as in the channel over the index."""
MAX_NEIGHBORS, TEMPERATURE = 20, 0.1
"""Number of nearest items by text, and the temperature of their weights exp((cosine - 1) / temperature)."""


class TextSimilarity:
    """Similarity of each item's text to the texts of the newest history items.

    Args:
        vectors: (items, dimensions) unit vectors, or zeros for items without a text.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return weighted means of the cosines, 0 or more, and the anchors."""
        anchors = np.arange(max(0, len(query.rows) - MAX_HISTORY), len(query.rows))
        if not len(anchors):
            return np.zeros(len(self.vectors), np.float32), np.full(len(self.vectors), -1, np.int64)
        cosines = np.maximum(self.vectors @ self.vectors[query.rows[anchors]].T, 0)  # (items, history)
        weighted = cosines * query.weights[anchors]
        scores = weighted.sum(axis=1) / query.weights[anchors].sum()
        return scores.astype(np.float32), np.where(scores > 0, anchors[weighted.argmax(axis=1)], -1)


class TextNeighbors:
    """Nearest items by text, computed once per item and cached.

    Args:
        vectors: (items, dimensions) unit vectors, or zeros for items without a text.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors
        self._cache: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}

    def nearest(self, rows: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Return for each row its nearest rows, itself first, and their weights, at most 1."""
        missing = [row for row in dict.fromkeys(rows.tolist()) if row not in self._cache]
        if missing:
            cosines = self.vectors[missing] @ self.vectors.T  # (missing, items)
            cosines[np.arange(len(missing)), missing] = -np.inf
            count = min(MAX_NEIGHBORS, len(self.vectors) - 1)
            nearest = np.argpartition(-cosines, count, axis=1)[:, :count] if count else np.empty((len(missing), 0), np.int64)
            for row, others, similarities in zip(missing, nearest, cosines, strict=True):
                weights = np.exp((np.minimum(similarities[others], 1) - 1) / TEMPERATURE)
                self._cache[row] = (np.append(row, others).astype(np.int64), np.append(1.0, weights))
        return [self._cache[row] for row in rows.tolist()]
