"""`events forget-user`: erases a user's data from a workspace.

Removed in this order, so that a second run completes an interrupted one: events and served lists in the log; lines of `explored.jsonl`
and `rejects.jsonl`; the co-occurrence counts and the training examples of the ranker, which contain single histories; the snapshot's
interactions, and the author of the user's reviews (or the reviews). The erasure is recorded in `forgotten.jsonl`, with a keyed hash in
place of the id.

Not removed: the associations until the next `index` and trained models until the next `train`; both are aggregates without ids. The
files that a store ingests from are not changed: a user who is still in them returns with the next `ingest`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..atomic_files import write_atomically
from ..errors import UnknownUserError, storage_errors
from ..privacy.budget_ledger import now
from .rewrite import copy_tables, remove_derived_files

if TYPE_CHECKING:
    from pathlib import Path

    from ..events import EventLog
    from ..workspace import Workspace

LOG = "forgotten.jsonl"
"""File of a workspace with one erasure per line, without the id."""
EXPLORED = "explored.jsonl"


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """Number of rows erased for one user.

    Attributes:
        mark: Keyed hash of the user in the record.
        events: Events in the log.
        served: Served lists in the log.
        interactions: Interactions in the snapshot.
        reviews: Reviews that lost their author, or were deleted if requested.
        lines: Lines of `explored.jsonl` and `rejects.jsonl`.
        snapshot: Id of the resulting snapshot.
    """

    mark: str
    events: int
    served: int
    interactions: int
    reviews: int
    lines: int
    snapshot: str

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON-serializable dict."""
        return asdict(self)


def forget_user(workspace: Workspace, log: EventLog, user_id: str, *, reviews: bool = False) -> ErasureReport:
    """Erase a user, stored under the id or its pseudonym.

    Args:
        workspace: Workspace to update.
        log: Its event log.
        user_id: The user.
        reviews: Delete the user's reviews, not only their author.

    Raises:
        UnknownUserError: There is no data of this user.
        WorkspaceBusyError, WorkspaceError, StorageError: The erasure may be incomplete; run it again.
    """
    user_ids = log.known_ids(user_id)
    mark = log.mark(user_id)
    with workspace.writing(f"crossaisle events forget-user -w {workspace.path} ID"), storage_errors(f"the workspace {workspace.path}"):
        files = [workspace.path / EXPLORED, workspace.rejects]
        remaining = {file: _without_user(file, user_ids) for file in files if file.exists()}
        lines = sum(removed for _, removed in remaining.values())
        interactions, written = _rows_of(workspace, "interactions", user_ids), _rows_of(workspace, "reviews", user_ids)
        stored = log.counts_for(user_id)
        if not (stored.events or stored.served or interactions or written or lines):
            raise UnknownUserError(f"no data of user {user_id!r} in {workspace.path}; nothing was removed")
        erased = log.forget(user_id)
        for file, (content, removed) in remaining.items():
            if removed:
                write_atomically(file, content)
        if interactions or written:
            remove_derived_files(workspace)
            # Last: as long as the snapshot contains the user, a repeated run after a kill finds the remaining work.
            _rewrite_snapshot(workspace, user_ids, drop_reviews=reviews)
        report = ErasureReport(mark, erased.events, erased.served, interactions, written, lines, str(workspace.manifest.snapshot))
        with (workspace.path / LOG).open("a", encoding="utf-8") as record:
            record.write(json.dumps({"at": now(), **report.to_dict()}) + "\n")
    return report


def _rows_of(workspace: Workspace, table: str, user_ids: Sequence[str]) -> int:
    import polars as pl

    return int(workspace.table(table).select(pl.col("user_id").is_in(user_ids).sum()).item())


def _rewrite_snapshot(workspace: Workspace, user_ids: Sequence[str], *, drop_reviews: bool) -> None:
    """Replace the snapshot by one without the user and with the same merged events."""
    import polars as pl

    with workspace.staging() as staging:
        copy_tables(workspace, staging, None, user_ids, drop_reviews=drop_reviews)
        workspace.table("interactions").filter(~pl.col("user_id").is_in(user_ids)).write_parquet(staging / "interactions.parquet")
        manifest = workspace.manifest
        workspace.replace_snapshot(staging, category_level=None, words=None, source=manifest.source, folded=manifest.folded)


def _without_user(file: Path, user_ids: Sequence[str]) -> tuple[bytes, int]:
    """Content of a JSONL file without the lines about a user, and the number of these lines."""
    kept, removed = [], 0
    mentions_user = _mention_test(user_ids)
    for line in file.read_bytes().splitlines(keepends=True):
        if mentions_user(line.decode("utf-8", "replace")):
            removed += 1
        else:
            kept.append(line)
    return b"".join(kept), removed


def _mention_test(user_ids: Sequence[str]) -> Callable[[str], bool]:
    """A test for lines with one of the ids: in the field `user_id`, or as a whole cell of the rejected line in `content`."""
    import re

    whole_cell = re.compile("|".join(rf"(?<![^\s,;\"'\t]){re.escape(user_id)}(?![^\s,;\"'\t])" for user_id in user_ids))

    def mentions_user(line: str) -> bool:
        try:
            record = json.loads(line)
        except ValueError:
            return False
        if not isinstance(record, dict):
            return False
        return record.get("user_id") in user_ids or whole_cell.search(str(record.get("content", ""))) is not None

    return mentions_user
