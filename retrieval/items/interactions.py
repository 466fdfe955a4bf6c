"""The interactions that figures are counted from, as arrays: who, what, when.

Which of a store's interactions those are, and whether they have an order at all, is decided here once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from .catalogue import telling

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from .catalogue import Catalogue

Key = TypeVar("Key", bound=np.integer[Any])
Order = Literal["time", "position", "none"]
DAY = 86_400_000
"""Milliseconds."""
NEVER = np.iinfo(np.int64).min
"""The time of what has none: no window reaches it."""


@dataclass(frozen=True)
class Events:
    """Events by user, oldest first.

    Attributes:
        user: (events,) int32 user numbers, ascending. row: (events,) int32 item rows.
        time: (events,) int64: milliseconds since 1970, or the position, or 0; `NEVER` where an event has none.
        order: what `time` is: a clock, positions, or nothing.
        users: user ids by number. verb: what the users did, in words (see `telling`).
    """

    user: NDArray[np.int32]
    row: NDArray[np.int32]
    time: NDArray[np.int64]
    order: Order
    users: pl.Series
    verb: str

    @classmethod
    def build(cls, interactions: pl.DataFrame, catalogue: Catalogue) -> Events:
        """The events of a snapshot's interactions, which are sorted by user, oldest first.

        There is a clock when more than half of the interactions have a time, else positions when more than half have one.
        """
        import polars as pl

        told, verb = telling(interactions)
        order: Order = "none"
        for name in ("timestamp", "position"):
            if name in told.columns and told[name].null_count() * 2 < len(told):
                order = "time" if name == "timestamp" else "position"
                break
        when = pl.col("timestamp" if order == "time" else "position").fill_null(NEVER) if order != "none" else pl.lit(0, pl.Int64)
        joined = (
            told.lazy()
            .with_columns(when.cast(pl.Int64).alias("when"))
            .select("user_id", "item_id", "when")
            .join(catalogue.row_table().lazy(), on="item_id", how="inner", maintain_order="left")
            .with_columns(pl.col("user_id").rle_id().cast(pl.Int32).alias("user"), pl.col("row").cast(pl.Int32))
            .collect()
        )
        user = joined["user"].to_numpy()
        first = np.flatnonzero(np.diff(user, prepend=-1))
        time = joined["when"].to_numpy()
        row = joined["row"].to_numpy()
        if order == "position":  # a file may be in another order than its positions
            by_time = np.lexsort((time, user))
            time, row = time[by_time], row[by_time]
        return cls(user, row, time, order, joined["user_id"].gather(first), verb)

    def __len__(self) -> int:
        return len(self.user)

    @property
    def unit(self) -> int:
        """What one step of a window is in `time`: a day, or a position."""
        return DAY if self.order == "time" else 1

    @property
    def starts(self) -> NDArray[np.int64]:
        """(users + 1,) where each user's events begin, and the end."""
        return np.searchsorted(self.user, np.arange(len(self.users) + 1)).astype(np.int64)


def distinct(keys: NDArray[Key]) -> NDArray[Key]:
    """The distinct values, ascending. Sorting in place of numpy's hash table: a hundred times faster on ten million."""
    keys = np.sort(keys)
    return keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys
