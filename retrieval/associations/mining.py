"""From a snapshot to its associations on disk: count, or count on from the last snapshot; tell substitutes; write.

Nothing here decides what is in use: `build` says so in `workspace.json` when all is written.
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
    """What was mined.

    Attributes:
        counts: name of the folder of counts. window: days, or positions, that B may be behind A. order: time, position or none.
        recounted: users counted now; fewer than all where the last snapshot's counts could be used. levels: associations by level.
    """

    counts: str
    window: int
    order: str
    recounted: int
    levels: dict[str, int]


def mine(workspace: Workspace, catalogue: Catalogue, vectors: NDArray[np.float32], *, window: int | None = None) -> Mined:
    """Counts the associations of the present snapshot and writes them. Call inside `writing`.

    Args:
        vectors: (items, dimensions) of the items' texts, by which substitutes are told.
        window: days, or positions where there is no clock; None is what the last index had, or 90 days, or 10 positions.
    """
    interactions = workspace.table("interactions")
    events = Events.build(interactions, catalogue)
    last = (workspace.manifest.index or {}).get("associations") or {}
    if window is None and last.get("order") == events.order:
        window = last["window"]
    reach = WINDOWS[events.order] if window is None else window * events.unit
    paths = ["\x1f".join(path or ()) for path in catalogue.items["category"].to_list()]
    found = None
    if last.get("counts"):
        with suppress(StaleIndexError):  # of an earlier version, or damaged: counted from the start
            found = count_store.recount(workspace.path / FOLDER / last["counts"], events, catalogue, reach, paths)
    if found:
        counted, recounted = found
    else:
        weight = user_weights(events)
        counted, recounted = (
            count_store.CountSnapshot(count_pairs(events, catalogue, weight, window=reach), events, reach, weight),
            len(events.users),
        )
    name = f"{workspace.manifest.snapshot}-{reach}"
    home = workspace.path / FOLDER / name
    if name != last.get("counts") or found is None:
        with workspace.staging() as fresh:
            count_store.save(fresh, counted, paths)
            for file in fresh.iterdir():
                flush(file)
            home.parent.mkdir(exist_ok=True)
            shutil.rmtree(home, ignore_errors=True)
            fresh.rename(home)
            flush(home.parent)
    pairs = _told(association_table(counted.tables, catalogue.total_users), workspace, catalogue, vectors, interactions)
    with replacing(workspace.path / "associations.parquet") as fresh:
        pairs.write_parquet(fresh, metadata=mark(workspace))
    return Mined(name, reach // events.unit, events.order, recounted, dict(pairs["level"].value_counts().iter_rows()))


def _told(
    pairs: pl.DataFrame, workspace: Workspace, catalogue: Catalogue, vectors: NDArray[np.float32], interactions: pl.DataFrame
) -> pl.DataFrame:
    """The associations with a column `substitute`: whether shoppers choose between the two; never for categories."""
    import polars as pl

    looks = co_view_counts(interactions, catalogue)
    viewed, bought = looks or (None, None)
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
    """Removes the counts of other snapshots; only for the holder of the lock."""
    home = workspace.path / FOLDER
    for old in home.iterdir() if home.is_dir() else ():
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)


def mark(workspace: Workspace) -> dict[str, str]:
    """What `associations.parquet` says it was mined from: a run that was killed may have left the file of another snapshot."""
    return {"snapshot": str(workspace.manifest.snapshot), "category_level": str(workspace.manifest.category_level)}


def folder(workspace: Workspace) -> Path:
    """Where the counts in use lie. Raises: StaleIndexError: the index was made before there were any."""
    about: Any = (workspace.manifest.index or {}).get("associations") or {}
    if "counts" not in about:
        raise StaleIndexError(f"the index of {workspace.path} is of an earlier version; run `crossaisle index -w {workspace.path}`")
    return workspace.path / FOLDER / str(about["counts"])
