"""Channels that count all that users had, however few had it: `sequential`, `item_knn`, `co_occurrence`, `text_smoothed` and `lately`.

Each scores all items for a history and names the history item that says most for each. They order; what may be said aloud of a pair is the
business of `associations`, which keeps only pairs that can be shown. Knows nothing of rules, users or language models.
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
"""Places behind an item within which another one follows it, and users that a share is damped by."""
DECAY = 0.8
"""Weight of a history item relative to the next newer one, where order counts."""
MAX_NEIGHBORS, K1, B = 1000, 100.0, 0.25
"""Of `item_knn`: as they were chosen most often on the validation cases of five sets of data."""
PARTNER_EXPONENT = 0.0
"""Of `co_occurrence`: exponent of the partner's users in the norm; 0 leaves much-had items ahead."""
RECENT_MS = 180 * DAY
"""Milliseconds: what is older is not of late."""
MAX_HISTORY, MAX_SMOOTHED_HISTORY = 50, 25
"""History items that are looked from where weights decay, older ones weigh nothing. `text_smoothed` looks from fewer: each costs it a look at
all texts, and the first that it leaves out would weigh 0.4 % of the newest."""


class SequentialCoOccurrence:
    """Of the users who had a history item, how many had this one soon after it; newer history items count for more."""

    def __init__(self, matrix: sparse.csr_array) -> None:
        self.matrix = matrix

    @classmethod
    def from_histories(cls, histories: RaggedArray, items: int) -> SequentialCoOccurrence:
        """The channel of some users' pasts."""
        return cls(co_occurrence.sequential(histories, items, window=WINDOW, shrinkage=SHRINKAGE, both_directions=False))

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Sums of shares, 0 or more."""
        anchors = np.arange(max(0, len(query.rows) - MAX_HISTORY), len(query.rows))
        return _sum_rows(self.matrix, query.rows[anchors], _decayed_weights(query)[anchors], anchors)


class BM25Neighbors:
    """Nearness to the whole history, old and new alike, by who had both (BM25)."""

    def __init__(self, matrix: sparse.csr_array) -> None:
        self.matrix = matrix

    @classmethod
    def from_histories(cls, histories: RaggedArray, items: int) -> BM25Neighbors:
        """The channel of some users' pasts."""
        return cls(co_occurrence.bm25(histories, items, max_neighbors=MAX_NEIGHBORS, k1=K1, b=B))

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Sums of BM25 weights; may be below 0 for what nearly everybody had."""
        return _sum_rows(self.matrix, query.rows, query.undecayed_weights, np.arange(len(query.rows)))


class ConditionalCoOccurrence:
    """Of the users who had each history item, how many had this one too, whatever the order; much-had history items prove less."""

    def __init__(self, matrix: sparse.csr_array) -> None:
        self.matrix = matrix

    @classmethod
    def from_histories(cls, histories: RaggedArray, items: int) -> ConditionalCoOccurrence:
        """The channel of some users' pasts."""
        return cls(co_occurrence.cosine(histories, items, max_neighbors=MAX_NEIGHBORS, shrinkage=0.0, partner_exponent=PARTNER_EXPONENT))

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Sums over the history of the users of both over the root of the history item's users, 0 or more."""
        return _sum_rows(self.matrix, query.rows, query.undecayed_weights, np.arange(len(query.rows)))


