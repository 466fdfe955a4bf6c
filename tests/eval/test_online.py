"""Attribution of events to served lists, and A/B reports, on lists whose metrics are counted by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import crossaisle
from crossaisle.data.ab_tests import Experiment
from crossaisle.data.events import Event, EventLog, ServedItem
from crossaisle.data.events.served_lists import ServedLists
from crossaisle.data.workspace import Workspace
from crossaisle.eval.online import DAY_MS, SlotOutcomes, online_report

Store = Callable[..., Path]
NOW = 1_700_000_000_000
TENT, STOVE = (
    ServedItem("tent", "sequential", "Kitchen", "Camping", "association"),
    ServedItem("stove", "semantic", None, "Kitchen", "none"),
)


@pytest.fixture
def log(tmp_path: Path, make_store: Store) -> Iterator[EventLog]:
    crossaisle.ingest(tmp_path / "shop", "files", [make_store({"tent": "Camping", "stove": "Kitchen"}, {"ann": ["tent"]})])
    opened = EventLog.open(Workspace(tmp_path / "shop"))
    yield opened
    opened.close()


def build_report(log: EventLog, **options: object) -> dict:
    return online_report(ServedLists.read(log), now=NOW + 40 * DAY_MS, **options)  # type: ignore[arg-type]


def test_events_count_once_per_slot_and_only_for_the_list_they_name(log: EventLog) -> None:
    first = log.append_served_list("ann", [TENT, STOVE], timestamp=NOW)
    second = log.append_served_list("bob", [STOVE, TENT], timestamp=NOW)
    anonymous = log.append_served_list(None, [TENT], timestamp=NOW)
    next_day = NOW + DAY_MS

    def event(kind: str, item: str, user: str = "ann", when: int = next_day, key: str | None = first) -> Event:
        return Event(user, kind, item, when, recommendation_id=key)  # type: ignore[arg-type]

    log.append(
        [
            event("click", "tent"),
            event("click", "tent", when=next_day + 5),
            event("purchase", "tent", when=NOW + 6 * DAY_MS),
            event("cart", "stove", "bob", key=second),
            event("click", "tent", "eve", key=anonymous),
            event("purchase", "stove", key=None),
            event("click", "stove", "bob"),
            event("click", "lamp"),
            event("click", "stove", when=NOW + 7 * DAY_MS + 1),
            event("click", "stove", key="0" * 32),
            event("impression", "tent"),
        ]
    )
    report = build_report(log)
    assert (report["lists"], report["places"], report["users"], report["lists_within_window"]) == (3, 5, 2, 0)
    overall = report["overall"]
    assert (overall["clicks"], overall["carts"], overall["purchases"]) == (3, 2, 1)
    assert overall["ctr"]["value"] == pytest.approx(3 / 5)
    assert overall["conversion"]["value"] == pytest.approx(1 / 5)
    assert report["unattributed"] == {
        "about an item that was not in the list": 1,
        "names a list that is not among these": 1,
        "of another user than the list": 1,
        "outside the window": 1,
    }
    by_channel = {row["channel"]: (row["places"], row["clicks"], row["purchases"]) for row in report["by_channel"]}
    assert by_channel == {"sequential": (3, 2, 1), "semantic": (2, 1, 0)}
    assert [(row["position"], row["places"], row["clicks"]) for row in report["by_position"]] == [(1, 3, 3), (2, 2, 0)]
    assert [(row["source"], row["target"], row["places"]) for row in report["by_pair"]] == [("Kitchen", "Camping", 3), (None, "Kitchen", 2)]
    assert {row["explanation"]: row["places"] for row in report["by_explanation"]} == {"association": 3, "none": 2}
    impressions = build_report(log, basis="impressions")
    assert (impressions["places"], impressions["overall"]["clicks"]) == (1, 1)
    assert build_report(log, window=2 * DAY_MS)["overall"]["purchases"] == 0
    assert build_report(log, window=9 * DAY_MS)["overall"]["clicks"] == 4


def test_report_without_served_lists_is_empty(log: EventLog) -> None:
    log.append([Event("ann", "click", "tent")])
    report = build_report(log)
    assert (report["lists"], report["overall"]["places"], report["by_channel"], report["experiments"]) == (0, 0, [], [])
    assert report["overall"]["ctr"] == {"value": None, "low": None, "high": None}


def test_client_clock_skew_is_tolerated(log: EventLog) -> None:
    key = log.append_served_list("ann", [TENT], timestamp=NOW)
    log.append([Event("ann", "click", "tent", NOW - 1000, recommendation_id=key)])
    assert build_report(log)["overall"]["clicks"] == 1


def serve_experiment(log: EventLog, rates: dict[str, float], users: int = 1200) -> Experiment:
    """Every user gets two lists of ten items, an hour apart; the click rate depends on the arm."""
    from crossaisle.data.events.database import event_tables

    experiment, rng = Experiment("novelty"), np.random.default_rng(5)
    lists, places, events = [], [], []
    for n in range(users):
        user, arm = f"u{n}", experiment.arm(f"u{n}")
        clicks = rng.random() < rates[arm[-1]]
        for visit in range(2):
            key, at = f"{n:06}{visit}", NOW + n * 1000 + visit * 3_600_000
            lists.append({"recommendation_id": key, "user_id": user, "timestamp": at, "arm": arm})
            places += [{"recommendation_id": key, "position": p, "item_id": f"i{p}"} for p in range(1, 11)]
            if clicks and visit:
                events.append(Event(user, "click", "i1", at + 5, recommendation_id=key))
    with log.database.writing() as connection:  # the same rows as `served` writes, in one transaction
        connection.execute(event_tables().served.insert(), lists)
        connection.execute(event_tables().places.insert(), places)
    log.append(events)
    return experiment


def test_experiment_is_reported_by_user_with_an_anytime_valid_verdict(log: EventLog) -> None:
    experiment = serve_experiment(log, {"A": 0.1, "B": 0.25})
    (result,) = build_report(log)["experiments"]
    assert result["name"] == "novelty"
    assert sum(result["clicked"]["users"].values()) == 1200
    assert result["clicked"]["users"]["B"] == sum(experiment.arm(f"u{n}") == "novelty/B" for n in range(1200))
    assert result["clicked"]["verdict"] == "B is better"
    assert result["clicked"]["difference"]["low"] > 0
    assert result["clicked"]["difference"]["value"] == pytest.approx(0.15, abs=0.05)
    assert result["bought"]["verdict"] == "go on"
    assert result["share_of_b"]["p"] > 0.001
    assert "stop whenever the interval" in result["rule"]
    assert result["arms"]["A"]["places"] + result["arms"]["B"]["places"] == 24_000
    assert result["arms"]["B"]["ctr"]["low"] > 0


def test_users_are_compared_only_once_their_window_is_over(log: EventLog) -> None:
    serve_experiment(log, {"A": 0.1, "B": 0.1}, users=50)
    result = online_report(ServedLists.read(log), now=NOW + 2 * 7 * DAY_MS + 10_000)["experiments"][0]
    assert (result["still_open"], sum(result["clicked"]["users"].values())) == (39, 11)


def test_users_of_both_arms_are_excluded_and_a_sample_ratio_mismatch_is_reported(log: EventLog) -> None:
    for arm in "AB":
        log.append_served_list("ann", [TENT], arm=f"x/{arm}", timestamp=NOW)
    for n in range(60):
        log.append_served_list(f"u{n}", [TENT], arm="x/A", timestamp=NOW)
    (result,) = build_report(log)["experiments"]
    assert (result["in_both_arms"], result["clicked"]["users"]) == (1, {"A": 60, "B": 0})
    assert result["share_of_b"]["p"] < 0.001
    assert result["clicked"]["verdict"] == "too few"


def test_slots_are_clustered_by_user(log: EventLog) -> None:
    serve_experiment(log, {"A": 0.3, "B": 0.3}, users=100)
    slots = SlotOutcomes.from_served(ServedLists.read(log)).slots
    assert slots["clicks"].sum() == slots.filter("clicks")["user"].n_unique()
    overall = build_report(log)["overall"]
    assert overall["users"] == 100
    assert overall["places"] == 2000
