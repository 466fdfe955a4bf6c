"""The typed edges between items that convolutions run over, and draws of a few of them.

The two steps item - user - item are counted together into one weighted edge, `together`; `before` and `after` are the directed edges of
what users had shortly one after the other; each relation of the store has a type of its own. Knows nothing of models, vectors or scores.
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
"""Types of edges into an item: from what was had together with it, from what came before it, from what came after it."""
MAX_RELATIONS = 8
"""Relations that get a type of edge, the most frequent."""
MAX_ITEMS_PER_TAIL = 200
"""Items from which on something that a relation names (a brand, a material) no longer makes its items neighbours."""


@dataclass(frozen=True)
class TypedEdges:
    """Typed, weighted edges into every item, in the order of the items they reach.

    Attributes:
        starts: (items + 1,) where each item's edges begin. source: (edges,) int64 the item an edge comes from. kind: (edges,) its type.
        weight: (edges,) e_ij. norm: (edges,) 1 / sqrt(d_i d_j), d over the edges of the type that `ItemLinks` has. kinds: names of the types.
    """

    starts: NDArray[np.int64]
    source: NDArray[np.int64]
    kind: NDArray[np.int64]
    weight: NDArray[np.float32]
    norm: NDArray[np.float32]
    kinds: tuple[str, ...]

    @classmethod
    def from_links(cls, links: ItemLinks, relations: pl.DataFrame | None, catalogue: Catalogue, max_per_kind: int) -> TypedEdges:
        """At most `most` edges of each type into each item, the weightiest after normalising."""
        root = np.sqrt(np.maximum(links.user_weights, 1e-6))
        counted = _scale_entries(links.together, root, root)  # shared users
        followed = _scale_entries(
            links.follows, links.user_weights + links.shrinkage, np.ones_like(root)
        )  # users who had one after the other
        typed = [("together", counted), ("before", followed.T.tocsr()), ("after", followed), *_relation_edges(relations, catalogue)]
        row, source, kind, weight, norm = [], [], [], [], []
        for number, (_, pairs) in enumerate(typed):
            into, out = (np.maximum(np.asarray(pairs.sum(axis=axis)).reshape(-1), 1e-9) for axis in (1, 0))
            normed = top_per_row(_scale_entries(pairs, into**-0.5, out**-0.5), max_per_kind)
            owner = np.repeat(np.arange(normed.shape[0]), np.diff(normed.indptr))
            columns = normed.indices.astype(np.int64)
            row.append(owner)
            source.append(columns)
            kind.append(np.full(len(owner), number))
            norm.append((into[owner] * out[columns]) ** -0.5)
            weight.append(normed.data / norm[-1])
        order = np.argsort(np.concatenate(row), kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(np.concatenate(row), minlength=len(catalogue)))])
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
        """How many items there are."""
        return len(self.starts) - 1

    def incoming(
        self, items: NDArray[np.int64], max_per_item: int | None, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The edges into some items, at most `most` of each, drawn without replacement; None is all.

        Returns: numbers of the edges; place in `items` that each reaches; by what each counts so that sums stay right on average.
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


def _scale_entries(pairs: sparse.csr_array, rows: NDArray[Any], columns: NDArray[Any]) -> sparse.csr_array:
    """Each entry times what its row and its column count."""
    found = pairs.copy()
    owner = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))
    found.data = found.data * rows[owner] * columns[pairs.indices]
    return found


def _relation_edges(relations: pl.DataFrame | None, catalogue: Catalogue) -> list[tuple[str, sparse.csr_array]]:
    """Edges by relation: from tail to head and back where both are items; between items that name the same thing otherwise."""
    import polars as pl
    from scipy import sparse

    if relations is None or not len(relations):
        return []
    found, size = [], len(catalogue)
    heads = relations.join(catalogue.row_table().rename({"item_id": "head", "row": "from"}), on="head").unique(maintain_order=True)
    heads = heads.join(catalogue.row_table().rename({"item_id": "tail", "row": "to"}), on="tail", how="left", maintain_order="left")
    often = heads["relation"].value_counts().sort(["count", "relation"], descending=[True, False])["relation"].head(MAX_RELATIONS).to_list()
    for name in often:
        told = heads.filter(pl.col("relation") == name)
        between = told.filter(pl.col("to").is_not_null() & (pl.col("from") != pl.col("to")))
        if len(between):
            pairs = sparse.csr_array((np.ones(len(between)), (between["from"].to_numpy(), between["to"].to_numpy())), shape=(size, size))
            found += [(name, pairs), (f"{name}, reversed", pairs.T.tocsr())]
        named = told.filter(pl.col("to").is_null()).filter(pl.len().over("tail").is_between(2, MAX_ITEMS_PER_TAIL))
        if len(named):
            things = named["tail"].rank("dense").to_numpy().astype(np.int64) - 1
            has = sparse.csr_array((np.ones(len(named)), (named["from"].to_numpy(), things)), shape=(size, int(things.max()) + 1))
            alike = (has @ has.T).tocsr()
            alike.setdiag(0)
            alike.eliminate_zeros()
            found.append((f"same {name}", alike))
    return found
