"""Channels that count interactions: `sequential`, `item_knn`, `random_walk`, `user_knn`, `text_smoothed` and `lately`.

They use every pair of items, also those of a single user, and only rank: which pairs an explanation may show is decided in
`retrieval.associations`, which has counts above a threshold. They know no rules, no users and no language model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..items.interactions import DAY, NEVER, distinct
from ..items.ragged import RaggedArray
from . import co_occurrence
from .category_popularity import CategoryPopularity
from .channel_configs import (
    DEFAULT_CONFIGS,
    CategoryPopularityChannelConfig,
    CountedConfig,
    ItemKNNConfig,
    RandomWalkConfig,
    RecentPopularityChannelConfig,
    SequentialConfig,
    TextSmoothedConfig,
    UserKNNConfig,
)
from .user_knn import UserKNN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from scipy import sparse

    from ..items.catalogue import Catalogue
    from ..items.interactions import Events
    from .base import CandidateQuery, Channel, ChannelScores
    from .text_similarity import TextNeighbors

UNORDERED_MAX_NEIGHBORS, UNORDERED_SHRINKAGE = 1000, 5.0
"""Neighbors kept per item and shrinkage of `text_smoothed` in histories without an order."""
MAX_HISTORY, MAX_SMOOTHED_HISTORY = 50, 25
"""Number of newest history items that `sequential` and `text_smoothed` use. The first one that `text_smoothed` leaves out would have 0.4 %
of the weight of the newest, and each costs it a comparison with all texts."""


class SequentialCoOccurrence:
    """Share of a history item's users who had the item soon afterwards, summed over the history; newer history items weigh more."""

    def __init__(self, matrix: sparse.csr_array, decay: float) -> None:
        self.matrix, self.decay = matrix, decay

    @classmethod
    def from_histories(cls, histories: RaggedArray, items: int, config: SequentialConfig | None = None) -> SequentialCoOccurrence:
        """Return the channel counted from histories.

        Args:
            histories: (users,) item rows, oldest first.
            items: Number of items.
            config: Configuration; None for the default.
        """
        config = config or SequentialConfig()
        matrix = co_occurrence.sequential(histories, items, window=config.window, shrinkage=config.shrinkage, both_directions=False)
        return cls(matrix, config.decay)

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return sums of shares, 0 or more, and the anchors."""
        anchors = np.arange(max(0, len(query.rows) - MAX_HISTORY), len(query.rows))
        return _sum_rows(self.matrix, query.rows[anchors], _decayed_weights(query, self.decay)[anchors], anchors)


class ItemSimilarity:
    """Similarity of each item to the history items, summed over the whole history: item-kNN or a random walk."""

    def __init__(self, matrix: sparse.csr_array, decay: float = 1.0) -> None:
        """Wrap a matrix.

        Args:
            matrix: (items, items) similarity of the column's item to the row's.
            decay: Weight of a history item relative to the next newer one.
        """
        self.matrix, self.decay = matrix, decay

    @classmethod
    def from_histories(cls, histories: RaggedArray, items: int, config: ItemKNNConfig | RandomWalkConfig | None = None) -> ItemSimilarity:
        """Return the channel counted from histories.

        Args:
            histories: (users,) item rows.
            items: Number of items.
            config: Configuration, which decides the similarity; None for the default item-kNN.
        """
        config = config or ItemKNNConfig()
        if isinstance(config, RandomWalkConfig):
            matrix = co_occurrence.random_walk(
                histories, items, max_neighbors=config.max_neighbors, popularity_exponent=config.popularity_exponent
            )
        elif config.similarity == "bm25":
            matrix = co_occurrence.bm25(histories, items, max_neighbors=config.max_neighbors, k1=config.k1, b=config.b)
        else:
            matrix = co_occurrence.cosine(
                histories,
                items,
                max_neighbors=config.max_neighbors,
                shrinkage=config.shrinkage,
                partner_exponent=config.partner_exponent,
            )
        return cls(matrix, config.decay)

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return sums of similarities and the anchors. BM25 weights are negative for items of nearly all users."""
        return _sum_rows(self.matrix, query.rows, _decayed_weights(query, self.decay), np.arange(len(query.rows)))


