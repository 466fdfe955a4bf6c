"""Rewriting of a snapshot: with pseudonyms for user ids, or without some users."""

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
"""User id of reviews whose author was erased."""
DERIVED_FILES = ("counts", "blend/lessons.safetensors", "uses.parquet")
"""Derived files with single histories or sentences of reviews; they are rebuilt from the next snapshot."""


def copy_tables(
    workspace: Workspace, staging: Path, pseudonyms: Pseudonyms | None = None, without: Collection[str] = (), *, drop_reviews: bool = False
) -> None:
    """Copy all tables except the interactions, and `rejects.jsonl`, to a staging folder.

    Args:
        workspace: Source.
        staging: Target folder.
        pseudonyms: Replaces user ids in the reviews.
        without: Users whose reviews lose their author.
        drop_reviews: Delete these reviews instead.
    """
    import polars as pl

    shutil.copyfile(workspace.file("relations"), staging / "relations.parquet")
    if added_items.file(workspace).exists():
        added_items.items(workspace).write_parquet(staging / "items.parquet")  # added items become part of the snapshot
    else:
        shutil.copyfile(workspace.file("items"), staging / "items.parquet")
    if pseudonyms is None and not without:
        shutil.copyfile(workspace.file("reviews"), staging / "reviews.parquet")
    else:
        reviews = workspace.table("reviews")
        is_erased = pl.col("user_id").is_in(list(without))
        if drop_reviews:
            reviews = reviews.filter(~is_erased)
        else:
            author = pl.when(is_erased).then(pl.lit(ERASED_AUTHOR)).otherwise("user_id")
            reviews = reviews.with_columns(author.alias("user_id"))
        with_pseudonyms(reviews, pseudonyms).write_parquet(staging / "reviews.parquet")
    if workspace.rejects.exists():
        shutil.copyfile(workspace.rejects, staging / workspace.rejects.name)
    else:
        (staging / workspace.rejects.name).touch()


def with_pseudonyms(frame: pl.DataFrame, pseudonyms: Pseudonyms | None) -> pl.DataFrame:
    """The table with pseudonyms for user ids, unchanged if `pseudonyms` is None; `ERASED_AUTHOR` is kept."""
    import polars as pl

    if pseudonyms is None or not len(frame):
        return frame
    ids = frame["user_id"].unique()
    new_ids = [user if user == ERASED_AUTHOR else pseudonyms.of(user) for user in ids.to_list()]
    joined = frame.join(pl.DataFrame({"user_id": ids, "_new_id": new_ids}), on="user_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col("_new_id").alias("user_id")).select(frame.columns)


def users_to_erase(workspace: Workspace, log: EventLog) -> set[str]:
    """Ids of users in the snapshot who were erased in the log after it was made."""
    marks = {erasure.mark for erasure in log.erasures_after() if erasure.timestamp >= workspace.manifest.snapshot_ms}
    if not marks:
        return set()
    users = {user for name in ("interactions", "reviews") for user in workspace.table(name)["user_id"].unique().to_list()}
    return {user for user in users if log.mark(user) in marks}


def remove_derived_files(workspace: Workspace) -> None:
    """Delete the derived files with single histories or sentences of reviews; they are rebuilt from the next snapshot."""
    for name in DERIVED_FILES:
        path = workspace.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
