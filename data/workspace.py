"""The workspace: a folder with everything built from one store's data.

    shop/
      workspace.json           manifest: format, snapshot, settings of the store, index
      snapshots/<id>/          items.parquet  reviews.parquet  interactions.parquet  relations.parquet
      rejects.jsonl            lines rejected by the last ingest
      chroma/                  vectors of items and reviews
      associations.parquet     co-occurrence of items and categories
      uses.parquet             what the items are used for, with sentences

`workspace.json` is the only source of truth: it names the snapshot and the index, and is replaced in one rename. A new snapshot folder
is complete before that rename and the old one is deleted after it, so that a killed process leaves the last good state. Knows nothing
of the making of the tables (`ingest`) or of what is built from them (`retrieval`).
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
from .store_words import StoreWords

if TYPE_CHECKING:
    import polars as pl

FORMAT = 1
TABLES = ("items", "reviews", "interactions", "relations")


@dataclass(frozen=True, slots=True)
class Manifest:
    """Content of `workspace.json`.

    Attributes:
        format: Version of the workspace format.
        id: Random id of the workspace; separates its vectors from those of other workspaces on a shared server.
        snapshot: Id of the current snapshot; None before the first `ingest`.
        snapshot_at: Time of the snapshot, ISO 8601.
        category_level: Level at which categories are compared, 1 = broadest.
        item_noun: Word for an item in texts for users ("item", "course", "film").
        store_words: The store's other words, see `data.store_words`; empty for the defaults.
        source: Format and file names of the snapshot's input.
        index: Description of the index; None before the first `index` (see `retrieval.index.builder`).
        folded: Identity of an event log to the number of its last event in the snapshot (see `data.snapshots.compaction`).
    """

    format: int = FORMAT
    id: str = ""
    snapshot: str | None = None
    snapshot_at: str | None = None
    category_level: int = 1
    item_noun: str = "item"
    store_words: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    index: Mapping[str, Any] | None = None
    folded: Mapping[str, int] = field(default_factory=dict)

    @property
    def words(self) -> StoreWords:
        """The store's words in texts for people."""
        return StoreWords.from_dict(self.item_noun, self.store_words)

    @property
    def snapshot_ms(self) -> int:
        """Time of the snapshot, to the second, in milliseconds since 1970; 0 if there is none."""
        return int(datetime.datetime.fromisoformat(self.snapshot_at).timestamp()) * 1000 if self.snapshot_at else 0


