"""The channel `category_popularity`: popular items of the categories that users of the history's categories also buy from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .channel_configs import CategoryPopularityChannelConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..items.ragged import RaggedArray
    from .base import CandidateQuery, ChannelScores


class CategoryPopularity:
    """Share of a history category's users who buy from an item's category, times the item's share of that category's users.

    Attributes:
        category: (items,) category codes.
        transition: (categories, categories) smoothed share of a category's users who buy from another one.
        item_share: (items,) item's share of its category's users.
    """

    def __init__(self, histories: RaggedArray, category: NDArray[np.int32], config: CategoryPopularityChannelConfig | None = None) -> None:
        """Count histories.

        Args:
            histories: (users,) item rows.
            category: (items,) category codes.
            config: Configuration; None for the default.
        """
        from scipy import sparse

        prior = (config or CategoryPopularityChannelConfig()).prior
        items, categories = len(category), int(category.max(initial=0)) + 1
        user_items = histories.matrix(items)
        user_items.data[:] = 1
        item_categories = sparse.csr_array((np.ones(items, np.float32), (np.arange(items), category)), shape=(items, categories))
        user_categories = (user_items @ item_categories).tocsr()
        user_categories.data[:] = 1
        category_users = np.asarray(user_categories.sum(axis=0)).reshape(-1)  # (categories,)
        common_users = (user_categories.T @ user_categories).toarray()
        base_rate = category_users / max(len(histories), 1)
        self.category = category
        self.transition = ((common_users + prior * base_rate) / (category_users[:, None] + prior)).astype(np.float32)
        user_counts = np.bincount(user_items.indices, minlength=items)
        self.item_share = (user_counts / np.maximum(category_users[category], 1)).astype(np.float32)

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return the mean share over the history, from 0 to 1, and the anchors."""
        if not len(query.rows):
            return np.zeros(len(self.category), np.float32), np.full(len(self.category), -1, np.int64)
        shares = self.transition[self.category[query.rows]]  # (history, categories)
        anchors = shares.argmax(axis=0)  # (categories,)
        scores = shares.mean(axis=0)[self.category] * self.item_share
        return scores.astype(np.float32), np.where(scores > 0, anchors[self.category], -1).astype(np.int64)
