"""Items that were added or changed since the snapshot was made, over the snapshot's own.

They are a small table in `added/<snapshot>.parquet`, replaced whole. Whoever recommends looks at both; whoever counts what shoppers did
looks at the snapshot alone, where nobody had the new ones yet. `index` and `events compact` fold them into the next snapshot; an
`ingest` does not: the store's files are then the store's word.
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
    """Where the additions to the present snapshot lie, if there are any."""
    return workspace.path / FOLDER / f"{workspace.manifest.snapshot}.parquet"


def items(workspace: Workspace) -> pl.DataFrame:
    """The items of the snapshot with the additions over them: each at its row, those that are new in the order in which they came.

    Raises: WorkspaceError: a table cannot be read.
    """
    return _over(workspace.table("items"), _read(workspace))


def upsert(workspace: Workspace, new: Sequence[Item]) -> tuple[int, int]:
    """Keeps items, each whole, all or none; returns how many the workspace did not have, and how many it had. Call inside `writing`.

    Columns that only the store's own table has stay as they were.
    Raises: WorkspaceError: a table cannot be read. StorageError: the disk refuses; nothing was kept.
    """
    import polars as pl

    base, before = workspace.table("items"), _read(workspace)
    there = set(_over(base, before)["item_id"].to_list())
    told = {item.item_id: item for item in new}  # of two with one id the last counts
    known = {**_by_id(base, told), **_by_id(before, told)}
    rows = [{**known.get(key, {}), **asdict(item), "category": list(item.category)} for key, item in told.items()]
    fresh = pl.DataFrame(rows, schema=base.schema)
    with storage_errors(f"the items added to {workspace.path}"), replacing(file(workspace)) as beside:
        _over(before, fresh).write_parquet(beside)
    return sum(key not in there for key in told), sum(key in there for key in told)


def remove_outdated(workspace: Workspace) -> None:
    """Removes the additions to earlier snapshots. Call inside `writing`."""
    for old in (workspace.path / FOLDER).glob("*.parquet"):
        if old != file(workspace):
            old.unlink(missing_ok=True)


def _read(workspace: Workspace) -> pl.DataFrame:
    """The additions, in the columns of the snapshot's items; an empty table where there are none."""
    import polars as pl

    try:
        return pl.read_parquet(file(workspace))
    except FileNotFoundError:
        return workspace.table("items").clear()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise WorkspaceError(
            f"cannot read {file(workspace)} ({type(error).__name__}); restore it, or delete it and add its items again"
        ) from error


def _over(base: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    """`base` with the rows of `more` in the places of those that have their id, the others behind."""
    import polars as pl

    if not len(more):
        return base
    place = pl.DataFrame({"item_id": base["item_id"], "place": range(len(base))}, schema_overrides={"place": pl.Int64})
    placed = more.join(place, on="item_id", how="left", maintain_order="left").with_columns(
        pl.col("place").fill_null(pl.int_range(pl.len(), dtype=pl.Int64) + len(base))
    )
    kept = base.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("place")).join(more, on="item_id", how="anti")
    return pl.concat([kept, placed.select(kept.columns)]).sort("place").drop("place")


def _by_id(table: pl.DataFrame, wanted: dict[str, Item]) -> dict[str, dict[str, object]]:
    import polars as pl

    return {row["item_id"]: row for row in table.filter(pl.col("item_id").is_in(list(wanted))).iter_rows(named=True)}
