"""Likeness of texts over a whole catalogue at once: the channel `semantic` where a blend needs its score of every item, and who is alike.

An index finds the nearest few quickly, but asked for "not of these categories" it goes through much of the catalogue; where the vectors are
in memory anyway, one product is faster. Knows item texts only, not reviews.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .base import CandidateQuery, ChannelScores

MAX_HISTORY = 6
"""History items that are looked from, as the index is."""
MAX_NEIGHBORS, TEMPERATURE = 20, 0.1
"""Items alike by text that vote beside a history item, each with exp((cosine - 1) / temperature)."""


class TextSimilarity:
    """How like each item's text is to those of the last items of a history. Args: vectors: (items, dimensions) unit vectors, or zeros."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """(items,) weighted means of cosines, none below 0; (items,) places of the history items that add most."""
        anchors = np.arange(max(0, len(query.rows) - MAX_HISTORY), len(query.rows))
        if not len(anchors):
            return np.zeros(len(self.vectors), np.float32), np.full(len(self.vectors), -1, np.int64)
        cosines = np.maximum(self.vectors @ self.vectors[query.rows[anchors]].T, 0)  # (items, history)
        weighted = cosines * query.weights[anchors]
        scores = weighted.sum(axis=1) / query.weights[anchors].sum()
        return scores.astype(np.float32), np.where(scores > 0, anchors[weighted.argmax(axis=1)], -1)


class TextNeighbors:
    """The items most alike to an item by text, looked up once each and kept. Args: as for `Likeness`."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors
        self._cache: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}

    def nearest(self, rows: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """For each row the rows alike to it, itself first, and their votes, at most 1."""
        new = [row for row in dict.fromkeys(rows.tolist()) if row not in self._cache]
        if new:
            cosines = self.vectors[new] @ self.vectors.T  # (new, items)
            cosines[np.arange(len(new)), new] = -np.inf
            count = min(MAX_NEIGHBORS, len(self.vectors) - 1)
            nearest = np.argpartition(-cosines, count, axis=1)[:, :count] if count else np.empty((len(new), 0), np.int64)
            for row, others, similarities in zip(new, nearest, cosines, strict=True):
                weights = np.exp((np.minimum(similarities[others], 1) - 1) / TEMPERATURE)
                self._cache[row] = (np.append(row, others).astype(np.int64), np.append(1.0, weights))
        return [self._cache[row] for row in rows.tolist()]
