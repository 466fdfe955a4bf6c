"""The channel `user_knn`: the items of the users whose histories are most similar.

It sees a history as a whole, where item-kNN adds up one item after another. It knows no order, no text and no categories, and returns item
scores only, never a user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .channel_configs import UserKNNConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from ..items.ragged import RaggedArray
    from .base import CandidateQuery, ChannelScores


class UserKNN:
    """Sum over the most similar users of their similarity, for each of their items.

    A user's similarity is the sum over the common items of weight / (users of the item)^rarity, divided by (items of the user)^length.

    Source: Herlocker et al., SIGIR 1999, with the asymmetric normalization of Aiolli, RecSys 2013.
    """

    def __init__(self, user_items: sparse.csr_array, config: UserKNNConfig) -> None:
        """Prepare the matrices.

        Args:
            user_items: (users, items) binary float32 matrix of the histories.
            config: Configuration.
        """
        self.user_items, self.config = user_items, config
        self.item_users = user_items.T.tocsr()
        user_counts = np.maximum(np.diff(self.item_users.indptr), 1)
        self.item_weights = (1 / user_counts**config.rarity_exponent).astype(np.float32)  # (items,)
        self.user_norms = np.maximum(np.diff(user_items.indptr), 1).astype(np.float32) ** config.length_exponent  # (users,)

    @classmethod
    def from_histories(cls, histories: RaggedArray, items: int, config: UserKNNConfig | None = None) -> UserKNN:
        """Return the channel over histories.

        Args:
            histories: (users,) item rows.
            items: Number of items.
            config: Configuration; None for the default.
        """
        user_items = histories.matrix(items)
        user_items.data[:] = 1
        return cls(user_items, config or UserKNNConfig())

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return (items,) sums of similarities, 0 or more, and the anchors."""
        return self.item_scores(query), self.anchors(query, np.arange(self.user_items.shape[1]))

    def item_scores(self, query: CandidateQuery) -> NDArray[np.float32]:
        """(items,) scores without anchors."""
        users, similarities = self._neighbors(query)
        matrix = self.user_items
        starts, lengths = matrix.indptr[users], np.diff(matrix.indptr)[users]
        offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        columns = matrix.indices[np.repeat(starts, lengths) + offsets]
        return np.bincount(columns, np.repeat(similarities, lengths), minlength=matrix.shape[1]).astype(np.float32)

    def anchors(self, query: CandidateQuery, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(rows,) index of the history item with the largest part in the similarities to the item's users, -1 for none."""
        users, _ = self._neighbors(query)
        if not len(users) or not len(rows):
            return np.full(len(rows), -1, dtype=np.int64)
        neighbors = self.user_items[users]  # (neighbors, items)
        weights = (query.undecayed_weights * self.item_weights[query.rows]).astype(np.float32)
        parts = (
            neighbors[:, query.rows].multiply(weights[None]).multiply(1 / self.user_norms[users][:, None]).tocsr()
        )  # (neighbors, history)
        contributions = (neighbors[:, rows].T @ parts).toarray()  # (rows, history)
        return np.where(contributions.max(axis=1) > 0, contributions.argmax(axis=1), -1).astype(np.int64)

    def _neighbors(self, query: CandidateQuery) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The most similar users, ascending, and their similarities above 0."""
        similarities = np.zeros(self.user_items.shape[0], dtype=np.float32)
        matrix = self.item_users
        for row, weight in zip(query.rows.tolist(), query.undecayed_weights.tolist(), strict=True):
            similarities[matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]] += np.float32(weight) * self.item_weights[row]
        similarities /= self.user_norms
        users = np.flatnonzero(similarities)
        if len(users) > self.config.neighbors:
            nearest = np.argpartition(-similarities[users], self.config.neighbors)[: self.config.neighbors]
            users = np.sort(users[nearest])
        return users, similarities[users]
