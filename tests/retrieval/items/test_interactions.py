"""Which interactions figures are counted from, and in what order."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import NEVER, Events, distinct

Row = tuple[str, str, str, int | None, int | None]
"""User, item, kind, timestamp, position."""


def built(*rows: Row) -> Events:
    items = pl.DataFrame({"item_id": list("abc"), "title": list("abc"), "category": [["X"]] * 3})
    schema = {"user_id": pl.String, "item_id": pl.String, "kind": pl.String, "timestamp": pl.Int64, "position": pl.Int64}
    interactions = pl.DataFrame(list(rows), schema=schema, orient="row")
    return Events.build(interactions, Catalogue.build(items, interactions, 1))


@pytest.mark.parametrize(
    ("times", "positions", "order", "time"),
    [
        ([5, 6, 7], [1, 2, 3], "time", [5, 6, 7]),
        ([None, 6, 7], [1, 2, 3], "time", [NEVER, 6, 7]),
        ([None, None, 7], [1, 2, 3], "position", [1, 2, 3]),
        ([None, None, 7], [None, 2, 3], "position", [NEVER, 2, 3]),
        ([None, None, 7], [None, None, 3], "none", [0, 0, 0]),
    ],
)
def test_order_needs_times_or_positions_for_most_interactions(
    times: list[int | None], positions: list[int | None], order: str, time: list[int]
) -> None:
    events = built(*(("u", item, "purchase", *when) for item, *when in zip("abc", times, positions, strict=True)))  # type: ignore[arg-type]
    assert events.order == order
    assert events.time.tolist() == time


def test_half_is_not_most() -> None:
    events = built(("u", "a", "purchase", None, None), ("u", "b", "purchase", 5, None))
    assert events.order == "none"


def test_positions_define_the_order() -> None:
    events = built(
        ("u", "a", "purchase", None, 3),
        ("u", "b", "purchase", None, 1),
        ("v", "c", "purchase", None, 2),
        ("v", "a", "purchase", None, 0),
        ("v", "b", "purchase", None, None),
    )
    assert events.user.tolist() == [0, 0, 1, 1, 1]
    assert events.row.tolist() == [1, 0, 1, 0, 2]
    assert events.time.tolist() == [1, 3, NEVER, 0, 2]


def test_only_the_counted_kind_is_used() -> None:
    bought: Row = ("v", "b", "purchase", 2, None)
    rated: Row = ("u", "a", "rating", 1, None)
    seen: Row = ("u", "c", "view", 1, None)
    for rows, verb, users in (((seen, rated, bought), "bought", ["v"]), ((seen, rated), "rated", ["u"]), ((seen,), "looked at", ["u"])):
        events = built(*rows)
        assert (events.verb, events.users.to_list(), len(events)) == (verb, users, 1)


def test_unknown_items_leave_no_event_and_no_user() -> None:
    events = built(
        ("u", "gone", "purchase", 1, None),
        ("v", "a", "purchase", 1, None),
        ("w", "b", "purchase", 1, None),
        ("w", "a", "purchase", 2, None),
    )
    assert events.users.to_list() == ["v", "w"]
    assert events.user.tolist() == [0, 1, 1]
    assert events.starts.tolist() == [0, 1, 3]


def test_distinct_values_ascend() -> None:
    assert distinct(np.array([3, 1, 3, 2, 1])).tolist() == [1, 2, 3]
    assert distinct(np.empty(0, np.int64)).tolist() == []
