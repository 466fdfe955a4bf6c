"""What things are for, as facts: the use of an item that fits a topic or a text, and the evidence of whole recommendations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

import crossaisle
from crossaisle.data.records import Evidence, Recommendation
from crossaisle.data.settings import Settings
from crossaisle.recommend.evidence.use_facts import closest_named_use, use_of_text, use_quotation
from crossaisle.retrieval.index.embedder import Embedder
from crossaisle.retrieval.uses.shared import SharedUse
from crossaisle.retrieval.uses.store import NEAR, StoreUses, Use, UseSentence
from crossaisle.retrieval.uses.support import UseSupport

from ...stored_reviews import Encode

RAINY_TRIP = "something for a rainy camping trip"


def hand_made_use(name: str, items: Sequence[str], near: Sequence[str] = ()) -> Use:
    """Return a use that some items name and others are near to."""
    sentences = [UseSentence(item, "description", f"For {name}.") for item in items]
    sentences += [UseSentence(item, NEAR, "Rolls up small.") for item in near]
    return Use(name, "task", tuple(sentences), UseSupport(40, 20, 8.0, 2.5, 1.5, 4.0))


@pytest.fixture(scope="module")
def uses() -> StoreUses:
    """A pan is for camping and for baking, and near to hiking."""
    return StoreUses(
        "English",
        (
            hand_made_use("camping", ["tent", "pan"], near=["mat"]),
            hand_made_use("baking", ["pan", "tin"]),
            hand_made_use("hiking", ["boots", "stick"], near=["pan"]),
            hand_made_use("video calls", ["headset", "lamp"]),
        ),
    )


# ------------------------------------------------------------------ the use that fits what the shopper has


@pytest.mark.parametrize(("topic", "name"), [("Dome tent", "camping"), ("Cake tin", "baking")])
def test_the_closest_use_of_an_item(topic: str, name: str, uses: StoreUses, embedder: Embedder) -> None:
    found = closest_named_use(uses, "pan", ["Ink pen", topic], embedder.encode)
    assert found is not None
    assert (found[0].name, found[1]) == (name, 1)


def test_a_use_that_the_item_is_only_near_to_is_not_the_closest(uses: StoreUses, embedder: Embedder) -> None:
    found = closest_named_use(uses, "pan", ["Hiking boots"], embedder.encode)
    assert found is None or found[0].name != "hiking"
    assert closest_named_use(uses, "mat", ["Dome tent"], embedder.encode) is None
    assert closest_named_use(uses, "unknown", ["Dome tent"], embedder.encode) is None
    assert closest_named_use(uses, "pan", [], embedder.encode) is None


def test_a_use_that_fits_nothing_is_none(uses: StoreUses) -> None:
    assert closest_named_use(uses, "pan", ["Ink pen", "Tax software"], lambda texts: np.eye(len(texts), 8, dtype=np.float32)) is None


# ------------------------------------------------------------------ the use that a text is about


def test_a_text_about_a_use(uses: StoreUses, embedder: Embedder) -> None:
    for item_id in ("tent", "pan"):
        use = use_of_text(uses, item_id, RAINY_TRIP, embedder.encode)
        assert use is not None
        assert use.name == "camping"
    assert use_of_text(uses, "tin", RAINY_TRIP, embedder.encode) is None, "it is for baking"
    assert use_of_text(uses, "mat", RAINY_TRIP, embedder.encode) is None, "it is only near"


def test_a_text_about_no_use(uses: StoreUses, embedder: Embedder) -> None:
    for item_id in ("tent", "pan", "tin", "boots", "headset"):
        assert use_of_text(uses, item_id, "I just bought a new phone", embedder.encode) is None


def encoder(vectors: Mapping[str, Sequence[float]]) -> Encode:
    """Return a function that looks texts up."""
    return lambda texts: np.asarray([vectors[text] for text in texts], dtype=np.float32)


@pytest.mark.parametrize(
    ("names", "item_id", "expected"),
    [
        (("camping", "hiking"), "boots", None),  # 0.2 below camping
        (("hiking",), "boots", "hiking"),  # camping is no use of this store
        (("camping", "trekking"), "poles", "trekking"),  # 0.04 below camping
        (("camping", "trekking"), "tent", "camping"),
        (("reading",), "novel", None),  # the closest use of the store, but a cosine of 0.4
        ((), "tent", None),
    ],
)
def test_a_text_is_about_the_closest_uses_of_the_store(names: tuple[str, ...], item_id: str, expected: str | None) -> None:
    items = {"camping": ["tent"], "hiking": ["boots"], "trekking": ["poles", "tent"], "reading": ["novel"]}
    encode = encoder(
        {
            "outdoors": (1, 0),
            "for camping": (1, 0),
            "for trekking": (0.96, 0.28),
            "for hiking": (0.8, 0.6),
            "for reading": (0.4, np.sqrt(1 - 0.4**2)),
        }
    )
    store = StoreUses("English", tuple(hand_made_use(name, items[name]) for name in names))
    use = use_of_text(store, item_id, "outdoors", encode)
    assert (use and use.name) == expected


# ------------------------------------------------------------------ a review that names a shared use


def test_the_quotation_of_a_shared_use_is_praise_from_a_review(uses: StoreUses) -> None:
    texts = [
        ("review", "It is too heavy for camping in the hills."),
        ("review", "I use this stove for camping every summer."),
        ("description", "You can also use it for camping in a tent."),
    ]
    sentences = tuple(UseSentence("stove", source, text) for source, text in texts)
    assert use_quotation(SharedUse(uses.uses[0], "tent", (), sentences)) == "I use this stove for camping every summer."
    assert use_quotation(SharedUse(uses.uses[0], "tent", (), (sentences[0], sentences[2]))) is None


# ------------------------------------------------------------------ whole recommendations


@pytest.fixture(scope="module")
def camp(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> crossaisle.Recommender:
    """Tent buyers buy a stove, and both are for camping; kettle buyers buy a lamp, and only the lamp is for camping."""
    items = {
        "tent": {"title": "Dome tent", "category": ["Camping"], "description": "It is great for camping."},
        "stove": {"title": "Gas stove", "category": ["Kitchen"], "description": "You can use it for camping."},
        "kettle": {"title": "Steel kettle", "category": ["Kitchen"], "description": "It holds two litres of water."},
        "lamp": {"title": "Lumo lamp", "category": ["Light"], "description": 'It is "made" for camping.'},
        "desk": {"title": "Oak desk", "category": ["Furniture"], "description": ""},
    }
    histories = {
        **{f"camper{n}": ["tent", "stove"] for n in range(6)},
        **{f"cook{n}": ["kettle", "lamp"] for n in range(6)},
        **{f"clerk{n}": ["desk"] for n in range(8)},
        "tent-owner": ["tent"],
        "kettle-owner": ["kettle"],
    }
    store = make_store(items, histories, {"stove": ["I use this stove for camping every summer."]})
    path = tmp_path_factory.mktemp("camp") / "shop"
    crossaisle.ingest(path, "files", [store])
    crossaisle.index(crossaisle.Workspace(path), settings)
    return crossaisle.Recommender.open(path, llm="none", settings=settings)


def of_item(answer: crossaisle.Recommendations, item_id: str) -> Recommendation:
    return next(recommendation for recommendation in answer if recommendation.item.item_id == item_id)


def uses_in(recommendation: Recommendation) -> list[Evidence]:
    assert recommendation.explanation is not None
    return [fact for fact in recommendation.explanation.evidence if fact.kind == "use"]


def test_a_use_of_both_items(camp: crossaisle.Recommender) -> None:
    stove = of_item(camp.recommend(user_id="tent-owner", k=4), "stove")
    assert stove.explanation is not None
    assert stove.explanation.text == "The Gas stove and the Dome tent are both for camping."
    assert [(fact.text, fact.item_id) for fact in uses_in(stove)] == [("both are for camping", "tent")]
    assert stove.explanation.evidence[0].kind == "use"
    assert stove.explanation.claims[0].evidence_id == stove.explanation.evidence[0].evidence_id
    quotations = [fact.text for fact in stove.explanation.evidence if fact.kind == "review"]
    assert quotations == ["I use this stove for camping every summer."], "once, though it speaks to the tent as well"


def test_a_use_of_the_item_beside_a_count(camp: crossaisle.Recommender) -> None:
    lamp = of_item(camp.recommend(user_id="kettle-owner", k=4), "lamp")
    assert lamp.explanation is not None
    assert lamp.explanation.text == "6 of 7 shoppers who bought the Steel kettle also bought the Lumo lamp."
    # The double quotes of the description would end the quotation.
    assert [(fact.text, fact.item_id) for fact in uses_in(lamp)] == [
        ("Lumo lamp: for camping (description: “It is 'made' for camping.”)", "lamp")
    ]


def test_no_use_of_the_item_without_a_count(camp: crossaisle.Recommender) -> None:
    answer = camp.recommend(user_id="clerk0", k=4)
    assert {"tent", "lamp"} & {recommendation.item.item_id for recommendation in answer}
    assert all(uses_in(recommendation) == [] for recommendation in answer)


def test_a_text_about_a_use_of_the_item(camp: crossaisle.Recommender) -> None:
    tent = of_item(camp.recommend(text=RAINY_TRIP, k=4), "tent")
    assert tent.explanation is not None
    assert tent.explanation.text == "The Dome tent is for camping."
    assert [fact.text for fact in uses_in(tent)] == ["Dome tent: for camping (description: “It is great for camping.”)"]


def test_a_text_about_no_use_of_the_store(camp: crossaisle.Recommender) -> None:
    answer = camp.recommend(text="I just bought a new phone", k=4)
    assert len(answer) > 0
    assert all(uses_in(recommendation) == [] for recommendation in answer)
