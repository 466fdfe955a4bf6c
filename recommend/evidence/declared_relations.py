"""Relations between items that the store declares, read as needs: a user who has one item needs the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...retrieval.associations.substitutes import SUBSTITUTE_RELATIONS

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from ...retrieval.items.catalogue import Catalogue

TAIL_NEEDS_HEAD = ("accessory_of", "part_of", "refill_of", "consumable_of", "spare_part_of", "fits")
"""Relations in which the tail needs the head; in all others (needs, requires, ...) the head needs the tail."""
SYMMETRIC_RELATIONS = ("compatible_with", "used_with", "goes_with", "bought_with")


class DeclaredRelations:
    """Declared needs between the items of a catalogue."""

    def __init__(self, table: pl.DataFrame, catalogue: Catalogue) -> None:
        """Index a table of relations.

        Args:
            table: columns head, relation and tail; unknown item ids and declared substitutes are ignored.
            catalogue: the items.
        """
        import polars as pl

        name = pl.col("relation").str.strip_chars().str.to_lowercase().str.replace_all(r"[\s-]+", "_")
        rows = catalogue.row_table()
        known = (
            table.with_columns(name.alias("relation"))
            .filter(~pl.col("relation").is_in(SUBSTITUTE_RELATIONS))
            .join(rows.rename({"item_id": "head", "row": "from"}), on="head")
            .join(rows.rename({"item_id": "tail", "row": "to"}), on="tail")
        )
        head, tail = known["from"].to_numpy(), known["to"].to_numpy()
        backward = known["relation"].is_in([*TAIL_NEEDS_HEAD, *SYMMETRIC_RELATIONS]).to_numpy()
        forward = ~known["relation"].is_in(TAIL_NEEDS_HEAD).to_numpy()
        self._relation = dict(zip(zip(head.tolist(), tail.tolist(), strict=True), known["relation"].to_list(), strict=True))
        self._has = np.concatenate([head[forward], tail[backward]]).astype(np.int64)
        self._needs = np.concatenate([tail[forward], head[backward]]).astype(np.int64)

    def need_counts(self, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return (items,) how many of some items need each item, by declaration. Args: rows: (items,) bool, those items."""
        return np.bincount(self._needs[rows[self._has]], minlength=len(rows))

    def between(self, item: int, other: int) -> tuple[str, bool] | None:
        """Return the relation between two item rows and whether `item` is its head; None without a declared relation."""
        if (item, other) in self._relation:
            return self._relation[item, other], True
        return (self._relation[other, item], False) if (other, item) in self._relation else None