class Workspace:
    """One store's data on disk: `Workspace(path)` opens it, `Workspace.prepare(path)` creates it if needed."""

    def __init__(self, path: str | Path) -> None:
        """Open a workspace that has a snapshot.

        Args:
            path: Folder of the workspace.

        Raises:
            NoWorkspaceError: There is no workspace, or no data has been ingested.
            NewerFormatError: It was written by a later version.
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
        """Open or create the workspace at `path`; it may have no snapshot yet.

        Args:
            path: Folder of the workspace.

        Raises:
            WorkspaceError: `path` is a file, or a folder with other content.
        """
        workspace = cls.__new__(cls)
        workspace.path = Path(path)
        if workspace.path.exists() and not workspace.path.is_dir():
            raise WorkspaceError(f"{path} is a file; a workspace is a folder")
        is_workspace = (workspace.path / "workspace.json").exists() or (workspace.path / ".lock").exists()
        if workspace.path.is_dir() and not is_workspace and any(workspace.path.iterdir()):
            raise WorkspaceError(f"{path} contains other files and no workspace; choose a new or empty folder")
        with storage_errors(f"the workspace {path}"):
            workspace.path.mkdir(parents=True, exist_ok=True)
        workspace.manifest = workspace._read()
        return workspace

    def _read(self) -> Manifest:
        file = self.path / "workspace.json"
        try:
            content = json.loads(file.read_text("utf-8"))
            version = content["format"]
        except (FileNotFoundError, NotADirectoryError):
            return Manifest()
        except PermissionError as error:
            raise WorkspaceError(f"no permission to read {file}; ask the owner of the workspace") from error
        except (ValueError, TypeError, KeyError) as error:
            raise WorkspaceError(f"{file} is not a workspace file ({error}); restore it or ingest into a new folder") from error
        if not isinstance(version, int) or version > FORMAT:
            raise NewerFormatError(
                f"{self.path} has workspace format {version}, this crossaisle reads up to {FORMAT}; upgrade or use another folder"
            )
        return Manifest(**{name: value for name, value in content.items() if name in Manifest.__dataclass_fields__})

    def _write(self, manifest: Manifest) -> None:
        content = json.dumps(asdict(manifest), indent=1, ensure_ascii=False, sort_keys=True)
        write_atomically(self.path / "workspace.json", content.encode())
        self.manifest = manifest

    # ------------------------------------------------------------------ writing

    @contextmanager
    def writing(self, command: str) -> Iterator[None]:
        """Hold the workspace's write lock; the operating system releases it if the process dies.

        Args:
            command: Command line to repeat later, for the error message.

        Raises:
            WorkspaceBusyError: Another process holds the lock.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(str(self.path / ".lock"), timeout=0)
        with storage_errors(f"the lock of {self.path}"):
            try:
                lock.acquire()
            except Timeout:
                raise WorkspaceBusyError(
                    f"another process is writing to {self.path}; wait for it to end, then run `{command}` again"
                ) from None
        try:
            self.manifest = self._read()
            sweep(self.path)
            self._drop_other_snapshots()
            yield
        finally:
            lock.release()

    def staging(self) -> AbstractContextManager[Path]:
        """A temporary empty folder inside the workspace."""
        return staging_folder(self.path)

    def replace_snapshot(
        self,
        staging: Path,
        *,
        category_level: int | None,
        words: StoreWords | None,
        source: Mapping[str, Any],
        folded: Mapping[str, int] | None = None,
    ) -> str:
        """Replace the snapshot by the tables in `staging`, in one step; the caller must hold the lock.

        Args:
            staging: Folder with the tables of `TABLES` as parquet and `rejects.jsonl`.
            category_level: New category level; None keeps the workspace's.
            words: New words of the store in texts for people; None keeps the workspace's.
            source: Format and file names of the input.
            folded: Last event in the new tables, per event log; None if they contain no logged events, as after an ingest.

        Returns:
            Id of the new snapshot.
        """
        for file in staging.iterdir():
            flush(file)
        # Beside the snapshot, not in it: its id depends on the tables only, not on rejected lines.
        (staging / "rejects.jsonl").replace(self.rejects)
        snapshot = _fingerprint(staging)
        home = self.path / "snapshots" / snapshot
        if home.exists() and _fingerprint(home) != snapshot:
            shutil.rmtree(home)  # damaged since it was written; ingesting the same files again must repair it
        if not home.exists():
            home.parent.mkdir(exist_ok=True)
            staging.rename(home)
            flush(home.parent)
        manifest = self.manifest
        words = words or manifest.words
        self._write(
            replace(
                manifest,
                id=manifest.id or secrets.token_hex(4),
                snapshot=snapshot,
                snapshot_at=_now(),
                category_level=category_level if category_level is not None else manifest.category_level,
                item_noun=words.item,
                store_words=words.to_dict(),
                source=dict(source),
                folded=dict(folded or {}),
            )
        )
        self._drop_other_snapshots()
        return snapshot

    def _drop_other_snapshots(self) -> None:
        """Delete snapshots of killed runs, which may contain erased users."""
        home = self.path / "snapshots"
        for old in home.iterdir() if home.is_dir() else ():
            if old.name != self.manifest.snapshot:
                shutil.rmtree(old, ignore_errors=True)

    def record_index(self, index: Mapping[str, Any]) -> None:
        """Record in `workspace.json` that the index of the current snapshot is complete; the caller must hold the lock."""
        self._write(replace(self.manifest, index={**index, "snapshot": self.manifest.snapshot, "built_at": _now()}))

    def record_folded(self, folded: Mapping[str, int]) -> None:
        """Record in `workspace.json` which events the current snapshot contains; the caller must hold the lock."""
        self._write(replace(self.manifest, folded=dict(folded)))

    # ------------------------------------------------------------------ reading

    def file(self, table: str) -> Path:
        """Path of a table of the snapshot."""
        return self.path / "snapshots" / str(self.manifest.snapshot) / f"{table}.parquet"

    def table(self, name: str) -> pl.DataFrame:
        """One table of the snapshot, columns as in `data.records`.

        Args:
            name: `items`, `reviews`, `interactions` or `relations`.

        Raises:
            WorkspaceError: The snapshot was replaced or damaged in the meantime.
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
        """Path of the lines rejected by the last `ingest`, one JSON object each."""
        return self.path / "rejects.jsonl"


def _fingerprint(folder: Path) -> str:
    """Id of a snapshot: a hash of the names and contents of its files."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        with file.open("rb") as content:
            digest.update(file.name.encode() + hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:16]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
