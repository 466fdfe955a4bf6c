"""Effect of live events on the next recommendation; the state is a function of the log."""

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
from crossaisle.recommend.served_list import served_items
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
    """A new log for each test, which the recommender reads."""
    for file in shop.workspace.path.glob("events.db*"):
        file.unlink()
    opened = EventLog.open(shop.workspace)
    shop.live = LiveEvents.open(shop.workspace, opened)
    yield opened
    opened.close()
    shop.live = None


def recommended(shop: Recommender, user: str, **more: object) -> list[str]:
    return [entry.item.item_id for entry in shop.recommend(user_id=user, explain=False, **more)]  # type: ignore[arg-type]


def append(shop: Recommender, log: EventLog, *events: Event) -> None:
    log.append(events)
    assert shop.live is not None
    shop.live.catch_up()


# ------------------------------------------------------------------ the next recommendation


def test_an_empty_log_changes_nothing(shop: Recommender, log: EventLog) -> None:
    with_live = shop.recommend(user_id="s013", explain=False)
    shop.live = None
    assert shop.recommend(user_id="s013", explain=False).items == with_live.items


def test_dismissed_items_are_excluded_under_any_rules(shop: Recommender, log: EventLog) -> None:
    first = recommended(shop, "s013")[0]
    append(shop, log, Event("s013", "dismiss", first))
    assert first not in recommended(shop, "s013", k=100)
    assert first not in recommended(shop, "s013", k=100, rules=Rules(scope="other", exclude_owned=False))
    assert DISMISSED in why(shop, first, user_id="s013", counterfactual=False).removed_by
    other = next(user for user in shop.histories if first in recommended(shop, user, k=20) and user != "s013")
    assert first in recommended(shop, other, k=20), "other users still get it"


def test_a_purchase_excludes_the_item_and_enters_the_history(shop: Recommender, log: EventLog) -> None:
    before = recommended(shop, "s013", rules=Rules(scope="other"))
    append(shop, log, Event("s013", "purchase", before[0]))
    after = recommended(shop, "s013", rules=Rules(scope="other"))
    assert before[0] not in after
    shopper = shop.shopper(Query("s013"))
    assert shopper.profile.rows[-1] == shop.catalogue.row(before[0]), "the newest of the history"
    assert shop.catalogue.row(before[0]) in shopper.bought


def test_a_click_has_less_weight_than_a_purchase(shop: Recommender, log: EventLog) -> None:
    item = recommended(shop, "s013")[2]
    append(shop, log, Event("s013", "click", item))
    clicked = shop.shopper(Query("s013")).profile
    assert clicked.rows[-1] == shop.catalogue.row(item)
    assert clicked.weights[-1] == pytest.approx(0.3)
    assert clicked.rows[-1] not in shop.shopper(Query("s013")).owned
    append(shop, log, Event("s013", "purchase", item))
    assert shop.shopper(Query("s013")).profile.weights[-1] == pytest.approx(1.0)


def test_impressions_change_nothing(shop: Recommender, log: EventLog) -> None:
    before = recommended(shop, "s013")
    append(shop, log, *(Event("s013", "impression", item) for item in before))
    assert recommended(shop, "s013") == before


def test_a_new_user_is_known_from_the_first_event(shop: Recommender, log: EventLog) -> None:
    with pytest.raises(UnknownUserError, match="'zoe' is not among the 400"):
        recommended(shop, "zoe")
    append(shop, log, Event("zoe", "click", "no-such-item"))
    with pytest.raises(crossaisle.CrossaisleError, match="'zoe' has no history yet"):
        recommended(shop, "zoe")
    item = recommended(shop, "s013")[0]
    append(shop, log, Event("zoe", "purchase", item))
    assert recommended(shop, "zoe") == recommended(shop, None, items=[item])  # type: ignore[arg-type]


def test_a_search_is_the_text_query_until_the_session_ends_or_a_purchase(shop: Recommender, log: EventLog) -> None:
    now = int(time.time() * 1000)
    append(shop, log, Event("zoe", "search", text="a tent for two", timestamp=now - 1000))
    answer = shop.recommend(user_id="zoe", explain=False)
    assert answer.query.text == "a tent for two"
    assert "tent" in answer[0].item.title.lower() or "tent" in answer[1].item.title.lower()
    assert shop.recommend(user_id="zoe", text="a lamp", explain=False).query.text == "a lamp", "an explicit text takes precedence"
    assert shop.live is not None
    assert shop.live.recent_search("zoe", now + SESSION_GAP_MS) is None
    append(shop, log, Event("zoe", "purchase", answer[0].item.item_id))
    assert shop.recommend(user_id="zoe", explain=False).query.text is None


def test_an_event_of_another_process_takes_effect(shop: Recommender, log: EventLog) -> None:
    first = recommended(shop, "s013")[0]
    elsewhere = EventLog.open(shop.workspace)
    elsewhere.append([Event("s013", "dismiss", first)])
    elsewhere.close()
    assert shop.live is not None
    shop.live.catch_up()
    assert first not in recommended(shop, "s013")


def test_served_lists_contain_channel_anchor_category_and_evidence_kind(shop: Recommender, log: EventLog) -> None:
    answer = shop.recommend(user_id="s013")
    shown = served_items(answer.items, shop.catalogue)
    assert [entry.item_id for entry in shown] == [recommendation.item.item_id for recommendation in answer]
    for entry, recommendation in zip(shown, answer, strict=True):
        assert entry.channel in recommendation.channels
        assert entry.target == recommendation.item.category[0]
        assert entry.source == shop.catalogue.records([shop.catalogue.row(recommendation.anchor or "")])[0].category[0]
        assert recommendation.explanation is not None
        kinds = {fact.kind for fact in recommendation.explanation.evidence}
        assert entry.explanation in (kinds if recommendation.explanation.text else {"none"})
    assert log.append_served_list("s013", shown)
    unexplained = served_items(shop.recommend(user_id="s013", explain=False).items, shop.catalogue)
    assert {entry.explanation for entry in unexplained} == {None}


