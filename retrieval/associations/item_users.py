"""Users of each item and category, for the exact counts quoted in explanations.

Mining weights users and limits events. A sentence such as "of 40 shoppers who bought the first, 23 also bought the second" is a claim
about all of them, so it is counted here per pair, without weights or limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...data.records import Association
from ..items.catalogue import Catalogue, counted_interactions

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ItemUsers:
    """Users by item and by category.

    Attributes:
        catalogue: the items.
        of_item: (users, starts): user numbers grouped by item row, ascending and distinct within a group, and the offset of each group.
        of_category: the same by category code.
    """

    catalogue: Catalogue
    of_item: tuple[NDArray[np.int64], NDArray[np.int64]]
    of_category: tuple[NDArray[np.int64], NDArray[np.int64]]

    @classmethod
    def build(cls, interactions: pl.DataFrame, catalogue: Catalogue) -> ItemUsers:
        """Build from a snapshot's counted interactions."""
        import polars as pl

        pairs = (
            counted_interactions(interactions)[0]
            .lazy()
            .join(catalogue.row_table().lazy(), on="item_id")
            .select(pl.col("user_id").rank("dense").cast(pl.Int64).alias("user"), "row")
            .collect()
        )
        user, row = pairs["user"].to_numpy(), pairs["row"].to_numpy()
        return cls(
            catalogue,
            _grouped(row, user, len(catalogue)),
            _grouped(catalogue.category[row].astype(np.int64), user, len(catalogue.categories)),
        )

    def pair(self, source: int, target: int) -> Association | None:
        """Association of two item rows; None without a common user."""
        ids = self.catalogue.items["item_id"]
        return self._pair("item", self.of_item, source, target, ids[source], ids[target])

    def category_pair(self, source: int, target: int) -> Association | None:
        """Association of two category codes; None without a common user, or for a category with itself."""
        names = self.catalogue.categories
        return self._pair("category", self.of_category, source, target, names[source], names[target]) if source != target else None

    def _pair(
        self,
        level: Literal["item", "category"],
        groups: tuple[NDArray[np.int64], NDArray[np.int64]],
        source: int,
        target: int,
        source_name: str,
        target_name: str,
    ) -> Association | None:
        users, starts = groups
        left, right = users[starts[source] : starts[source + 1]], users[starts[target] : starts[target + 1]]
        both = len(np.intersect1d(left, right, assume_unique=True))
        if not both:
            return None
        return Association(level, source_name, target_name, both, len(left), len(right), self.catalogue.total_users)


def _grouped(group: NDArray[np.int64], user: NDArray[np.int64], groups: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(users by group, distinct and ascending within each; offset of each group, and the end)."""
    order = np.lexsort((user, group))
    group, user = group[order], user[order]
    first = np.concatenate([[True], (group[1:] != group[:-1]) | (user[1:] != user[:-1])]) if len(group) else np.empty(0, bool)
    group, user = group[first], user[first]
    return user, np.searchsorted(group, np.arange(groups + 1))
