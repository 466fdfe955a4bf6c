"""Summary of a user profile in words and shares."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.records import Query
from ...data.store_words import StoreWords
from ...retrieval.index.vector_index import ITEMS

if TYPE_CHECKING:
    from ..profiles.profile import Profile
    from ..recommender import Recommender

MAX_ENTRIES = 6
"""Maximum number of entries per list; the remaining shares are added up."""
PRICE_LEVEL_TOLERANCE = 0.1
"""Difference in log price within which a price level counts as usual: about a tenth."""
VERBS = {
    "purchase": "bought",
    "rating": "rated",
    "cart": "put into the cart",
    "click": "clicked",
    "search": "searched",
    "view": "viewed",
}


def profile_summary(recommender: Recommender, user_id: str) -> dict[str, Any]:
    """Return the profile of a user as plain JSON types.

    Returns: `user_id`; `words`, a one-line summary; shares of `categories` and `brands`; `price_level`, 1 is the average of the categories
        bought; `counts` by kind; `first` and `last` day; titles of the items of the last visit (`intent`), of the items `searched`, and of
        the items closest to the taste vector (`leans_to`).
    Raises: UnknownUserError, EmptyHistoryError
    """
    profile = recommender.shopper(Query(user_id)).profile
    catalogue = recommender.catalogue
    titles = catalogue.items["title"]
    names = [catalogue.tree.words(node) if node >= 0 else "(no category)" for node in catalogue.nodes.tolist()]
    days = [_day(time_ms) for time_ms in profile.time_span] if profile.time_span else [None, None]
    level = None if profile.price_level is None else round(float(np.exp(profile.price_level)), 2)
    return {
        "user_id": user_id,
        "words": _words(profile, level, days, catalogue.words),
        "categories": _shares(profile.categories, names),
        "brands": _shares(profile.brands, profile.item_attributes.brands),
        "price_level": level,
        "counts": dict(profile.kind_counts),
        "first": days[0],
        "last": days[1],
        "intent": [titles[row] for row in profile.session_items.tolist()[:MAX_ENTRIES]],
        "searched": [titles[row] for row in profile.searched_items.tolist()[:MAX_ENTRIES]],
        "leans_to": _nearest(recommender, profile),
    }


def _words(profile: Profile, level: float | None, days: Sequence[str | None], words: StoreWords) -> str:
    counts = ", ".join(f"{words.past if kind == 'purchase' else VERBS[kind]} {count:,}" for kind, count in profile.kind_counts.items())
    period = f" from {days[0]} to {days[1]}" if days[0] and days[0] != days[1] else f" on {days[0]}" if days[0] else ""
    price = ""
    if level is not None and profile.price_level is not None:
        difference = f"pays {abs(level - 1):.0%} {'more' if level > 1 else 'less'} than is usual"
        price = "; " + ("pays what is usual" if abs(profile.price_level) < PRICE_LEVEL_TOLERANCE else difference)
    return f"{len(profile.rows):,} {words.items} ({counts}){period}{price}"


def _shares(shares: Mapping[int, float], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the largest shares by name, and the sum of the others."""
    entries = [{"name": names[code], "share": round(share, 4)} for code, share in list(shares.items())[:MAX_ENTRIES]]
    rest = sum(list(shares.values())[MAX_ENTRIES:])
    return entries + ([{"name": f"{len(shares) - MAX_ENTRIES} more", "share": round(rest, 4)}] if rest > 0 else [])


def _nearest(recommender: Recommender, profile: Profile) -> list[str]:
    """Return the titles of the history items closest to the taste vector."""
    catalogue = recommender.catalogue
    ids = [catalogue.id(row) for row in profile.rows.tolist()]
    known = recommender.index.vectors(ITEMS, ids)
    if not known:
        return []
    zeros = np.zeros(len(next(iter(known.values()))), np.float32)
    vectors = np.stack([known.get(item_id, zeros) for item_id in ids])
    nearest = np.argsort(-(vectors @ profile.taste(vectors)), kind="stable")[:3]
    return [catalogue.items["title"][int(profile.rows[index])] for index in nearest]


def _day(time_ms: int) -> str:
    return datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC).date().isoformat()
