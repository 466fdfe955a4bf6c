"""Entity linking in a small store with known answers, in the demo store, and in real categories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import crossaisle
from crossaisle.data.errors import QueryError
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.segments.query.entity_linking import MAX_CHOICES, MAX_TEXT_ITEMS, EntityLinker, NearestItems
from crossaisle.recommend.segments.query.grammar import parse
from crossaisle.recommend.segments.query.meanings import Meaning
from crossaisle.recommend.segments.query.name_matching import normalize_name
from crossaisle.recommend.segments.query.query_tree import And, Not, Or, Term
from crossaisle.retrieval.index.embedder import Embedder
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.texts import item_texts

# item id, title, path, brand, users who bought it
STORE: list[tuple[str, str, Sequence[str], str | None, int]] = [
    ("P1", "Aria Seven", ("Electronics", "Phones"), "Velmora", 5),
    ("P2", "Aria Eight", ("Electronics", "Phones"), "Velmora", 4),
    ("P3", "Felt Case", ("Electronics", "Phones", "Phone Cases"), "Pelloway", 3),
    ("P4", "Glass Case", ("Electronics", "Accessories"), "Pelloway", 1),
    ("C1", "Rain Cover", ("Cameras", "Accessories"), "Pelloway", 6),
    ("C2", "Carbon Tripod", ("Cameras", "Tripods & Monopods"), None, 2),
    ("S1", "Yarn, Wool", ("Arts, Crafts & Sewing", "Yarn"), "Best Buy", 2),
    ("S2", "Needle Set", ("Arts, Crafts & Sewing",), "Not Your Mother's", 1),
    ("B1", "Aa Cell Pair", ("Batteries",), "Orange", 1),
    ("F1", "Orange Box", ("Food", "Oranges"), "Fruttaria", 3),
    ("F2", "Café Noir", ("Food", "Café"), "Fruttaria", 2),
    ("D1", "Rope Toy", ("Pet Supplies",), "Wagmoor", 1),
    ("W1", "Trail Runner Red", ("Shoes", "Women", "Shoes"), "Stridana", 2),
    ("W2", "Trail Runner Blue", ("Shoes", "Men"), "Stridana", 1),
    ("Y1", "Odd Thing", (), None, 1),
    ("phones-x", "Twin", ("Toys",), None, 1),
    ("T2", "Twin", ("Toys",), None, 1),
]


def catalogue(store: Sequence[tuple[str, str, Sequence[str], str | None, int]]) -> Catalogue:
    items = pl.DataFrame(
        [(key, title, list(path), brand) for key, title, path, brand, _ in store],
        schema={"item_id": pl.String, "title": pl.String, "category": pl.List(pl.String), "brand": pl.String},
        orient="row",
    )
    bought = [(f"u{n}", key, "purchase") for key, _, _, _, users in store for n in range(users)]
    events = pl.DataFrame(bought, schema={"user_id": pl.String, "item_id": pl.String, "kind": pl.String}, orient="row")
    return Catalogue.build(items, events, 1)


def nothing_near(_: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    return np.empty(0, np.int64), np.empty(0, np.float32)


def at_cosines(cosines: dict[str, float]) -> NearestItems:
    """Nearest items with given cosines, the same for every text, best first."""
    rows = [[key for key, *_ in STORE].index(key) for key in cosines]
    order = np.argsort([-cosine for cosine in cosines.values()], kind="stable")
    return lambda _: (np.asarray(rows)[order], np.asarray(list(cosines.values()), dtype=np.float32)[order])


SHOP = EntityLinker(catalogue(STORE), nothing_near)


def ids(meaning: Meaning, names: EntityLinker = SHOP) -> set[str]:
    return set(names.catalogue.items["item_id"].filter(meaning.item_mask).to_list())


def asks(meaning: Meaning) -> list[str]:
    return [choice.ask for choice in meaning.choices]


@pytest.mark.parametrize(
    ("text", "kind", "name", "how"),
    [
        ("Phones", "category", ("Electronics", "Phones"), "exact"),
        ("phones", "category", ("Electronics", "Phones"), "exact"),
        ("phone", "category", ("Electronics", "Phones"), "plural"),
        ("battery", "category", ("Batteries",), "plural"),
        ("Electronics > Phones", "category", ("Electronics", "Phones"), "exact"),
        ("electronics>phone", "category", ("Electronics", "Phones"), "plural"),
        ("Electronics › Phones", "category", ("Electronics", "Phones"), "exact"),
        ("phones > phone cases", "category", ("Electronics", "Phones", "Phone Cases"), "exact"),
        ("cafe", "category", ("Food", "Café"), "exact"),
        ("CAFÉS", "category", ("Food", "Café"), "plural"),
        ("arts crafts and sewing", "category", ("Arts, Crafts & Sewing",), "exact"),
        ("Arts, Crafts & Sewing", "category", ("Arts, Crafts & Sewing",), "exact"),
        ("the Batteries!", "category", ("Batteries",), "exact"),
        ("tripod", "category", ("Cameras", "Tripods & Monopods"), "inside the name"),
        ("monopods", "category", ("Cameras", "Tripods & Monopods"), "inside the name"),
        ("pets", "category", ("Pet Supplies",), "inside the name"),
        ("pet products", "category", ("Pet Supplies",), "inside the name"),
        ("cases", "category", ("Electronics", "Phones", "Phone Cases"), "inside the name"),
        ("velmora", "brand", "Velmora", "exact"),
        ("not your mothers", "brand", "Not Your Mother's", "exact"),
        ("P3", "item", "Felt Case", "exact"),
        ("p3", "item", "Felt Case", "exact"),
        ("felt case", "item", "Felt Case", "exact"),
        ("felt cases", "item", "Felt Case", "plural"),
        ("runner blue", "item", "Trail Runner Blue", "inside the name"),
        ("blue trail runner", "item", "Trail Runner Blue", "inside the name"),
        ("Electrnics", "category", ("Electronics",), "spelling"),
        ("Velmoora", "brand", "Velmora", "spelling"),
        ("Carbn Tripod", "item", "Carbon Tripod", "spelling"),
    ],
)
def test_names_in_various_spellings(text: str, kind: str, name: object, how: str) -> None:
    meaning = SHOP.resolve(Term(text))
    assert (meaning.kind, meaning.name, meaning.match) == (kind, name, how)


def test_a_category_includes_everything_below_it() -> None:
    assert ids(SHOP.resolve(Term("electronics"))) == {"P1", "P2", "P3", "P4"}
    assert ids(SHOP.resolve(Term("phones"))) == {"P1", "P2", "P3"}
    assert ids(SHOP.resolve(Term("Phone Cases"))) == {"P3"}


def test_a_brand_means_its_items_and_a_title_all_items_with_it() -> None:
    assert ids(SHOP.resolve(Term("pelloway"))) == {"P3", "P4", "C1"}
    assert ids(SHOP.resolve(Term("twin"))) == {"phones-x", "T2"}
    assert ids(SHOP.resolve(Term("T2"))) == {"T2"}


def test_of_two_categories_with_one_name_the_one_with_more_users_is_meant_and_the_other_is_a_choice() -> None:
    meaning = SHOP.resolve(Term("accessories"))
    assert meaning.name == ("Cameras", "Accessories")
    assert asks(meaning) == ['category:"Electronics > Accessories"']
    assert meaning.choices[0].users == 1
    assert SHOP.resolve(Term("phones")).choices == ()


def test_a_category_below_one_of_the_same_name_is_no_choice() -> None:
    meaning = SHOP.resolve(Term("shoes"))
    assert meaning.name == ("Shoes",)
    assert meaning.choices == ()
    assert ids(meaning) == {"W1", "W2"}


def test_an_exact_brand_precedes_a_category_in_the_plural_which_is_a_choice() -> None:
    meaning = SHOP.resolve(Term("Orange"))
    assert (meaning.kind, meaning.name) == ("brand", "Orange")
    assert asks(meaning) == ['category:"Food > Oranges"']
    assert SHOP.resolve(Term("oranges")).name == ("Food", "Oranges")


def test_the_text_of_a_choice_selects_it() -> None:
    for text in ("accessories", "orange", "oranges"):
        meaning = SHOP.resolve(Term(text))
        assert meaning.choices
        for choice in meaning.choices:
            (selected,) = SHOP.resolve_all(parse(choice.ask, SHOP.is_name).tree).values()
            assert (selected.kind, selected.name, selected.choices) == (choice.kind, choice.name, ())


def test_the_kind_of_a_term_restricts_its_meaning() -> None:
    assert SHOP.resolve(Term("orange", "category")).name == ("Food", "Oranges")
    assert SHOP.resolve(Term("orange", "brand")).name == "Orange"
    assert SHOP.resolve(Term("trail runner", "item")).name == "Trail Runner Red"
    assert asks(SHOP.resolve(Term("trail runner", "item"))) == ['item:"W2"']
    for kind in ("category", "brand", "item"):
        with pytest.raises(QueryError, match=f"no {kind} is called"):
            SHOP.resolve(Term("xqzt", kind))  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="no brand is called"):
        SHOP.resolve(Term("electronics", "brand"))


def test_a_single_word_of_one_title_does_not_mean_that_item() -> None:
    with pytest.raises(QueryError):
        SHOP.resolve(Term("needle"))
    assert SHOP.resolve(Term("needle", "item")).name == "Needle Set"


def test_a_free_text_means_near_items_with_a_lower_threshold_the_more_words_they_share() -> None:
    # "rope" is in the title of D1 only, "puppy" in none; C1 shares no word with the text.
    def resolved(text: str, cosines: dict[str, float]) -> set[str]:
        names = EntityLinker(catalogue(STORE), at_cosines(cosines))
        return ids(names.resolve(Term(text)), names)

    assert resolved("a rope for my puppy", {"D1": 0.21, "C1": 0.39}) == {"D1"}
    assert resolved("a rope for my puppy", {"D1": 0.19, "C1": 0.41}) == {"C1"}
    assert resolved("flurbnax", {"D1": 0.49, "C1": 0.51}) == {"C1"}
    # "trail" is in two titles, "felt" in one: the rarer word weighs more.
    assert resolved("felt on the trail", {"P3": 0.3, "W1": 0.3}) == {"P3"}
    with pytest.raises(QueryError):
        resolved("a rope for my puppy", {"D1": 0.19, "C1": 0.39})


def test_a_free_text_means_at_most_max_text_items() -> None:
    many = [(f"I{n}", f"thing {n}", ("Things of all sorts",), None, 1) for n in range(200)]
    names = EntityLinker(catalogue(many), lambda _: (np.arange(200)[::-1].copy(), np.linspace(0.9, 0.7, 200, dtype=np.float32)))
    assert ids(names.resolve(Term("whatever comes")), names) == {f"I{n}" for n in range(200 - MAX_TEXT_ITEMS, 200)}


def test_a_free_text_has_the_categories_named_by_its_words_as_choices() -> None:
    names = EntityLinker(catalogue(STORE), at_cosines({"P1": 0.6}))
    meaning = names.resolve(Term("people who like their phones loud"))
    assert meaning.kind == "text"
    assert asks(meaning) == ['category:"Electronics > Phones"']


def test_a_term_of_kind_text_never_means_a_name() -> None:
    names = EntityLinker(catalogue(STORE), at_cosines({"P1": 0.6}))
    meaning = names.resolve(Term("phones", "text"))
    assert (meaning.kind, meaning.name, meaning.choices, ids(meaning, names)) == ("text", "phones", (), {"P1"})


def test_an_unknown_name_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(QueryError, match='"Velmora"'):
        SHOP.resolve(Term("Vermona"))
    with pytest.raises(QueryError, match='for instance "Electronics"'):
        SHOP.resolve(Term("zzzz"))
    with pytest.raises(QueryError, match='no brand .* for instance "'):
        SHOP.resolve(Term("zzzz", "brand"))
    with pytest.raises(QueryError) as refused:
        SHOP.resolve(Term("<|im_start|>{{ x }}\u202e"))
    assert not set("<>|{}\u202e") & set(str(refused.value))


def test_a_refusal_has_what_was_understood() -> None:
    with pytest.raises(QueryError, match=r'"xqzt"; .*\(understood: "phones" as category "Electronics › Phones"\)'):
        SHOP.resolve_all(parse("phones and xqzt", SHOP.is_name).tree)


def test_excluding_all_that_is_included_is_a_contradiction() -> None:
    with pytest.raises(QueryError, match="contradicts itself"):
        SHOP.resolve_all(parse("phones and not electronics", SHOP.is_name).tree)
    with pytest.raises(QueryError, match="contradicts itself"):
        SHOP.resolve_all(parse("phone and not phones", SHOP.is_name).tree)
    tree = parse("electronics and not phones", SHOP.is_name).tree
    meanings = SHOP.resolve_all(tree)
    assert tree == And((Term("electronics"), Not(Term("phones"))))
    assert [meaning.name for meaning in meanings.values()] == [("Electronics",), ("Electronics", "Phones")]


def test_names_with_operators_or_commas_are_not_split() -> None:
    for text, names in {
        "Arts, Crafts & Sewing and phones": ["Arts, Crafts & Sewing", "phones"],
        "arts crafts and sewing or best buy": ["arts crafts and sewing", "best buy"],
        "users who bought not your mother's also need": ["not your mother's"],
        "tripods and monopods": ["tripods and monopods"],
        "yarn, wool": ["yarn, wool"],
        "phone, cases": ["phone", "cases"],
        "phones and cases": ["phones", "cases"],
    }.items():
        assert [term.text for term in SHOP.resolve_all(parse(text, SHOP.is_name).tree)] == names


def test_is_name_accepts_names_of_the_store_only() -> None:
    for text in ("phones", "phone", "Velmora", "P1", "p1", "Felt Case", "cameras > accessories", "Arts, crafts & sewing"):
        assert SHOP.is_name(text), text
    for text in ("", "!", "tripod", "Velmoora", "phones and cameras", "and phones", "people who run"):
        assert not SHOP.is_name(text), text


def test_to_dict_of_a_meaning() -> None:
    assert SHOP.resolve(Term("phones")).to_dict() == {"kind": "category", "name": ["Electronics", "Phones"], "how": "exact", "items": 3}
    assert SHOP.resolve(Term("orange")).to_dict() == {
        "kind": "brand",
        "name": "Orange",
        "how": "exact",
        "items": 1,
        "choices": [{"kind": "category", "name": ["Food", "Oranges"], "ask": 'category:"Food > Oranges"'}],
    }


@pytest.mark.parametrize(
    ("singular", "plural"),
    [
        pair.split("/")
        for pair in (
            "phone/phones battery/batteries box/boxes shoe/shoes movie/movies watch/watches dish/dishes glass/glasses knife/knives glove/gloves "
            "shelf/shelves stove/stoves case/cases bus/bus tomato/tomatoes woman/women child/children mouse/mice toy/toys size/sizes tennis/tennis"
        ).split()
    ],
)
def test_singular_and_plural_are_one_name(singular: str, plural: str) -> None:
    for called, written in ((singular, plural), (plural, singular)):
        names = EntityLinker(catalogue([("x", "thing", (f"Red {called}",), None, 1)]), nothing_near)
        assert names.resolve(Term(f"red {written}")).name == (f"Red {called}",)


def test_different_words_stay_different_names() -> None:
    for called, written in (("glass", "glas ware"), ("bus", "bu"), ("C", "C++"), ("C#", "C"), ("か", "が")):
        names = EntityLinker(catalogue([("x", "thing", (called,), None, 1)]), nothing_near)
        assert not names.is_name(written), (called, written)


@given(st.text(max_size=30))
@settings(max_examples=300, deadline=None)
def test_normalization_is_idempotent_and_ignores_case(text: str) -> None:
    assert normalize_name(normalize_name(text)) == normalize_name(text) or normalize_name(text).startswith("the ")
    assert normalize_name(text.upper()) == normalize_name(text.upper().lower().upper())


@given(st.text(max_size=40), st.sampled_from([None, "category", "brand", "item", "text"]))
@settings(max_examples=300, deadline=None)
def test_any_name_has_a_meaning_or_is_refused(text: str, kind: object) -> None:
    try:
        meaning = SHOP.resolve(Term(text, kind))  # type: ignore[arg-type]
    except QueryError as refused:
        message = str(refused)
    else:
        assert meaning.item_mask.any()
        assert meaning.item_mask.shape == (len(STORE),)
        assert len(meaning.choices) <= MAX_CHOICES
        return
    assert message.isprintable()


def test_a_store_without_names_refuses_with_a_sentence() -> None:
    names = EntityLinker(catalogue([("x1", "", (), None, 1)]), nothing_near)
    assert not names.is_name("phones")
    assert ids(names.resolve(Term("X1")), names) == {"x1"}
    with pytest.raises(QueryError, match='"phones"; try other words'):
        names.resolve(Term("phones"))


# ------------------------------------------------------------------ real stores and the real embedder


def linker_of(workspace: Workspace, embedder: Embedder) -> EntityLinker:
    items = workspace.table("items")
    vectors = embedder.encode(item_texts(items).to_list())

    def near(text: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        cosines = vectors @ embedder.encode([text])[0]
        rows = np.argsort(-cosines, kind="stable")[:300]
        return rows, cosines[rows]

    return EntityLinker(Catalogue.build(items, workspace.table("interactions"), 1), near)


@pytest.fixture(scope="module")
def demo_shop(tmp_path_factory: pytest.TempPathFactory, demo_files: Path, embedder: Embedder) -> EntityLinker:
    path = tmp_path_factory.mktemp("names") / "demo"
    crossaisle.ingest(path, "files", [demo_files])
    return linker_of(Workspace(path), embedder)


@pytest.fixture(scope="module")
def amazon(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> EntityLinker:
    folder = Path(__file__).parents[5] / "shared" / "data" / "amazon23"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing: the real Amazon reviews are not part of the repository")
    path = tmp_path_factory.mktemp("names") / "amazon"
    crossaisle.ingest(path, "amazon-reviews-2023", [folder])
    return linker_of(Workspace(path), embedder)


def test_every_category_and_brand_of_the_demo_store_resolves_by_its_name(demo_shop: EntityLinker) -> None:
    for path in demo_shop.names.categories.paths:
        whole = demo_shop.resolve(Term(" > ".join(path)))
        assert (whole.name, whole.match) == (path, "exact")
        last = parse(f"users who bought {path[-1]} also need", demo_shop.is_name).tree
        assert isinstance(last, Term), path
        meaning = demo_shop.resolve(last)
        assert path in [meaning.name, *(choice.name for choice in meaning.choices)]
    for brand in demo_shop.catalogue.items["brand"].drop_nulls().unique():
        assert demo_shop.resolve(Term(brand.upper())).name == brand
    for item, title in demo_shop.catalogue.items.select("item_id", "title").iter_rows():
        assert ids(demo_shop.resolve(Term(title, "item")), demo_shop) == {item}


def test_people_who_started_running_resolves_to_running_items(demo_shop: EntityLinker) -> None:
    meaning = demo_shop.resolve(Term("people who started running"))
    assert (meaning.kind, meaning.match) == ("text", "meaning")
    titles = demo_shop.catalogue.items.filter(meaning.item_mask)["title"].to_list()
    assert len(titles) >= 4
    assert all("run" in title.lower() for title in titles)
    assert asks(meaning) == ['category:"Sports & Fitness > Running"']


def test_a_tripod_of_the_demo_store_resolves_by_meaning(demo_shop: EntityLinker) -> None:
    meaning = demo_shop.resolve(Term("tripod"))
    assert "Pelloway Flexible Tripod for Phones" in demo_shop.catalogue.items.filter(meaning.item_mask)["title"].to_list()
    assert meaning.item_mask.sum() <= 5


@pytest.mark.parametrize("text", ["xqzt blorp", "flurbnax", "qwertyuiop", "asdf qwer", "mxyzptlk grommish", "lorem ipsum dolor"])
def test_nonsense_is_refused_in_every_store(demo_shop: EntityLinker, amazon: EntityLinker, text: str) -> None:
    for names in (demo_shop, amazon):
        with pytest.raises(QueryError, match="nothing in this store is called"):
            names.resolve(Term(text))


def test_every_real_category_resolves_with_and_without_its_ampersand(amazon: EntityLinker) -> None:
    assert len(amazon.names.categories) > 20
    for path in amazon.names.categories.paths:
        for written in (path[-1], path[-1].replace(" and ", " & "), path[-1].lower()):
            assert (
                parse(f"{written} or Gift Cards", amazon.is_name).tree != parse("Gift Cards", amazon.is_name).tree
                or path[-1] == "Gift Cards"
            )
            tree = parse(f"people who bought {written} also need", amazon.is_name).tree
            assert isinstance(tree, Term), written
            assert amazon.resolve(tree).name == path
    assert amazon.resolve(Term("Arts, Crafts & Sewing")).match == "exact"
    assert isinstance(parse("Arts, Crafts & Sewing", amazon.is_name).tree, Term)
    listed = parse("phones, Arts, Crafts & Sewing or Patio, Lawn & Garden", amazon.is_name).tree
    assert listed == Or((Term("phones"), Term("Arts, Crafts & Sewing"), Term("Patio, Lawn & Garden")))
    assert amazon.resolve(Term("phones")).name == ("Cell Phones and Accessories",)
    assert amazon.resolve(Term("phones")).match == "inside the name"
