"""The items of a snapshot as arrays: a row number per item, and per row what rules and channels ask of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import UnknownItemError
from ...data.records import Item
from .category_tree import Categories

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray


KEPT = 20_000
"""Items that are kept as records once they were asked for: making one out of the table takes a tenth of a millisecond."""


@dataclass(frozen=True)
class Catalogue:
    """Items by row.

    Attributes:
        items: the table, one row per item. level: the level of a category that counts, 1 = broadest.
        rows: item id to row.
        tree: all categories. nodes: (categories,) the nodes of the tree that are items' categories at `level`, -1 for having none.
        category: (items,) int32 code into `nodes` and `categories`.
        users: (items,) int32 distinct users who had the item.
        category_users: (categories,) int32 distinct users who had anything of the category.
        total_users: distinct users who had anything.
        verb: what those users did, in words: bought, rated or looked at.
    """

    items: pl.DataFrame
    level: int
    rows: dict[str, int]
    tree: Categories
    nodes: NDArray[np.int32]
    category: NDArray[np.int32]
    users: NDArray[np.int32]
    category_users: NDArray[np.int32]
    total_users: int
    verb: str

    @classmethod
    def build(cls, items: pl.DataFrame, interactions: pl.DataFrame, level: int) -> Catalogue:
        """The arrays of a snapshot's items and interactions."""
        import polars as pl

        tree = Categories.build(items)
        nodes, category = np.unique(tree.at(level), return_inverse=True)  # -1, for items without one, is the first
        interactions, verb = telling(interactions)
        ids = items["item_id"].to_list()
        codes = pl.DataFrame({"item_id": ids, "row": np.arange(len(ids), dtype=np.int64), "code": category})
        pairs = interactions.lazy().select("user_id", "item_id").unique().join(codes.lazy(), on="item_id").collect()
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
        )

    def __len__(self) -> int:
        return len(self.category)

    @cached_property
    def categories(self) -> list[str]:
        """The name of each category; "" stands for items without one. Two categories may have one name, under different parents."""
        return [self.tree.paths[node][-1] if node >= 0 else "" for node in self.nodes.tolist()]

    def row(self, item_id: str) -> int:
        """The row of an item.

        Raises: UnknownItemError
        """
        try:
            return self.rows[item_id]
        except KeyError:
            raise UnknownItemError(
                f"no item {item_id!r} among the {len(self):,} of this workspace; ids are compared letter by letter"
            ) from None

    def row_table(self) -> pl.DataFrame:
        """The rows as a table to join on: columns item_id, row (int64)."""
        import polars as pl

        return pl.DataFrame({"item_id": self.items["item_id"], "row": np.arange(len(self), dtype=np.int64)})

    def id(self, row: int) -> str:
        """The id of the item in a row."""
        return self.ids[row]

    @cached_property
    def ids(self) -> list[str]:
        """The ids of all items, by row."""
        return list(self.rows)

    def category_name(self, row: int) -> str:
        """The name of a row's category at the level that counts."""
        return self.categories[int(self.category[row])]

    def records(self, rows: Sequence[int]) -> list[Item]:
        """The items in some rows, as records."""
        made = self._records
        missing = [row for row in dict.fromkeys(rows) if row not in made]
        if missing:
            if len(made) + len(missing) > KEPT:
                made = {row: made[row] for row in rows if row in made}
            picked = self.items[missing]
            known = [name for name in Item.__dataclass_fields__ if name in picked.columns]
            for row, record in zip(missing, picked.select(known).iter_rows(named=True), strict=True):
                made[row] = Item(**{**record, "category": tuple(record["category"] or ())})
            object.__setattr__(self, "_records", made)
        return [made[row] for row in rows]

    @cached_property
    def _records(self) -> dict[int, Item]:
        return {}

    def in_categories(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """(items,) which have one of the names anywhere in their path, without regard to case."""
        import polars as pl

        wanted = [name.lower() for name in names]
        inside = pl.col("category").list.eval(pl.element().str.to_lowercase().is_in(wanted)).list.any().fill_null(False)
        return np.asarray(self.items.select(inside.alias("inside")).to_series().to_numpy(), dtype=bool)


def telling(interactions: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """The interactions that figures are counted from, and the verb that says truly what their users did.

    Purchases where there are any, else ratings, else everything: a figure that mixed buyers with lookers could be said of neither.
    """
    import polars as pl

    for kind, verb in (("purchase", "bought"), ("rating", "rated")):
        of_kind = interactions.filter(pl.col("kind") == kind)
        if len(of_kind):
            return of_kind, verb
    return interactions, "looked at"
