"""A profile in words and shares, for a person to read."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.records import Query
from ...retrieval.index.vector_index import ITEMS

if TYPE_CHECKING:
    from ..profiles.profile import Profile
    from ..recommender import Recommender

MOST = 6
"""Shares that are told of each kind; the rest is added up."""
DEAR = 0.1
"""Log price from which on a shopper buys dearer, or cheaper, than is usual: a tenth."""
WORDS = {"purchase": "bought", "rating": "rated", "cart": "put into the cart", "click": "clicked", "search": "searched", "view": "viewed"}


def profile_summary(recommender: Recommender, user_id: str) -> dict[str, Any]:
    """What is known of a user: `words`, shares of `categories` and `brands`, `price_level` (1 is usual in the categories bought), `counts`
    by kind, `first` and `last` day, titles of the last visit (`intent`), of what was `searched`, and of what the taste `leans_to`.

    Raises: UnknownUserError, EmptyHistoryError
    """
    profile = recommender.shopper(Query(user_id)).profile
    catalogue = recommender.catalogue
    titles = catalogue.items["title"]
    names = [catalogue.tree.words(node) if node >= 0 else "(no category)" for node in catalogue.nodes.tolist()]
    days = [_day(moment) for moment in profile.time_span] if profile.time_span else [None, None]
    level = None if profile.price_level is None else round(float(np.exp(profile.price_level)), 2)
    return {
        "user_id": user_id,
        "words": _words(profile, level, days),
        "categories": _shares(profile.categories, names),
        "brands": _shares(profile.brands, profile.item_attributes.brands),
        "price_level": level,
        "counts": dict(profile.kind_counts),
        "first": days[0],
        "last": days[1],
        "intent": [titles[row] for row in profile.session_items.tolist()[:MOST]],
        "searched": [titles[row] for row in profile.searched_items.tolist()[:MOST]],
        "leans_to": _nearest(recommender, profile),
    }


def _words(profile: Profile, level: float | None, days: Sequence[str | None]) -> str:
    done = ", ".join(f"{WORDS[kind]} {count:,}" for kind, count in profile.kind_counts.items())
    when = f" from {days[0]} to {days[1]}" if days[0] and days[0] != days[1] else f" on {days[0]}" if days[0] else ""
    dear = ""
    if level is not None and profile.price_level is not None:
        off = f"pays {abs(level - 1):.0%} {'more' if level > 1 else 'less'} than is usual"
        dear = "; " + ("pays what is usual" if abs(profile.price_level) < DEAR else off)
    return f"{len(profile.rows):,} items ({done}){when}{dear}"


def _shares(shares: Mapping[int, float], names: Sequence[str]) -> list[dict[str, Any]]:
    """The largest shares by name, and the rest of them added up."""
    told = [{"name": names[code], "share": round(share, 4)} for code, share in list(shares.items())[:MOST]]
    rest = sum(list(shares.values())[MOST:])
    return told + ([{"name": f"{len(shares) - MOST} more", "share": round(rest, 4)}] if rest > 0 else [])


def _nearest(recommender: Recommender, profile: Profile) -> list[str]:
    """Titles of the history that lie nearest to the decayed taste."""
    catalogue = recommender.catalogue
    ids = [catalogue.id(row) for row in profile.rows.tolist()]
    known = recommender.index.vectors(ITEMS, ids)
    if not known:
        return []
    nothing = np.zeros(len(next(iter(known.values()))), np.float32)
    vectors = np.stack([known.get(key, nothing) for key in ids])
    nearest = np.argsort(-(vectors @ profile.taste(vectors)), kind="stable")[:3]
    return [catalogue.items["title"][int(profile.rows[place])] for place in nearest]


def _day(moment: int) -> str:
    return datetime.datetime.fromtimestamp(moment / 1000, datetime.UTC).date().isoformat()
