"""Non-personalised baselines, random and most popular, and popularity by category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...retrieval.channels.category_popularity import CategoryPopularity
from ...retrieval.channels.channel_configs import CategoryPopularityChannelConfig
from ...retrieval.items.interactions import DAY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.ragged import RaggedArray
    from ..splits.training_data import TrainingData


class RandomScorer:
    """Random scores: the performance of a ranking without information."""

    def __init__(self, training: TrainingData, *, seed: int = 0) -> None:
        self.item_count, self._random = training.item_count, np.random.default_rng(seed)

    def scores(self, histories: RaggedArray) -> NDArray[np.float32]:
        """Return (cases, items) scores in [0, 1)."""
        return self._random.random((len(histories), self.item_count), dtype=np.float32)


class PopularityScorer:
    """Popularity: the number of training users of each item, the same for every case."""

    def __init__(self, training: TrainingData) -> None:
        self.user_counts = training.user_counts.astype(np.float32)

    def scores(self, histories: RaggedArray) -> NDArray[np.float32]:
        """Return (cases, items) user counts."""
        return np.broadcast_to(self.user_counts, (len(histories), len(self.user_counts)))


@dataclass(frozen=True, slots=True)
class RecentPopularityConfig:
    """Hyperparameters of `RecentPopularityScorer`."""

    days: int = 30
    """Length of the period, counted back from the last training interaction."""


class RecentPopularityScorer:
    """Recent popularity: the number of users in the last days of the training data; ties are broken by all-time popularity.

    Raises:
        ValueError: The training data has no timestamps.
    """

    def __init__(self, training: TrainingData, config: RecentPopularityConfig) -> None:
        if training.timestamps is None:
            raise ValueError("the training data has no timestamps, so recent popularity is undefined")
        is_recent = training.timestamps >= training.timestamps.max(initial=0) - config.days * DAY
        histories = training.histories.where(is_recent)
        user_items = np.unique(histories.row_index * training.item_count + histories.rows)
        recent_counts = np.bincount(user_items % training.item_count, minlength=training.item_count)
        tie_break = training.user_counts / (training.user_counts.max(initial=0) + 1)  # below 1
        self.popularity = (recent_counts + tie_break).astype(np.float32)

    def scores(self, histories: RaggedArray) -> NDArray[np.float32]:
        """Return (cases, items) recent user counts plus a tie-break below 1."""
        return np.broadcast_to(self.popularity, (len(histories), len(self.popularity)))


@dataclass(frozen=True, slots=True)
class CategoryPopularityConfig:
    """Hyperparameters of `CategoryPopularityScorer`."""

    prior: float = 10.0
    """Smoothing strength: number of pseudo-users with the overall share of each category."""


class CategoryPopularityScorer:
    """Popularity within the categories that users of the history's categories also buy from.

    The score of an item is the mean, over the categories of the history, of the share of their users who have an item of the item's
    category, times the item's share of that category's users.
    """

    def __init__(self, training: TrainingData, config: CategoryPopularityConfig) -> None:
        channel = CategoryPopularity(training.histories, training.category, CategoryPopularityChannelConfig(config.prior))
        self.category, self.transition, self.item_share = channel.category, channel.transition, channel.item_share

    def scores(self, histories: RaggedArray) -> NDArray[np.float32]:
        """Return (cases, items) scores from 0 to 1."""
        from scipy import sparse

        history_categories = sparse.csr_array(
            (np.ones(len(histories.rows), np.float32), self.category[histories.rows].astype(np.int64), histories.starts),
            shape=(len(histories), len(self.transition)),
        )
        category_scores = (history_categories @ self.transition) / np.maximum(histories.lengths, 1)[:, None]
        return np.asarray(np.take(category_scores, self.category, axis=1) * self.item_share, dtype=np.float32)
