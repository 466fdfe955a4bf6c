"""Profiles: attributes derived from a history; adding one event equals building from all events."""

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
ATTRIBUTES = ItemAttributes.from_catalogue(
    Catalogue.build(ITEMS, pl.DataFrame({"user_id": ["u"], "item_id": ["a"], "kind": ["purchase"]}), 1)
)


def profile_of(*events: tuple[int, str, int | None]) -> Profile:
    rows, kinds, times = zip(*events, strict=True) if events else ((), (), ())
    known_times = [NEVER if time is None else time for time in times]
    return Profile(
        np.asarray(rows, np.int64),
        np.asarray([KINDS.index(kind) for kind in kinds], np.int8),
        np.asarray(known_times, np.int64),
        ATTRIBUTES,
    )


def test_item_attributes() -> None:
    # The geometric mean price is sqrt(100 * 400) for tents and sqrt(10 * 40) for pots; a missing or zero price is unknown.
    assert np.exp(ATTRIBUTES.price_level[:2]) == pytest.approx([0.5, 2.0])
    assert np.isnan(ATTRIBUTES.price_level[[2, 5]]).all()
    assert [ATTRIBUTES.brands[code] if code >= 0 else None for code in ATTRIBUTES.brand] == [
        "Kettlow",
        "Kettlow",
        None,
        "Ostrano",
        "Kettlow",
        None,
    ]


def test_attributes_derived_from_a_history() -> None:
    profile = profile_of((0, "purchase", 0), (3, "view", 10 * DAY), (3, "search", 10 * DAY + 5), (1, "cart", 10 * DAY + 6))
    weights = np.array([DECAY**2, 0.2 * DECAY, 0.6])
    assert profile.rows.tolist() == [0, 3, 1]
    assert profile.weights == pytest.approx(weights)
    assert profile.undecayed_weights == pytest.approx([1.0, 0.2, 0.6])
    assert list(profile.categories.values()) == pytest.approx([(weights[0] + weights[2]) / weights.sum(), weights[1] / weights.sum()])
    assert {ATTRIBUTES.brands[code]: share for code, share in profile.brands.items()} == pytest.approx(
        {"Kettlow": (weights[0] + weights[2]) / weights.sum(), "Ostrano": weights[1] / weights.sum()}
    )
    assert profile.price_level == pytest.approx(np.average(np.log([0.5, 0.5, 2.0]), weights=weights))
    assert profile.kind_counts == {"purchase": 1, "cart": 1, "search": 1, "view": 1}
    assert profile.time_span == (0, 10 * DAY + 6)
    assert profile.searched_items.tolist() == [3]
    assert profile.session_items.tolist() == [1, 3]


def test_features_of_shopper_and_item() -> None:
    profile = profile_of((0, "purchase", None))
    rows = np.arange(6)
    assert profile.price_gap(rows) == pytest.approx([0, np.log(4), 0.5, 0, np.log(4), 0.5])
    assert profile.brand_share(rows).tolist() == [1, 1, 0, 0, 1, 0]


def test_an_empty_history_has_no_attributes() -> None:
    profile = profile_of()
    assert profile.price_level is None
    assert profile.time_span is None
    assert dict(profile.categories) == {}
    assert profile.taste(np.empty((0, 3), np.float32)).tolist() == [0, 0, 0]
    assert profile.brand_share(np.arange(6)).tolist() == [0] * 6


def test_the_taste_vector_weights_recent_items_more() -> None:
    profile = profile_of((0, "purchase", 1), (1, "purchase", 2))
    assert profile.taste(np.eye(2, dtype=np.float32)) == pytest.approx(np.array([DECAY, 1.0]) / np.hypot(DECAY, 1.0))


EVENT = st.tuples(st.integers(0, 5), st.sampled_from(KINDS), st.one_of(st.none(), st.integers(0, 10**12)))


@given(st.lists(EVENT, max_size=30), EVENT)
def test_adding_an_event_equals_building_from_all_events(
    events: list[tuple[int, str, int | None]], last: tuple[int, str, int | None]
) -> None:
    extended, rebuilt = profile_of(*events).with_event(*last), profile_of(*events, last)
    for name in ("rows", "weights", "undecayed_weights", "searched_items", "session_items"):
        assert np.array_equal(getattr(extended, name), getattr(rebuilt, name)), name
    assert (extended.categories, extended.brands, extended.price_level, extended.kind_counts, extended.time_span) == (
        rebuilt.categories, rebuilt.brands, rebuilt.price_level, rebuilt.kind_counts, rebuilt.time_span,
    )  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(KINDS)), min_size=1, max_size=30))
def test_weights_depend_on_the_kind_and_the_position(events: list[tuple[int, str]]) -> None:
    rows, weights, undecayed = weight_history(
        np.asarray([row for row, _ in events]), np.asarray([KIND_WEIGHTS[kind] for _, kind in events])
    )
    latest = {row: position for position, (row, _) in enumerate(events)}
    assert rows.tolist() == sorted(latest, key=latest.__getitem__)
    for age, (row, weight, without_decay) in enumerate(zip(rows[::-1], weights[::-1], undecayed[::-1], strict=True)):
        assert without_decay == max(KIND_WEIGHTS[kind] for event_row, kind in events if event_row == row)
        assert weight == pytest.approx(without_decay * max(DECAY**age, MIN_DECAY))


def test_profile_summary_of_a_user(demo_workspace: Workspace, settings: Settings) -> None:
    recommender = Recommender.open(demo_workspace, settings=settings)
    user = next(iter(recommender.histories))
    summary = profile_summary(recommender, user)
    bought = demo_workspace.table("interactions").filter(pl.col("user_id") == user)
    assert sum(summary["counts"].values()) == len(bought)
    assert sum(entry["share"] for entry in summary["categories"]) == pytest.approx(1, abs=0.001)
    titles = set(demo_workspace.table("items")["title"])
    assert summary["intent"]
    assert set(summary["intent"]) | set(summary["leans_to"]) <= titles
    assert str(len(bought)) in summary["words"]
    with pytest.raises(UnknownUserError, match="nobody"):
        profile_summary(recommender, "nobody")
