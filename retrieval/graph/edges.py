"""Edges of the graph, counted from interactions: user-item edges, and links between items by common users and by succession.

Nodes are users and items. A user-item edge has the weight of the most important interaction between the two (`KIND_WEIGHTS`). No models,
vectors or scores are known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.records import KIND_WEIGHTS
from ..items.interactions import distinct

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray
    from scipy import sparse

    from ..items.catalogue import Catalogue
    from ..items.interactions import Events

MAX_USER_ITEMS = 500
"""Newest interactions of a user that become edges; a user with more is probably a reseller."""
BLOCK = 2048
"""Items whose co-occurrence is counted at once."""


@dataclass(frozen=True)
class UserItemEdges:
    """Edges between users and items.

    Attributes:
        matrix: (users, items) float32 csr, edge weights. The first users are those of the events.
        successions: Distinct triples (user, item, later item) as ascending int64 keys, see `succession_keys`; empty without an order.
    """

    matrix: sparse.csr_array
    successions: NDArray[np.int64]

    @classmethod
    def from_interactions(cls, interactions: pl.DataFrame, events: Events, catalogue: Catalogue, window: int) -> UserItemEdges:
        """Return the edges of all interactions, and the successions among the events.

        Args:
            interactions: Interactions of all kinds.
            events: Events that counts are made from.
            catalogue: Catalogue of the items.
            window: Number of later events that succeed an event.
        """
        import polars as pl
        from scipy import sparse

        event_users = events.users.rename("user_id")
        all_users = interactions.select("user_id").unique(maintain_order=True)
        other_users = all_users.filter(~pl.col("user_id").is_in(event_users.implode()))["user_id"]
        users = pl.concat([event_users, other_users]).to_frame().with_row_index("user")
        weight = pl.col("kind").replace_strict(dict(KIND_WEIGHTS), default=min(KIND_WEIGHTS.values()), return_dtype=pl.Float32)
        edges = (
            interactions.lazy()
            .select("user_id", "item_id", weight.alias("weight"))
            .group_by("user_id", maintain_order=True)
            .tail(MAX_USER_ITEMS)
            .join(catalogue.row_table().lazy(), on="item_id")
            .join(users.lazy(), on="user_id")
            .group_by("user", "row")
            .agg(pl.col("weight").max())
            .sort("user", "row")
            .collect()
        )
        coordinates = (edges["user"].to_numpy().astype(np.int64), edges["row"].to_numpy())
        matrix = sparse.csr_array((edges["weight"].to_numpy(), coordinates), shape=(len(users), len(catalogue)))
        return cls(matrix, _successions(events, len(catalogue), window))

    @property
    def items(self) -> int:
        """Number of items."""
        return int(self.matrix.shape[1])

    def succession_keys(self, user: NDArray[np.int64], first: NDArray[np.int64], later: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the keys of triples in `successions`."""
        return (user * self.items + first) * self.items + later

    def without_users(self, users: NDArray[np.int64]) -> UserItemEdges:
        """Return the edges without those of some users, who keep their numbers."""
        from scipy import sparse

        kept = np.ones(self.matrix.shape[0], dtype=np.float32)
        kept[users] = 0
        matrix = (sparse.diags_array(kept) @ self.matrix).tocsr()
        matrix.eliminate_zeros()
        matrix.sort_indices()
        return UserItemEdges(matrix, self.successions[~np.isin(self.successions // self.items**2, users)])


def _successions(events: Events, items: int, window: int) -> NDArray[np.int64]:
    """Ascending keys of the distinct triples (user, item, later item)."""
    if events.order == "none":
        return np.empty(0, np.int64)
    user, row = events.user.astype(np.int64), events.row.astype(np.int64)
    keys = []
    for offset in range(1, min(window, len(row) - 1) + 1):
        is_pair = (user[offset:] == user[:-offset]) & (row[offset:] != row[:-offset])
        keys.append((user[offset:][is_pair] * items + row[:-offset][is_pair]) * items + row[offset:][is_pair])
    return distinct(np.concatenate(keys)) if keys else np.empty(0, np.int64)


@dataclass(frozen=True)
class ItemLinks:
    """Links between items, at most a fixed number of the largest per item.

    Attributes:
        user_weights: (items,) float32 sum of the squared edge weights of an item's users: their number if all are purchases.
        together: (items, items) csr, cosine of two items by their users.
        follows: (items, items) csr, damped share of an item's users who had the other item soon afterwards.
        shrinkage: Users that `follows` is damped by.
    """

    user_weights: NDArray[np.float32]
    together: sparse.csr_array
    follows: sparse.csr_array
    shrinkage: float

    @classmethod
    def from_edges(cls, edges: UserItemEdges, max_partners: int, shrinkage: float) -> ItemLinks:
        """Return the links of user-item edges.

        Args:
            edges: User-item edges and successions.
            max_partners: Links kept per item and kind.
            shrinkage: Users that `follows` is damped by.
        """
        from scipy import sparse

        squared = edges.matrix.copy()
        squared.data = squared.data**2
        user_weights = np.asarray(squared.sum(axis=0), dtype=np.float32).reshape(-1)
        root = np.sqrt(np.maximum(user_weights, 1e-6))
        item_users, blocks = edges.matrix.T.tocsr(), []
        for start in range(0, edges.items, BLOCK):  # in blocks, because all pairs together do not fit into memory
            shared = (item_users[start : start + BLOCK] @ edges.matrix).tocsr()
            row = np.repeat(np.arange(shared.shape[0]), np.diff(shared.indptr))
            shared.data = np.where(shared.indices == row + start, 0, shared.data / (root[row + start] * root[shared.indices]))
            blocks.append(top_per_row(shared, max_partners))
        stacked = sparse.vstack(blocks, format="csr") if blocks else np.zeros((0, 0), np.float32)
        together: sparse.csr_array = sparse.csr_array(stacked)
        pairs, counts = np.unique(edges.successions % edges.items**2 if edges.items else edges.successions, return_counts=True)
        first, later = pairs // max(edges.items, 1), pairs % max(edges.items, 1)
        follows = sparse.csr_array((counts / (user_weights[first] + shrinkage), (first, later)), shape=(edges.items, edges.items))
        return cls(user_weights, together, top_per_row(follows, max_partners), shrinkage)


def top_per_row(pairs: sparse.csr_array, count: int) -> sparse.csr_array:
    """Return the `count` largest positive entries of each row as float32, columns ascending; among equal ones the first columns."""
    from scipy import sparse

    owner = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))
    order = np.lexsort((pairs.indices, -pairs.data, owner))
    rank = np.arange(len(order)) - np.repeat(pairs.indptr[:-1], np.diff(pairs.indptr))
    kept = np.sort(order[(rank < count) & (pairs.data[order] > 0)])
    top = sparse.csr_array((pairs.data[kept].astype(np.float32), (owner[kept], pairs.indices[kept])), shape=pairs.shape)
    top.sort_indices()
    return top


def entries_at(pairs: sparse.csr_array, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the entries at some coordinates, 0 where there is none.

    Args:
        pairs: Matrix with ascending columns in each row.
        row: (coordinates,) rows.
        column: (coordinates,) columns.
    """
    width = pairs.shape[1]
    keys = np.repeat(np.arange(pairs.shape[0], dtype=np.int64), np.diff(pairs.indptr)) * width + pairs.indices
    return lookup(keys, pairs.data, row * width + column)


def lookup(keys: NDArray[np.int64], values: NDArray[np.float32], queries: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the value of each query key, 0 where it is absent.

    Args:
        keys: Ascending keys.
        values: (keys,) their values.
        queries: Keys to look up.
    """
    if not len(keys):
        return np.zeros(len(queries), dtype=np.float32)
    position = np.minimum(np.searchsorted(keys, queries), len(keys) - 1)
    return np.where(keys[position] == queries, values[position], 0).astype(np.float32)
