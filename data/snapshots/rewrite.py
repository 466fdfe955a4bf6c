"""A snapshot written anew from the one in use: under other names, or without some people."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from typing import TYPE_CHECKING

from . import added_items

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from ..events import EventLog
    from ..privacy.pseudonyms import Pseudonyms
    from ..workspace import Workspace

ERASED_AUTHOR = "(forgotten)"
"""Whose review it is when the author is no longer known."""
DERIVED_FILES = ("counts", "blend/lessons.safetensors")
"""What is made anew from the next snapshot, and until then would hold single histories."""


def copy_tables(
    workspace: Workspace, staging: Path, names: Pseudonyms | None = None, without: Collection[str] = (), *, texts: bool = False
) -> None:
    """Puts the snapshot's other tables, and the lines that ingest turned away, beside the interactions in `staging`.

    Args: names: replaces user ids. without: users whose reviews lose their author; with `texts` they go altogether.
    """
    import polars as pl

    shutil.copyfile(workspace.file("relations"), staging / "relations.parquet")
    if added_items.file(workspace).exists():
        added_items.items(workspace).write_parquet(staging / "items.parquet")  # what was added live is the snapshot's from now on
    else:
        shutil.copyfile(workspace.file("items"), staging / "items.parquet")
    if names is None and not without:
        shutil.copyfile(workspace.file("reviews"), staging / "reviews.parquet")
    else:
        reviews = workspace.table("reviews")
        theirs = pl.col("user_id").is_in(list(without))
        kept, left = reviews.filter(~theirs), pl.when(theirs).then(pl.lit(ERASED_AUTHOR)).otherwise("user_id")
        renamed(kept if texts else reviews.with_columns(left.alias("user_id")), names).write_parquet(staging / "reviews.parquet")
    if workspace.rejects.exists():
        shutil.copyfile(workspace.rejects, staging / workspace.rejects.name)
    else:
        (staging / workspace.rejects.name).touch()


def renamed(frame: pl.DataFrame, names: Pseudonyms | None) -> pl.DataFrame:
    """The table with pseudonyms for user ids; as it was where there are none. Nobody stays nobody."""
    import polars as pl

    if names is None or not len(frame):
        return frame
    ids = frame["user_id"].unique()
    told = pl.DataFrame({"user_id": ids, "_name": [user if user == ERASED_AUTHOR else names.of(user) for user in ids.to_list()]})
    joined = frame.join(told, on="user_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col("_name").alias("user_id")).select(frame.columns)


def users_to_erase(workspace: Workspace, log: EventLog) -> set[str]:
    """The users who were forgotten in the log after the snapshot was made, and whom it still holds, by what it calls them."""
    marks = {one.mark for one in log.erasures_after() if one.timestamp >= workspace.manifest.snapshot_ms}
    if not marks:
        return set()
    users = {user for name in ("interactions", "reviews") for user in workspace.table(name)["user_id"].unique().to_list()}
    return {user for user in users if log.mark(user) in marks}


def remove_derived_files(workspace: Workspace) -> None:
    """Removes what holds single histories and is made anew from the next snapshot."""
    for name in DERIVED_FILES:
        path = workspace.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
