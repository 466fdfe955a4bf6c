"""Items added or changed since the snapshot was made, stored beside it and merged on read.

They are a small table in `added/<snapshot>.parquet`, replaced as a whole. Recommendations use both tables; co-occurrence counts use only
the snapshot, which has no interactions with new items. `index` and `events compact` merge them into the next snapshot; `ingest` drops
them, because the store's files are then authoritative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic_files import replacing
from ..errors import WorkspaceError, storage_errors

if TYPE_CHECKING:
    import polars as pl

    from ..records import Item
    from ..workspace import Workspace

FOLDER = "added"


def file(workspace: Workspace) -> Path:
    """Path of the additions to the current snapshot; it need not exist."""
    return workspace.path / FOLDER / f"{workspace.manifest.snapshot}.parquet"


def items(workspace: Workspace) -> pl.DataFrame:
    """The items of the snapshot merged with the additions: changed items keep their row, new ones follow in input order.

    Raises:
        WorkspaceError: A table cannot be read.
    """
    return _merged(workspace.table("items"), _read(workspace))


def upsert(workspace: Workspace, new: Sequence[Item]) -> tuple[int, int]:
    """Add or replace items, all or none; the caller must hold the lock (`Workspace.writing`).

    Extra columns of the store's table keep their values.

    Returns:
        Number of items added, number of items replaced.

    Raises:
        WorkspaceError: A table cannot be read.
        StorageError: The disk is full or not writable; nothing was stored.
    """
    import polars as pl

    base, before = workspace.table("items"), _read(workspace)
    existing = set(_merged(base, before)["item_id"].to_list())
    new_by_id = {item.item_id: item for item in new}  # of items with the same id the last counts
    previous = {**_by_id(base, new_by_id), **_by_id(before, new_by_id)}
    rows = [{**previous.get(key, {}), **asdict(item), "category": list(item.category)} for key, item in new_by_id.items()]
    additions = pl.DataFrame(rows, schema=base.schema)
    with storage_errors(f"the items added to {workspace.path}"), replacing(file(workspace)) as path:
        _merged(before, additions).write_parquet(path)
    return sum(key not in existing for key in new_by_id), sum(key in existing for key in new_by_id)


def remove_outdated(workspace: Workspace) -> None:
    """Delete the additions to earlier snapshots; the caller must hold the lock."""
    for old in (workspace.path / FOLDER).glob("*.parquet"):
        if old != file(workspace):
            old.unlink(missing_ok=True)


def _read(workspace: Workspace) -> pl.DataFrame:
    """The additions, with the columns of the snapshot's items; an empty table if there are none."""
    import polars as pl

    try:
        return pl.read_parquet(file(workspace))
    except FileNotFoundError:
        return workspace.table("items").clear()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise WorkspaceError(
            f"cannot read {file(workspace)} ({type(error).__name__}); restore it, or delete it and add its items again"
        ) from error


def _merged(base: pl.DataFrame, additions: pl.DataFrame) -> pl.DataFrame:
    """`base` with rows replaced by the additions with the same id; new ids are appended."""
    import polars as pl

    if not len(additions):
        return base
    rows = pl.DataFrame({"item_id": base["item_id"], "_row": range(len(base))}, schema_overrides={"_row": pl.Int64})
    numbered = additions.join(rows, on="item_id", how="left", maintain_order="left").with_columns(
        pl.col("_row").fill_null(pl.int_range(pl.len(), dtype=pl.Int64) + len(base))
    )
    unchanged = base.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("_row")).join(additions, on="item_id", how="anti")
    return pl.concat([unchanged, numbered.select(unchanged.columns)]).sort("_row").drop("_row")


def _by_id(table: pl.DataFrame, selected: dict[str, Item]) -> dict[str, dict[str, object]]:
    import polars as pl

    return {row["item_id"]: row for row in table.filter(pl.col("item_id").is_in(list(selected))).iter_rows(named=True)}
