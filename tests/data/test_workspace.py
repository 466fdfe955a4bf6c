"""Workspace folders: opening, rejection of unusable ones, and the state after a kill or a full disk."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

import crossaisle
from crossaisle.data.atomic_files import STAGING_PREFIX, replacing, staging_folder, sweep, write_atomically
from crossaisle.data.errors import CrossaisleError, NewerFormatError, NoWorkspaceError, StorageError, WorkspaceBusyError, WorkspaceError
from crossaisle.data.workspace import FORMAT, TABLES, Workspace

Store = Callable[..., Path]


def small(make_store: Store, users: int) -> Path:
    """A store that is identified by its table sizes: n users have n + 1 items each, and each item has one review."""
    items = {f"i{n}": "A" for n in range(users + 1)}
    return make_store(items, {f"u{n}": list(items) for n in range(users)}, {item: ["Good."] for item in items})


def sizes(path: Path) -> tuple[int, int, int]:
    workspace = Workspace(path)
    return tuple(workspace.table(name).height for name in ("items", "interactions", "reviews"))  # type: ignore[return-value]


def of(users: int) -> tuple[int, int, int]:
    return users + 1, users * (users + 1), users + 1


def child(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """A second process that prints a line when it has reached the required state."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True, cwd="/", start_new_session=True
    )


def leftovers(path: Path) -> list[str]:
    return sorted(file.name for file in path.rglob(STAGING_PREFIX + "*"))


# ------------------------------------------------------------------ opening


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(NoWorkspaceError, match=r"holds no workspace; make one with `crossaisle ingest -w .*nowhere"):
        Workspace(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_empty_folder_and_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(NoWorkspaceError, match="crossaisle ingest"):
            Workspace(path)
    with pytest.raises(WorkspaceError, match="is a file; a workspace is a folder"):
        Workspace.prepare(tmp_path / "file")


def test_folder_with_other_content_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(WorkspaceError, match="contains other files and no workspace"):
        Workspace.prepare(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_prepared_workspace_without_a_snapshot(tmp_path: Path) -> None:
    assert Workspace.prepare(tmp_path / "a" / "shop").manifest.snapshot is None
    with pytest.raises(NoWorkspaceError, match="holds no data yet"):
        Workspace(tmp_path / "a" / "shop")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "7", '"x"', "{}", '{"form": 1}', "\x00\x01"])
def test_broken_workspace_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "workspace.json").write_text(content)
    for opening in (Workspace, Workspace.prepare):
        with pytest.raises(WorkspaceError, match=r"workspace\.json is not a workspace file"):
            opening(tmp_path)


@pytest.mark.parametrize("found", [FORMAT + 1, "2", None])
def test_later_format_is_rejected(tmp_path: Path, found: object) -> None:
    (tmp_path / "workspace.json").write_text(json.dumps({"format": found, "snapshot": "x"}))
    with pytest.raises(NewerFormatError, match=f"has workspace format {found}, this crossaisle reads up to {FORMAT}; upgrade"):
        Workspace(tmp_path)


def test_fields_of_a_later_minor_version_are_ignored(tmp_path: Path, make_store: Store) -> None:
    crossaisle.ingest(tmp_path / "ws", "files", [small(make_store, 2)], item_noun="course")
    file = tmp_path / "ws" / "workspace.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "from_the_future": [1]}))
    assert Workspace(tmp_path / "ws").manifest.item_noun == "course"
    assert sizes(tmp_path / "ws") == of(2)


def test_missing_or_damaged_table_is_named(tmp_path: Path, make_store: Store) -> None:
    crossaisle.ingest(tmp_path / "ws", "files", [small(make_store, 2)])
    workspace = Workspace(tmp_path / "ws")
    workspace.file("items").write_bytes(b"PAR1 no more")
    workspace.file("reviews").unlink()
    for name in ("items", "reviews"):
        with pytest.raises(WorkspaceError, match=f"cannot read .*{name}.parquet .*ingest again"):
            workspace.table(name)


def test_repeated_ingest_repairs_a_damaged_table(tmp_path: Path, make_store: Store) -> None:
    folder = small(make_store, 2)
    for damage in (lambda file: file.write_bytes(b"PAR1 no more"), Path.unlink):
        crossaisle.ingest(tmp_path / "ws", "files", [folder])
        damage(Workspace(tmp_path / "ws").file("items"))
        crossaisle.ingest(tmp_path / "ws", "files", [folder])
        assert sizes(tmp_path / "ws") == of(2)


# ------------------------------------------------------------------ replacing


