"""The channel `relations`: items that the store declares as needed with an item of the history.

It uses no interactions, so it also proposes items that nobody has bought yet. Which relations count, and in which direction, is decided in
`retrieval.items.relations`, as for the evidence. It knows nothing of how good a relation is: all items declared for one history item score
the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

    from ..items.relations import DeclaredRelations
    from .base import CandidateQuery, Channel, ChannelScores

NAME = "relations"
"""Name of the channel."""
DECAY = 0.9
"""Weight of a history item relative to the next newer one; a declared need ages more slowly than a habit. Not tuned."""


class DeclaredRelationsChannel:
    """Sum of the weights of the history items that need an item by declaration."""

    def __init__(self, matrix: sparse.csr_array) -> None:
        """Args: matrix: (items, items) 1 where a user who has the row's item needs the column's item, else 0."""
        self.matrix = matrix

    @classmethod
    def from_relations(cls, relations: DeclaredRelations) -> DeclaredRelationsChannel:
        """Return the channel of a store's relations; a pair that is declared several times counts once."""
        from scipy import sparse

        ones = np.ones(len(relations), dtype=np.float64)
        matrix = sparse.csr_array((ones, (relations.owned, relations.needed)), shape=(relations.item_count, relations.item_count))
        matrix.sum_duplicates()
        matrix.data[:] = 1
        return cls(matrix)

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return sums of the decayed weights of the history items, 0 or more, and the anchors."""
        items, history = self.matrix.shape[1], len(query.rows)
        weights = query.undecayed_weights * DECAY ** np.arange(history)[::-1]
        needs = self.matrix[query.rows].tocoo()  # (history, items)
        history_index, rows = (np.asarray(part, dtype=np.int64) for part in needs.coords)
        contributions = weights[history_index]
        anchors = np.full(items, -1, dtype=np.int64)
        ascending = np.argsort(contributions, kind="stable")
        anchors[rows[ascending]] = history_index[ascending]  # the last assignment, of the largest contribution, remains
        return np.bincount(rows, contributions, minlength=items).astype(np.float32), anchors


def relation_channels(relations: DeclaredRelations) -> dict[str, Channel]:
    """Return the channel by name; empty if the store declares no needs."""
    return {NAME: DeclaredRelationsChannel.from_relations(relations)} if len(relations) else {}
