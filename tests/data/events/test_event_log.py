"""Event log on SQLite and on a real PostgreSQL server: no event is lost, duplicated or read out of order."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import crossaisle
from crossaisle.data.errors import (
    CrossaisleError,
    MissingExtraError,
    NewerFormatError,
    QueryError,
    SettingsError,
    StorageError,
    WorkspaceError,
)
from crossaisle.data.events import AppendResult, ErasureCounts, Event, EventLog, ServedItem
from crossaisle.data.events.database import FILE
from crossaisle.data.events.records import MAX_CLOCK_SKEW_MS, MAX_TEXT_LENGTH, now_ms, validated_event
from crossaisle.data.events.served_lists import ServedLists
from crossaisle.data.privacy.pseudonyms import Pseudonyms, is_pseudonym
from crossaisle.data.workspace import Workspace

Store = Callable[..., Path]
NOW = 1_700_000_000_000


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, make_store: Store) -> Path:
    """A workspace with a snapshot of two items and one user, to be copied."""
    path = tmp_path_factory.mktemp("small") / "shop"
    crossaisle.ingest(path, "files", [make_store({"tent": "Camping", "stove": "Kitchen"}, {"ann": ["tent"]})])
    return path


@pytest.fixture
def workspace(tables: Path, tmp_path: Path) -> Workspace:
    import shutil

    return Workspace(shutil.copytree(tables, tmp_path / "shop"))


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else request.getfixturevalue("postgres")()


@pytest.fixture
def log(workspace: Workspace, url: str | None) -> Iterator[EventLog]:
    opened = EventLog.open(workspace, url)
    yield opened
    opened.close()


def click(user: str = "ann", item: str = "tent", **more: object) -> Event:
    return Event(user, "click", item, **{"timestamp": NOW, **more})  # type: ignore[arg-type]


# ------------------------------------------------------------------ stored events


def test_appended_events_are_read_back_unchanged(log: EventLog, workspace: Workspace, url: str | None) -> None:
    events = [
        click(idempotency_key="k1", recommendation_id="r1"),
        Event("bob", "search", text="tent; DROP TABLE events -- 'ünïcode' 🏕", timestamp=NOW),
        Event("ann", "dismiss", "stove", NOW - 5),
    ]
    assert log.append(events) == AppendResult(3, 0)
    assert [event for _, event in log.events_after(0)] == events
    assert log.events_of("ann") == [events[0], events[2]]
    assert log.events_of("nobody") == []
    first = log.events_after(0, 1)
    assert len(first) == 1
    assert log.events_after(first[0][0]) == log.events_after(0)[1:]
    assert [event.kind for _, event in log.events_after(0, kinds=("dismiss", "search"))] == ["search", "dismiss"]
    again = EventLog.open(workspace, url)
    assert again.events_after(0) == log.events_after(0)
    assert again.identity == log.identity
    again.close()


def test_missing_timestamp_defaults_to_now(log: EventLog) -> None:
    before = now_ms()
    log.append([Event("ann", "click", "tent")])
    moment = log.events_of("ann")[0].timestamp
    assert moment is not None
    assert before <= moment <= now_ms()


def test_repeated_idempotency_key_is_counted_and_not_stored(log: EventLog) -> None:
    assert log.append([click(idempotency_key="k"), click(item="stove", idempotency_key="k")]) == AppendResult(1, 1)
    assert log.append([click(item="stove", idempotency_key="k"), click()]) == AppendResult(1, 1)
    assert [event.item_id for event in log.events_of("ann")] == ["tent", "tent"]
    assert log.append([click("bob", idempotency_key="k")]) == AppendResult(1, 0), "keys are per user"
    assert log.append([click(), click()]) == AppendResult(2, 0), "events without a key are all distinct"


def test_more_keys_than_fit_in_one_statement(log: EventLog) -> None:
    events = [click(idempotency_key=f"k{n}") for n in range(1201)]
    assert log.append(events) == AppendResult(1201, 0)
    assert log.append(events) == AppendResult(0, 1201)


def test_served_lists_with_their_items(log: EventLog) -> None:
    shown = [ServedItem("tent", "sequential", "Kitchen", "Camping", "association", 0.25), ServedItem("stove")]
    key = log.append_served_list("ann", shown, arm="novelty/B", timestamp=NOW)
    nobody = log.append_served_list(None, [])
    assert key != nobody
    found = ServedLists.read(log)
    assert found.lists.rows()[0] == (key, "ann", NOW, "novelty/B")
    assert found.slots.rows() == [
        (key, 1, "tent", "sequential", "Kitchen", "Camping", "association"),
        (key, 2, "stove", None, None, None, None),
    ]
    assert len(ServedLists.read(log, NOW + 1).lists) == 1


# ------------------------------------------------------------------ validation


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Event("ann", "kiss", "tent"), "unknown event kind 'kiss': use one of impression, click, "),  # type: ignore[arg-type]
        (Event("ann", "click"), "a click event needs an item_id"),
        (Event("ann", "search"), "neither a text nor an item_id"),
        (Event("ann", "search", text="  "), "neither a text nor an item_id"),
        (Event("", "click", "tent"), "the user_id is ''"),
        (Event(7, "click", "tent"), "the user_id is 7"),  # type: ignore[arg-type]
        (Event("ann", "click", "t" * 257), "item_id has 257 characters: send at most 256"),
        (Event("ann", "search", text="x" * (MAX_TEXT_LENGTH + 1)), "text has 2,001 characters"),
        (Event("ann", "click", "te\0nt"), "item_id contains an invalid character"),
        (Event("a\ud800", "click", "tent"), "user_id contains an invalid character"),
        (Event("ann", "click", "tent", timestamp=1_700_000_000), "milliseconds since 1970"),
        (Event("ann", "click", "tent", timestamp=2**70), "milliseconds since 1970"),
        (Event("ann", "click", "tent", timestamp=True), "milliseconds since 1970"),
        (Event("ann", "click", "tent", timestamp=NOW + MAX_CLOCK_SKEW_MS + 1), "not after tomorrow"),
        (Event("ann", "click", "tent", recommendation_id="r" * 65), "recommendation_id has 65"),
    ],
)  # fmt: skip
def test_invalid_event(event: Event, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        validated_event(event, NOW)


def test_one_invalid_event_rejects_the_whole_batch(log: EventLog) -> None:
    with pytest.raises(QueryError, match="a click event needs an item_id"):
        log.append([click(), Event("ann", "click")])
    assert log.events_after(0) == []
    assert log.append([]) == AppendResult(0, 0)
    with pytest.raises(QueryError, match=r"too many events in one call \(10,001\)"):
        log.append([click()] * 10_001)


# ------------------------------------------------------------------ concurrency


def test_concurrent_threads_neither_lose_nor_duplicate_events(log: EventLog) -> None:
    """Eight writers send each key twice while a reader follows; it must never see a number below one it has read."""
    seen: list[int] = []
    counts: list[AppendResult] = []
    writing = True

    def write(who: int) -> None:
        for n in range(25):
            counts.append(log.append([click(f"u{who}", idempotency_key=f"{n // 2}")]))

    def read() -> None:
        last = 0
        while True:
            done = not writing
            for number, _ in log.events_after(last):
                seen.append(number)
                last = number
            if done:
                return

    threads = [threading.Thread(target=write, args=(who,)) for who in range(8)]
    reader = threading.Thread(target=read)
    for thread in (reader, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    writing = False
    reader.join()
    assert sum(result.accepted for result in counts) == 8 * 13
    assert sum(result.repeated for result in counts) == 8 * 12
    assert seen == sorted(set(seen))
    assert len(seen) == 8 * 13
    assert [number for number, _ in log.events_after(0)] == seen


def test_waiting_writers_share_a_commit(log: EventLog) -> None:
    """Nine writers queue up during a transaction; all nine are then written in a single second one."""
    commits = []
    real = log.database.writing
    inside, leave = threading.Event(), threading.Event()

    def counted() -> object:
        commits.append(1)
        return real()

    log.database.writing = counted  # type: ignore[method-assign, assignment]

    def held(_connection: object) -> None:
        inside.set()
        leave.wait(10)

    first = threading.Thread(target=lambda: log._write(held))
    first.start()
    inside.wait(10)
    others = [threading.Thread(target=log.append, args=([click(f"u{n}")],)) for n in range(9)]
    for thread in others:
        thread.start()
    while log._group.waiting < 9:
        pass
    leave.set()
    for thread in (first, *others):
        thread.join()
    assert len(commits) == 2
    assert len(log.events_after(0)) == 9


WRITER = """
import sys
from crossaisle.data.events import Event, EventLog
from crossaisle.data.workspace import Workspace
log = EventLog.open(Workspace(sys.argv[1]), sys.argv[2] or None)
number = 0
while True:
    log.append([Event(f"p{sys.argv[3]}", "click", "tent", idempotency_key=str(number))])
    print(number, flush=True)
    number += 1
