"""Association mining of a snapshot: full or incremental counting, substitute labels, and writing to disk.

The result is in use only when `index.builder.build` records it in `workspace.json`.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.atomic_files import flush, replacing
from ...data.errors import StaleIndexError
from ..items.interactions import Events
from . import count_store
from .co_views import co_view_counts
from .rules import WINDOWS, association_table, count_pairs
from .substitutes import Substitutes
from .user_weights import user_weights

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from ...data.workspace import Workspace
    from ..items.catalogue import Catalogue

FOLDER = "counts"


@dataclass(frozen=True, slots=True)
class Mined:
    """Result of mining.

    Attributes:
        counts: name of the folder of counts.
        window: maximum distance from A to B, in days or positions.
        order: time, position or none.
        recounted: users counted in this run; fewer than all after incremental counting.
        levels: number of associations by level.
    """

    counts: str
    window: int
    order: str
    recounted: int
    levels: dict[str, int]


def mine(workspace: Workspace, catalogue: Catalogue, vectors: NDArray[np.float32], *, window: int | None = None) -> Mined:
    """Count the associations of the current snapshot and write them. Call inside `writing`.

    Args:
        workspace: the workspace.
        catalogue: its items.
        vectors: (items, dimensions) text vectors, used to detect substitutes.
        window: days, or positions where there are no timestamps. Default: that of the last index, otherwise 90 days or 10 positions.
    """
    interactions = workspace.table("interactions")
    events = Events.build(interactions, catalogue)
    last = (workspace.manifest.index or {}).get("associations") or {}
    if window is None and last.get("order") == events.order:
        window = last["window"]
    reach = WINDOWS[events.order] if window is None else window * events.unit
    paths = ["\x1f".join(path or ()) for path in catalogue.items["category"].to_list()]
    updated = None
    if last.get("counts"):
        with suppress(StaleIndexError):  # of an earlier version, or damaged: full count
            updated = count_store.recount(workspace.path / FOLDER / last["counts"], events, catalogue, reach, paths)
    if updated:
        counted, recounted = updated
    else:
        weight = user_weights(events)
        counted, recounted = (
            count_store.CountSnapshot(count_pairs(events, catalogue, weight, window=reach), events, reach, weight),
            len(events.users),
        )
    name = f"{workspace.manifest.snapshot}-{reach}"
    home = workspace.path / FOLDER / name
    if name != last.get("counts") or updated is None:
        with workspace.staging() as fresh:
            count_store.save(fresh, counted, paths)
            for file in fresh.iterdir():
                flush(file)
            home.parent.mkdir(exist_ok=True)
            shutil.rmtree(home, ignore_errors=True)
            fresh.rename(home)
            flush(home.parent)
    pairs = _with_substitutes(association_table(counted.tables, catalogue.total_users), workspace, catalogue, vectors, interactions)
    with replacing(workspace.path / "associations.parquet") as fresh:
        pairs.write_parquet(fresh, metadata=mark(workspace))
    return Mined(name, reach // events.unit, events.order, recounted, dict(pairs["level"].value_counts().iter_rows()))


def _with_substitutes(
    pairs: pl.DataFrame, workspace: Workspace, catalogue: Catalogue, vectors: NDArray[np.float32], interactions: pl.DataFrame
) -> pl.DataFrame:
    """The associations with a column `substitute`: whether the two items are substitutes; always false for categories."""
    import polars as pl

    viewed, bought = co_view_counts(interactions, catalogue) or (None, None)
    substitutes = Substitutes.build(
        catalogue.items, catalogue.tree, vectors, viewed=viewed, bought=bought, relations=workspace.table("relations")
    )
    rows = catalogue.row_table()
    of_items = pairs.filter(pl.col("level") == "item")
    left, right = (
        of_items.select(name).join(rows, left_on=name, right_on="item_id", maintain_order="left")["row"].to_numpy()
        for name in ("source", "target")
    )
    label = np.zeros(len(pairs), dtype=bool)
    label[(pairs["level"] == "item").to_numpy()] = substitutes.label(left, right)
    return pairs.with_columns(pl.Series("substitute", label))


def drop_other_counts(workspace: Workspace, name: str) -> None:
    """Remove the counts of other snapshots; requires the write lock."""
    home = workspace.path / FOLDER
    for old in home.iterdir() if home.is_dir() else ():
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)


def mark(workspace: Workspace) -> dict[str, str]:
    """Metadata of `associations.parquet` that identifies its snapshot: a killed run may have left the file of another one."""
    return {"snapshot": str(workspace.manifest.snapshot), "category_level": str(workspace.manifest.category_level)}


def folder(workspace: Workspace) -> Path:
    """Folder of the counts in use. Raises: StaleIndexError: the index is of a version without counts."""
    about: Any = (workspace.manifest.index or {}).get("associations") or {}
    if "counts" not in about:
        raise StaleIndexError(f"the index of {workspace.path} is of an earlier version; run `crossaisle index -w {workspace.path}`")
    return workspace.path / FOLDER / str(about["counts"])