def test_second_ingest_replaces_the_first_completely(tmp_path: Path, make_store: Store) -> None:
    first = crossaisle.ingest(tmp_path / "ws", "files", [small(make_store, 3)], category_level=2, item_noun="film")
    second = crossaisle.ingest(tmp_path / "ws", "files", [small(make_store, 4)])
    workspace = Workspace(tmp_path / "ws")
    assert sizes(tmp_path / "ws") == of(4)
    assert (workspace.manifest.snapshot, workspace.manifest.category_level, workspace.manifest.item_noun) == (second.snapshot, 2, "film")
    assert [folder.name for folder in (tmp_path / "ws" / "snapshots").iterdir()] == [second.snapshot]
    assert first.snapshot != second.snapshot
    assert leftovers(tmp_path / "ws") == []
    assert {file.stem for file in (tmp_path / "ws" / "snapshots" / second.snapshot).iterdir()} == set(TABLES)


def test_same_files_are_the_same_snapshot(tmp_path: Path, make_store: Store) -> None:
    folder = small(make_store, 3)
    reports = [crossaisle.ingest(tmp_path / name, "files", [folder]) for name in ("a", "b", "a")]
    assert len({report.snapshot for report in reports}) == 1
    assert sizes(tmp_path / "a") == sizes(tmp_path / "b") == of(3)


def test_atomic_files(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "x.json"
    write_atomically(file, b"old")
    with pytest.raises(ZeroDivisionError), replacing(file) as fresh:  # noqa: PT012
        fresh.write_bytes(b"half of the n")
        _ = 1 / 0
    assert file.read_bytes() == b"old"
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"
    with staging_folder(tmp_path) as kept, staging_folder(tmp_path) as dropped:
        (dropped / "y").write_text("y")
        kept.rename(tmp_path / "kept")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "kept"]
    assert [path.name for path in file.parent.iterdir()] == ["x.json"]


# ------------------------------------------------------------------ one writer


HOLD = """
import sys, time
from crossaisle import Workspace
with Workspace.prepare(sys.argv[1]).writing("test"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = child(HOLD, tmp_path / "ws")
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_second_writer_fails_and_a_killed_one_releases_the_lock(tmp_path: Path, make_store: Store, holder: subprocess.Popen[str]) -> None:
    folder = small(make_store, 2)
    with pytest.raises(WorkspaceBusyError, match="another process is writing to .*ws; wait for it to end, then run `crossaisle ingest`"):
        crossaisle.ingest(tmp_path / "ws", "files", [folder])
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    crossaisle.ingest(tmp_path / "ws", "files", [folder])
    assert sizes(tmp_path / "ws") == of(2)


def test_readers_need_no_lock(tmp_path: Path, make_store: Store) -> None:
    crossaisle.ingest(tmp_path / "ws", "files", [small(make_store, 2)])
    with Workspace(tmp_path / "ws").writing("a test"):
        assert sizes(tmp_path / "ws") == of(2)


# ------------------------------------------------------------------ kills


LOOP = """
import sys
import crossaisle, polars
print("ready", flush=True)
while True:
    for folder in sys.argv[2:]:
        crossaisle.ingest(sys.argv[1], "files", [folder], chunk_rows=3)
"""


def test_kill_at_any_time_leaves_consistent_tables(tmp_path: Path, make_store: Store) -> None:
    path, folders, dice = tmp_path / "ws", [small(make_store, users) for users in (3, 5)], random.Random(7)
    crossaisle.ingest(path, "files", [folders[0]])
    seen, interrupted = set(), 0
    for turn in range(8):
        process = child(LOOP, path, *folders)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        # The first ingest of a process takes longer than the others; the random times fall on it and on some later ones. Every second kill waits
        # until unfinished files exist, because a busy machine may be slower than any random time.
        time.sleep(dice.uniform(0.005, 0.4))
        until = time.monotonic() + 10
        while turn % 2 and not leftovers(path) and time.monotonic() < until:
            time.sleep(0.001)
        process.kill()
        process.wait()
        process.stdout.close()
        found = sizes(path)
        assert found in (of(3), of(5))
        seen.add(found)
        interrupted += bool(leftovers(path))
    assert interrupted, "no kill fell inside an ingest"
    crossaisle.ingest(path, "files", [folders[1]])
    assert sizes(path) == of(5)
    assert leftovers(path) == []
    assert len(list((path / "snapshots").iterdir())) == 1


STEPS = """
import os, signal, sys
import crossaisle, polars
from crossaisle.data import atomic_files, workspace
# System calls are counted; at the n-th the process is killed, as by a power cut.
left = int(sys.argv[3])
def dying(real):
    def step(*arguments, **named):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    return step
