"""What is put down to a served list and what is not, on lists whose right figures are counted by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import crossaisle
from crossaisle.data.ab_tests import Experiment
from crossaisle.data.events import Event, EventLog, Shown
from crossaisle.data.events.served_lists import ServedLists
from crossaisle.data.workspace import Workspace
from crossaisle.eval.online import DAY_MS, SlotOutcomes, online_report

Store = Callable[..., Path]
NOW = 1_700_000_000_000
TENT, STOVE = Shown("tent", "follows", "Kitchen", "Camping", "association"), Shown("stove", "semantic", None, "Kitchen", "none")


@pytest.fixture
def log(tmp_path: Path, make_store: Store) -> Iterator[EventLog]:
    crossaisle.ingest(tmp_path / "shop", "files", [make_store({"tent": "Camping", "stove": "Kitchen"}, {"ann": ["tent"]})])
    opened = EventLog.open(Workspace(tmp_path / "shop"))
    yield opened
    opened.close()


def figures(log: EventLog, **options: object) -> dict:
    return online_report(ServedLists.read(log), now=NOW + 40 * DAY_MS, **options)  # type: ignore[arg-type]


def test_answers_count_once_a_place_and_only_for_the_list_that_they_name(log: EventLog) -> None:
    first = log.served("ann", [TENT, STOVE], timestamp=NOW)
    second = log.served("bob", [STOVE, TENT], timestamp=NOW)
    nobody = log.served(None, [TENT], timestamp=NOW)
    day = NOW + DAY_MS

    def event(kind: str, item: str, user: str = "ann", when: int = day, key: str | None = first) -> Event:
        return Event(user, kind, item, when, recommendation_id=key)  # type: ignore[arg-type]

    log.append(
        [
            event("click", "tent"),
            event("click", "tent", when=day + 5),
            event("purchase", "tent", when=NOW + 6 * DAY_MS),
            event("cart", "stove", "bob", key=second),
            event("click", "tent", "eve", key=nobody),
            event("purchase", "stove", key=None),
            event("click", "stove", "bob"),
            event("click", "lamp"),
            event("click", "stove", when=NOW + 7 * DAY_MS + 1),
            event("click", "stove", key="0" * 32),
            event("impression", "tent"),
        ]
    )
    found = figures(log)
    assert (found["lists"], found["places"], found["users"], found["lists_within_window"]) == (3, 5, 2, 0)
    overall = found["overall"]
    assert (overall["clicks"], overall["carts"], overall["purchases"]) == (3, 2, 1)
    assert overall["ctr"]["value"] == pytest.approx(3 / 5)
    assert overall["conversion"]["value"] == pytest.approx(1 / 5)
    assert found["unattributed"] == {
        "about an item that was not in the list": 1,
        "names a list that is not among these": 1,
        "of another user than the list": 1,
        "outside the window": 1,
    }
    by = {row["channel"]: (row["places"], row["clicks"], row["purchases"]) for row in found["by_channel"]}
    assert by == {"follows": (3, 2, 1), "semantic": (2, 1, 0)}
    assert [(row["position"], row["places"], row["clicks"]) for row in found["by_position"]] == [(1, 3, 3), (2, 2, 0)]
    assert [(row["source"], row["target"], row["places"]) for row in found["by_pair"]] == [("Kitchen", "Camping", 3), (None, "Kitchen", 2)]
    assert {row["explanation"]: row["places"] for row in found["by_explanation"]} == {"association": 3, "none": 2}
    seen = figures(log, basis="impressions")
    assert (seen["places"], seen["overall"]["clicks"]) == (1, 1)
    assert figures(log, window=2 * DAY_MS)["overall"]["purchases"] == 0
    assert figures(log, window=9 * DAY_MS)["overall"]["clicks"] == 4


def test_nothing_served_is_an_empty_report(log: EventLog) -> None:
    log.append([Event("ann", "click", "tent")])
    found = figures(log)
    assert (found["lists"], found["overall"]["places"], found["by_channel"], found["experiments"]) == (0, 0, [], [])
    assert found["overall"]["ctr"] == {"value": None, "low": None, "high": None}


def test_a_shoppers_own_clock_may_be_a_little_behind(log: EventLog) -> None:
    key = log.served("ann", [TENT], timestamp=NOW)
    log.append([Event("ann", "click", "tent", NOW - 1000, recommendation_id=key)])
    assert figures(log)["overall"]["clicks"] == 1


def shop_with_a_test(log: EventLog, rates: dict[str, float], users: int = 1200) -> Experiment:
    """Every user gets two lists an hour apart, with ten items; B clicks more or less often."""
    from crossaisle.data.events.database import tables

    test, draw = Experiment("novelty"), np.random.default_rng(5)
    lists, places, events = [], [], []
    for n in range(users):
        user, arm = f"u{n}", test.arm(f"u{n}")
        clicks = draw.random() < rates[arm[-1]]
        for visit in range(2):
            key, at = f"{n:06}{visit}", NOW + n * 1000 + visit * 3_600_000
            lists.append({"recommendation_id": key, "user_id": user, "timestamp": at, "arm": arm})
            places += [{"recommendation_id": key, "position": p, "item_id": f"i{p}"} for p in range(1, 11)]
            if clicks and visit:
                events.append(Event(user, "click", "i1", at + 5, recommendation_id=key))
    with log.database.writing() as connection:  # as `served` writes them, all at once
        connection.execute(tables().served.insert(), lists)
        connection.execute(tables().places.insert(), places)
    log.append(events)
    return test


def test_an_experiment_is_told_by_user_with_a_verdict_that_allows_peeking(log: EventLog) -> None:
    test = shop_with_a_test(log, {"A": 0.1, "B": 0.25})
    (found,) = figures(log)["experiments"]
    assert found["name"] == "novelty"
    assert sum(found["clicked"]["users"].values()) == 1200
    assert found["clicked"]["users"]["B"] == sum(test.arm(f"u{n}") == "novelty/B" for n in range(1200))
    assert found["clicked"]["verdict"] == "B is better"
    assert found["clicked"]["difference"]["low"] > 0
    assert found["clicked"]["difference"]["value"] == pytest.approx(0.15, abs=0.05)
    assert found["bought"]["verdict"] == "go on"
    assert found["share_of_b"]["p"] > 0.001
    assert "stop whenever the interval" in found["rule"]
    assert found["arms"]["A"]["places"] + found["arms"]["B"]["places"] == 24_000
    assert found["arms"]["B"]["ctr"]["low"] > 0


def test_a_users_figure_is_told_only_when_it_is_final(log: EventLog) -> None:
    shop_with_a_test(log, {"A": 0.1, "B": 0.1}, users=50)
    young = online_report(ServedLists.read(log), now=NOW + 2 * 7 * DAY_MS + 10_000)["experiments"][0]
    assert (young["still_open"], sum(young["clicked"]["users"].values())) == (39, 11)


def test_users_of_both_arms_count_for_neither_and_an_uneven_lot_is_told(log: EventLog) -> None:
    for arm in "AB":
        log.served("ann", [TENT], arm=f"x/{arm}", timestamp=NOW)
    for n in range(60):
        log.served(f"u{n}", [TENT], arm="x/A", timestamp=NOW)
    (found,) = figures(log)["experiments"]
    assert (found["in_both_arms"], found["clicked"]["users"]) == (1, {"A": 60, "B": 0})
    assert found["share_of_b"]["p"] < 0.001
    assert found["clicked"]["verdict"] == "too few"


def test_clustered_intervals_are_wider_than_places_would_have_it(log: EventLog) -> None:
    shop_with_a_test(log, {"A": 0.3, "B": 0.3}, users=100)
    places = SlotOutcomes.from_served(ServedLists.read(log)).slots
    assert places["clicks"].sum() == places.filter("clicks")["user"].n_unique()
    one = figures(log)["overall"]
    assert one["users"] == 100
    assert one["places"] == 2000
