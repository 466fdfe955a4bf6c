"""Erasure of a user: no file of the workspace contains the id, and all other users are unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import crossaisle
from crossaisle.data.errors import UnknownUserError
from crossaisle.data.events import Event, EventLog, ServedItem
from crossaisle.data.snapshots.compaction import compact
from crossaisle.data.snapshots.erasure import LOG, forget_user
from crossaisle.data.snapshots.rewrite import ERASED_AUTHOR
from crossaisle.data.workspace import Workspace

from ...crash_points import run_with_crashes

Store = Callable[..., Path]
NOW = 1_710_000_000_000
ID = "ann-of-green-gables"


@pytest.fixture(scope="module")
def files(make_store: Store) -> Path:
    folder = make_store({"tent": "Camping", "stove": "Kitchen", "pan": "Kitchen"}, {ID: ["tent", "pan"], "bob": ["stove"]})
    reviews = [
        {"item_id": "tent", "user_id": user, "rating": 5, "title": "", "text": text, "timestamp": NOW}
        for user, text in ((ID, "Dry and light."), ("bob", "Fine."))
    ]
    (folder / "reviews.jsonl").write_text("".join(json.dumps(line) + "\n" for line in reviews))
    with (folder / "interactions.jsonl").open("a") as file:
        file.write(json.dumps({"user_id": ID, "item_id": "gone"}) + "\n" + json.dumps({"user_id": "bob", "item_id": "gone"}) + "\n")
    return folder


@pytest.fixture
def shop(tmp_path: Path, files: Path) -> Workspace:
    """A workspace with data of the user in every place."""
    path = tmp_path / "shop"
    crossaisle.ingest(path, "files", [files])
    shop = Workspace(path)
    log = EventLog.open(shop)
    log.append([Event(ID, "click", "stove", NOW), Event("bob", "click", "tent", NOW), Event(ID, "search", None, NOW, "for Ann")])
    log.append_served_list(ID, [ServedItem("stove")])
    compact(shop, log)
    log.close()
    explored = [{"at": "2024", "user_id": user, "seed": 1, "shown": []} for user in (ID, "bob", None)]
    (path / "explored.jsonl").write_text("".join(json.dumps(line) + "\n" for line in explored))
    for name in ("counts/x-1/users.parquet", "blend/lessons.safetensors", "blend/models.json"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(ID if "models" not in name else "{}")
    return shop


def holding(path: Path) -> list[str]:
    """Files that contain the id; tables are read as tables."""
    import polars as pl

    found = []
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        table = file.suffix == ".parquet" and "snapshots" in file.parts
        content = pl.read_parquet(file).write_ndjson().encode() if table else file.read_bytes()
        if ID.encode() in content:
            found.append(str(file.relative_to(path)))
    return found


def test_nothing_of_the_user_is_left(shop: Workspace) -> None:
    assert len(holding(shop.path)) >= 7
    log = EventLog.open(shop)
    report = forget_user(shop, log, ID)
    counts = {"events": 2, "served": 1, "interactions": 3, "reviews": 1, "lines": 2}
    assert {name: report.to_dict()[name] for name in counts} == counts
    log.close()
    assert holding(shop.path) == []
    opened = Workspace(shop.path)
    assert opened.table("interactions")["user_id"].to_list() == ["bob", "bob"]
    assert opened.table("reviews").select("user_id", "text").rows() == [(ERASED_AUTHOR, "Dry and light."), ("bob", "Fine.")]
    assert [json.loads(line)["user_id"] for line in (shop.path / "explored.jsonl").read_text().splitlines()] == ["bob", None]
    assert len(opened.rejects.read_text().splitlines()) == 1
    assert (shop.path / "blend" / "models.json").exists(), "trained models are kept until the next training"
    log = EventLog.open(opened)
    assert [event.user_id for _, event in log.events_after(0)] == ["bob"]
    assert opened.manifest.folded == {log.identity: 3}, "events of other users are not merged again"
    assert compact(opened, log).interactions == 0
    record = json.loads((shop.path / LOG).read_text())
    assert record["mark"] == log.mark(ID) == log.erasures_after()[0].mark
    assert (record["interactions"], record["events"]) == (3, 2)
    log.close()


def test_reviews_are_deleted_on_request(shop: Workspace) -> None:
    log = EventLog.open(shop)
    forget_user(shop, log, ID, reviews=True)
    assert shop.table("reviews")["user_id"].to_list() == ["bob"]
    log.close()


def test_unknown_user(shop: Workspace) -> None:
    log = EventLog.open(shop)
    before = shop.manifest
    with pytest.raises(UnknownUserError, match="no data of user 'ann'"):
        forget_user(shop, log, "ann")
    assert (Workspace(shop.path).manifest, log.erasures_after()) == (before, [])
    log.close()


def test_user_with_events_only(shop: Workspace) -> None:
    log = EventLog.open(shop)
    log.append([Event("zoe", "click", "pan", NOW)])
    before = shop.manifest.snapshot
    report = forget_user(shop, log, "zoe")
    assert (report.events, report.interactions, report.snapshot) == (1, 0, before), "no new snapshot, so the index is not stale"
    assert (shop.path / "counts").exists()
    log.close()


def test_user_erased_in_the_log_leaves_the_snapshot_at_the_next_compaction(shop: Workspace) -> None:
    """As in a server, which erases only in the log; later events with the same id belong to a new user."""
    log = EventLog.open(shop)
    log.forget(ID)
    log.append([Event(ID, "purchase", "stove", NOW + 9)])
    report = compact(shop, log)
    assert (report.forgotten, report.interactions, report.changed) == (1, 1, True)
    assert shop.table("interactions").select("user_id", "item_id").rows() == [(ID, "stove"), ("bob", "stove"), ("bob", "tent")]
    assert shop.table("reviews")["user_id"].to_list() == [ERASED_AUTHOR, "bob"]
    assert not (shop.path / "counts").exists()
    log.close()


SETUP = """
from crossaisle.data import atomic_files
from crossaisle.data.snapshots import erasure
from crossaisle.data.events import EventLog
from crossaisle.data.workspace import Workspace
"""
RUN = f"""
opened = Workspace(path)
erasure.forget_user(opened, EventLog.open(opened), {ID!r})
"""


def test_repeated_run_completes_an_erasure_killed_at_any_step(shop: Workspace, tmp_path: Path) -> None:
    copies = run_with_crashes(shop.path, tmp_path / "copies", SETUP, RUN)
    assert len(copies) > 10
    for path in copies:
        opened = Workspace(path)
        log = EventLog.open(opened)
        try:
            forget_user(opened, log, ID)
        except UnknownUserError:
            assert log.erasures_after(), "everything was erased and only the last record line is missing"
        log.close()
        assert holding(path) == [], path.name
        assert opened.table("interactions")["user_id"].to_list() == ["bob", "bob"]
