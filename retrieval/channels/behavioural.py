"""Channels that count co-occurrence: `sequential`, `item_knn`, `co_occurrence`, `text_smoothed` and `lately`.

They use every pair of items, also those of a single user, and only rank: which pairs an explanation may show is decided in
`retrieval.associations`, which has counts above a threshold. They know no rules, no users and no language model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..items.interactions import DAY, NEVER, distinct
from ..items.ragged import RaggedArray
from . import co_occurrence

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from ..items.interactions import Events
    from .base import CandidateQuery, Channel, ChannelScores
    from .text_similarity import TextNeighbors

WINDOW, SHRINKAGE = 10, 20.0
"""Number of later events that count as following an item, and users that the share is damped by."""
DECAY = 0.8
"""Weight of a history item relative to the next newer one, in channels that use the order."""
MAX_NEIGHBORS, K1, B = 1000, 100.0, 0.25
"""Neighbors kept per item, and BM25 parameters: the values chosen most often on the validation cases of five data sets."""
PARTNER_EXPONENT = 0.0
"""Exponent of the partner's users in the norm of `co_occurrence`; 0 does not penalize popular partners."""
RECENT_MS = 180 * DAY
"""Age in milliseconds up to which an event counts in `lately`."""
MAX_HISTORY, MAX_SMOOTHED_HISTORY = 50, 25
"""Number of newest history items that `sequential` and `text_smoothed` use. The first one that `text_smoothed` leaves out would have 0.4 %
of the weight of the newest, and each costs it a comparison with all texts."""


class SequentialCoOccurrence:
    """Share of a history item's users who had the item soon afterwards, summed over the history; newer history items weigh more."""

    def __init__(self, matrix: sparse.csr_array) -> None:
        self.matrix = matrix

    @classmethod
    def from_histories(cls, histories: RaggedArray, items: int) -> SequentialCoOccurrence:
        """Return the channel counted from histories. Args: items: number of items."""
        return cls(co_occurrence.sequential(histories, items, window=WINDOW, shrinkage=SHRINKAGE, both_directions=False))

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return sums of shares, 0 or more, and the anchors."""
        anchors = np.arange(max(0, len(query.rows) - MAX_HISTORY), len(query.rows))
        return _sum_rows(self.matrix, query.rows[anchors], _decayed_weights(query)[anchors], anchors)


class ItemKNN:
    """Item-kNN with BM25 similarity by common users, summed over the whole history without decay."""

    def __init__(self, matrix: sparse.csr_array) -> None:
        self.matrix = matrix

    @classmethod
    def from_histories(cls, histories: RaggedArray, items: int) -> ItemKNN:
        """Return the channel counted from histories. Args: items: number of items."""
        return cls(co_occurrence.bm25(histories, items, max_neighbors=MAX_NEIGHBORS, k1=K1, b=B))

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return sums of BM25 weights, which are negative for items of nearly all users, and the anchors."""
        return _sum_rows(self.matrix, query.rows, query.undecayed_weights, np.arange(len(query.rows)))


class ConditionalCoOccurrence:
    """Users of both items divided by the root of the history item's users, in any order, summed over the history."""

    def __init__(self, matrix: sparse.csr_array) -> None:
        self.matrix = matrix

    @classmethod
    def from_histories(cls, histories: RaggedArray, items: int) -> ConditionalCoOccurrence:
        """Return the channel counted from histories. Args: items: number of items."""
        return cls(co_occurrence.cosine(histories, items, max_neighbors=MAX_NEIGHBORS, shrinkage=0.0, partner_exponent=PARTNER_EXPONENT))

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return sums over the history, 0 or more, and the anchors."""
        return _sum_rows(self.matrix, query.rows, query.undecayed_weights, np.arange(len(query.rows)))


class TextSmoothedCoOccurrence:
    """Co-occurrence where each history item is smoothed over its nearest items by text, so that rarely bought items have evidence, too."""

    def __init__(self, matrix: sparse.csr_array, text_neighbors: TextNeighbors) -> None:
        self.matrix, self.text_neighbors = matrix, text_neighbors

    @classmethod
    def from_histories(
        cls, histories: RaggedArray, items: int, text_neighbors: TextNeighbors, *, ordered: bool
    ) -> TextSmoothedCoOccurrence:
        """Return the channel counted from histories.

        Args:
            histories: (users,) item rows, oldest first.
            items: Number of items.
            text_neighbors: Nearest items by text.
            ordered: Whether the histories have an order; without one, all pairs of a user count instead of those within a window.
        """
        if ordered:
            return cls(co_occurrence.sequential(histories, items, window=WINDOW, shrinkage=SHRINKAGE, both_directions=True), text_neighbors)
        return cls(
            co_occurrence.cosine(histories, items, max_neighbors=MAX_NEIGHBORS, shrinkage=5.0, partner_exponent=0.25), text_neighbors
        )

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return weighted sums, 0 or more, and the anchors."""
        anchors = np.arange(max(0, len(query.rows) - MAX_SMOOTHED_HISTORY), len(query.rows))
        neighbors = self.text_neighbors.nearest(query.rows[anchors])
        rows = np.concatenate([rows for rows, _ in neighbors]) if neighbors else np.empty(0, np.int64)
        weights = np.concatenate([weights for _, weights in neighbors]) if neighbors else np.empty(0)
        neighbor_anchors = np.repeat(anchors, [len(rows) for rows, _ in neighbors])
        return _sum_rows(self.matrix, rows, weights * _decayed_weights(query)[neighbor_anchors], neighbor_anchors)