class TextSmoothedCoOccurrence:
    """Co-occurrence where each history item is smoothed over its nearest items by text, so that rarely bought items have evidence, too."""

    def __init__(self, matrix: sparse.csr_array, text_neighbors: TextNeighbors, decay: float) -> None:
        self.matrix, self.text_neighbors, self.decay = matrix, text_neighbors, decay

    @classmethod
    def from_histories(
        cls,
        histories: RaggedArray,
        items: int,
        text_neighbors: TextNeighbors,
        config: TextSmoothedConfig | None = None,
        *,
        ordered: bool,
    ) -> TextSmoothedCoOccurrence:
        """Return the channel counted from histories.

        Args:
            histories: (users,) item rows, oldest first.
            items: Number of items.
            text_neighbors: Nearest items by text.
            config: Configuration; None for the default.
            ordered: Whether the histories have an order; without one, all pairs of a user count instead of those within a window.
        """
        config = config or TextSmoothedConfig()
        if ordered:
            matrix = co_occurrence.sequential(histories, items, window=config.window, shrinkage=config.shrinkage, both_directions=True)
        else:
            matrix = co_occurrence.cosine(
                histories,
                items,
                max_neighbors=UNORDERED_MAX_NEIGHBORS,
                shrinkage=UNORDERED_SHRINKAGE,
                partner_exponent=config.partner_exponent,
            )
        return cls(matrix, text_neighbors, config.decay)

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return weighted sums, 0 or more, and the anchors."""
        anchors = np.arange(max(0, len(query.rows) - MAX_SMOOTHED_HISTORY), len(query.rows))
        neighbors = self.text_neighbors.nearest(query.rows[anchors])
        rows = np.concatenate([rows for rows, _ in neighbors]) if neighbors else np.empty(0, np.int64)
        weights = np.concatenate([weights for _, weights in neighbors]) if neighbors else np.empty(0)
        neighbor_anchors = np.repeat(anchors, [len(rows) for rows, _ in neighbors])
        return _sum_rows(self.matrix, rows, weights * _decayed_weights(query, self.decay)[neighbor_anchors], neighbor_anchors)


class RecentPopularity:
    """Number of users of each item in the last days, or ever in data without times; independent of the history."""

    def __init__(self, user_counts: NDArray[np.float32]) -> None:
        self.user_counts = user_counts

    @classmethod
    def from_events(cls, events: Events, items: int, config: RecentPopularityChannelConfig | None = None) -> RecentPopularity:
        """Return the channel counted from events.

        Args:
            events: Events to count.
            items: Number of items.
            config: Configuration; None for the default.
        """
        recent_ms = (config or RecentPopularityChannelConfig()).days * DAY
        is_recent = np.ones(len(events), dtype=bool)
        if events.order == "time" and len(events):
            # Relative to a high quantile: a single wrong time in the future must not make all other events old.
            is_recent = events.time > np.quantile(events.time[events.time != NEVER], 0.99) - recent_ms
        pairs = distinct((events.user[is_recent].astype(np.int64) << 32) | events.row[is_recent])
        return cls(np.bincount(pairs & 0xFFFFFFFF, minlength=items).astype(np.float32))

    def scores(self, query: CandidateQuery) -> ChannelScores:  # noqa: ARG002
        """Return numbers of users, without anchors."""
        return self.user_counts, np.full(len(self.user_counts), -1, dtype=np.int64)


def behavioural_channels(
    events: Events, catalogue: Catalogue, text_neighbors: TextNeighbors, configs: Mapping[str, CountedConfig] = DEFAULT_CONFIGS
) -> dict[str, Channel]:
    """Return the channels counted from events, by name; `sequential` only if the events have an order.

    Args:
        events: Events to count.
        catalogue: Catalogue of the items.
        text_neighbors: Nearest items by text.
        configs: Channel to its configuration; a channel without one is not counted.
    """
    return {
        name: counted_channel(config, events, catalogue, text_neighbors) for name, config in configs.items() if can_count(config, events)
    }


def can_count(config: CountedConfig, events: Events) -> bool:
    """Return whether a channel can be counted from events: a sequential one only if they have an order."""
    return events.order != "none" or not isinstance(config, SequentialConfig)


def counted_channel(config: CountedConfig, events: Events, catalogue: Catalogue, text_neighbors: TextNeighbors) -> Channel:
    """Return one channel counted with a configuration.

    Args:
        config: Configuration, whose class decides the channel.
        events: Events to count.
        catalogue: Catalogue of the items.
        text_neighbors: Nearest items by text.
    """
    histories, items = RaggedArray(events.starts, events.row), len(catalogue)
    if isinstance(config, SequentialConfig):
        return SequentialCoOccurrence.from_histories(histories, items, config)
    if isinstance(config, UserKNNConfig):
        return UserKNN.from_histories(histories, items, config)
    if isinstance(config, TextSmoothedConfig):
        return TextSmoothedCoOccurrence.from_histories(histories, items, text_neighbors, config, ordered=events.order != "none")
    if isinstance(config, CategoryPopularityChannelConfig):
        return CategoryPopularity(histories, catalogue.category, config)
    if isinstance(config, RecentPopularityChannelConfig):
        return RecentPopularity.from_events(events, items, config)
    return ItemSimilarity.from_histories(histories, items, config)


def _decayed_weights(query: CandidateQuery, decay: float) -> NDArray[np.float64]:
    """(history,) weights by kind of interaction and position."""
    if decay == 1:
        return query.undecayed_weights
    return np.asarray(query.undecayed_weights * decay ** np.arange(len(query.rows))[::-1])


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