# ------------------------------------------------------------------ erasure


def test_an_erased_user_is_unknown_in_every_process_and_may_return(shop: Recommender, log: EventLog) -> None:
    append(shop, log, Event("s013", "dismiss", "KT-022"), Event("s014", "dismiss", "KT-022"))
    EventLog.open(shop.workspace).forget("s013")
    assert shop.live is not None
    shop.live.catch_up()
    with pytest.raises(UnknownUserError):
        recommended(shop, "s013")
    assert set(shop.live.state()) == {"s014"}
    append(shop, log, Event("s013", "purchase", "KT-022"))
    assert shop.shopper(Query("s013")).profile.rows.tolist() == [shop.catalogue.row("KT-022")]


def test_events_after_an_erasure_are_kept_if_the_erasure_is_read_late(log: EventLog) -> None:
    live = LiveEvents(log=log)
    for number, item in enumerate(ITEMS, start=1):
        live.apply(Event("ann", "click", item, NOW), number)
        live.apply(Event("ann", "dismiss", item, NOW), number + 4)
    live.forget(ErasureRecord(1, log.mark("ann"), 6, NOW))
    assert live.state()["ann"].interactions == []
    assert list(live.state()["ann"].dismissed) == ["pan", "lamp"]


def test_with_pseudonyms_the_user_id_selects_snapshot_and_events(shop: Recommender, log: EventLog) -> None:
    hidden = EventLog.open(shop.workspace, pseudonyms=Pseudonyms.open(shop.workspace.path))
    first = recommended(shop, "s013")[0]
    hidden.append([Event("s013", "purchase", first)])
    shop.live = LiveEvents.open(shop.workspace, hidden)
    assert list(shop.live.state()) == [hidden.stored_id("s013")]
    assert shop.shopper(Query("s013")).profile.rows[-1] == shop.catalogue.row(first)
    assert len(shop.shopper(Query("s013")).profile.rows) > 1
    shop.recommend(user_id="s013", explain=False, explore=1)
    assert "s013" not in (shop.workspace.path / "explored.jsonl").read_text()
    hidden.close()


# ------------------------------------------------------------------ the state is a function of the log


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


def histories_of(workspace: Workspace) -> Histories:
    interactions = workspace.table("interactions")
    return Histories.build(interactions, Catalogue.build(workspace.table("items"), interactions, 1))


def same(left: History | None, right: History | None) -> bool:
    if left is None or right is None:
        return left is right
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in History.__dataclass_fields__)


@given(EVENTS, st.data())
@trials(max_examples=10, deadline=None)
def test_the_state_is_the_same_when_replayed_joined_late_or_folded(
    tables: Path, tmp_path_factory: pytest.TempPathFactory, events: list[Event], data: st.DataObject
) -> None:
    """One process reads each event as it is appended, one starts in the middle, one after a part is folded into the snapshot."""
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
    for event_log in (log, other):
        event_log.append(events[half:])
    replayed = LiveEvents()
    for number, event in log.events_after(0):
        replayed.apply(event, number)
    early.catch_up()
    late.catch_up()
    after = LiveEvents.open(folded, other)
    assert early.state() == late.state() == replayed.state() == LiveEvents.open(workspace, log).state()
    past, folded_past = histories_of(workspace), histories_of(folded)
    for user in ("ann", "bob", "eve", "zoe"):
        history = early.history(user, past, ROWS)
        assert same(history, late.history(user, past, ROWS))
        if history is not None and not len(history.rows):
            continue  # known only by events that a snapshot does not store: a search or a dismissal
        assert same(history, after.history(user, folded_past, ROWS)), user
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


def test_duplicates_in_item_kind_and_time_are_one_interaction_as_in_a_snapshot(tables: Path) -> None:
    workspace, live = Workspace(tables), LiveEvents()
    bought = workspace.table("interactions").filter(pl.col("user_id") == "ann")["timestamp"][0]
    live.apply(Event("ann", "purchase", "tent", bought))
    live.apply(Event("ann", "purchase", "lamp", bought - 1))
    history = live.history("ann", histories_of(workspace), ROWS)
    assert history is not None
    assert history.rows.tolist() == [3, 0, 2], "the lamp was bought first; the tent was bought once"


def test_concurrent_catch_ups_share_reads_and_each_sees_its_own_event(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    live, reads, events_after = LiveEvents(log=log), [], log.events_after
    monkeypatch.setattr(log, "events_after", lambda *a, **k: (reads.append(1), time.sleep(0.002), events_after(*a, **k))[2])

    def append_and_catch_up(number: int) -> bool:
        log.append([Event(f"u{number}", "dismiss", "tent")])
        live.catch_up()
        return "tent" in live._users[f"u{number}"].dismissed

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(append_and_catch_up, range(200)))
    assert len(reads) < 300, "two reads per call would be 400"


def test_a_failed_read_is_repeated_by_the_threads_that_waited(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    live, events_after, calls = LiveEvents(log=log), log.events_after, []

    def failing(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            time.sleep(0.2)
            raise OSError("gone")
        return events_after(*arguments, **more)

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
