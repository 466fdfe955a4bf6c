"""Declared relations: which of them are needs, in which direction, and which rows are ignored."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from crossaisle.data.readers.interaction_tables import empty_table
from crossaisle.retrieval.associations.substitutes import Substitutes
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.relations import SUBSTITUTE_RELATIONS, SYMMETRIC_RELATIONS, TAIL_NEEDS_HEAD, DeclaredRelations

ITEMS = ("phone", "case", "charger")


def catalogue() -> Catalogue:
    items = pl.DataFrame({"item_id": ITEMS, "title": ITEMS, "category": [["Things"]] * 3})
    return Catalogue.build(items, empty_table("interactions"), 1)


def relations(*rows: tuple[str, str, str]) -> DeclaredRelations:
    return DeclaredRelations(pl.DataFrame(rows, schema=["head", "relation", "tail"], orient="row"), catalogue())


def needs(declared: DeclaredRelations) -> set[tuple[str, str]]:
    """Pairs of what a user has and what the user needs."""
    ids = catalogue().ids
    return {(ids[has], ids[needed]) for has, needed in zip(declared.owned.tolist(), declared.needed.tolist(), strict=True)}


@pytest.mark.parametrize("name", [*TAIL_NEEDS_HEAD, "Accessory of", " spare-part-of "])
def test_the_tail_needs_the_head(name: str) -> None:
    assert needs(relations(("case", name, "phone"))) == {("phone", "case")}


@pytest.mark.parametrize("name", ["needs", "requires", "recommended with"])
def test_the_head_needs_the_tail(name: str) -> None:
    assert needs(relations(("phone", name, "charger"))) == {("phone", "charger")}


@pytest.mark.parametrize("name", SYMMETRIC_RELATIONS)
def test_each_needs_the_other(name: str) -> None:
    assert needs(relations(("phone", name, "charger"))) == {("phone", "charger"), ("charger", "phone")}


@pytest.mark.parametrize("name", [*SUBSTITUTE_RELATIONS, "Also viewed", "similar"])
def test_substitutes_are_no_needs_even_if_another_row_says_so(name: str) -> None:
    declared = relations(("phone", "needs", "case"), ("case", name, "phone"), ("phone", "needs", "charger"))
    assert needs(declared) == {("phone", "charger")}
    assert declared.between(0, 1) is None
    substitutes = Substitutes.build(
        catalogue().items, catalogue().tree, relations=pl.DataFrame({"head": ["case"], "relation": [name], "tail": ["phone"]})
    )
    assert substitutes.label(np.asarray([0]), np.asarray([1])).tolist() == [True], "the classifier of substitutes has the same rule"


def test_unknown_items_and_relations_of_an_item_to_itself_are_ignored() -> None:
    declared = relations(("phone", "needs", "?"), ("?", "fits", "phone"), ("phone", "goes_with", "phone"))
    assert len(declared) == 0
    assert declared.need_counts(np.ones(3, bool)).tolist() == [0, 0, 0]


def test_between_names_the_relation_and_the_head() -> None:
    declared = relations(("case", "accessory_of", "phone"))
    assert declared.between(1, 0) == ("accessory_of", True)
    assert declared.between(0, 1) == ("accessory_of", False)
    assert declared.between(0, 2) is None


def test_an_empty_table_declares_nothing() -> None:
    declared = DeclaredRelations(empty_table("relations"), catalogue())
    assert (len(declared), declared.between(0, 1)) == (0, None)
