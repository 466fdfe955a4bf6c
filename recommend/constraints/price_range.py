"""A range of prices: whether it means anything, and which items are in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import QueryError
from ...retrieval.items.catalogue import Catalogue

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_range(low: float | None, high: float | None) -> None:
    """Refuses bounds that mean nothing; None is no bound.

    Raises: QueryError: a bound that is no price, or the lower one above the higher.
    """
    for name, price in (("lowest", low), ("highest", high)):
        if price is not None and not (np.isfinite(price) and price >= 0):
            raise QueryError(f"the {name} price must be a number of 0 or more, not {price}")
    if low is not None and high is not None and low > high:
        raise QueryError(f"the price range is upside down: from {low:g} to {high:g}")


def in_range(catalogue: Catalogue, low: float | None, high: float | None) -> NDArray[np.bool_]:
    """(items,) whose price is in the range, bounds included; with any bound, an item without a price is out."""
    import polars as pl

    if low is None and high is None:
        return np.ones(len(catalogue), dtype=bool)
    price = catalogue.items["price"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.asarray((price >= (low or 0.0)) & (price <= (np.inf if high is None else high)))
