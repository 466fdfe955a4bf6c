"""Lookups in an open workspace: users and items by prefix, and the interactions of a user."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from ...recommend.profiles.profile import KINDS
from ...retrieval.items.interactions import NEVER

if TYPE_CHECKING:
    import polars as pl

    from ...recommend.profiles.live_events import LiveEvents
    from ...recommend.recommender import Recommender

_ITEM_COLUMNS = ("item_id", "title", "category", "price", "image")


def users_by_prefix(recommender: Recommender, live: LiveEvents, prefix: str, limit: int) -> list[str]:
    """Ids of users that start with `prefix`, in the order of the snapshot, and `prefix` itself if only events know that user.

    Forgotten users are left out.
    """
    histories, rows = recommender.histories, recommender.catalogue.rows
    matches = dict.fromkeys(user for user in (*histories, prefix) if user and user.startswith(prefix))
    return list(islice((user for user in matches if live.history(user, histories, rows) is not None), limit))


def items_by_prefix(items: pl.DataFrame, prefix: str, limit: int) -> list[dict[str, Any]]:
    """Items whose id, title or a word of the title starts with `prefix`, ignoring case: item_id, title, category, price, image.

    Items whose title starts with it come first.
    """
    import polars as pl

    prefix = prefix.strip().lower()
    if prefix:
        title, item_id = pl.col("title").str.to_lowercase(), pl.col("item_id").str.to_lowercase()
        title_match = title.str.starts_with(prefix)
        any_match = title_match | title.str.contains(f" {prefix}", literal=True) | item_id.str.starts_with(prefix)
        items = items.filter(any_match).sort(title_match.filter(any_match), descending=True, maintain_order=True)
    columns = [name for name in _ITEM_COLUMNS if name in items.columns]
    return [{**row, "category": list(row["category"] or ())} for row in items.head(limit).select(columns).to_dicts()]


def user_interactions(recommender: Recommender, user: str) -> list[dict[str, Any]]:
    """The interactions of a user, oldest first: item_id, title, category, kind, timestamp (None without timestamps in the data).

    Raises:
        UnknownUserError: Nothing is known about the user.
    """
    history = recommender.history(user)
    items = recommender.catalogue.records(history.rows.tolist())
    return [
        {
            "item_id": item.item_id,
            "title": item.title,
            "category": list(item.category),
            "kind": KINDS[kind],
            "timestamp": None if timestamp == NEVER else timestamp,
        }
        for item, kind, timestamp in zip(items, history.kinds.tolist(), history.times.tolist(), strict=True)
    ]
