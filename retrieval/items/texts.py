"""Texts to embed, built from table columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# MiniLM reads 256 word pieces; longer texts only cost tokenizing time.
MAX_TEXT_CHARS = 1500


def item_texts(items: pl.DataFrame) -> pl.Series:
    """One text per item: title, category path, brand, description; at most `LONGEST` characters."""
    import polars as pl

    parts = [
        pl.col("title"),
        pl.col("category").list.join(" > "),
        pl.col("brand").fill_null(""),
        pl.col("description"),
    ]
    return items.select(_joined(parts).alias("text")).to_series()


def review_texts(reviews: pl.DataFrame) -> pl.Series:
    """One text per review: title and body; at most `LONGEST` characters."""
    import polars as pl

    return reviews.select(_joined([pl.col("title"), pl.col("text")]).alias("text")).to_series()


def review_ids(reviews: pl.DataFrame) -> pl.Series:
    """One id per review: the item id and the number of the review among the item's reviews, in table order."""
    import polars as pl

    number = pl.int_range(pl.len()).over("item_id").cast(pl.String)
    return reviews.select((pl.col("item_id") + "#" + number).alias("review_id")).to_series()


def _joined(parts: list[pl.Expr]) -> pl.Expr:
    import polars as pl

    present = pl.concat_list([pl.when(part.str.strip_chars() != "").then(part) for part in parts]).list.drop_nulls()
    return present.list.join(". ").str.slice(0, MAX_TEXT_CHARS)
