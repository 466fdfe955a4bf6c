"""The tree of categories of a small store."""

from __future__ import annotations

import polars as pl

from crossaisle.retrieval.items.category_tree import CategoryTree


def tree(*paths: list[str] | None) -> CategoryTree:
    return CategoryTree.build(pl.DataFrame({"category": paths}, schema={"category": pl.List(pl.String)}))


def test_every_prefix_is_a_node_and_names_repeat_under_parents() -> None:
    found = tree(["Phones", "Accessories"], ["Cameras", "Accessories"], ["Phones"], [], None)
    assert found.paths == [("Cameras",), ("Cameras", "Accessories"), ("Phones",), ("Phones", "Accessories")]
    assert found.depth.tolist() == [1, 2, 1, 2]
    assert found.parent.tolist() == [-1, 0, -1, 2]
    assert [found.words(node) for node in range(len(found))] == ["Cameras", "Cameras > Accessories", "Phones", "Phones > Accessories"]
    assert found.code["Phones", "Accessories"] == 3


def test_short_paths_repeat_their_last_node() -> None:
    found = tree(["Home", "Kitchen", "Pans"], ["Home"], [])
    assert found.levels == 3
    assert [found.at(level).tolist() for level in (1, 2, 3, 9)] == [[0, 0, -1], [1, 0, -1], [2, 0, -1], [2, 0, -1]]


def test_items_under_a_node() -> None:
    found = tree(["Home", "Kitchen", "Pans"], ["Home", "Kitchen"], ["Home"], ["Garden"], [])
    under = {found.words(node): found.under(node).tolist() for node in range(len(found))}
    assert under == {
        "Garden": [False, False, False, True, False],
        "Home": [True, True, True, False, False],
        "Home > Kitchen": [True, True, False, False, False],
        "Home > Kitchen > Pans": [True, False, False, False, False],
    }


def test_a_store_without_categories_has_no_levels() -> None:
    found = tree([], None)
    assert (len(found), found.levels) == (0, 0)
    assert found.at(1).tolist() == [-1, -1]