class RecentPopularity:
    """Number of users of each item in the last `RECENT_MS`, or ever in data without times; independent of the history."""

    def __init__(self, user_counts: NDArray[np.float32]) -> None:
        self.user_counts = user_counts

    @classmethod
    def from_events(cls, events: Events, items: int) -> RecentPopularity:
        """Return the channel counted from events. Args: items: number of items."""
        is_recent = np.ones(len(events), dtype=bool)
        if events.order == "time" and len(events):
            # Relative to a high quantile: a single wrong time in the future must not make all other events old.
            is_recent = events.time > np.quantile(events.time[events.time != NEVER], 0.99) - RECENT_MS
        pairs = distinct((events.user[is_recent].astype(np.int64) << 32) | events.row[is_recent])
        return cls(np.bincount(pairs & 0xFFFFFFFF, minlength=items).astype(np.float32))

    def scores(self, query: CandidateQuery) -> ChannelScores:  # noqa: ARG002
        """Return numbers of users, without anchors."""
        return self.user_counts, np.full(len(self.user_counts), -1, dtype=np.int64)


def behavioural_channels(events: Events, items: int, text_neighbors: TextNeighbors) -> dict[str, Channel]:
    """Return the channels counted from events, by name; `sequential` only if the events have an order.

    Args:
        events: Events to count.
        items: Number of items.
        text_neighbors: Nearest items by text.
    """
    histories, ordered = RaggedArray(events.starts, events.row), events.order != "none"
    channels: dict[str, Channel] = {"sequential": SequentialCoOccurrence.from_histories(histories, items)} if ordered else {}
    return channels | {
        "item_knn": ItemKNN.from_histories(histories, items),
        "co_occurrence": ConditionalCoOccurrence.from_histories(histories, items),
        "text_smoothed": TextSmoothedCoOccurrence.from_histories(histories, items, text_neighbors, ordered=ordered),
        "lately": RecentPopularity.from_events(events, items),
    }


def _decayed_weights(query: CandidateQuery) -> NDArray[np.float64]:
    """(history,) weights by kind of interaction and position."""
    return np.asarray(query.undecayed_weights * DECAY ** np.arange(len(query.rows))[::-1])


def _sum_rows(matrix: sparse.csr_array, rows: NDArray[np.int64], weights: NDArray[np.float64], anchors: NDArray[np.int64]) -> ChannelScores:
    """Weighted sum of rows of a matrix, and for each column the anchor of the row with the largest contribution above 0."""
    items = matrix.shape[1]
    scores, largest = np.zeros(items, dtype=np.float32), np.zeros(items, dtype=np.float32)
    best_anchor = np.full(items, -1, dtype=np.int64)
    indptr, indices, data = matrix.indptr, matrix.indices, matrix.data
    for row, weight, anchor in zip(rows.tolist(), weights.tolist(), anchors.tolist(), strict=True):
        entries = slice(indptr[row], indptr[row + 1])
        columns = indices[entries]
        contributions = data[entries] * np.float32(weight)
        scores[columns] += contributions
        is_larger = contributions > largest[columns]
        columns = columns[is_larger]
        largest[columns], best_anchor[columns] = contributions[is_larger], anchor
    return scores, best_anchor
