"""What shoppers look at together, and how much of it they then buy together: counts of users by pair of items.

Only a store that keeps looks (views, clicks) has any. What they say of a pair, whether its items are compared or belong together, is
for `substitutes` to judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...data.records import OWNING_KINDS

if TYPE_CHECKING:
    import polars as pl
    from scipy import sparse

    from ..items.catalogue import Catalogue

MOST_ITEMS = 100
"""Latest distinct items that count per user: a crawler looks at everything with everything."""
LOOKERS = 5
"""Users from whom a pair counts as looked at together."""


def looked_and_bought(
    interactions: pl.DataFrame, catalogue: Catalogue, *, most: int = MOST_ITEMS, lookers: int = LOOKERS, block: int = 512
) -> tuple[sparse.csr_array, sparse.csr_array] | None:
    """Users who looked at both items of a pair, and those of them who bought both; None for a store that keeps no looks.

    Whoever put an item into the cart or bought it has looked at it, though the look may not be on record.

    Args:
        interactions: sorted by user, oldest first, as the snapshot keeps them.
        most: latest distinct items that count per user. lookers: users that a pair needs; the others are left out of both.
    Returns: two symmetric (items, items) matrices of counts, an empty diagonal.
    """
    import polars as pl
    from scipy import sparse

    if not interactions["kind"].is_in(["view", "click"]).any():
        return None
    seen = (
        interactions.lazy()
        .filter(pl.col("kind") != "search")
        .select("user_id", "item_id", pl.col("kind").is_in(OWNING_KINDS).alias("had"))
        .join(catalogue.row_table().lazy(), on="item_id", maintain_order="left")
        .with_columns(pl.col("had").any().over("user_id", "row"))
        .unique(["user_id", "row"], keep="last", maintain_order=True)
        .with_columns(pl.col("user_id").rank("dense").cast(pl.Int64).alias("user") - 1)
        .collect()
        .group_by("user", maintain_order=True)
        .tail(most)
    )
    user, row, had = seen["user"].to_numpy(), seen["row"].to_numpy(), seen["had"].to_numpy()
    shape = (int(user.max(initial=-1)) + 1, len(catalogue))
    looks = sparse.csr_array((np.ones(len(row), dtype=np.int32), (user, row)), shape=shape)
    buys = sparse.csr_array((np.ones(int(had.sum()), dtype=np.int32), (user[had], row[had])), shape=shape)
    by_item, by_bought = looks.T.tocsr(), buys.T.tocsr()
    viewed, bought = [], []
    for start in range(0, len(catalogue), block):
        together = sparse.coo_array(by_item[start : start + block] @ looks)
        source, target = together.coords
        keep = (together.data >= lookers) & (source + start != target)
        pairs = sparse.csr_array((together.data[keep], (source[keep], target[keep])), shape=together.shape)
        viewed.append(pairs)
        bought.append((by_bought[start : start + block] @ buys).multiply(pairs > 0).tocsr())
    if not viewed:
        return None
    return sparse.csr_array(sparse.vstack(viewed)), sparse.csr_array(sparse.vstack(bought))
