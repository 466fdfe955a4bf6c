"""The history item that a reason names, in a store where it is known who buys a stove after what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

import crossaisle
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.evidence.anchor_choice import AnchorChoice, AnchorChooser, significant_pair
from crossaisle.recommend.evidence.quotations import Quotations
from crossaisle.retrieval.associations.item_users import ItemUsers
from crossaisle.retrieval.associations.rules import fisher_p_value
from crossaisle.retrieval.index.embedder import Embedder
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.uses.store import StoreUses, Use, load_uses

from ...stored_reviews import Encode, stored_quotations

ITEMS = {
    "stove": {"title": "Gas stove", "category": ["Kitchen"], "description": "You can use it for camping."},
    "tent": {"title": "Dome tent", "category": ["Camping"], "description": "It is great for camping."},
    "cooler": {"title": "Cooler box", "category": ["Garden"], "description": "It is good for camping."},
    "lantern": {"title": "Gas lantern", "category": ["Light"], "description": "It is useful for camping."},
    "kettle": {"title": "Steel kettle", "category": ["Kitchen"], "description": "It is ideal for camping."},
    "desk": {"title": "Oak desk", "category": ["Furniture"], "description": "It is made of oak."},
    "pen": {"title": "Ink pen", "category": ["Office"], "description": ""},
}
# Of 76 shoppers 24 have the stove: all 6 with the tent (lift 3.2), all 6 with the kettle, 9 of 12 with the cooler (lift 2.4), and 3 of 12
# with the lantern, fewer than the 3.8 expected by chance.
HISTORIES = {
    **{f"tent{n}": ["tent", "stove"] for n in range(6)},
    **{f"kettle{n}": ["kettle", "stove"] for n in range(6)},
    **{f"cooler{n}": ["cooler", "stove"] if n < 9 else ["cooler"] for n in range(12)},
    **{f"lantern{n}": ["lantern", "stove"] if n < 3 else ["lantern"] for n in range(12)},
    **{f"clerk{n}": ["desk", "pen"] for n in range(40)},
}


@dataclass(frozen=True)
class Store:
    """The parts of the store that a choice depends on."""

    catalogue: Catalogue
    item_users: ItemUsers
    uses: StoreUses

    def choose(
        self, leading: str, history: Sequence[str], quotations: Quotations | None = None, *, with_uses: bool = True
    ) -> tuple[str, AnchorChoice]:
        """Return the id of the history item that the reason for the stove names, and the whole choice."""
        chooser = AnchorChooser(
            self.catalogue, self.item_users, quotations or stored_quotations(unrelated), self.uses if with_uses else None
        )
        stove, leading_item = self.catalogue.records([self.catalogue.row("stove"), self.catalogue.row(leading)])
        choice = chooser.choose(stove, leading_item, [self.catalogue.row(item_id) for item_id in history])
        return choice.anchor.item_id, choice


def _only_of(item_id: str, use: Use) -> Use:
    """The use as only one item's texts name it."""
    return replace(use, sentences=use.sentences_of(item_id))


