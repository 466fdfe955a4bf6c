"""Price ranges: validation, and the items inside a range."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import QueryError
from ...retrieval.items.catalogue import Catalogue

if TYPE_CHECKING:
    from numpy.typing import NDArray


def validate_price_range(low: float | None, high: float | None) -> None:
    """Check the bounds of a price range; None is no bound.

    Raises: QueryError: a bound that is negative or not finite, or a lower bound above the upper one.
    """
    for name, price in (("lowest", low), ("highest", high)):
        if price is not None and not (np.isfinite(price) and price >= 0):
            raise QueryError(f"the {name} price must be a number of 0 or more, not {price}")
    if low is not None and high is not None and low > high:
        raise QueryError(f"the price range is upside down: from {low:g} to {high:g}")


def price_mask(catalogue: Catalogue, low: float | None, high: float | None) -> NDArray[np.bool_]:
    """Return (items,) bool: items with a price in the range, bounds included; with any bound, items without a price are excluded."""
    import polars as pl

    if low is None and high is None:
        return np.ones(len(catalogue), dtype=bool)
    price = catalogue.items["price"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.asarray((price >= (low or 0.0)) & (price <= (np.inf if high is None else high)))
