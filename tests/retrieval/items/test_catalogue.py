"""Items as arrays: rows, categories at a level, and how many users had what."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from crossaisle.data.errors import UnknownItemError
from crossaisle.data.records import Item
from crossaisle.retrieval.items.catalogue import Catalogue

ITEMS = pl.DataFrame(
    {
        "item_id": ["b", "a", "c", "d", "e"],
        "title": ["Bowl", "Axe", "Cup", "Dish", ""],
        "category": [["Kitchen", "Bowls"], ["Garden"], ["Kitchen", "Cups"], ["KITCHEN", "Bowls"], []],
        "description": [""] * 5,
        "brand": ["X", None, None, None, None],
        "price": [1.5, None, None, None, None],
        "image": [None] * 5,
        "in_stock": [True, None, False, None, None],
    },
    schema_overrides={"image": pl.String},
)
EVENTS = pl.DataFrame({"user_id": ["u", "u", "u", "v", "v", "w"], "item_id": ["b", "b", "c", "b", "a", "e"], "kind": ["purchase"] * 6})


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue.build(ITEMS, EVENTS, 1)


def test_rows_follow_the_table(catalogue: Catalogue) -> None:
    assert len(catalogue) == 5
    assert [catalogue.row(key) for key in "bacde"] == [0, 1, 2, 3, 4]
    assert [catalogue.id(row) for row in range(5)] == list("bacde")


def test_unknown_item(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownItemError, match="no item 'B' among the 5 of this workspace"):
        catalogue.row("B")


def test_users_are_distinct(catalogue: Catalogue) -> None:
    assert catalogue.users.tolist() == [2, 1, 1, 0, 1]
    assert catalogue.categories == ["", "Garden", "KITCHEN", "Kitchen"]
    assert catalogue.category.tolist() == [3, 1, 3, 2, 0]
    assert catalogue.category_users.tolist() == [1, 1, 0, 2]
    assert catalogue.total_users == 3
    assert catalogue.category_name(1) == "Garden"


@pytest.mark.parametrize("level", [2, 5])
def test_short_paths_end_at_their_last_name(level: int) -> None:
    deep = Catalogue.build(ITEMS, EVENTS, level)
    assert [deep.category_name(row) for row in range(5)] == ["Bowls", "Garden", "Cups", "Bowls", ""]
    assert dict(zip(deep.categories, deep.category_users.tolist(), strict=True)) == {"": 1, "Bowls": 2, "Cups": 1, "Garden": 1}


def test_names_match_at_any_level_and_in_any_case(catalogue: Catalogue) -> None:
    assert catalogue.in_categories(["kitchen"]).tolist() == [True, False, True, True, False]
    assert catalogue.in_categories(["BOWLS", "garden"]).tolist() == [True, True, False, True, False]
    assert catalogue.in_categories(["Kitch"]).tolist() == [False] * 5
    assert catalogue.in_categories([]).tolist() == [False] * 5
    assert catalogue.in_categories(["kitchen"]).dtype == np.bool_


def test_records_keep_the_order_of_rows(catalogue: Catalogue) -> None:
    dish, bowl = catalogue.records([3, 0])
    assert dish == Item("d", "Dish", ("KITCHEN", "Bowls"))
    assert bowl == Item("b", "Bowl", ("Kitchen", "Bowls"), "", "X", 1.5, None, True)
    assert catalogue.records([]) == []
    assert catalogue.records([4])[0].category == ()


def test_interactions_with_unknown_items_are_ignored() -> None:
    strange = Catalogue.build(ITEMS, pl.DataFrame({"user_id": ["z"], "item_id": ["gone"], "kind": ["purchase"]}), 1)
    assert strange.users.tolist() == [0] * 5
    assert strange.category_users.tolist() == [0] * 4


@pytest.mark.parametrize(
    ("kinds", "verb", "users"),
    [
        (["purchase", "view", "rating", "cart", "view", "click"], "bought", 1),
        (["rating", "view", "rating", "cart", "rating", "view"], "rated", 2),
        (["view", "click", "cart", "search", "view", "view"], "looked at", 3),
    ],
)
def test_counts_use_one_kind_of_interaction(kinds: list[str], verb: str, users: int) -> None:
    catalogue = Catalogue.build(ITEMS, EVENTS.with_columns(pl.Series("kind", kinds)), 1)
    assert (catalogue.verb, catalogue.total_users) == (verb, users)
