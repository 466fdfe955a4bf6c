"""Co-view and co-purchase counts: users by pair of items viewed together, and bought together.

Requires views or clicks in the data. `substitutes` derives from them whether two items are alternatives or complements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...data.records import OWNING_KINDS

if TYPE_CHECKING:
    import polars as pl
    from scipy import sparse

    from ..items.catalogue import Catalogue

MAX_VIEWED_ITEMS = 100
"""Latest distinct items counted per user, against crawlers."""
MIN_CO_VIEWERS = 5
"""Minimum users of a co-viewed pair."""


def co_view_counts(
    interactions: pl.DataFrame, catalogue: Catalogue, *, most: int = MAX_VIEWED_ITEMS, min_viewers: int = MIN_CO_VIEWERS, block: int = 512
) -> tuple[sparse.csr_array, sparse.csr_array] | None:
    """Users who viewed both items of a pair, and those of them who bought both; None for a store without views.

    Items in the cart or bought count as viewed, even without a recorded view.

    Args:
        interactions: sorted by user, oldest first.
        catalogue: the items.
        most: latest distinct items counted per user.
        min_viewers: minimum viewers of a pair; other pairs are left out of both matrices.
        block: items per block of the product.
    Returns: two symmetric (items, items) matrices of counts with an empty diagonal.
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
        keep = (together.data >= min_viewers) & (source + start != target)
        pairs = sparse.csr_array((together.data[keep], (source[keep], target[keep])), shape=together.shape)
        viewed.append(pairs)
        bought.append((by_bought[start : start + block] @ buys).multiply(pairs > 0).tocsr())
    if not viewed:
        return None
    return sparse.csr_array(sparse.vstack(viewed)), sparse.csr_array(sparse.vstack(bought))
