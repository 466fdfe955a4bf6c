"""Profiles: what a history says, and that one event more is the same as made anew."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.data.errors import UnknownUserError
from crossaisle.data.records import KIND_WEIGHTS
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.attribution.profile_summary import profile_summary
from crossaisle.recommend.profiles.profile import DECAY, KINDS, MIN_DECAY, ItemAttributes, Profile, weight_history
from crossaisle.recommend.recommender import Recommender
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import DAY, NEVER

ITEMS = pl.DataFrame(
    {
        "item_id": list("abcdef"),
        "title": list("abcdef"),
        "category": [["Tents"], ["Tents"], ["Tents"], ["Pots"], ["Pots"], ["Pots"]],
        "brand": ["Kettlow", "KETTLOW", None, "Ostrano", "Kettlow", ""],
        "price": [100.0, 400.0, None, 10.0, 40.0, 0.0],
    }
)
FACTS = ItemAttributes.from_catalogue(Catalogue.build(ITEMS, pl.DataFrame({"user_id": ["u"], "item_id": ["a"], "kind": ["purchase"]}), 1))


def made(*events: tuple[int, str, int | None]) -> Profile:
    rows, kinds, times = zip(*events, strict=True) if events else ((), (), ())
    moments = [NEVER if at is None else at for at in times]
    return Profile(
        np.asarray(rows, np.int64), np.asarray([KINDS.index(kind) for kind in kinds], np.int8), np.asarray(moments, np.int64), FACTS
    )


def test_the_facts_of_items() -> None:
    # The usual price of a tent is the root of 100 * 400, of a pot the root of 10 * 40; no price, or none above 0, is unknown.
    assert np.exp(FACTS.price_level[:2]) == pytest.approx([0.5, 2.0])
    assert np.isnan(FACTS.price_level[[2, 5]]).all()
    assert [FACTS.brands[code] if code >= 0 else None for code in FACTS.brand] == ["Kettlow", "Kettlow", None, "Ostrano", "Kettlow", None]


def test_what_a_history_says() -> None:
    profile = made((0, "purchase", 0), (3, "view", 10 * DAY), (3, "search", 10 * DAY + 5), (1, "cart", 10 * DAY + 6))
    weights = np.array([DECAY**2, 0.2 * DECAY, 0.6])
    assert profile.rows.tolist() == [0, 3, 1]
    assert profile.weights == pytest.approx(weights)
    assert profile.undecayed_weights == pytest.approx([1.0, 0.2, 0.6])
    assert list(profile.categories.values()) == pytest.approx([(weights[0] + weights[2]) / weights.sum(), weights[1] / weights.sum()])
    assert {FACTS.brands[code]: share for code, share in profile.brands.items()} == pytest.approx(
        {"Kettlow": (weights[0] + weights[2]) / weights.sum(), "Ostrano": weights[1] / weights.sum()}
    )
    assert profile.price_level == pytest.approx(np.average(np.log([0.5, 0.5, 2.0]), weights=weights))
    assert profile.kind_counts == {"purchase": 1, "cart": 1, "search": 1, "view": 1}
    assert profile.time_span == (0, 10 * DAY + 6)
    assert profile.searched_items.tolist() == [3]
    assert profile.session_items.tolist() == [1, 3]


def test_where_shopper_and_item_meet() -> None:
    profile = made((0, "purchase", None))
    rows = np.arange(6)
    assert profile.price_gap(rows) == pytest.approx([0, np.log(4), 0.5, 0, np.log(4), 0.5])
    assert profile.brand_share(rows).tolist() == [1, 1, 0, 0, 1, 0]


def test_nobody_is_known_of_nothing() -> None:
    profile = made()
    assert profile.price_level is None
    assert profile.time_span is None
    assert dict(profile.categories) == {}
    assert profile.taste(np.empty((0, 3), np.float32)).tolist() == [0, 0, 0]
    assert profile.brand_share(np.arange(6)).tolist() == [0] * 6


def test_the_taste_leans_to_what_is_new() -> None:
    profile = made((0, "purchase", 1), (1, "purchase", 2))
    assert profile.taste(np.eye(2, dtype=np.float32)) == pytest.approx(np.array([DECAY, 1.0]) / np.hypot(DECAY, 1.0))


EVENT = st.tuples(st.integers(0, 5), st.sampled_from(KINDS), st.one_of(st.none(), st.integers(0, 10**12)))


@given(st.lists(EVENT, max_size=30), EVENT)
def test_one_event_more_is_the_same_as_made_anew(events: list[tuple[int, str, int | None]], last: tuple[int, str, int | None]) -> None:
    carried, anew = made(*events).with_event(*last), made(*events, last)
    for name in ("rows", "weights", "undecayed_weights", "searches", "intent"):
        assert np.array_equal(getattr(carried, name), getattr(anew, name)), name
    assert (carried.categories, carried.brands, carried.price_level, carried.kind_counts, carried.time_span) == (
        anew.categories, anew.brands, anew.price_level, anew.kind_counts, anew.time_span,
    )  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(KINDS)), min_size=1, max_size=30))
def test_weights_are_what_was_done_and_how_long_ago(events: list[tuple[int, str]]) -> None:
    rows, weights, likings = weight_history(np.asarray([row for row, _ in events]), np.asarray([KIND_WEIGHTS[kind] for _, kind in events]))
    latest = {row: place for place, (row, _) in enumerate(events)}
    assert rows.tolist() == sorted(latest, key=latest.__getitem__)
    for age, (row, weight, liking) in enumerate(zip(rows[::-1], weights[::-1], likings[::-1], strict=True)):
        assert liking == max(KIND_WEIGHTS[kind] for of, kind in events if of == row)
        assert weight == pytest.approx(liking * max(DECAY**age, MIN_DECAY))


def test_the_portrait_of_a_shopper(demo_workspace: Workspace, settings: Settings) -> None:
    recommender = Recommender.open(demo_workspace, settings=settings)
    user = next(iter(recommender.histories))
    told = profile_summary(recommender, user)
    bought = demo_workspace.table("interactions").filter(pl.col("user_id") == user)
    assert sum(told["counts"].values()) == len(bought)
    assert sum(one["share"] for one in told["categories"]) == pytest.approx(1, abs=0.001)
    titles = set(demo_workspace.table("items")["title"])
    assert told["intent"]
    assert set(told["intent"]) | set(told["leans_to"]) <= titles
    assert str(len(bought)) in told["words"]
    with pytest.raises(UnknownUserError, match="nobody"):
        profile_summary(recommender, "nobody")
