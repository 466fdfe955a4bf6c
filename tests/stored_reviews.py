"""Quotations from a few reviews without a workspace: an index that embeds the reviews when their vectors are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from crossaisle.recommend.evidence.quotations import Quotations
from crossaisle.recommend.evidence.review_table import ReviewTable

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
_SCHEMA = {"item_id": pl.String, "rating": pl.Float64, "text": pl.String, "review_id": pl.String}


@dataclass(frozen=True)
class ReviewVectors:
    """The part of a vector index that quotations need.

    Attributes:
        texts: Review id to text.
        encode: Embeds texts as unit vectors.
    """

    texts: dict[str, str]
    encode: Encode

    def vectors(self, name: str, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Vectors by id."""
        assert name == "reviews"
        return dict(zip(ids, self.encode([self.texts[review_id] for review_id in ids]), strict=True))


def stored_quotations(encode: Encode, reviews: Sequence[tuple[str, float, str]] = ()) -> Quotations:
    """Return the quotations of some reviews. Args: reviews: item id, rating and text of each."""
    rows = [(*review, f"{review[0]}#{n}") for n, review in enumerate(reviews)]
    table = pl.DataFrame(rows, schema=_SCHEMA, orient="row").sort("item_id", maintain_order=True)
    index = ReviewVectors(dict(table.select("review_id", "text").iter_rows()), encode)
    return Quotations(ReviewTable(table), index, encode)  # type: ignore[arg-type]  # no search
