"""The format `completejourney`: products and transactions of The Complete Journey (84.51°), as csv. Demographics are not read.

The source has no titles; they are composed of other columns: `Potato Chips, 12 OZ (National brand)`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from .base import Record, Source, pick_files

_LEVELS = ("department", "product_category", "product_type")
_PRODUCT = {"item_id": ("product_id",), **{name: (name,) for name in _LEVELS}}
_TRANSACTION = {
    "user_id": ("household_id",),
    "item_id": ("product_id",),
    "value": ("quantity",),
    "timestamp": ("transaction_timestamp",),
}
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


def find(paths: Sequence[Path], rename: Mapping[str, str]) -> list[Source]:  # noqa: ARG001 -- the column names are fixed
    """Return the two files among files and folders.

    Args:
        paths: Files or folders.
        rename: Ignored.

    Raises:
        FormatError: One is missing.
    """
    names_of_files = (("products.csv",), ("transactions.csv", "transactions_sample.csv"))
    products, transactions = pick_files(paths, names_of_files, "The Complete Journey")
    return [
        Source(products, ("items",), _PRODUCT, tuple(_PRODUCT), item=product),
        Source(transactions, ("interactions",), _TRANSACTION, ("user_id", "item_id", "timestamp"), kind="purchase"),
    ]


def product(record: Record) -> Record:
    """A record of products.csv with our field names."""
    path = [name for level in _LEVELS if (name := _titled(record.get(level)))]
    brand = _titled(record.get("brand"))
    size = " ".join(str(record.get("package_size") or "").split())
    title = ", ".join(part for part in (path[-1] if path else "", size) if part)
    return {
        "item_id": record.get("product_id"),
        "title": f"{title} ({brand} brand)" if title and brand else title,
        "category": path,
        "brand": brand or None,
    }


def _titled(value: object) -> str:
    """Text in title case: `KID'S SNACKS` becomes `Kid's Snacks`."""
    return _WORD.sub(lambda word: word[0].capitalize(), " ".join(str(value or "").split()))