os.fsync, os.rename, os.replace, os.rmdir = map(dying, (os.fsync, os.rename, os.replace, os.rmdir))
crossaisle.ingest(sys.argv[1], "files", [sys.argv[2]])
print("done", flush=True)
"""


def test_kill_before_every_step_of_the_replacement(tmp_path: Path, make_store: Store) -> None:
    """The process is killed before each fsync, rename and removal of a folder in turn."""
    path, folders = tmp_path / "ws", {users: small(make_store, users) for users in (3, 5)}
    crossaisle.ingest(path, "files", [folders[3]])
    seen = []
    for step in range(1, 40):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(path, tmp_path / "copy")
        process = child(STEPS, tmp_path / "copy", folders[5], str(step))
        output = process.communicate(timeout=60)[0]
        seen.append(sizes(tmp_path / "copy"))
        assert seen[-1] in (of(3), of(5))
        crossaisle.ingest(tmp_path / "copy", "files", [folders[5]])
        assert sizes(tmp_path / "copy") == of(5), "an incomplete snapshot was accepted"
        if output:
            break
        assert process.returncode == -signal.SIGKILL
    assert seen[-1] == of(5)
    assert seen == sorted(seen), "the old state up to some step, the new one afterwards"
    assert len(seen) > 8
    assert of(3) in seen


def test_leftovers_of_a_killed_writer_are_removed_by_the_next_one(tmp_path: Path, make_store: Store) -> None:
    path = tmp_path / "ws"
    crossaisle.ingest(path, "files", [small(make_store, 2)])
    for name in ("abc", "def"):
        (path / f"{STAGING_PREFIX}{name}").mkdir()
        (path / f"{STAGING_PREFIX}{name}" / "items.parquet").write_bytes(b"half")
    (path / f"{STAGING_PREFIX}file.json").write_text("{")
    assert sizes(path) == of(2)
    assert len(leftovers(path)) == 3, "opening for reading removes nothing: a writer may be active"
    with Workspace(path).writing("a test"):
        pass
    assert leftovers(path) == []


def test_sweep_removes_only_staging_files(tmp_path: Path) -> None:
    (tmp_path / "staging-of-mine").mkdir()
    (tmp_path / f"{STAGING_PREFIX}x").mkdir()
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["staging-of-mine"]


# ------------------------------------------------------------------ a full disk


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here; the test with a limit on file sizes runs instead")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_full_disk_keeps_the_old_state(little_disk: Path, make_store: Store) -> None:
    path = little_disk / "ws"
    crossaisle.ingest(path, "files", [small(make_store, 3)])
    before = (path / "workspace.json").read_bytes()
    # Incompressible text that exceeds the disk.
    noise = random.Random(1)
    big = make_store(
        {f"i{n}": {"title": f"t{n}", "category": ["A"], "description": noise.randbytes(9000).hex()} for n in range(200)}, {"u": ["i1"]}
    )
    with pytest.raises(StorageError, match="the disk is full: the snapshot in .*ws was not written and the last good state is untouched"):
        crossaisle.ingest(path, "files", [big])
    assert (path / "workspace.json").read_bytes() == before
    assert sizes(path) == of(3)
    assert leftovers(path) == []
    crossaisle.ingest(path, "files", [small(make_store, 5)])
    assert sizes(path) == of(5)


@pytest.mark.parametrize("room", [0, 4096])
def test_no_disk_space_at_all(little_disk: Path, make_store: Store, room: int) -> None:
    """The disk is filled by other files: even `workspace.json` or a folder may not fit."""
    path = little_disk / "ws"
    crossaisle.ingest(path, "files", [small(make_store, 3)])
    with (little_disk / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(b"x" * 4096):
                pass
        except OSError:
            filler.truncate(max(0, filler.tell() - room))
    with pytest.raises(StorageError, match="the disk is full"):
        crossaisle.ingest(path, "files", [small(make_store, 5)])
    assert sizes(path) == of(3)


LIMITED = """
import resource, signal, sys
import crossaisle, polars
from crossaisle.data.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    crossaisle.ingest(sys.argv[1], "files", [sys.argv[2]])
except StorageError as error:
    print("StorageError", error)
"""


def test_file_size_limit(tmp_path: Path, make_store: Store) -> None:
    assert resource.RLIMIT_FSIZE is not None
    path = tmp_path / "ws"
    crossaisle.ingest(path, "files", [small(make_store, 3)])
    noise = random.Random(1)
    big = make_store(
        {f"i{n}": {"title": f"t{n}", "category": ["A"], "description": noise.randbytes(900).hex()} for n in range(90)}, {"u": ["i1"]}
    )
    process = child(LIMITED, path, big)
    output = process.communicate(timeout=60)[0]
    assert output.startswith("StorageError the disk is full: the snapshot in"), output
    assert sizes(path) == of(3)
    assert leftovers(path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path: Path, make_store: Store) -> None:
    path = tmp_path / "ws"
    crossaisle.ingest(path, "files", [small(make_store, 2)])
    path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="no permission to write"):
            crossaisle.ingest(path, "files", [small(make_store, 3)])
        assert sizes(path) == of(2)
    finally:
        path.chmod(0o700)


def test_errors_have_a_common_base_class() -> None:
    assert issubclass(StorageError, CrossaisleError)
    assert issubclass(WorkspaceBusyError, WorkspaceError)
    assert not issubclass(pl.exceptions.PolarsError, CrossaisleError)
