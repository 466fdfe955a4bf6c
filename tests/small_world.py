"""A store of six items and five users: small enough that sets and loops compute the expected values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from hypothesis import strategies as st

from crossaisle.recommend.segments.cohorts import Population
from crossaisle.recommend.segments.query.query_tree import Term
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import Events, Order

ITEMS = {"tent": "Camping", "rope": "Camping", "stove": "Kitchen", "pan": "Kitchen", "lamp": "Home", "odd": ""}
NAMES = list(ITEMS)
USERS, WINDOW = 5, 3
MEANINGS = {Term("camping"): {"tent", "rope"}, Term("kitchen"): {"stove", "pan"}, Term("lamp"): {"lamp"}, Term("odd"): {"odd"}}
MASKS = {term: np.asarray([name in items for name in NAMES]) for term, items in MEANINGS.items()}
Event = tuple[int, str, int]

EVENTS = st.lists(st.tuples(st.integers(0, USERS - 1), st.sampled_from(NAMES), st.integers(0, 9)), min_size=1, max_size=25).map(
    lambda events: sorted(events, key=lambda event: (event[0], event[2]))
)
ORDERS = st.sampled_from(["time", "position", "none"])


def population(events: Sequence[Event], order: Order = "time") -> Population:
    """The population with some (user, item, time) purchases, by user, oldest first."""
    table = pl.DataFrame({"item_id": NAMES, "title": NAMES, "category": [[name] if name else [] for name in ITEMS.values()]})
    user, row = ([event[0] for event in events], [NAMES.index(event[1]) for event in events])
    bought = pl.DataFrame({"user_id": [f"u{n}" for n in user], "item_id": [NAMES[n] for n in row], "kind": ["purchase"] * len(row)})
    time = [event[2] if order != "none" else 0 for event in events]
    ids = pl.Series([f"u{n}" for n in range(USERS)])
    sorted_events = Events(np.asarray(user, np.int32), np.asarray(row, np.int32), np.asarray(time, np.int64), order, ids, "bought")
    return Population(sorted_events, Catalogue.build(table, bought, 1), WINDOW, np.full(USERS, 1000))


def nearby_events(
    events: Sequence[Event], users: set[int], anchors: set[int], excluded: set[str], order: str, direction: int
) -> list[tuple[int, str, int]]:
    """(user, item, shortest gap) of all events within the window after (1) or before (-1) an anchor, sorted."""
    nearby = []
    for user, item, time in events:
        if user not in users or item in excluded:
            continue
        gaps = [direction * (time - events[a][2]) for a in anchors if events[a][0] == user] if order != "none" else [0]
        in_window = [gap for gap in gaps if 0 <= gap <= WINDOW]
        if in_window:
            nearby.append((user, item, min(in_window)))
    return sorted(nearby)