class TextSmoothedCoOccurrence:
    """As `Follows`, either way round, but each history item votes together with the items whose text is most like its own.

    What was hardly ever bought borrows the company of what it resembles.
    """

    def __init__(self, matrix: sparse.csr_array, text_neighbors: TextNeighbors) -> None:
        self.matrix, self.text_neighbors = matrix, text_neighbors

    @classmethod
    def from_histories(
        cls, histories: RaggedArray, items: int, text_neighbors: TextNeighbors, *, ordered: bool
    ) -> TextSmoothedCoOccurrence:
        """The channel of some users' pasts; without an order all pairs of a user count, not only those near each other."""
        if ordered:
            return cls(co_occurrence.sequential(histories, items, window=WINDOW, shrinkage=SHRINKAGE, both_directions=True), text_neighbors)
        return cls(
            co_occurrence.cosine(histories, items, max_neighbors=MAX_NEIGHBORS, shrinkage=5.0, partner_exponent=0.25), text_neighbors
        )

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Sums of shares, 0 or more."""
        anchors = np.arange(max(0, len(query.rows) - MAX_SMOOTHED_HISTORY), len(query.rows))
        neighbors = self.text_neighbors.nearest(query.rows[anchors])
        rows = np.concatenate([rows for rows, _ in neighbors]) if neighbors else np.empty(0, np.int64)
        share = np.concatenate([share for _, share in neighbors]) if neighbors else np.empty(0)
        neighbor_anchors = np.repeat(anchors, [len(rows) for rows, _ in neighbors])
        return _sum_rows(self.matrix, rows, share * _decayed_weights(query)[neighbor_anchors], neighbor_anchors)


class RecentPopularity:
    """How many users had an item of late, by the clock; without one, ever. The same for every history."""

    def __init__(self, user_counts: NDArray[np.float32]) -> None:
        self.user_counts = user_counts

    @classmethod
    def from_events(cls, events: Events, items: int) -> RecentPopularity:
        """The channel of some users' events."""
        recent = np.ones(len(events), dtype=bool)
        if events.order == "time" and len(events):
            # By when nearly all had happened: one wrong clock in the future must not make everything else old.
            recent = events.time > np.quantile(events.time[events.time != NEVER], 0.99) - RECENT_MS
        pairs = distinct((events.user[recent].astype(np.int64) << 32) | events.row[recent])
        return cls(np.bincount(pairs & 0xFFFFFFFF, minlength=items).astype(np.float32))

    def scores(self, query: CandidateQuery) -> ChannelScores:  # noqa: ARG002
        """Counts of users; no history item is behind them."""
        return self.user_counts, np.full(len(self.user_counts), -1, dtype=np.int64)


def behavioural_channels(events: Events, items: int, text_neighbors: TextNeighbors) -> dict[str, Channel]:
    """The channels of a snapshot's events; where nothing tells an order, nothing follows anything."""
    histories, ordered = RaggedArray(events.starts, events.row), events.order != "none"
    channels: dict[str, Channel] = {"sequential": SequentialCoOccurrence.from_histories(histories, items)} if ordered else {}
    return channels | {
        "item_knn": BM25Neighbors.from_histories(histories, items),
        "co_occurrence": ConditionalCoOccurrence.from_histories(histories, items),
        "text_smoothed": TextSmoothedCoOccurrence.from_histories(histories, items, text_neighbors, ordered=ordered),
        "lately": RecentPopularity.from_events(events, items),
    }


def _decayed_weights(query: CandidateQuery) -> NDArray[np.float64]:
    return np.asarray(query.undecayed_weights * DECAY ** np.arange(len(query.rows))[::-1])


def _sum_rows(matrix: sparse.csr_array, rows: NDArray[np.int64], weights: NDArray[np.float64], anchors: NDArray[np.int64]) -> ChannelScores:
    """Adds up the rows of a matrix with weights; the place of the largest share of each sum."""
    items = matrix.shape[1]
    scores, best = np.zeros(items, dtype=np.float32), np.zeros(items, dtype=np.float32)
    best_anchor = np.full(items, -1, dtype=np.int64)
    indptr, indices, data = matrix.indptr, matrix.indices, matrix.data
    for row, weight, anchor in zip(rows.tolist(), weights.tolist(), anchors.tolist(), strict=True):
        run = slice(indptr[row], indptr[row + 1])
        targets = indices[run]
        share = data[run] * np.float32(weight)
        scores[targets] += share
        ahead = share > best[targets]
        targets = targets[ahead]
        best[targets], best_anchor[targets] = share[ahead], anchor
    return scores, best_anchor
