"""Filters: the items that pass, and the errors for invalid values."""

from __future__ import annotations

import polars as pl
import pytest

from crossaisle.data.errors import QueryError
from crossaisle.recommend.segments.query.filters import NO_FILTERS, Filters
from crossaisle.retrieval.items.catalogue import Catalogue

DAY = 86_400_000
ITEMS = pl.DataFrame(
    {
        "item_id": ["a", "b", "c", "d"],
        "title": ["A", "B", "C", "D"],
        "category": [["X"], ["X", "Y"], ["Z"], []],
        "price": [5.0, 10.0, 20.0, None],
        "colour": ["Red", "blue", None, "red"],
        "tags": [["New", "hot"], ["old"], None, []],
    }
)
CATALOGUE = Catalogue.build(ITEMS, pl.DataFrame({"user_id": ["u"], "item_id": ["a"], "kind": ["purchase"]}), 1)


def passing(**given: object) -> str:
    return "".join(ITEMS["item_id"].filter(pl.Series(Filters(**given).rows(CATALOGUE))))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "abcd"),
        ({"min_price": 10}, "bc"),
        ({"max_price": 10}, "ab"),
        ({"min_price": 0}, "abc"),
        ({"min_price": 6, "max_price": 19}, "b"),
        ({"where": ("colour=RED",)}, "ad"),
        ({"where": ("colour != red",)}, "bc"),
        ({"where": ("price<10",)}, "a"),
        ({"where": ("price <= 10",)}, "ab"),
        ({"where": ("price>10",)}, "c"),
        ({"where": ("price>=10",)}, "bc"),
        ({"where": ("price=10",)}, "b"),
        ({"where": ("price!=10",)}, "acd"),
        ({"where": ("tags=new",)}, "a"),
        ({"where": ("tags!=new",)}, "bcd"),
        ({"where": ("category=y",)}, "b"),
        ({"where": ("colour=red", "price<9")}, "a"),
        ({"where": ("colour=red",), "min_price": 6}, ""),
    ],
)
def test_items_that_pass(given: dict[str, object], expected: str) -> None:
    assert passing(**given) == expected


def test_a_period_includes_its_first_and_last_day() -> None:
    assert Filters(since="1970-01-02", until="1970-01-03").period == (DAY, 3 * DAY)
    assert Filters(until="1970-01-01").period == (None, DAY)
    Filters(since="1970-01-02", until="1970-01-02").check()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"since": "yesterday"}, "2024-01-31"),
        ({"until": "2024-02-30"}, "2024-02-30"),
        ({"since": "2024-02-02", "until": "2024-02-01"}, "period is upside down"),
        ({"min_price": -1.0}, "lowest price"),
        ({"max_price": float("nan")}, "highest price"),
        ({"max_price": float("inf")}, "highest price"),
        ({"min_price": 9.0, "max_price": 3.0}, "from 9 to 3"),
        ({"at_least": 0}, "give 1 or more"),
        ({"at_least": 2, "first_time": True}, "first time and at least 2"),
    ],
)
def test_invalid_filters_are_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(QueryError, match=words):
        Filters(**given).check()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("colour", "COLUMN=VALUE"),
        ("colour=", "COLUMN=VALUE"),
        ("=red", "COLUMN=VALUE"),
        ("size=9", "no column 'size'.*colour"),
        ("price=cheap", "price is a number"),
        ("colour<red", "colour is text"),
        ("tags>1", "tags is text"),
    ],
)
def test_invalid_conditions_are_refused(condition: str, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        passing(where=(condition,))


def test_to_dict_has_only_values_that_differ_from_the_defaults() -> None:
    assert NO_FILTERS.to_dict() == {}
    assert Filters(min_price=3, where=("colour=red",), at_least=2).to_dict() == {"min_price": 3, "at_least": 2, "where": ["colour=red"]}
