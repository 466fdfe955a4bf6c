"""Category tree: every prefix of every item's category path is a node, from the broadest level down.

A node is identified by its whole path, so "Accessories" under phones and under cameras are two nodes. Does not know interactions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...data.records import Category

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

SEPARATOR = " > "
"""Separator of the names in a path, as `--format files` reads it."""


@dataclass(frozen=True)
class CategoryTree:
    """Nodes sorted by path.

    Attributes:
        paths: (nodes) category path of each node, broad to narrow.
        depth: (nodes,) 1 for the broadest.
        parent: (nodes,) -1 for a root.
        of_item: (items, levels) node of each item at levels 1, 2, ...; shorter paths repeat their last node, so that uneven trees lose
            no item; -1 for an item without a category.
    """

    paths: list[Category]
    depth: NDArray[np.int32]
    parent: NDArray[np.int32]
    of_item: NDArray[np.int32]

    @classmethod
    def build(cls, items: pl.DataFrame) -> CategoryTree:
        """Build the tree of an items table (column `category`: list of names, broad to narrow)."""
        paths = [tuple(path or ()) for path in items["category"].to_list()]
        nodes = sorted({path[:end] for path in set(paths) for end in range(1, len(path) + 1)})
        code = {path: i for i, path in enumerate(nodes)}
        levels = max((len(path) for path in nodes), default=0)
        chain = {path: [code[path[: min(level, len(path))]] for level in range(1, levels + 1)] for path in set(paths) if path}
        nothing = [-1] * levels
        of_item = np.asarray([chain.get(path, nothing) for path in paths], dtype=np.int32).reshape(len(paths), levels)
        depth = np.asarray([len(path) for path in nodes], dtype=np.int32)
        parent = np.asarray([code.get(path[:-1], -1) for path in nodes], dtype=np.int32)
        return cls(nodes, depth, parent, of_item)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def levels(self) -> int:
        """Depth of the deepest path."""
        return int(self.of_item.shape[1])

    def at(self, level: int) -> NDArray[np.int32]:
        """(items,) node of each item at a level, 1 = broadest; levels below the tree give its leaves."""
        if not self.levels:
            return np.full(len(self.of_item), -1, dtype=np.int32)
        return self.of_item[:, min(level, self.levels) - 1]

    def under(self, node: int) -> NDArray[np.bool_]:
        """(items,) mask of items in a node or below it."""
        return np.asarray(self.at(int(self.depth[node])) == node)

    @cached_property
    def code(self) -> dict[Category, int]:
        """Path to node."""
        return {path: i for i, path in enumerate(self.paths)}

    def words(self, node: int) -> str:
        """Path of a node as text: `Electronics > Phones`."""
        return SEPARATOR.join(self.paths[node])
