"""Compaction of the event log into a snapshot: each event exactly once, even if the process is killed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import crossaisle
from crossaisle.data.errors import StaleIndexError, WorkspaceBusyError
from crossaisle.data.events import Event, EventLog
from crossaisle.data.privacy.pseudonyms import Pseudonyms, is_pseudonym
from crossaisle.data.snapshots.compaction import compact
from crossaisle.data.workspace import Workspace

from ...crash_points import run_with_crashes

Store = Callable[..., Path]
NOW = 1_710_000_000_000
BASE = 1_700_000_000_000


@pytest.fixture(scope="module")
def files(make_store: Store) -> Path:
    return make_store(
        {"tent": "Camping", "stove": "Kitchen", "pan": "Kitchen"}, {"ann": ["tent", "pan"], "bob": ["stove"]}, {"tent": ["Dry."]}
    )


@pytest.fixture
def shop(tmp_path: Path, files: Path) -> Workspace:
    crossaisle.ingest(tmp_path / "shop", "files", [files], item_noun="thing")
    return Workspace(tmp_path / "shop")


EVENTS = [
    Event("ann", "click", "stove", NOW, idempotency_key="a"),
    Event("zoe", "purchase", "tent", NOW + 1),
    Event("ann", "impression", "stove", NOW + 2),
    Event("ann", "dismiss", "stove", NOW + 3),
    Event("bob", "search", None, NOW + 4, "a pan"),
    Event("bob", "search", "pan", NOW + 5),
    Event("bob", "cart", "no-such-item", NOW + 6),
    Event("ann", "purchase", "tent", BASE),
    Event("ann", "purchase", "stove", BASE - 7),
]
"""The second to last event is already in the snapshot; the last one is older than its predecessors."""
FOLDED = [
    ("ann", "stove", "purchase", BASE - 7),
    ("ann", "tent", "purchase", BASE),
    ("ann", "pan", "purchase", BASE + 86_400_000),
    ("ann", "stove", "click", NOW),
    ("bob", "stove", "purchase", BASE),
    ("bob", "pan", "search", NOW + 5),
    ("zoe", "tent", "purchase", NOW + 1),
]


def rows(workspace: Workspace) -> list[tuple[str, str, str, int]]:
    return workspace.table("interactions").select("user_id", "item_id", "kind", "timestamp").rows()  # type: ignore[return-value]


def test_interactions_are_merged_in_order_and_other_tables_are_unchanged(shop: Workspace) -> None:
    log = EventLog.open(shop)
    log.append(EVENTS)
    before = {name: shop.table(name) for name in ("items", "reviews", "relations")}
    result = compact(shop, log)
    assert rows(Workspace(shop.path)) == FOLDED
    expected = {
        "events": 9,
        "interactions": 4,
        "repeated": 1,
        "unknown_items": 1,
        "other": 3,
        "last": 9,
        "changed": True,
        "pseudonymised": False,
    }
    assert {name: result.to_dict()[name] for name in expected} == expected
    opened = Workspace(shop.path)
    assert {name: opened.table(name).rows() for name in before} == {name: table.rows() for name, table in before.items()}
    assert (opened.manifest.item_noun, opened.manifest.source["format"]) == ("thing", "files")
    assert opened.manifest.folded == {log.identity: 9}
    assert len(log.events_after(0)) == 9, "the log is unchanged"
    again = compact(opened, log)
    assert (again.changed, again.events, again.snapshot) == (False, 0, result.snapshot)
    log.append([Event("ann", "impression", "pan", NOW + 9)])
    assert compact(opened, log).changed is False, "without new events there is no new snapshot, so the index is not stale"
    assert opened.manifest.folded == {log.identity: 10}
    log.close()


def test_all_events_are_merged_again_after_an_ingest(shop: Workspace, files: Path) -> None:
    log = EventLog.open(shop)
    log.append(EVENTS)
    compact(shop, log)
    crossaisle.ingest(shop.path, "files", [files])
    opened = Workspace(shop.path)
    assert opened.manifest.folded == {}
    compact(opened, log)
    assert rows(opened) == FOLDED
    log.close()


def test_new_log_has_another_identity(shop: Workspace) -> None:
    log = EventLog.open(shop)
    log.append(EVENTS)
    compact(shop, log)
    log.close()
    for file in shop.path.glob("events.db*"):
        file.unlink()
    log = EventLog.open(shop)
    log.append([Event("eve", "purchase", "pan", NOW)])
    assert compact(shop, log).interactions == 1
    assert len(shop.manifest.folded) == 2
    log.close()


def test_if_some_users_have_pseudonyms_all_get_one(shop: Workspace) -> None:
    names = Pseudonyms.open(shop.path)
    log = EventLog.open(shop, pseudonyms=names)
    log.append(EVENTS)
    log.close()
    plain = EventLog.open(shop)
    assert compact(shop, plain).pseudonymised
    expected = sorted((names.of(user), *rest) for user, *rest in FOLDED)
    assert sorted(rows(shop)) == expected, "ann's earlier and later interactions form one history"
    assert all(is_pseudonym(user) for user in shop.table("reviews")["user_id"])
    plain.append([Event("ann", "cart", "pan", NOW + 50)])
    compact(shop, plain)
    assert {user for user, *_ in rows(shop)} == {names.of(user) for user in ("ann", "bob", "zoe")}
    plain.close()


def test_index_is_stale_until_rebuilt_and_then_contains_the_events(
    demo_workspace: Workspace, tmp_path: Path, settings: crossaisle.Settings
) -> None:
    shop = Workspace(shutil.copytree(demo_workspace.path, tmp_path / "shop"))
    log = EventLog.open(shop)
    item = shop.table("items")["item_id"][0]
    log.append([Event("zoe", "purchase", item, NOW)])
    compact(shop, log)
    quiet = settings.with_(llm="none")
    with pytest.raises(StaleIndexError, match="run `crossaisle index"):
        crossaisle.Recommender.open(shop.path, settings=quiet)
    before = crossaisle.Recommender.open(demo_workspace.path, settings=quiet).catalogue.users[0]
    result = crossaisle.index(Workspace(shop.path), settings)
    assert (result.embedded, result.users_counted < 400) == (0, True)
    opened = crossaisle.Recommender.open(shop.path, settings=quiet)
    assert opened.catalogue.users[0] == before + 1
    assert "zoe" in opened.histories
    log.close()


def test_busy_workspace(shop: Workspace) -> None:
    log = EventLog.open(shop)
    with Workspace(shop.path).writing("a test"), pytest.raises(WorkspaceBusyError, match="run `crossaisle events compact"):
        compact(shop, log)
    log.close()


SETUP = """
from crossaisle.data import atomic_files
from crossaisle.data.snapshots import compaction
from crossaisle.data.events import EventLog
from crossaisle.data.workspace import Workspace
"""
RUN = """
opened = Workspace(path)
compaction.compact(opened, EventLog.open(opened))
"""


def test_kill_before_every_step_neither_loses_nor_duplicates_events(shop: Workspace, tmp_path: Path) -> None:
    """After a kill at any step, the events in the snapshot and those still to be merged are all events, each once."""
    log = EventLog.open(shop)
    log.append(EVENTS)
    log.close()
    old, seen = rows(shop), []
    for path in run_with_crashes(shop.path, tmp_path / "copies", SETUP, RUN):
        opened = Workspace(path)
        state = rows(opened), sum(opened.manifest.folded.values())
        assert state in ((old, 0), (FOLDED, 9)), path.name
        seen.append(state[1])
        again = EventLog.open(opened)
        compact(opened, again)
        again.close()
        assert (rows(opened), sum(opened.manifest.folded.values())) == (FOLDED, 9)
        assert not list(path.glob(".staging-*"))
        assert len(list((path / "snapshots").iterdir())) == 1
    assert seen[-1] == 9
    assert seen == sorted(seen), "the old state up to some step, the new one afterwards"
    assert 0 in seen
    assert len(seen) > 8


def test_manifest_of_an_older_version_is_read(shop: Workspace) -> None:
    file = shop.path / "workspace.json"
    content = json.loads(file.read_text())
    del content["folded"]
    file.write_text(json.dumps(content))
    assert Workspace(shop.path).manifest.folded == {}


def test_log_with_many_pages(shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossaisle.data.snapshots.compaction.PAGE", 7)
    log = EventLog.open(shop)
    log.append([Event(f"u{n % 3}", "click", ["tent", "stove"][n % 2], NOW + n) for n in range(50)])
    result = compact(shop, log)
    assert (result.events, result.interactions) == (50, 50)
    assert len(shop.table("interactions").filter(pl.col("timestamp") >= NOW)) == 50
    log.close()


def test_postgresql_log_is_merged_in_the_same_way(shop: Workspace, postgres: Callable[[], str]) -> None:
    log = EventLog.open(shop, postgres())
    log.append(EVENTS)
    compact(shop, log)
    assert rows(shop) == FOLDED
    assert shop.manifest.folded == {log.identity: log.last_sequence()}
    log.close()
