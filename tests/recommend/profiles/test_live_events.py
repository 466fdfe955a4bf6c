"""What events change in the next recommendation, and that the state is a function of the log."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

import crossaisle
from crossaisle.data.errors import UnknownUserError
from crossaisle.data.events import ErasureRecord, Event, EventLog
from crossaisle.data.privacy.pseudonyms import Pseudonyms
from crossaisle.data.records import Query, Rules
from crossaisle.data.settings import Settings
from crossaisle.data.snapshots.compaction import compact
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.attribution.why import why
from crossaisle.recommend.constraints.eligibility import DISMISSED
from crossaisle.recommend.profiles.histories import Histories, History
from crossaisle.recommend.profiles.live_events import LiveEvents
from crossaisle.recommend.profiles.profile import SESSION_GAP_MS
from crossaisle.recommend.recommender import Recommender
from crossaisle.recommend.served_list import shown_items
from crossaisle.retrieval.items.catalogue import Catalogue

Store = Callable[..., Path]
NOW = 1_700_000_000_000
DAY = 86_400_000
ITEMS = ["tent", "stove", "pan", "lamp"]


@pytest.fixture(scope="module")
def shop(demo_workspace: Workspace, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    path = Path(shutil.copytree(demo_workspace.path, tmp_path_factory.mktemp("live") / "shop"))
    return Recommender.open(path, settings=settings.with_(llm="none"))


@pytest.fixture
def log(shop: Recommender) -> Iterator[EventLog]:
    """A log of its own for each test, looked at by the shop."""
    for file in shop.workspace.path.glob("events.db*"):
        file.unlink()
    opened = EventLog.open(shop.workspace)
    shop.live = LiveEvents.open(shop.workspace, opened)
    yield opened
    opened.close()
    shop.live = None


def recommended(shop: Recommender, user: str, **more: object) -> list[str]:
    return [one.item.item_id for one in shop.recommend(user_id=user, explain=False, **more)]  # type: ignore[arg-type]


def happen(shop: Recommender, log: EventLog, *events: Event) -> None:
    log.append(events)
    assert shop.live is not None
    shop.live.catch_up()


# ------------------------------------------------------------------ what the next recommendation reflects


def test_without_events_everything_is_as_it_was(shop: Recommender, log: EventLog) -> None:
    with_live = shop.recommend(user_id="s013", explain=False)
    shop.live = None
    assert shop.recommend(user_id="s013", explain=False).items == with_live.items


def test_dismissed_items_stay_away_whatever_the_rules(shop: Recommender, log: EventLog) -> None:
    first = recommended(shop, "s013")[0]
    happen(shop, log, Event("s013", "dismiss", first))
    assert first not in recommended(shop, "s013", k=100)
    assert first not in recommended(shop, "s013", k=100, rules=Rules(scope="other", exclude_owned=False))
    assert DISMISSED in why(shop, first, user_id="s013", counterfactual=False).removed_by
    other = next(user for user in shop.histories if first in recommended(shop, user, k=20) and user != "s013")
    assert first in recommended(shop, other, k=20), "only for whom dismissed it"


def test_bought_items_leave_and_their_company_comes(shop: Recommender, log: EventLog) -> None:
    before = recommended(shop, "s013", rules=Rules(scope="other"))
    happen(shop, log, Event("s013", "purchase", before[0]))
    after = recommended(shop, "s013", rules=Rules(scope="other"))
    assert before[0] not in after
    shopper = shop.shopper(Query("s013"))
    assert shopper.profile.rows[-1] == shop.catalogue.row(before[0]), "the newest of the history"
    assert shop.catalogue.row(before[0]) in shopper.bought


def test_a_click_moves_the_order_by_less_than_a_purchase(shop: Recommender, log: EventLog) -> None:
    item = recommended(shop, "s013")[2]
    happen(shop, log, Event("s013", "click", item))
    clicked = shop.shopper(Query("s013")).profile
    assert clicked.rows[-1] == shop.catalogue.row(item)
    assert clicked.weights[-1] == pytest.approx(0.3)
    assert clicked.rows[-1] not in shop.shopper(Query("s013")).owned
    happen(shop, log, Event("s013", "purchase", item))
    assert shop.shopper(Query("s013")).profile.weights[-1] == pytest.approx(1.0)


def test_impressions_change_nothing(shop: Recommender, log: EventLog) -> None:
    before = recommended(shop, "s013")
    happen(shop, log, *(Event("s013", "impression", item) for item in before))
    assert recommended(shop, "s013") == before


def test_somebody_new_is_known_from_the_first_event_on(shop: Recommender, log: EventLog) -> None:
    with pytest.raises(UnknownUserError, match="'zoe' is not among the 400"):
        recommended(shop, "zoe")
    happen(shop, log, Event("zoe", "click", "no-such-item"))
    with pytest.raises(crossaisle.CrossaisleError, match="'zoe' has no history yet"):
        recommended(shop, "zoe")
    item = recommended(shop, "s013")[0]
    happen(shop, log, Event("zoe", "purchase", item))
    assert recommended(shop, "zoe") == recommended(shop, None, items=[item])  # type: ignore[arg-type]


def test_a_search_is_what_the_user_says_until_the_visit_is_over_or_something_is_bought(shop: Recommender, log: EventLog) -> None:
    now = int(time.time() * 1000)
    happen(shop, log, Event("zoe", "search", text="a tent for two", timestamp=now - 1000))
    answer = shop.recommend(user_id="zoe", explain=False)
    assert answer.query.text == "a tent for two"
    assert "tent" in answer[0].item.title.lower() or "tent" in answer[1].item.title.lower()
    assert shop.recommend(user_id="zoe", text="a lamp", explain=False).query.text == "a lamp", "what is said now goes before"
    assert shop.live is not None
    assert shop.live.recent_search("zoe", now + SESSION_GAP_MS) is None
    happen(shop, log, Event("zoe", "purchase", answer[0].item.item_id))
    assert shop.recommend(user_id="zoe", explain=False).query.text is None


def test_an_event_of_another_process_takes_effect(shop: Recommender, log: EventLog) -> None:
    first = recommended(shop, "s013")[0]
    elsewhere = EventLog.open(shop.workspace)
    elsewhere.append([Event("s013", "dismiss", first)])
    elsewhere.close()
    assert shop.live is not None
    shop.live.catch_up()
    assert first not in recommended(shop, "s013")


def test_served_lists_say_what_led_to_each_item(shop: Recommender, log: EventLog) -> None:
    answer = shop.recommend(user_id="s013")
    places = shown_items(answer.items, shop.catalogue)
    assert [one.item_id for one in places] == [one.item.item_id for one in answer]
    for place, one in zip(places, answer, strict=True):
        assert place.channel in one.channels
        assert place.target == one.item.category[0]
        assert place.source == shop.catalogue.records([shop.catalogue.row(one.anchor or "")])[0].category[0]
        assert one.explanation is not None
        assert place.explanation in {fact.kind for fact in one.explanation.evidence}
    assert log.append_served_list("s013", places)
    unexplained = shown_items(shop.recommend(user_id="s013", explain=False).items, shop.catalogue)
    assert {one.explanation for one in unexplained} == {None}


# ------------------------------------------------------------------ forgetting


def test_who_was_forgotten_is_a_stranger_in_every_process_and_may_come_again(shop: Recommender, log: EventLog) -> None:
    happen(shop, log, Event("s013", "dismiss", "KT-022"), Event("s014", "dismiss", "KT-022"))
    EventLog.open(shop.workspace).forget("s013")
    assert shop.live is not None
    shop.live.catch_up()
    with pytest.raises(UnknownUserError):
        recommended(shop, "s013")
    assert set(shop.live.state()) == {"s014"}
    happen(shop, log, Event("s013", "purchase", "KT-022"))
    assert shop.shopper(Query("s013")).profile.rows.tolist() == [shop.catalogue.row("KT-022")]


def test_what_came_after_a_forgetting_is_kept_even_if_the_forgetting_is_read_late(log: EventLog) -> None:
    live = LiveEvents(log=log)
    for number, item in enumerate(ITEMS, start=1):
        live.apply(Event("ann", "click", item, NOW), number)
        live.apply(Event("ann", "dismiss", item, NOW), number + 4)
    live.forget(ErasureRecord(1, log.mark("ann"), 6, NOW))
    assert live.state()["ann"].interactions == []
    assert list(live.state()["ann"].dismissed) == ["pan", "lamp"]


def test_with_pseudonyms_the_clear_id_finds_both_the_snapshot_and_the_events(shop: Recommender, log: EventLog) -> None:
    hidden = EventLog.open(shop.workspace, pseudonyms=Pseudonyms.open(shop.workspace.path))
    first = recommended(shop, "s013")[0]
    hidden.append([Event("s013", "purchase", first)])
    shop.live = LiveEvents.open(shop.workspace, hidden)
    assert list(shop.live.state()) == [hidden.name("s013")]
    assert shop.shopper(Query("s013")).profile.rows[-1] == shop.catalogue.row(first)
    assert len(shop.shopper(Query("s013")).profile.rows) > 1
    shop.recommend(user_id="s013", explain=False, explore=1)
    assert "s013" not in (shop.workspace.path / "explored.jsonl").read_text()
    hidden.close()


# ------------------------------------------------------------------ a function of the log


EVENTS = st.lists(
    st.builds(
        Event,
        st.sampled_from(["ann", "bob", "eve"]),
        st.sampled_from(["impression", "click", "cart", "purchase", "dismiss"]),
        st.sampled_from(ITEMS),
        st.integers(0, 40).map(lambda step: NOW + step * DAY // 10),
    )
    | st.builds(Event, st.sampled_from(["ann", "zoe"]), st.just("search"), st.none(), st.just(NOW), st.sampled_from(["lamp", "tent"])),
    max_size=40,
)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, make_store: Store) -> Path:
    path = tmp_path_factory.mktemp("small") / "shop"
    crossaisle.ingest(
        path, "files", [make_store(dict.fromkeys(ITEMS, "Camping"), {"ann": ["tent", "pan"], "bob": ["stove", "tent", "stove"]})]
    )
    return path


ROWS = {item: row for row, item in enumerate(ITEMS)}


def known(workspace: Workspace) -> Histories:
    interactions = workspace.table("interactions")
    return Histories.build(interactions, Catalogue.build(workspace.table("items"), interactions, 1))


def same(one: History | None, other: History | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in History.__dataclass_fields__)


@given(EVENTS, st.data())
@trials(max_examples=10, deadline=None)
def test_replayed_joined_late_or_folded_the_state_is_the_same(
    tables: Path, tmp_path_factory: pytest.TempPathFactory, events: list[Event], data: st.DataObject
) -> None:
    """One process takes each event as it comes, one starts in the middle, one after a part was folded into the snapshot."""
    folder = tmp_path_factory.mktemp("replay")
    workspace = Workspace(shutil.copytree(tables, folder / "shop"))
    log = EventLog.open(workspace)
    early, half = LiveEvents.open(workspace, log), data.draw(st.integers(0, len(events)))
    for event in events[:half]:
        log.append([event])
        early.catch_up()
    late = LiveEvents.open(workspace, log)
    folded = Workspace(shutil.copytree(workspace.path, folder / "folded"))
    other = EventLog.open(folded)
    compact(folded, other)
    for one in (log, other):
        one.append(events[half:])
    by_hand = LiveEvents()
    for number, event in log.events_after(0):
        by_hand.apply(event, number)
    early.catch_up()
    late.catch_up()
    after = LiveEvents.open(folded, other)
    assert early.state() == late.state() == by_hand.state() == LiveEvents.open(workspace, log).state()
    past, folded_past = known(workspace), known(folded)
    for user in ("ann", "bob", "eve", "zoe"):
        found = early.history(user, past, ROWS)
        assert same(found, late.history(user, past, ROWS))
        if found is not None and not len(found.rows):
            continue  # known by what a snapshot does not hold: a search, something dismissed
        assert same(found, after.history(user, folded_past, ROWS)), user
        assert after.dismissed(user, ROWS).tolist() == early.dismissed(user, ROWS).tolist()
        assert after.recent_search(user, NOW) == early.recent_search(user, NOW)
    log.close()
    other.close()


def test_an_event_is_applied_once() -> None:
    live = LiveEvents()
    for number in range(1, 101):
        live.apply(Event("ann", "click", "tent", NOW + number), number)
    live.apply(Event("ann", "click", "tent", NOW), 3)
    assert len(live.state()["ann"].interactions) == 100


def test_alike_in_item_kind_and_moment_is_one_interaction_as_in_a_snapshot(tables: Path) -> None:
    workspace, live = Workspace(tables), LiveEvents()
    bought = workspace.table("interactions").filter(pl.col("user_id") == "ann")["timestamp"][0]
    live.apply(Event("ann", "purchase", "tent", bought))
    live.apply(Event("ann", "purchase", "lamp", bought - 1))
    found = live.history("ann", known(workspace), ROWS)
    assert found is not None
    assert found.rows.tolist() == [3, 0, 2], "the lamp was bought before all else; the tent was bought once"


def test_many_threads_that_catch_up_at_once_read_together_and_each_finds_its_own(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    live, readings, since = LiveEvents(log=log), [], log.events_after
    monkeypatch.setattr(log, "events_after", lambda *a, **k: (readings.append(1), time.sleep(0.002), since(*a, **k))[2])

    def one(number: int) -> bool:
        log.append([Event(f"u{number}", "dismiss", "tent")])
        live.catch_up()
        return "tent" in live._users[f"u{number}"].dismissed

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(one, range(200)))
    assert len(readings) < 300, "two for each would be 400"


def test_a_reading_that_failed_is_no_reading_for_those_who_waited(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    live, since, calls = LiveEvents(log=log), log.events_after, []

    def failing(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            time.sleep(0.2)
            raise OSError("gone")
        return since(*arguments, **more)

    monkeypatch.setattr(log, "events_after", failing)
    log.append([Event("ann", "dismiss", "tent")])
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(live.catch_up)
        while not calls:
            time.sleep(0.001)
        second = threads.submit(live.catch_up)
        with pytest.raises(OSError, match="gone"):
            first.result()
        second.result()
    assert "tent" in live._users["ann"].dismissed
