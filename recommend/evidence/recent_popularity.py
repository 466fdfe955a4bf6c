"""How many users each item had lately, for the fact "bought by 12 shoppers in the last 30 days"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...retrieval.items.catalogue import Catalogue, counted_interactions
from ...retrieval.items.interactions import DAY

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

RECENT_DAYS = 30
"""Length of the recent period in days, back from the last event of the store."""


def count_recent_users(interactions: pl.DataFrame, catalogue: Catalogue) -> NDArray[np.int64] | None:
    """Return (items,) users of each item in the last `RECENT_DAYS` days of the store; None without timestamps."""
    import polars as pl

    counted = counted_interactions(interactions)[0]
    last = counted["timestamp"].max()
    if not isinstance(last, int):
        return None
    recent = counted.filter(pl.col("timestamp") > last - RECENT_DAYS * DAY).select("user_id", "item_id").unique()
    rows = recent.join(catalogue.row_table(), on="item_id")["row"].to_numpy()
    return np.bincount(rows, minlength=len(catalogue)).astype(np.int64)
