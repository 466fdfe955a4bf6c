"""The folder with everything that was built from one store's data.

    shop/
      workspace.json           what is here: format, snapshot, settings of the store, what was built when and by which model
      snapshots/<id>/          items.parquet  reviews.parquet  interactions.parquet  relations.parquet
      rejects.jsonl            the lines that the last ingest turned away
      chroma/                  vectors of items and reviews
      associations.parquet     what goes with what

`workspace.json` is the only file that decides: it names the snapshot and the index, and is replaced in one rename. A snapshot
folder is written whole before that rename and removed after it, so a kill at any moment leaves the last good state. Knows
nothing of how the tables come about (`ingest`) or what is built from them (`retrieval`).
"""

from __future__ import annotations

import datetime
import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .atomic_files import flush, staging_folder, sweep, write_atomically
from .errors import NewerFormatError, NoWorkspaceError, WorkspaceBusyError, WorkspaceError, storage_errors

if TYPE_CHECKING:
    import polars as pl

FORMAT = 1
TABLES = ("items", "reviews", "interactions", "relations")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `workspace.json` says.

    Attributes:
        id: drawn when the workspace is made; tells its vectors from another workspace's on a shared server.
        snapshot: id of the snapshot in use, None before the first `ingest`.
        category_level: the level that counts as "another category", 1 = broadest.
        item_noun: what an item is called to a person ("item", "course", "film").
        source: format and file names that the snapshot was read from.
        index: what `index` built, None before it ran (see `retrieval.index.builder`).
        folded: identity of a log of events to the number of its last event that the snapshot holds (see `data.snapshots.compaction`).
    """

    format: int = FORMAT
    id: str = ""
    snapshot: str | None = None
    snapshot_at: str | None = None
    category_level: int = 1
    item_noun: str = "item"
    source: Mapping[str, Any] = field(default_factory=dict)
    index: Mapping[str, Any] | None = None
    folded: Mapping[str, int] = field(default_factory=dict)

    @property
    def snapshot_ms(self) -> int:
        """When the snapshot was made, to the second, in milliseconds since 1970; 0 before the first."""
        return int(datetime.datetime.fromisoformat(self.snapshot_at).timestamp()) * 1000 if self.snapshot_at else 0


class Workspace:
    """One store's data on disk; `Workspace(path)` opens it, `Workspace.prepare(path)` makes it if need be."""

    def __init__(self, path: str | Path) -> None:
        """Opens a workspace that has a snapshot.

        Raises:
            NoWorkspaceError: no workspace there, or nothing ingested yet.
            NewerFormatError: written by a later version.
        """
        self.path = Path(path)
        self.manifest = self._read()
        if self.manifest.snapshot is None:
            raise NoWorkspaceError(
                f"{self.path} holds no {'data yet' if self.path.is_dir() else 'workspace'}; make one with "
                f"`crossaisle ingest -w {self.path} --format FORMAT PATH...`, or try `crossaisle demo`"
            )

    @classmethod
    def prepare(cls, path: str | Path) -> Workspace:
        """The workspace at `path`, made if there is none; it may hold no snapshot yet.

        Raises: WorkspaceError: `path` is a file, or a folder with something else in it.
        """
        workspace = cls.__new__(cls)
        workspace.path = Path(path)
        if workspace.path.exists() and not workspace.path.is_dir():
            raise WorkspaceError(f"{path} is a file; a workspace is a folder")
        ours = (workspace.path / "workspace.json").exists() or (workspace.path / ".lock").exists()
        if workspace.path.is_dir() and not ours and any(workspace.path.iterdir()):
            raise WorkspaceError(f"{path} holds other files and no workspace; name a new or empty folder")
        with storage_errors(f"the workspace {path}"):
            workspace.path.mkdir(parents=True, exist_ok=True)
        workspace.manifest = workspace._read()
        return workspace

    def _read(self) -> Manifest:
        file = self.path / "workspace.json"
        try:
            content = json.loads(file.read_text("utf-8"))
            found = content["format"]
        except (FileNotFoundError, NotADirectoryError):
            return Manifest()
        except PermissionError as error:
            raise WorkspaceError(f"{file} may not be read by this account; ask whoever made the workspace for permission") from error
        except (ValueError, TypeError, KeyError) as error:
            raise WorkspaceError(f"{file} is not a workspace file ({error}); restore it or ingest into a new folder") from error
        if not isinstance(found, int) or found > FORMAT:
            raise NewerFormatError(
                f"{self.path} has workspace format {found}, this crossaisle reads up to {FORMAT}; upgrade crossaisle or use another folder"
            )
        return Manifest(**{name: value for name, value in content.items() if name in Manifest.__dataclass_fields__})

    def _write(self, manifest: Manifest) -> None:
        content = json.dumps(asdict(manifest), indent=1, ensure_ascii=False, sort_keys=True)
        write_atomically(self.path / "workspace.json", content.encode())
        self.manifest = manifest

    # ------------------------------------------------------------------ writing

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Holds the workspace's write lock; the operating system frees it when the process dies.

        Raises: WorkspaceBusyError: another process holds it.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(str(self.path / ".lock"), timeout=0)
        with storage_errors(f"the lock of {self.path}"):
            try:
                lock.acquire()
            except Timeout:
                raise WorkspaceBusyError(
                    f"another process is writing to {self.path}; wait for it to end, then run `{what}` again"
                ) from None
        try:
            self.manifest = self._read()
            sweep(self.path)
            self._drop_other_snapshots()
            yield
        finally:
            lock.release()

    def staging(self) -> AbstractContextManager[Path]:
        """An empty folder inside the workspace, removed at the end whatever happens."""
        return staging_folder(self.path)

    def replace_snapshot(
        self,
        staging: Path,
        *,
        category_level: int | None,
        item_noun: str | None,
        source: Mapping[str, Any],
        folded: Mapping[str, int] | None = None,
    ) -> str:
        """Makes the tables in `staging` the snapshot, in one step; returns its id. Call inside `writing`.

        Args:
            staging: a folder with the tables of `TABLES` as parquet and `rejects.jsonl`.
            category_level, item_noun: None keeps what the workspace had.
            folded: which events the new tables hold; None is none of them: a store's files know nothing of the log.
        """
        for file in staging.iterdir():
            flush(file)
        # Beside the snapshot, not in it: the same tables are the same snapshot, wherever the lines that were turned away stood.
        (staging / "rejects.jsonl").replace(self.rejects)
        snapshot = _fingerprint(staging)
        home = self.path / "snapshots" / snapshot
        if home.exists() and _fingerprint(home) != snapshot:
            shutil.rmtree(home)  # damaged since it was written: the same files, ingested again, must mend it
        if not home.exists():
            home.parent.mkdir(exist_ok=True)
            staging.rename(home)
            flush(home.parent)
        now = self.manifest
        self._write(
            replace(
                now,
                id=now.id or secrets.token_hex(4),
                snapshot=snapshot,
                snapshot_at=_now(),
                category_level=category_level if category_level is not None else now.category_level,
                item_noun=item_noun if item_noun is not None else now.item_noun,
                source=dict(source),
                folded=dict(folded or {}),
            )
        )
        self._drop_other_snapshots()
        return snapshot

    def _drop_other_snapshots(self) -> None:
        """Removes what a killed run left of a snapshot that is not in use: a person who was forgotten may still be in it."""
        home = self.path / "snapshots"
        for old in home.iterdir() if home.is_dir() else ():
            if old.name != self.manifest.snapshot:
                shutil.rmtree(old, ignore_errors=True)

    def record_index(self, index: Mapping[str, Any]) -> None:
        """Says in `workspace.json` that the index of the present snapshot is complete. Call inside `writing`."""
        self._write(replace(self.manifest, index={**index, "snapshot": self.manifest.snapshot, "built_at": _now()}))

    def record_folded(self, folded: Mapping[str, int]) -> None:
        """Says in `workspace.json` which events the present snapshot holds. Call inside `writing`."""
        self._write(replace(self.manifest, folded=dict(folded)))

    # ------------------------------------------------------------------ reading

    def file(self, table: str) -> Path:
        """Where a table of the snapshot lies."""
        return self.path / "snapshots" / str(self.manifest.snapshot) / f"{table}.parquet"

    def table(self, name: str) -> pl.DataFrame:
        """One table of the snapshot (`items`, `reviews`, `interactions`, `relations`), columns as in `data.records`.

        Raises: WorkspaceError: the snapshot was replaced or damaged meanwhile.
        """
        import polars as pl

        try:
            return pl.read_parquet(self.file(name))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise WorkspaceError(
                f"cannot read {self.file(name)} ({type(error).__name__}): it was replaced or damaged; "
                "open the workspace again, or ingest again"
            ) from error

    @property
    def rejects(self) -> Path:
        """The lines that the last `ingest` turned away, one JSON object each."""
        return self.path / "rejects.jsonl"


def _fingerprint(folder: Path) -> str:
    """The id of a snapshot: a hash over the names and contents of its files."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        with file.open("rb") as content:
            digest.update(file.name.encode() + hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:16]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
