"""Counted interactions as arrays of user, item row and time.

Decides which of a store's interactions are counted, and whether they have an order by time, by position, or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from .catalogue import counted_interactions

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from .catalogue import Catalogue

Key = TypeVar("Key", bound=np.integer[Any])
Order = Literal["time", "position", "none"]
DAY = 86_400_000
"""Milliseconds."""
NEVER = np.iinfo(np.int64).min
"""Time of events without one; outside every window."""


@dataclass(frozen=True)
class Events:
    """Counted interactions by user, oldest first.

    Attributes:
        user: (events,) int32 user numbers, ascending.
        row: (events,) int32 item rows.
        time: (events,) int64 milliseconds since 1970, or positions, or 0; `NEVER` for an event without one.
        order: meaning of `time`: "time", "position" or "none".
        users: user ids by number.
        verb: verb for the interactions, see `counted_interactions`.
    """

    user: NDArray[np.int32]
    row: NDArray[np.int32]
    time: NDArray[np.int64]
    order: Order
    users: pl.Series
    verb: str

    @classmethod
    def build(cls, interactions: pl.DataFrame, catalogue: Catalogue) -> Events:
        """Build events from a snapshot's interactions, which are sorted by user, oldest first.

        The order is "time" when more than half of the interactions have a timestamp, otherwise "position" when more than half have one.
        """
        import polars as pl

        counted, verb = counted_interactions(interactions)
        order: Order = "none"
        for name in ("timestamp", "position"):
            if name in counted.columns and counted[name].null_count() * 2 < len(counted):
                order = "time" if name == "timestamp" else "position"
                break
        when = pl.col("timestamp" if order == "time" else "position").fill_null(NEVER) if order != "none" else pl.lit(0, pl.Int64)
        joined = (
            counted.lazy()
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
        if order == "position":  # the order of lines in a file may differ from their positions
            by_time = np.lexsort((time, user))
            time, row = time[by_time], row[by_time]
        return cls(user, row, time, order, joined["user_id"].gather(first), verb)

    def __len__(self) -> int:
        return len(self.user)

    @property
    def unit(self) -> int:
        """Size of one window step in `time`: a day, or a position."""
        return DAY if self.order == "time" else 1

    @property
    def starts(self) -> NDArray[np.int64]:
        """(users + 1,) offsets of each user's events, and the end."""
        return np.searchsorted(self.user, np.arange(len(self.users) + 1)).astype(np.int64)


def distinct(keys: NDArray[Key]) -> NDArray[Key]:
    """Distinct values, ascending. Sorting instead of numpy's hash table: a hundred times faster on ten million values."""
    keys = np.sort(keys)
    return keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys
