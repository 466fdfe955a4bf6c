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

LAST = 6
"""History items that are looked from, as the index is."""
ALIKE, TEMPERATURE = 20, 0.1
"""Items alike by text that vote beside a history item, each with exp((cosine - 1) / temperature)."""


class Likeness:
    """How like each item's text is to those of the last items of a history. Args: vectors: (items, dimensions) unit vectors, or zeros."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors

    def scores(self, seeds: CandidateQuery) -> ChannelScores:
        """(items,) weighted means of cosines, none below 0; (items,) places of the history items that add most."""
        places = np.arange(max(0, len(seeds.rows) - LAST), len(seeds.rows))
        if not len(places):
            return np.zeros(len(self.vectors), np.float32), np.full(len(self.vectors), -1, np.int64)
        cosines = np.maximum(self.vectors @ self.vectors[seeds.rows[places]].T, 0)  # (items, history)
        votes = cosines * seeds.weights[places]
        scores = votes.sum(axis=1) / seeds.weights[places].sum()
        return scores.astype(np.float32), np.where(scores > 0, places[votes.argmax(axis=1)], -1)


class Alike:
    """The items most alike to an item by text, looked up once each and kept. Args: as for `Likeness`."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors
        self._kept: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}

    def of(self, rows: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """For each row the rows alike to it, itself first, and their votes, at most 1."""
        new = [row for row in dict.fromkeys(rows.tolist()) if row not in self._kept]
        if new:
            cosines = self.vectors[new] @ self.vectors.T  # (new, items)
            cosines[np.arange(len(new)), new] = -np.inf
            count = min(ALIKE, len(self.vectors) - 1)
            nearest = np.argpartition(-cosines, count, axis=1)[:, :count] if count else np.empty((len(new), 0), np.int64)
            for row, others, near in zip(new, nearest, cosines, strict=True):
                votes = np.exp((np.minimum(near[others], 1) - 1) / TEMPERATURE)
                self._kept[row] = (np.append(row, others).astype(np.int64), np.append(1.0, votes))
        return [self._kept[row] for row in rows.tolist()]
