"""Substitutes in a known-answer world, and against human labels of real pairs."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from crossaisle.retrieval.associations.co_views import MIN_CO_VIEWERS, co_view_counts
from crossaisle.retrieval.associations.substitutes import ALIKE, MIN_NAME_SIMILARITY, Substitutes
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.category_tree import CategoryTree
from crossaisle.retrieval.items.texts import item_texts

from ...conftest import SHARED

if TYPE_CHECKING:
    from crossaisle.retrieval.index.embedder import Embedder

PHONES, CASES, POWER = ("Electronics", "Phones"), ("Electronics", "Accessories", "Cases"), ("Electronics", "Power")
WORLD: dict[str, tuple[str | None, tuple[str, ...] | None]] = {
    "phone": ("Orbit X200 smartphone 64 GB black", PHONES),
    "twin": ("Orbit X200 smartphone 128 GB black", PHONES),
    "blue twin": ("Orbit X200 Smartphone 64 GB, Blue", PHONES),
    "other phone": ("Zenith Pocket Mini, dual SIM", PHONES),
    "case": ("Case for Orbit X200 smartphone 64 GB black", CASES),
    "other case": ("Case for Orbit X200 smartphone 64 GB blue", CASES),
    "charger": ("Quick charger for AA cells", POWER),
    "cells": ("Rechargeable batteries, eight pieces", POWER),
    "unfiled": ("Orbit X200 smartphone 64 GB black (new)", None),
    "nameless": ("", PHONES),
    "nameless too": (None, PHONES),
}
ROW = {name: row for row, name in enumerate(WORLD)}


def table(world: dict[str, tuple[str | None, tuple[str, ...] | None]]) -> pl.DataFrame:
    return pl.DataFrame(
        [(key, title, list(path) if path is not None else None) for key, (title, path) in world.items()],
        schema={"item_id": pl.String, "title": pl.String, "category": pl.List(pl.String)},
        orient="row",
    )


def classifier(items: pl.DataFrame, vectors: np.ndarray | None = None, **known: object) -> Substitutes:
    return Substitutes.build(items, CategoryTree.build(items), vectors, **known)  # type: ignore[arg-type]


def are(rule: Substitutes, left: str, right: str) -> bool:
    return bool(rule.label(np.asarray([ROW[left]]), np.asarray([ROW[right]]))[0])


def every_pair(n: int) -> tuple[np.ndarray, np.ndarray]:
    left, right = np.divmod(np.arange(n * n), n)
    return left, right


def relation(head: str, name: str, tail: str) -> pl.DataFrame:
    return pl.DataFrame({"head": [head], "relation": [name], "tail": [tail]})


def looks(pairs: dict[tuple[str, str], int]) -> sparse.csr_array:
    matrix = np.zeros((len(WORLD), len(WORLD)), dtype=np.int32)
    for (left, right), users in pairs.items():
        matrix[ROW[left], ROW[right]] = matrix[ROW[right], ROW[left]] = users
    return sparse.csr_array(matrix)


@pytest.fixture(scope="module")
def by_name() -> Substitutes:
    return classifier(table(WORLD))


@pytest.fixture(scope="module")
def by_both(embedder: Embedder) -> Substitutes:
    items = table(WORLD).with_columns(pl.lit(None, pl.String).alias("description"), pl.lit(None, pl.String).alias("brand"))
    vectors = embedder.encode(item_texts(items).to_list())
    vectors[[ROW["nameless"], ROW["nameless too"]]] = 0
    return classifier(items, vectors)


@pytest.mark.parametrize("rule", ["by_name", "by_both"])
def test_near_duplicates_of_a_category_are_substitutes_and_accessories_are_not(rule: str, request: pytest.FixtureRequest) -> None:
    world: Substitutes = request.getfixturevalue(rule)
    phones = ["phone", "twin", "blue twin"]
    assert all(are(world, a, b) for a in phones for b in phones if a != b)
    assert are(world, "case", "other case")
    # The case has every word of the phone's name.
    assert world.similar_text(np.asarray([ROW["phone"]]), np.asarray([ROW["case"]]))[0]
    assert not any(are(world, phone, case) for phone in phones for case in ("case", "other case"))
    assert not are(world, "phone", "other phone")
    assert not are(world, "charger", "cells")


def test_without_a_category_text_similarity_decides(by_name: Substitutes) -> None:
    assert are(by_name, "unfiled", "phone")
    assert not are(by_name, "unfiled", "other phone")
    nowhere = table({name: (title, None) for name, (title, _) in WORLD.items()})
    assert are(classifier(nowhere), "phone", "twin")
    assert are(classifier(nowhere), "phone", "case")  # nothing is left to tell them apart by
    assert not are(classifier(nowhere), "phone", "charger")


def test_an_item_without_a_name_is_no_substitute_whatever_its_vector(by_name: Substitutes) -> None:
    same = np.zeros((len(WORLD), 4), dtype=np.float32)
    same[:, 0] = 1
    for rule in (by_name, classifier(table(WORLD), same)):
        assert not any(are(rule, "nameless", other) or are(rule, other, "nameless too") for other in WORLD)


def test_an_item_is_no_substitute_for_itself(by_name: Substitutes) -> None:
    rows = np.arange(len(WORLD))
    assert not by_name.label(rows, rows).any()
    twice = classifier(table(WORLD), relations=relation("phone", "substitute_of", "phone"))
    assert not twice.label(rows, rows).any()


def test_one_letter_scripts_and_widths_do_not_matter() -> None:
    items = table(
        {"a": ("ＡＢＣ　１２３", PHONES), "b": ("abc 123", PHONES), "c": ("本", PHONES), "d": ("本", PHONES), "e": ("a\nb  c", PHONES)}
    )
    rule = classifier(items)
    assert rule.name_similarity(np.asarray([0, 2, 0]), np.asarray([1, 3, 2])).tolist() == [1.0, 1.0, 0.0]
    assert rule.name_size.tolist() == [8, 8, 2, 2, 6]


def test_name_similarity_equals_hand_computed_bigram_overlap(by_name: Substitutes) -> None:
    def letters(title: str | None) -> set[str]:
        text = " ".join((title or "").lower().split())
        return {f" {text} "[i : i + 2] for i in range(len(text) + 1)} if text else set()

    names = [letters(title) for title, _ in WORLD.values()]
    left, right = every_pair(len(WORLD))
    by_hand = [2 * len(names[a] & names[b]) / max(len(names[a]) + len(names[b]), 1) for a, b in zip(left, right, strict=True)]
    np.testing.assert_allclose(by_name.name_similarity(left, right), by_hand)


def test_half_similar_names_need_a_similar_vector() -> None:
    items = table({"a": ("Orbit X200 black", PHONES), "b": ("Orbit X200 smart grey", PHONES), "c": ("Zenith Mini", PHONES)})
    vectors = np.tile(np.asarray([1, 0], dtype=np.float32), (3, 1))
    first, second = np.asarray([0, 0]), np.asarray([1, 2])
    likeness = classifier(items).name_similarity(first, second)
    assert 2 * ALIKE - 1 < likeness[0] < MIN_NAME_SIMILARITY
    assert classifier(items).label(first, second).tolist() == [False, False]
    assert classifier(items, vectors).label(first, second).tolist() == [True, False]


def test_a_zero_vector_is_ignored_and_a_vector_counts_half() -> None:
    items = table(WORLD)
    pair = np.asarray([ROW["phone"]]), np.asarray([ROW["twin"]])
    likeness = float(classifier(items).name_similarity(*pair)[0])
    assert likeness > MIN_NAME_SIMILARITY
    vectors = np.zeros((len(WORLD), 2), dtype=np.float32)
    vectors[ROW["phone"]] = (1, 0)
    assert classifier(items, vectors).label(*pair)[0]  # the twin's is unknown
    for cosine, alike in ((2 * ALIKE - likeness + 0.01, True), (2 * ALIKE - likeness - 0.01, False)):
        vectors[ROW["twin"]] = (cosine, np.sqrt(1 - cosine**2))
        assert classifier(items, vectors).label(*pair)[0] == alike


@pytest.mark.parametrize("name", ["substitute_of", "alternative_to", "replaces", " Alternative To ", "substitute-of"])
def test_declared_substitutes_hold_across_categories_and_directions(name: str) -> None:
    rule = classifier(table(WORLD), relations=relation("case", name, "charger"))
    assert are(rule, "case", "charger")
    assert are(rule, "charger", "case")
    assert not are(rule, "case", "cells")


def test_other_declared_relations_mean_complements() -> None:
    both = pl.concat([relation("phone", "compatible_with", "twin"), relation("phone", "needs", "no such item")])
    rule = classifier(table(WORLD), relations=both)
    assert not are(rule, "twin", "phone")
    assert are(rule, "phone", "blue twin")
    contrary = pl.concat([both, relation("twin", "replaces", "phone")])
    assert are(classifier(table(WORLD), relations=contrary), "phone", "twin")


USUAL = {("phone", "case"): 400, ("twin", "other case"): 400}
USUAL_BOUGHT = {("phone", "case"): 100, ("twin", "other case"): 100}


def test_co_viewed_items_without_co_purchases_are_substitutes() -> None:
    viewed = looks(USUAL | {("phone", "other phone"): 200, ("charger", "cells"): 200, ("other phone", "case"): 200})
    bought = looks(USUAL_BOUGHT | {("phone", "other phone"): 2, ("charger", "cells"): 45})
    rule = classifier(table(WORLD), viewed=viewed, bought=bought)
    assert are(rule, "phone", "other phone")
    assert are(rule, "other phone", "phone")
    assert not are(rule, "charger", "cells")  # bought together as often as is usual
    assert not are(rule, "other phone", "case")  # never bought together, but on two shelves


def test_few_views_decide_nothing() -> None:
    viewed, bought = looks(USUAL | {("phone", "other phone"): 8}), looks(USUAL_BOUGHT)
    assert not are(classifier(table(WORLD), viewed=viewed, bought=bought), "phone", "other phone")


def test_a_significant_but_small_deviation_decides_nothing() -> None:
    viewed = looks({pair: users * 1000 for pair, users in USUAL.items()} | {("phone", "other phone"): 100_000, ("phone", "twin"): 100_000})
    plenty = {pair: users * 1000 for pair, users in USUAL_BOUGHT.items()}
    for seldom, often in ((20_000, 30_000), (2_000, 95_000)):
        rule = classifier(table(WORLD), viewed=viewed, bought=looks(plenty | {("phone", "other phone"): seldom, ("phone", "twin"): often}))
        assert are(rule, "phone", "other phone") == (seldom == 2_000)
        assert are(rule, "phone", "twin") == (often == 30_000)


def test_one_half_of_a_matrix_of_counts_is_enough() -> None:
    viewed = looks(USUAL | {("phone", "other phone"): 200, ("phone", "twin"): 100})
    bought = looks(USUAL_BOUGHT | {("phone", "other phone"): 2, ("phone", "twin"): 95})
    left, right = every_pair(len(WORLD))
    expected = classifier(table(WORLD), viewed=viewed, bought=bought).label(left, right)
    for half in (lambda m: sparse.csr_array(sparse.triu(m)), lambda m: sparse.csr_array(sparse.tril(m))):
        np.testing.assert_array_equal(classifier(table(WORLD), viewed=half(viewed), bought=half(bought)).label(left, right), expected)


def test_similar_names_with_co_purchases_are_complements_unless_declared() -> None:
    viewed, bought = looks(USUAL | {("phone", "twin"): 100}), looks(USUAL_BOUGHT | {("phone", "twin"): 95})
    known = {"viewed": viewed, "bought": bought}
    assert not are(classifier(table(WORLD), **known), "phone", "twin")
    assert are(classifier(table(WORLD), **known), "phone", "blue twin")
    assert are(classifier(table(WORLD), **known, relations=relation("phone", "replaces", "twin")), "phone", "twin")


def test_inconsistent_shapes_are_an_error() -> None:
    items = table(WORLD)
    with pytest.raises(ValueError, match="vectors of 3"):
        classifier(items, np.zeros((3, 2), dtype=np.float32))
    with pytest.raises(ValueError, match="must be given together"):
        classifier(items, viewed=looks(USUAL))
    with pytest.raises(ValueError, match="purchases of"):
        classifier(items, viewed=looks(USUAL), bought=sparse.csr_array((2, 2), dtype=np.int32))


def test_an_empty_catalogue_and_no_pairs() -> None:
    empty = classifier(table({}))
    none = np.empty(0, dtype=np.int64)
    assert empty.label(none, none).tolist() == []
    assert classifier(table(WORLD)).label(none, none).tolist() == []


NAMES = st.one_of(st.none(), st.text(alphabet="abAé本 \n", max_size=6))
PATHS = st.one_of(st.none(), st.lists(st.sampled_from(["A", "B"]), max_size=2).map(tuple))
DRAWN = st.lists(st.tuples(NAMES, PATHS, st.integers(0, 2)), min_size=1, max_size=8)
TIES = st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["replaces", "needs"]), st.integers(0, 7)), max_size=4)


def drawn_world(
    drawn: list[tuple[str | None, tuple[str, ...] | None, int]], ties: list[tuple[int, str, int]], order: np.ndarray
) -> Substitutes:
    """The drawn items with vectors and relations, in some order."""
    directions = np.asarray([[0, 0], [1, 0], [0.8, 0.6]], dtype=np.float32)
    items = table({f"i{place}": drawn[place][:2] for place in order})
    vectors = directions[[drawn[place][2] for place in order]]
    relations = pl.DataFrame(
        [(f"i{a}", name, f"i{b}") for a, name, b in ties],
        schema={"head": pl.String, "relation": pl.String, "tail": pl.String},
        orient="row",
    )
    viewed = np.random.default_rng(0).integers(0, 40, (8, 8))[: len(drawn), : len(drawn)]
    viewed = viewed + viewed.T
    bought = viewed * (np.add.outer(np.arange(len(drawn)), np.arange(len(drawn))) % 3) // 3
    place = np.ix_(order, order)
    return classifier(items, vectors, relations=relations, viewed=sparse.csr_array(viewed[place]), bought=sparse.csr_array(bought[place]))


@given(DRAWN, TIES, st.integers(1, 7), st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_labels_do_not_depend_on_order_or_blocks(
    drawn: list[tuple[str | None, tuple[str, ...] | None, int]], ties: list[tuple[int, str, int]], block: int, random: object
) -> None:
    n = len(drawn)
    straight = np.arange(n)
    rule = drawn_world(drawn, ties, straight)
    left, right = every_pair(n)
    labels = rule.label(left, right)
    np.testing.assert_array_equal(labels, rule.label(right, left))
    np.testing.assert_array_equal(labels, rule.label(left, right, block=block))
    order = np.asarray(random.sample(range(n), n))  # type: ignore[attr-defined]
    other = drawn_world(drawn, ties, order)
    where = np.argsort(order)
    np.testing.assert_array_equal(labels, other.label(where[left], where[right]))


def test_views_and_purchases_alone_identify_substitutes() -> None:
    rows = []
    for n in range(300):
        user = f"u{n:03d}"
        rows += [(user, item, "view") for item in ("phone", "other phone", "case")]
        rows += [(user, "phone" if n % 2 else "other phone", "purchase"), (user, "case", "purchase"), (user, "case", "view")]
    interactions = pl.DataFrame(rows, schema=["user_id", "item_id", "kind"], orient="row")
    found = co_view_counts(interactions, Catalogue.build(table(WORLD), interactions, 1))
    assert found is not None
    assert found[0][ROW["phone"], ROW["other phone"]] == 300 >= MIN_CO_VIEWERS
    assert found[1][ROW["phone"], ROW["other phone"]] == 0
    assert found[1][ROW["phone"], ROW["case"]] == 150
    rule = classifier(table(WORLD), viewed=found[0], bought=found[1])
    assert are(rule, "phone", "other phone")
    assert not are(rule, "phone", "case")


def test_agreement_with_human_labels_on_held_out_pairs() -> None:
    file = SHARED / "fbl" / "FBL2023.tsv"
    if not file.is_file():
        pytest.skip(f"{file} is not here: the labelled pairs are not part of the repository")
    pairs = pl.read_csv(file, separator="\t", quote_char=None, infer_schema_length=0)
    pairs = pairs.filter([zlib.crc32(url.encode()) % 2 == 1 for url in pairs["ITEM_URL_1"]])
    names = dict(pairs.select("ITEM_URL_1", "ITEM_NAME_1").iter_rows()) | dict(pairs.select("ITEM_URL_2", "ITEM_NAME_2").iter_rows())
    row = {url: i for i, url in enumerate(names)}
    left, right = (np.asarray([row[url] for url in pairs[f"ITEM_URL_{i}"]]) for i in (1, 2))
    votes = pairs.select(pl.col(f"ANNOTATOR{i}_LABEL").cast(pl.Int64).fill_null(0) for i in (1, 2, 3)).to_numpy()
    substitute, complement = (votes == 1).sum(axis=1) >= 2, ((votes >= 2) & (votes <= 7)).sum(axis=1) >= 2
    rule = classifier(table({url: (name, None) for url, name in names.items()}))
    likeness = rule.name_similarity(left, right)
    wins = likeness[substitute][:, None] - likeness[complement][None, :]
    assert (np.sign(wins) / 2 + 0.5).mean() >= 0.75
    called = rule.label(left, right)
    assert called[substitute].mean() >= 0.6
    assert substitute[called].mean() >= 0.55
    assert called[complement].mean() <= 0.3
