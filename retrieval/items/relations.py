"""Relations between items that the store declares, read as needs: a user who has one item needs the other.

The one place that says what the name of a relation means: substitutes, or a need and its direction.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from .catalogue import Catalogue

TAIL_NEEDS_HEAD = ("accessory_of", "part_of", "refill_of", "consumable_of", "spare_part_of", "fits")
"""Relations in which the tail needs the head; in all others (needs, requires, ...) the head needs the tail."""
SYMMETRIC_RELATIONS = ("compatible_with", "used_with", "goes_with", "bought_with")
"""Relations in which each of the two items needs the other."""
SUBSTITUTE_RELATIONS = (
    "substitute_of", "substitute", "alternative_to", "alternative", "replaces", "similar_to", "similar", "variant_of", "variant",
    "also_viewed",
)  # fmt: skip
"""Relations that declare substitutes or variants, in either direction. All other relations declare complements.

Items viewed together are substitutes, as in McAuley, Pandey and Leskovec, KDD 2015.
"""


def relation_name() -> pl.Expr:
    """Return the column `relation` in lower case, with underscores for spaces and hyphens."""
    import polars as pl

    return pl.col("relation").str.strip_chars().str.to_lowercase().str.replace_all(r"[\s-]+", "_")


class DeclaredRelations:
    """Declared needs between the items of a catalogue."""

    def __init__(self, table: pl.DataFrame, catalogue: Catalogue) -> None:
        """Index a table of relations.

        Args:
            table: columns head, relation and tail. Unknown item ids, relations of an item to itself, and all relations of a pair that is
                declared as substitutes are ignored.
            catalogue: the items.
        """
        import polars as pl

        rows = catalogue.row_table()
        known = (
            table.with_columns(relation_name())
            .join(rows.rename({"item_id": "head", "row": "from"}), on="head", maintain_order="left")
            .join(rows.rename({"item_id": "tail", "row": "to"}), on="tail", maintain_order="left")
            .filter(pl.col("from") != pl.col("to"))
            .with_columns(low=pl.min_horizontal("from", "to"), high=pl.max_horizontal("from", "to"))
        )
        is_substitute = pl.col("relation").is_in(SUBSTITUTE_RELATIONS)
        known = known.join(known.filter(is_substitute), on=["low", "high"], how="anti", maintain_order="left")
        self.item_count = len(catalogue)
        self._head, self._tail = known["from"].to_numpy().astype(np.int64), known["to"].to_numpy().astype(np.int64)
        self._names = known["relation"].to_list()
        backward = known["relation"].is_in([*TAIL_NEEDS_HEAD, *SYMMETRIC_RELATIONS]).to_numpy()
        forward = ~known["relation"].is_in(TAIL_NEEDS_HEAD).to_numpy()
        self.owned = np.concatenate([self._head[forward], self._tail[backward]])
        """(needs,) item rows; a user who has one of them needs the item of the same position in `needed`."""
        self.needed = np.concatenate([self._tail[forward], self._head[backward]])
        """(needs,) item rows; pairs may repeat."""

    def __len__(self) -> int:
        """Return the number of needs."""
        return len(self.owned)

    def need_counts(self, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return (items,) how many of some items need each item, by declaration. Args: rows: (items,) bool, those items."""
        return np.bincount(self.needed[rows[self.owned]], minlength=len(rows))

    def between(self, item: int, other: int) -> tuple[str, bool] | None:
        """Return the relation between two item rows and whether `item` is its head; None without a declared relation."""
        if (item, other) in self._relation:
            return self._relation[item, other], True
        return (self._relation[other, item], False) if (other, item) in self._relation else None

    @cached_property
    def _relation(self) -> dict[tuple[int, int], str]:
        """(head row, tail row) to the name of the relation."""
        return dict(zip(zip(self._head.tolist(), self._tail.tolist(), strict=True), self._names, strict=True))
