"""Event log throughput on SQLite and PostgreSQL, beside plain sqlite3 with one commit per event, and time until an event takes effect.

    python benchmarks/events.py [seconds]

Every append is one event and is on disk when it returns. `plain sqlite3` is the same table in the same mode (write-ahead log, synchronous
FULL) without this project, with one thread and with eight threads that take turns. PostgreSQL is Debian's package with default settings
over a local socket; it is skipped where it is not installed. Visible: time from the call of append to a recommendation that reflects the
event, in the demo store without an LLM.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import stores
from record import quantiles, write

import crossaisle
from crossaisle.data.events import Event, EventLog
from crossaisle.recommend.profiles.live_events import LiveEvents

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import postgres_server

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
RATE = 300
"""Events a second that must be taken."""


def measured(one: Callable[[int, int], object], threads: int, rate: float | None = None) -> dict[str, Any]:
    """Call a function for some seconds from several threads, at full speed or at a fixed rate; counts and milliseconds per call."""
    taken: list[list[float]] = [[] for _ in range(threads)]
    begun = time.perf_counter()

    def work(who: int) -> None:
        n = 0
        while (now := time.perf_counter()) < begun + SECONDS:
            if rate is not None and (early := begun + n * threads / rate - now) > 0:
                time.sleep(early)
                now = time.perf_counter()
            one(who, n)
            taken[who].append((time.perf_counter() - now) * 1000)
            n += 1

    workers = [threading.Thread(target=work, args=(who,)) for who in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - begun
    every = [ms for of_one in taken for ms in of_one]
    return {"a_second": round(len(every) / seconds, 1), "ms": quantiles(every)}


def plain(folder: Path) -> Callable[[int, int], object]:
    """One event and one commit, with the standard library alone."""
    database = sqlite3.connect(folder / "plain.db", check_same_thread=False, isolation_level=None)
    database.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE events (sequence INTEGER PRIMARY KEY AUTOINCREMENT, "
        "user_id TEXT, kind TEXT, item_id TEXT, timestamp INTEGER, idempotency_key TEXT, UNIQUE (user_id, idempotency_key))"
    )
    turn = threading.Lock()

    def one(who: int, n: int) -> None:
        with turn:
            line = (f"u{who}", "click", "tent", time.time_ns() // 1_000_000, f"{n}")
            database.execute("INSERT INTO events (user_id, kind, item_id, timestamp, idempotency_key) VALUES (?, ?, ?, ?, ?)", line)

    return one


def ours(log: EventLog, run: str) -> Callable[[int, int], object]:
    """One event through the log."""
    return lambda who, n: log.append([Event(f"u{who}", "click", "tent", idempotency_key=f"{run}-{n}")])


def appended(log: EventLog) -> dict[str, Any]:
    """All runs on one log, with a check that every acknowledged event is stored."""
    found = {
        "1 thread": measured(ours(log, "one"), 1),
        "8 threads": measured(ours(log, "eight"), 8),
        f"8 threads, {RATE} a second": measured(ours(log, "rate"), 8, RATE),
    }
    acknowledged = sum(run["ms"]["n"] for run in found.values())
    stored = sum(len(log.events_of(f"u{who}")) for who in range(8))
    assert stored == acknowledged, (stored, acknowledged)
    return {**found, "lost_or_doubled": stored - acknowledged}


def applied() -> dict[str, float]:
    """Milliseconds of one `LiveEvents.apply` for a user of a thousand events."""
    live, taken = LiveEvents(), []
    for n in range(3000):
        event = Event("ann", "click", f"i{n}", 1_700_000_000_000 + n)
        begun = time.perf_counter()
        live.apply(event)
        taken.append((time.perf_counter() - begun) * 1000)
    return {name: round(value, 4) for name, value in quantiles(taken[1000:]).items()}


def visible(shop: crossaisle.Workspace) -> dict[str, Any]:
    """Milliseconds from an append until a recommendation reflects it: a dismissed item is gone; and of that, until the state knows."""
    recommender = crossaisle.Recommender.open(shop, llm="none")
    log = EventLog.open(shop)
    recommender.live = LiveEvents.open(shop, log)
    # Who has something of every category gets nothing from another one.
    users = [user for user in list(recommender.histories)[:120] if len(recommender.recommend(user_id=user, explain=False)) > 1][:60]
    known, all_of_it = [], []
    for user in users:
        item = recommender.recommend(user_id=user, explain=False)[0].item.item_id
        begun = time.perf_counter()
        log.append([Event(user, "dismiss", item)])
        recommender.live.catch_up()
        known.append((time.perf_counter() - begun) * 1000)
        assert item not in [one.item.item_id for one in recommender.recommend(user_id=user, explain=False)]
        all_of_it.append((time.perf_counter() - begun) * 1000)
    log.close()
    return {"known": quantiles(known), "recommended": quantiles(all_of_it)}


def main() -> None:
    """Measures and writes."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        shop = stores.workspace("demo", home)
        with tempfile.TemporaryDirectory() as other:
            baseline = plain(Path(other))
            figures: dict[str, Any] = {
                "seconds a run": SECONDS,
                "plain sqlite3, one commit an event": {"1 thread": measured(baseline, 1), "8 threads": measured(baseline_of(other), 8)},
            }
        log = EventLog.open(shop)
        figures["log on SQLite"] = appended(log)
        log.close()
        if reason := postgres_server.unavailable_reason():
            figures["log on PostgreSQL"] = reason
        else:
            with postgres_server.server(durable=True) as fresh:
                log = EventLog.open(shop, fresh())
                figures["log on PostgreSQL"] = appended(log)
                log.close()
        figures["milliseconds to take an event into the live state"] = applied()
        figures["milliseconds until visible"] = visible(shop)
    write("events", figures)


def baseline_of(folder: str) -> Callable[[int, int], object]:
    """A fresh plain table in a folder of its own, so that keys of an earlier run are not met again."""
    home = Path(folder) / "eight"
    home.mkdir()
    return plain(home)


if __name__ == "__main__":
    main()
