"""What a store knows of how its items belong together, read as needs: who has this needs that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...retrieval.associations.substitutes import SUBSTITUTE_RELATIONS

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from ...retrieval.items.catalogue import Catalogue

OF_THE_TAIL = ("accessory_of", "part_of", "refill_of", "consumable_of", "spare_part_of", "fits")
"""Whoever has the tail needs the head. All other relations go from head to tail: needs, requires, used_with ..."""
BOTH_WAYS = ("compatible_with", "used_with", "goes_with", "bought_with")


class Relations:
    """Needs between items by declaration.

    Args: table: columns head, relation, tail; ids that are no items are passed over, and so are declared substitutes.
    """

    def __init__(self, table: pl.DataFrame, catalogue: Catalogue) -> None:
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
        backward = known["relation"].is_in([*OF_THE_TAIL, *BOTH_WAYS]).to_numpy()
        forward = ~known["relation"].is_in(OF_THE_TAIL).to_numpy()
        self._named = dict(zip(zip(head.tolist(), tail.tolist(), strict=True), known["relation"].to_list(), strict=True))
        self._has = np.concatenate([head[forward], tail[backward]]).astype(np.int64)
        self._needs = np.concatenate([tail[forward], head[backward]]).astype(np.int64)

    def needed(self, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(items,) how many relations say that whoever has one of some items, (items,) which, needs each item."""
        return np.bincount(self._needs[rows[self._has]], minlength=len(rows))

    def between(self, item: int, other: int) -> tuple[str, bool] | None:
        """What is declared of two item rows: the relation, and whether `item` is its head; None where nothing is."""
        if (item, other) in self._named:
            return self._named[item, other], True
        return (self._named[other, item], False) if (other, item) in self._named else None
