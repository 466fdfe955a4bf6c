"""The texts that are embedded, made from the tables in whole columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# MiniLM reads 256 word pieces; what is far beyond that only costs tokenizing time.
LONGEST = 1500


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
    """One text per review: its title and what was written; at most `LONGEST` characters."""
    import polars as pl

    return reviews.select(_joined([pl.col("title"), pl.col("text")]).alias("text")).to_series()


def review_ids(reviews: pl.DataFrame) -> pl.Series:
    """An id per review: the item's id and the review's place among that item's, in table order."""
    import polars as pl

    place = pl.int_range(pl.len()).over("item_id").cast(pl.String)
    return reviews.select((pl.col("item_id") + "#" + place).alias("review_id")).to_series()


def _joined(parts: list[pl.Expr]) -> pl.Expr:
    import polars as pl

    present = pl.concat_list([pl.when(part.str.strip_chars() != "").then(part) for part in parts]).list.drop_nulls()
    return present.list.join(". ").str.slice(0, LONGEST)