"""


def test_processes_share_a_log_and_confirmed_events_survive_a_kill(log: EventLog, workspace: Workspace, url: str | None) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(workspace.path), url or "", str(n)], stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    confirmed = []
    for writer in writers:
        assert writer.stdout is not None
        for _ in range(20):
            writer.stdout.readline()
    for writer in writers:
        writer.kill()
        assert writer.stdout is not None
        confirmed.append([int(line) for line in writer.stdout.read().split("\n")[:-1]])
        writer.stdout.close()
        writer.wait()
    for n in range(2):
        kept = [int(event.idempotency_key or -1) for event in log.events_of(f"p{n}")]
        assert kept == list(range(len(kept))), "each once, in order, without gaps"
        assert len(kept) >= max(confirmed[n], default=19) + 1
    assert log.append([click()]) == AppendResult(1, 0)


# ------------------------------------------------------------------ erasure and pseudonyms


def test_erasure_leaves_a_hash_and_sequence_numbers_are_not_reused(log: EventLog) -> None:
    key = log.append_served_list("bob", [ServedItem("tent")])
    log.append([click("ann"), click("bob", recommendation_id=key), click("bob")])
    last = log.last_sequence()
    assert log.counts_for("bob") == ErasureCounts(2, 1)
    assert log.forget("bob") == ErasureCounts(2, 1)
    assert log.events_of("bob") == []
    assert [event.user_id for _, event in log.events_after(0)] == ["ann"]
    assert len(ServedLists.read(log).slots) == 0
    (erasure,) = log.erasures_after()
    assert (erasure.mark, erasure.sequence) == (log.mark("bob"), last)
    assert "bob" not in erasure.mark
    assert log.erasures_after(erasure.number) == []
    log.append([click("bob")])
    assert log.last_sequence() > last


def test_erased_text_is_not_left_in_the_file(workspace: Workspace) -> None:
    log = EventLog.open(workspace)
    log.append([Event("bob", "search", text="a most private matter")])
    names = [workspace.path / f"{FILE}{suffix}" for suffix in ("", "-wal")]

    def held() -> bool:
        return any(b"private matter" in file.read_bytes() for file in names if file.exists())

    assert held()
    log.forget("bob")
    assert not held()
    log.close()


def test_pseudonyms_replace_stored_ids_and_keep_histories(workspace: Workspace, url: str | None) -> None:
    names = Pseudonyms.open(workspace.path)
    log = EventLog.open(workspace, url, pseudonyms=names)
    log.append([click("ann@example.org"), click("ann@example.org", "stove")])
    log.append_served_list("ann@example.org", [ServedItem("tent")])
    stored = {event.user_id for _, event in log.events_after(0)} | set(ServedLists.read(log).lists["user_id"])
    assert stored == {names.of("ann@example.org")}
    assert is_pseudonym(stored.pop())
    assert len(log.events_of("ann@example.org")) == 2
    plain = EventLog.open(workspace, url)
    assert plain.forget("ann@example.org") == ErasureCounts(2, 1), "also found under the pseudonym"
    plain.close()
    log.close()


# ------------------------------------------------------------------ unusable databases


def test_invalid_database_urls(workspace: Workspace) -> None:
    for url, words in (
        ("nonsense", "invalid URL of the event database: use postgresql"),
        ("mysql://host/shop", "unsupported event database 'mysql': use postgresql"),
        ("sqlite:///x", "unsupported event database 'sqlite': use postgresql"),
    ):
        with pytest.raises(SettingsError, match=words):
            EventLog.open(workspace, url)
    with pytest.raises(WorkspaceError, match="cannot be reached") as caught:
        EventLog.open(workspace, "postgresql://shop:hunter2@127.0.0.1:9/shop")
    assert "hunter2" not in str(caught.value)


def test_missing_driver_error_names_the_extra(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"crossaisle\[postgres\]"):
        EventLog.open(workspace, "postgresql://shop@127.0.0.1/shop")


def test_log_of_another_workspace_or_later_version(log: EventLog, workspace: Workspace, url: str | None) -> None:
    from dataclasses import replace

    from sqlalchemy import text

    workspace.manifest = replace(workspace.manifest, id="another")
    with pytest.raises(WorkspaceError, match="events of another workspace"):
        EventLog.open(workspace, url)
    with log.database.writing() as connection:
        connection.execute(text("UPDATE about SET value = '99' WHERE name = 'format'"))
    with pytest.raises(NewerFormatError, match="has format 99"):
        EventLog.open(workspace, url)


def test_file_that_is_not_a_database(workspace: Workspace) -> None:
    (workspace.path / FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(WorkspaceError, match=r"events.db is not an event database, or is damaged"):
        EventLog.open(workspace)


def test_full_disk_rejects_the_whole_append(workspace: Workspace) -> None:
    log = EventLog.open(workspace)
    log.append([click()])
    with log.database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    # SQLite's limit on the file size is per connection.
    log.close()
    from sqlalchemy import event

    @event.listens_for(log.database.engine, "connect")
    def limited(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StorageError, match="the disk is full: the log of events in .*was not written"):
        log.append([Event("ann", "search", text="x" * 2000, timestamp=NOW) for _ in range(500)])
    assert len(log.events_after(0)) == 1
    log.close()


def test_errors_contain_no_user_data(workspace: Workspace) -> None:
    log = EventLog.open(workspace)
    with log.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE events RENAME TO gone")
    with pytest.raises(CrossaisleError) as caught:
        log.append([Event("ann", "search", text="a most private matter")])
    assert "private" not in str(caught.value)
    assert "private" not in str(caught.value.__cause__)
    log.close()
