"""The reviews of a snapshot by item, split into positive and negative ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

MIN_PRAISE_RATING, MAX_COMPLAINT_RATING = 4.0, 3.0
"""Rating, of five, from which a review counts as positive, and up to which as negative. On a scale to ten more reviews qualify as positive,
on a scale to three none."""
MAX_REVIEWS_PER_ITEM = 50
REVIEW_CACHE_ITEMS = 10_000
"""Maximum number of items whose reviews are cached in memory."""


@dataclass(frozen=True)
class ReviewTable:
    """Reviews looked up by item.

    Attributes: table: columns item_id, review_id, rating and text, sorted by item.
    """

    table: pl.DataFrame
    _cache: dict[tuple[str, bool], list[tuple[str, str]]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def rated_reviews(self, item_id: str, *, negative: bool = False) -> pl.DataFrame:
        """Return the positive reviews of an item, at most `MAX_REVIEWS_PER_ITEM`, with their texts. Args: negative: the negative ones."""
        import polars as pl

        ids = self.table["item_id"]
        first, last = ids.search_sorted(item_id, "left"), ids.search_sorted(item_id, "right")
        reviews = self.table.slice(int(first), int(last) - int(first))
        rated = pl.col("rating") <= MAX_COMPLAINT_RATING if negative else pl.col("rating") >= MIN_PRAISE_RATING
        return reviews.filter(rated & (pl.col("text") != "")).head(MAX_REVIEWS_PER_ITEM)

    def texts(self, item_id: str, negative: bool) -> list[tuple[str, str]]:
        """Return the same as pairs of review id and text; cached, because popular items are explained often."""
        key = (item_id, negative)
        reviews = self._cache.get(key)
        if reviews is None:
            if len(self._cache) >= REVIEW_CACHE_ITEMS:
                self._cache.clear()
            reviews = self._cache[key] = list(self.rated_reviews(item_id, negative=negative).select("review_id", "text").iter_rows())
        return reviews
