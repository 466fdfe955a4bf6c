"""What the graph's edges are counted from: who had what, what was had together, what came after what.

Users and items are the nodes. An edge between a user and an item weighs what the weightiest interaction of the two does (`KIND_WEIGHTS`).
Knows nothing of models, vectors or scores.
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
"""Latest interactions of a user that make edges: a shopper with more is a shop."""
BLOCK = 2048


@dataclass(frozen=True)
class UserItemEdges:
    """Who had what.

    Attributes:
        matrix: (users, items) float32 csr, weight of the edge between a user and an item. The first users are those of the events.
        followed: distinct (user, item, later item) triples as ascending int64 keys, see `succession_keys`; empty without an order.
    """

    matrix: sparse.csr_array
    successions: NDArray[np.int64]

    @classmethod
    def from_interactions(cls, interactions: pl.DataFrame, events: Events, catalogue: Catalogue, window: int) -> UserItemEdges:
        """The edges between users and items, from all interactions; what followed what, from the events, `window` places ahead at most."""
        import polars as pl
        from scipy import sparse

        event_users = events.users.rename("user_id")
        others = (
            interactions.select("user_id").unique(maintain_order=True).filter(~pl.col("user_id").is_in(event_users.implode()))["user_id"]
        )
        users = pl.concat([event_users, others]).to_frame().with_row_index("user")
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
        return cls(matrix, _succession_keys(events, len(catalogue), window))

    @property
    def items(self) -> int:
        """How many items there are."""
        return int(self.matrix.shape[1])

    def succession_keys(self, user: NDArray[np.int64], first: NDArray[np.int64], later: NDArray[np.int64]) -> NDArray[np.int64]:
        """The keys that `followed` holds."""
        return (user * self.items + first) * self.items + later

    def without_users(self, users: NDArray[np.int64]) -> UserItemEdges:
        """The same without some users, who keep their numbers."""
        from scipy import sparse

        keep = np.ones(self.matrix.shape[0], dtype=np.float32)
        keep[users] = 0
        matrix = (sparse.diags_array(keep) @ self.matrix).tocsr()
        matrix.eliminate_zeros()
        matrix.sort_indices()
        return UserItemEdges(matrix, self.successions[~np.isin(self.successions // self.items**2, users)])


def _succession_keys(events: Events, items: int, window: int) -> NDArray[np.int64]:
    if events.order == "none":
        return np.empty(0, np.int64)
    user, row = events.user.astype(np.int64), events.row.astype(np.int64)
    parts = []
    for offset in range(1, min(window, len(row) - 1) + 1):
        same = (user[offset:] == user[:-offset]) & (row[offset:] != row[:-offset])
        parts.append((user[offset:][same] * items + row[:-offset][same]) * items + row[offset:][same])
    return distinct(np.concatenate(parts)) if parts else np.empty(0, np.int64)


@dataclass(frozen=True)
class ItemLinks:
    """What goes with what.

    Attributes:
        users: (items,) float32 squared weights of an item's users, added up: their number where all are purchases.
        together: (items, items) csr, the cosine of two items by their users, the strongest of each row.
        follows: (items, items) csr, the damped share of an item's users that had the other one shortly after it, the strongest of each row.
        shrinkage: users that `follows` is damped by.
    """

    user_weights: NDArray[np.float32]
    together: sparse.csr_array
    follows: sparse.csr_array
    shrinkage: float

    @classmethod
    def from_edges(cls, edges: UserItemEdges, max_partners: int, shrinkage: float) -> ItemLinks:
        """The links that users make, at most `partners` of each item."""
        from scipy import sparse

        squared = edges.matrix.copy()
        squared.data = squared.data**2
        user_weights = np.asarray(squared.sum(axis=0), dtype=np.float32).reshape(-1)
        root = np.sqrt(np.maximum(user_weights, 1e-6))
        by_item, parts = edges.matrix.T.tocsr(), []
        for start in range(0, edges.items, BLOCK):  # most pairs are of a single user, and would not fit into memory together
            shared = (by_item[start : start + BLOCK] @ edges.matrix).tocsr()
            row = np.repeat(np.arange(shared.shape[0]), np.diff(shared.indptr))
            shared.data = np.where(shared.indices == row + start, 0, shared.data / (root[row + start] * root[shared.indices]))
            parts.append(top_per_row(shared, max_partners))
        shared_parts = sparse.vstack(parts, format="csr") if parts else np.zeros((0, 0), np.float32)
        together: sparse.csr_array = sparse.csr_array(shared_parts)
        pairs, times = np.unique(edges.successions % edges.items**2 if edges.items else edges.successions, return_counts=True)
        first, later = pairs // max(edges.items, 1), pairs % max(edges.items, 1)
        follows = sparse.csr_array((times / (user_weights[first] + shrinkage), (first, later)), shape=(edges.items, edges.items))
        return cls(user_weights, together, top_per_row(follows, max_partners), shrinkage)


def top_per_row(pairs: sparse.csr_array, n: int) -> sparse.csr_array:
    """The `n` largest entries above 0 of each row, float32, columns ascending; of equal ones the first columns."""
    from scipy import sparse

    owner = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))
    order = np.lexsort((pairs.indices, -pairs.data, owner))
    rank = np.arange(len(order)) - np.repeat(pairs.indptr[:-1], np.diff(pairs.indptr))
    kept = np.sort(order[(rank < n) & (pairs.data[order] > 0)])
    top = sparse.csr_array((pairs.data[kept].astype(np.float32), (owner[kept], pairs.indices[kept])), shape=pairs.shape)
    top.sort_indices()
    return top


def entries_at(pairs: sparse.csr_array, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float32]:
    """The entry at each (row, column), 0 where there is none. Args: pairs: columns ascending in each row."""
    width = pairs.shape[1]
    keys = np.repeat(np.arange(pairs.shape[0], dtype=np.int64), np.diff(pairs.indptr)) * width + pairs.indices
    return lookup(keys, pairs.data, row * width + column)


def lookup(keys: NDArray[np.int64], values: NDArray[np.float32], queries: NDArray[np.int64]) -> NDArray[np.float32]:
    """What stands beside each wanted key, 0 where it is not there. Args: keys: ascending."""
    if not len(keys):
        return np.zeros(len(queries), dtype=np.float32)
    position = np.minimum(np.searchsorted(keys, queries), len(keys) - 1)
    return np.where(keys[position] == queries, values[position], 0).astype(np.float32)
