"""`events forget-user`: takes a person out of all that a workspace keeps.

What is removed, in this order, so that a kill in between is mended by running it again: the lines of the log and of served lists; lines
of `explored.jsonl` and `rejects.jsonl`; the counts behind the associations and the questions that a ranker is taught with, which hold
single histories; the snapshot's interactions, and the name under the person's reviews (or the reviews). What was done is written to
`forgotten.jsonl`, with a keyed hash in place of the id.

What stays: the associations until the next `index`, and what models learned from many until the next `train`; neither holds an id. The
files that a store ingests from are the store's own: whoever is still in them comes back with the next `ingest`.
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
"""File of a workspace: one removal a line, without the id."""
EXPLORED = "explored.jsonl"


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """What was removed of a person, by place; `mark` is the keyed hash that the record holds.

    Attributes: reviews: lost their author's name, or were removed where that was asked for. lines: of `explored.jsonl` and `rejects.jsonl`.
    """

    mark: str
    events: int
    served: int
    interactions: int
    reviews: int
    lines: int
    snapshot: str

    def to_dict(self) -> dict[str, Any]:
        """The removal as JSON holds it."""
        return asdict(self)


def forget_user(workspace: Workspace, log: EventLog, user_id: str, *, reviews: bool = False) -> ErasureReport:
    """Removes a person, under the id and under its pseudonym.

    Args: reviews: remove the texts of the person's reviews, too, and not only their author.
    Raises: UnknownUserError: nothing is known of such a user. WorkspaceBusyError, WorkspaceError, StorageError: run it again.
    """
    names = log.known_ids(user_id)
    mark = log.mark(user_id)
    with workspace.writing(f"crossaisle events forget-user -w {workspace.path} ID"), storage_errors(f"the workspace {workspace.path}"):
        files = [workspace.path / EXPLORED, workspace.rejects]
        kept = {file: _kept(file, names) for file in files if file.exists()}
        lines = sum(gone for _, gone in kept.values())
        interactions, written = _of(workspace, "interactions", names), _of(workspace, "reviews", names)
        held = log.counts_for(user_id)
        if not (held.events or held.served or interactions or written or lines):
            raise UnknownUserError(f"nothing is known of user {user_id!r} in {workspace.path}, so nothing was removed")
        gone = log.forget(user_id)
        for file, (content, some) in kept.items():
            if some:
                write_atomically(file, content)
        if interactions or written:
            remove_derived_files(workspace)
            # Last: as long as the snapshot holds the person, a run that was killed finds out that there is more to do.
            _replace(workspace, names, reviews=reviews)
        done = ErasureReport(mark, gone.events, gone.served, interactions, written, lines, str(workspace.manifest.snapshot))
        with (workspace.path / LOG).open("a", encoding="utf-8") as record:
            record.write(json.dumps({"at": now(), **done.to_dict()}) + "\n")
    return done


def _of(workspace: Workspace, table: str, names: Sequence[str]) -> int:
    import polars as pl

    return int(workspace.table(table).select(pl.col("user_id").is_in(names).sum()).item())


def _replace(workspace: Workspace, names: Sequence[str], *, reviews: bool) -> None:
    """Makes a snapshot without the person the one in use; it holds the same events of everybody else."""
    import polars as pl

    with workspace.staging() as staging:
        copy_tables(workspace, staging, None, names, texts=reviews)
        workspace.table("interactions").filter(~pl.col("user_id").is_in(names)).write_parquet(staging / "interactions.parquet")
        kept = workspace.manifest
        workspace.replace_snapshot(staging, category_level=None, item_noun=None, source=kept.source, folded=kept.folded)


def _kept(file: Path, names: Sequence[str]) -> tuple[bytes, int]:
    """The lines of a file of JSON lines that name none of some ids, and how many others there are."""
    kept, gone = [], 0
    names_it = _naming(names)
    for line in file.read_bytes().splitlines(keepends=True):
        if names_it(line.decode("utf-8", "replace")):
            gone += 1
        else:
            kept.append(line)
    return b"".join(kept), gone


def _naming(names: Sequence[str]) -> Callable[[str], bool]:
    """Whether a line is about one of some ids: in its field `user_id`, or as a whole cell of the rejected line in `content`."""
    import re

    whole = re.compile("|".join(rf"(?<![^\s,;\"'\t]){re.escape(name)}(?![^\s,;\"'\t])" for name in names))

    def found(line: str) -> bool:
        try:
            told = json.loads(line)
        except ValueError:
            return False
        if not isinstance(told, dict):
            return False
        return told.get("user_id") in names or whole.search(str(told.get("content", ""))) is not None

    return found
