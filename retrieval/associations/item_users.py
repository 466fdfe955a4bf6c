"""Who had what, in full: the figures that are said aloud.

Mining caps what one user counts for, because it looks for patterns. A sentence such as "of 40 shoppers who bought the first, 23 also
bought the second" is a claim about all of them, so it is counted here, pair by pair, without a cap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...data.records import Association
from ..items.catalogue import Catalogue, telling

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Holders:
    """Users by item and by category.

    Attributes:
        of_item / of_category: (users, starts): user numbers grouped by item row or category code, ascending and distinct within a
            group, and where each group begins.
    """

    catalogue: Catalogue
    of_item: tuple[NDArray[np.int64], NDArray[np.int64]]
    of_category: tuple[NDArray[np.int64], NDArray[np.int64]]

    @classmethod
    def build(cls, interactions: pl.DataFrame, catalogue: Catalogue) -> Holders:
        """The holders of a snapshot, of the kind of interaction that its figures are counted from."""
        import polars as pl

        had = (
            telling(interactions)[0]
            .lazy()
            .join(catalogue.row_table().lazy(), on="item_id")
            .select(pl.col("user_id").rank("dense").cast(pl.Int64).alias("user"), "row")
            .collect()
        )
        user, row = had["user"].to_numpy(), had["row"].to_numpy()
        return cls(
            catalogue,
            _grouped(row, user, len(catalogue)),
            _grouped(catalogue.category[row].astype(np.int64), user, len(catalogue.categories)),
        )

    def pair(self, source: int, target: int) -> Association | None:
        """The figures of two item rows; None when nobody had both."""
        ids = self.catalogue.items["item_id"]
        return self._pair("item", self.of_item, source, target, ids[source], ids[target])

    def category_pair(self, source: int, target: int) -> Association | None:
        """The figures of two category codes; None when nobody had both, or for a category and itself."""
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
    """(users by group, distinct and ascending within each; where each group begins, and the end)."""
    order = np.lexsort((user, group))
    group, user = group[order], user[order]
    first = np.concatenate([[True], (group[1:] != group[:-1]) | (user[1:] != user[:-1])]) if len(group) else np.empty(0, bool)
    group, user = group[first], user[first]
    return user, np.searchsorted(group, np.arange(groups + 1))
