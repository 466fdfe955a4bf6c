"""Item catalogue of a snapshot as arrays indexed by item row, for rules and channels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import UnknownItemError
from ...data.records import Item
from ...data.store_words import DEFAULT_WORDS, StoreWords
from .category_tree import CategoryTree

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray


MAX_CACHED_RECORDS = 20_000
"""Cached item records: creating one from the table takes a tenth of a millisecond."""


@dataclass(frozen=True)
class Catalogue:
    """Items by row.

    Attributes:
        items: the table, one row per item.
        level: category level of the workspace, 1 = broadest.
        rows: item id to row.
        tree: all categories.
        nodes: (categories,) tree nodes that are categories of items at `level`; -1 for items without a category.
        category: (items,) int32 code into `nodes` and `categories`.
        users: (items,) int32 distinct users of each item.
        category_users: (categories,) int32 distinct users of each category.
        total_users: distinct users with any counted interaction.
        verb: verb for the counted interactions: bought, rated or looked at.
        words: the store's words in texts for people.
    """

    items: pl.DataFrame
    level: int
    rows: dict[str, int]
    tree: CategoryTree
    nodes: NDArray[np.int32]
    category: NDArray[np.int32]
    users: NDArray[np.int32]
    category_users: NDArray[np.int32]
    total_users: int
    verb: str
    words: StoreWords = DEFAULT_WORDS

    @classmethod
    def build(cls, items: pl.DataFrame, interactions: pl.DataFrame, level: int, words: StoreWords = DEFAULT_WORDS) -> Catalogue:
        """Build the arrays from a snapshot's items and interactions. Args: words: of the workspace."""
        import polars as pl

        tree = CategoryTree.build(items)
        nodes, category = np.unique(tree.at(level), return_inverse=True)  # -1, for items without one, is the first
        interactions, verb = counted_interactions(interactions)
        ids = items["item_id"].to_list()
        code_table = pl.DataFrame({"item_id": ids, "row": np.arange(len(ids), dtype=np.int64), "code": category})
        pairs = interactions.lazy().select("user_id", "item_id").unique().join(code_table.lazy(), on="item_id").collect()
        users = np.bincount(pairs["row"].to_numpy(), minlength=len(ids)).astype(np.int32)
        by_category = pairs.select("user_id", "code").unique()
        return cls(
            items=items,
            level=level,
            rows={key: row for row, key in enumerate(ids)},
            tree=tree,
            nodes=nodes,
            category=category.astype(np.int32),
            users=users,
            category_users=np.bincount(by_category["code"].to_numpy(), minlength=len(nodes)).astype(np.int32),
            total_users=interactions["user_id"].n_unique(),
            verb=verb,
            words=words,
        )

    def __len__(self) -> int:
        return len(self.category)

    @property
    def counted_past(self) -> str:
        """What users did with the items that they are counted for, in the store's words: bought, took, looked at."""
        return self.words.counted_past(self.verb)

    @property
    def did_from(self) -> str:
        """What users did, before the name of a category: bought from, took courses from."""
        return self.words.did_from(self.verb)

    @cached_property
    def categories(self) -> list[str]:
        """Name of each category; "" for items without one. Names may repeat under different parents."""
        return [self.tree.paths[node][-1] if node >= 0 else "" for node in self.nodes.tolist()]

    def row(self, item_id: str) -> int:
        """Row of an item.

        Raises: UnknownItemError
        """
        try:
            return self.rows[item_id]
        except KeyError:
            raise UnknownItemError(
                f"no item {item_id!r} among the {len(self):,} of this workspace; ids are compared letter by letter"
            ) from None

    def row_table(self) -> pl.DataFrame:
        """Table for joins on item ids: columns item_id, row (int64)."""
        import polars as pl

        return pl.DataFrame({"item_id": self.items["item_id"], "row": np.arange(len(self), dtype=np.int64)})

    def id(self, row: int) -> str:
        """Item id of a row."""
        return self.ids[row]

    @cached_property
    def ids(self) -> list[str]:
        """Item ids by row."""
        return list(self.rows)

    def category_name(self, row: int) -> str:
        """Category name of a row at the workspace's level."""
        return self.categories[int(self.category[row])]

    def records(self, rows: Sequence[int]) -> list[Item]:
        """Item records of the given rows, cached."""
        cache = self._records
        missing = [row for row in dict.fromkeys(rows) if row not in cache]
        if missing:
            if len(cache) + len(missing) > MAX_CACHED_RECORDS:
                cache = {row: cache[row] for row in rows if row in cache}
            missing_items = self.items[missing]
            fields = [name for name in Item.__dataclass_fields__ if name in missing_items.columns]
            for row, record in zip(missing, missing_items.select(fields).iter_rows(named=True), strict=True):
                cache[row] = Item(**{**record, "category": tuple(record["category"] or ())})
            object.__setattr__(self, "_records", cache)
        return [cache[row] for row in rows]

    @cached_property
    def _records(self) -> dict[int, Item]:
        return {}

    def in_categories(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """(items,) mask of items with one of the names anywhere in their category path, ignoring case."""
        import polars as pl

        lowered = [name.lower() for name in names]
        inside = pl.col("category").list.eval(pl.element().str.to_lowercase().is_in(lowered)).list.any().fill_null(False)
        return np.asarray(self.items.select(inside.alias("inside")).to_series().to_numpy(), dtype=bool)


def counted_interactions(interactions: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """Interactions that all counts are based on, and the verb that describes them.

    Purchases if there are any, otherwise ratings, otherwise everything: a count that mixes buyers and viewers describes neither.
    """
    import polars as pl

    for kind, verb in (("purchase", "bought"), ("rating", "rated")):
        of_kind = interactions.filter(pl.col("kind") == kind)
        if len(of_kind):
            return of_kind, verb
    return interactions, "looked at"