def unrelated(texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of texts that have nothing in common."""
    return np.eye(len(texts), 32, dtype=np.float32)


@pytest.fixture(scope="module")
def store(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("camp") / "shop"
    crossaisle.ingest(path, "files", [make_store(ITEMS, HISTORIES)])
    workspace = Workspace(path)
    interactions = workspace.table("interactions")
    catalogue = Catalogue.build(workspace.table("items"), interactions, workspace.manifest.category_level)
    return Store(catalogue, ItemUsers.build(interactions, catalogue), load_uses(workspace))


# ------------------------------------------------------------------ an item that shares a use


def test_the_item_that_a_use_fits_is_named(store: Store) -> None:
    def about_tents(texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = unrelated(texts)
        for index, text in enumerate(texts):
            if text in ("Dome tent", "for camping"):
                vectors[index] = np.eye(32, dtype=np.float32)[31]
        return vectors

    bare = Store(store.catalogue, store.item_users, StoreUses("English", tuple(use for use in store.uses.uses if use.name == "camping")))
    unshared = replace(bare, uses=StoreUses("English", tuple(_only_of("stove", use) for use in bare.uses.uses)))
    anchor, choice = unshared.choose("desk", ["tent", "desk"], stored_quotations(about_tents))
    assert choice.shared is None
    assert choice.purpose is not None
    assert (anchor, choice.purpose.name) == ("tent", "camping")
    assert unshared.choose("desk", ["tent", "desk"])[0] == "desk", "a use that fits nothing says nothing"


def test_another_item_that_shares_a_use_is_named(store: Store) -> None:
    anchor, choice = store.choose("desk", ["tent", "desk"])
    assert anchor == "tent"
    assert choice.shared is not None
    assert choice.shared.use.name == "camping"
    assert [sentence.sentence for sentence in choice.shared.anchor_sentences] == [ITEMS["tent"]["description"]]


@pytest.mark.parametrize(
    ("other", "why"),
    [("lantern", "no more shoppers than by chance"), ("kettle", "the category of the stove"), ("stove", "the stove itself")],
)
def test_the_leading_item_is_named_if_the_other_one_is_unsuitable(other: str, why: str, store: Store) -> None:
    assert store.choose("desk", [other, "desk"])[1] == AnchorChoice(store.catalogue.records([store.catalogue.row("desk")])[0]), why


def test_without_uses_the_leading_item_is_named(store: Store) -> None:
    assert store.choose("desk", ["tent", "desk"], with_uses=False)[0] == "desk"


@pytest.mark.parametrize("history", [["tent", "cooler"], ["cooler", "tent"]])
@pytest.mark.parametrize("leading", ["tent", "cooler"])
def test_a_leading_item_that_shares_a_use_stays(leading: str, history: list[str], store: Store) -> None:
    anchor, choice = store.choose(leading, history)
    assert anchor == leading
    assert choice.shared is not None
    assert choice.shared.anchor == leading


def test_a_leading_item_needs_no_count_to_stay(store: Store) -> None:
    assert store.choose("lantern", ["tent", "lantern"])[0] == "lantern"


@pytest.mark.parametrize("history", [["tent", "cooler", "desk"], ["cooler", "tent", "desk"]])
def test_of_several_items_the_one_with_the_highest_lift_is_named(history: list[str], store: Store) -> None:
    assert store.choose("desk", history)[0] == "tent"


# ------------------------------------------------------------------ an item that a reviewer speaks of


def reviews_of_the_stove(encode: Encode, text: str) -> Quotations:
    return stored_quotations(encode, [("stove", 5.0, text)])


def test_an_item_that_a_reviewer_speaks_of_is_named(store: Store, embedder: Embedder) -> None:
    text = "The gas stove stands well beside our dome tent."
    anchor, choice = store.choose("desk", ["tent", "desk"], reviews_of_the_stove(embedder.encode, text), with_uses=False)
    assert anchor == "tent"
    assert choice.shared is None
    assert choice.quotation is not None
    assert choice.quotation.text == text
    assert store.choose("desk", ["desk"], reviews_of_the_stove(embedder.encode, text))[1].quotation is None


def test_a_quotation_about_another_item_is_left_out(store: Store, embedder: Embedder) -> None:
    text = "Our cooler box keeps the gas stove dry on the way."
    anchor, choice = store.choose("tent", ["cooler", "tent"], reviews_of_the_stove(embedder.encode, text))
    assert (anchor, choice.quotation) == ("tent", None)
    anchor, choice = store.choose("cooler", ["cooler", "tent"], reviews_of_the_stove(embedder.encode, text))
    assert anchor == "cooler"
    assert choice.quotation is not None
    assert choice.quotation.text == text


# ------------------------------------------------------------------ significance


def counted_pair(both: int, source: int, target: int, neither: int) -> tuple[ItemUsers, int, int]:
    """Return the users of two items and their rows. Args: numbers of users of both, only the first, only the second, and neither."""
    histories = [["tent", "lamp"]] * both + [["tent"]] * source + [["lamp"]] * target + [["pen"]] * neither
    rows = [(f"u{n:02d}", item, "purchase") for n, history in enumerate(histories) for item in history]
    interactions = pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "kind": pl.String}, orient="row")
    items = pl.DataFrame({"item_id": ["tent", "lamp", "pen"], "title": ["Tent", "Lamp", "Pen"], "category": [["A"], ["B"], ["C"]]})
    return ItemUsers.build(interactions, Catalogue.build(items, interactions, 1)), 0, 1


def test_a_significant_pair_against_a_count_by_hand() -> None:
    pair = significant_pair(*counted_pair(both=6, source=2, target=1, neither=11))
    assert pair is not None
    assert (pair.source, pair.target) == ("tent", "lamp")
    assert (pair.support, pair.source_users, pair.target_users, pair.users) == (6, 8, 7, 20)
    assert pair.lift == pytest.approx((6 / 8) / (7 / 20))
    # Of the C(20, 8) = 125,970 sets of eight shoppers, C(7, 6) C(13, 2) + C(7, 7) C(13, 1) = 559 have six or seven of the lamp's seven.
    assert fisher_p_value(pair) == pytest.approx(559 / 125_970)


@pytest.mark.parametrize(
    ("counts", "is_significant", "why"),
    [
        ((3, 0, 0, 17), True, "p = 1 / C(20, 3) = 1 / 1140"),
        ((2, 0, 0, 18), False, "two shoppers are too few, though p = 1 / C(20, 2) = 1 / 190"),
        ((3, 2, 2, 3), False, "p = (10 * 10 + 5 * 5 + 1) / 252 = 0.5, though the lift is 1.2"),
        ((6, 1, 1, 0), False, "6 of 7 against 7 of 8"),
        ((5, 0, 0, 0), False, "the lift is 1"),
        ((0, 4, 4, 4), False, "no shopper of both"),
    ],
)
def test_pairs_that_may_be_shown(counts: tuple[int, int, int, int], is_significant: bool, why: str) -> None:
    assert (significant_pair(*counted_pair(*counts)) is not None) == is_significant, why
