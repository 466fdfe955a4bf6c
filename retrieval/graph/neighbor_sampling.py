"""Typed edges between items for the graph convolutions, and sampling of the edges into some items.

The path item - user - item is one weighted edge of type `together`; `before` and `after` are the directed edges between items that users
had soon after each other; each relation declared by the store has its own type. No models, vectors or scores are known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .edges import ItemLinks, top_per_row

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray
    from scipy import sparse

    from ..items.catalogue import Catalogue

TOGETHER, BEFORE, AFTER = 0, 1, 2
"""Types of edges into an item: from items of the same users, from earlier items and from later items."""
MAX_RELATIONS = 8
"""Largest number of relations with a type of their own, the most frequent."""
MAX_ITEMS_PER_TAIL = 200
"""Items above which a common brand or material does not link its items."""


@dataclass(frozen=True)
class TypedEdges:
    """Typed, weighted edges, sorted by the item that they reach.

    Attributes:
        starts: (items + 1,) index of each item's first incoming edge, and the number of edges.
        source: (edges,) int64 item that the edge comes from.
        kind: (edges,) type of the edge, an index into `kinds`.
        weight: (edges,) weight e_ij.
        norm: (edges,) 1 / sqrt(d_i d_j), with degrees d over all edges of the type in `ItemLinks`.
        kinds: Names of the types.
    """

    starts: NDArray[np.int64]
    source: NDArray[np.int64]
    kind: NDArray[np.int64]
    weight: NDArray[np.float32]
    norm: NDArray[np.float32]
    kinds: tuple[str, ...]

    @classmethod
    def from_links(cls, links: ItemLinks, relations: pl.DataFrame | None, catalogue: Catalogue, max_per_kind: int) -> TypedEdges:
        """Return the edges of links and relations.

        Args:
            links: Links between items.
            relations: The store's declared relations; None without any.
            catalogue: Catalogue of the items.
            max_per_kind: Edges of each type into an item, those with the largest normalized weight.
        """
        root = np.sqrt(np.maximum(links.user_weights, 1e-6))
        shared_users = _scale_entries(links.together, root, root)
        successions = _scale_entries(links.follows, links.user_weights + links.shrinkage, np.ones_like(root))
        typed = [("together", shared_users), ("before", successions.T.tocsr()), ("after", successions)]
        typed += _relation_edges(relations, catalogue)
        reached, source, kind, weight, norm = [], [], [], [], []
        for index, (_, pairs) in enumerate(typed):
            in_degree, out_degree = (np.maximum(np.asarray(pairs.sum(axis=axis)).reshape(-1), 1e-9) for axis in (1, 0))
            normalized = top_per_row(_scale_entries(pairs, in_degree**-0.5, out_degree**-0.5), max_per_kind)
            rows = np.repeat(np.arange(normalized.shape[0]), np.diff(normalized.indptr))
            columns = normalized.indices.astype(np.int64)
            reached.append(rows)
            source.append(columns)
            kind.append(np.full(len(rows), index))
            norm.append((in_degree[rows] * out_degree[columns]) ** -0.5)
            weight.append(normalized.data / norm[-1])
        order = np.argsort(np.concatenate(reached), kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(np.concatenate(reached), minlength=len(catalogue)))])
        return cls(
            starts.astype(np.int64),
            np.concatenate(source)[order],
            np.concatenate(kind)[order],
            np.concatenate(weight)[order].astype(np.float32),
            np.concatenate(norm)[order].astype(np.float32),
            tuple(name for name, _ in typed),
        )

    @property
    def items(self) -> int:
        """Number of items."""
        return len(self.starts) - 1

    def incoming(
        self, items: NDArray[np.int64], max_per_item: int | None, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Return the edges into some items, or a sample of them without replacement.

        Args:
            items: Item rows.
            max_per_item: Largest number of edges into each item; None for all.
            rng: Generator that samples the edges.

        Returns:
            (sampled,) indices of the edges; (sampled,) index in `items` of the item that each reaches; (sampled,) factor by which to scale
            each edge so that sums are unbiased.
        """
        lengths = self.starts[items + 1] - self.starts[items]
        owner = np.repeat(np.arange(len(items)), lengths)
        first = np.concatenate([[0], np.cumsum(lengths)[:-1]]) if len(items) else lengths
        edges = np.arange(int(lengths.sum())) - np.repeat(first, lengths) + np.repeat(self.starts[items], lengths)
        if max_per_item is None or not len(edges) or lengths.max() <= max_per_item:
            return edges, owner, np.ones(len(edges), dtype=np.float32)
        shuffled = np.argsort(owner + rng.random(len(edges)))
        kept = np.sort(shuffled[np.arange(len(edges)) - np.repeat(first, lengths) < max_per_item])
        return edges[kept], owner[kept], np.maximum(1, lengths / max_per_item)[owner[kept]].astype(np.float32)


def _scale_entries(pairs: sparse.csr_array, row_factors: NDArray[Any], column_factors: NDArray[Any]) -> sparse.csr_array:
    """The matrix with each entry multiplied by the factors of its row and its column."""
    scaled = pairs.copy()
    row = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))
    scaled.data = scaled.data * row_factors[row] * column_factors[pairs.indices]
    return scaled


def _relation_edges(relations: pl.DataFrame | None, catalogue: Catalogue) -> list[tuple[str, sparse.csr_array]]:
    """Edges by relation: in both directions if head and tail are items, else between items with the same tail."""
    import polars as pl
    from scipy import sparse

    if relations is None or not len(relations):
        return []
    edges, size = [], len(catalogue)
    heads = relations.join(catalogue.row_table().rename({"item_id": "head", "row": "from"}), on="head").unique(maintain_order=True)
    heads = heads.join(catalogue.row_table().rename({"item_id": "tail", "row": "to"}), on="tail", how="left", maintain_order="left")
    by_frequency = heads["relation"].value_counts().sort(["count", "relation"], descending=[True, False])["relation"]
    for name in by_frequency.head(MAX_RELATIONS).to_list():
        rows = heads.filter(pl.col("relation") == name)
        item_pairs = rows.filter(pl.col("to").is_not_null() & (pl.col("from") != pl.col("to")))
        if len(item_pairs):
            coordinates = (item_pairs["from"].to_numpy(), item_pairs["to"].to_numpy())
            pairs = sparse.csr_array((np.ones(len(item_pairs)), coordinates), shape=(size, size))
            edges += [(name, pairs), (f"{name}, reversed", pairs.T.tocsr())]
        attributes = rows.filter(pl.col("to").is_null()).filter(pl.len().over("tail").is_between(2, MAX_ITEMS_PER_TAIL))
        if len(attributes):
            tails = attributes["tail"].rank("dense").to_numpy().astype(np.int64) - 1
            coordinates = (attributes["from"].to_numpy(), tails)
            has_tail = sparse.csr_array((np.ones(len(attributes)), coordinates), shape=(size, int(tails.max()) + 1))
            same_tail = (has_tail @ has_tail.T).tocsr()
            same_tail.setdiag(0)
            same_tail.eliminate_zeros()
            edges.append((f"same {name}", same_tail))
    return edges
