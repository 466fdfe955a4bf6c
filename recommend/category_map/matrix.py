"""The complement atlas: what every category does for every other, as arrays that a picture or a table is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...data.privacy.disclosure import MIN_USERS, check_min_users
from ...data.records import Category
from ...data.settings import Settings
from ...data.workspace import Workspace
from ...retrieval.associations import count_store, mining
from ...retrieval.associations.rules import SIGNIFICANCE_LEVEL
from ...retrieval.index.builder import load
from ...retrieval.items.interactions import DAY

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class CategoryMap:
    """Category-to-category figures, row -> column: users who had the row and went on to the column.

    A cell whose lift is nan is withheld or unknown, and nobody shows any other figure of it.

    Attributes:
        paths: (categories) distinct paths, broad to narrow; every axis of the arrays is in this order, a picture may choose its own.
        users: (categories,) distinct users of each.
        lift: (categories, categories) how many times as often as usual, 0 or more; nan where too few users stand behind it or nothing
            is known, and on the diagonal.
        low / high: (categories, categories) the 95 % interval of the lift; `high` may be inf.
        support: (categories, categories) users who went from row to column; 0 where suppressed.
        share: (categories, categories) support per user of the row, 0 to 1.
        base_rate: (categories, categories) the share after any other category, 0 to 1 (see `retrieval.associations.pair_counts`).
        sure: (categories, categories) True where the false-discovery rate is under 5 %.
        order: what row -> column rests on: a clock, positions in a list, or none (had both, whichever came first).
        window: how far apart the two may lie, in words: "within 90 days".
        verb: what the users did, in words: bought, rated or looked at.
        suppressed: how many ordered pairs were withheld because fewer than `min_users` stand behind them.
        min_users: the fewest users that a figure is shown of.
    """

    paths: list[Category]
    users: NDArray[np.int64]
    lift: NDArray[np.float64]
    lift_low: NDArray[np.float64]
    lift_high: NDArray[np.float64]
    support: NDArray[np.int64]
    share: NDArray[np.float64]
    base_rate: NDArray[np.float64]
    significant: NDArray[np.bool_]
    order: Literal["time", "position", "none"]
    window: str
    verb: str
    suppressed: int
    min_users: int


def build_category_map(workspace: Workspace, settings: Settings, *, level: int | None = None, min_users: int = MIN_USERS) -> CategoryMap:
    """The atlas of a workspace's categories at a level (default, the workspace's), from its associations.

    A pair is withheld where fewer than `min_users` users went from row to column, or where the rest of the row's users, or of the
    column's, are fewer: both could be had by subtraction. A category of fewer users is left out whole.
    Raises: NoIndexError, StaleIndexError: see `retrieval.index.builder.load`. SettingsError: min_users below 1.
    """
    import polars as pl

    least = check_min_users(min_users)
    catalogue, _, table = load(workspace, settings)
    about = count_store.about(mining.folder(workspace))
    depth = min(level or catalogue.level, max(catalogue.tree.levels, 1))
    pairs = table.filter((pl.col("level") == "category") & (pl.col("depth") == depth))
    margins = count_store.margins(mining.folder(workspace), depth)
    users = margins.users[0]
    at = catalogue.tree.at(depth)
    nodes = np.asarray([node for node in np.unique(at[at >= 0]).tolist() if users[node] >= least], dtype=np.int64)
    place = {catalogue.tree.words(int(node)): i for i, node in enumerate(nodes)}
    known = pairs.filter(pl.col("source").is_in(list(place)) & pl.col("target").is_in(list(place)))
    row, column = (known[name].replace_strict(place, return_dtype=pl.Int64).to_numpy() for name in ("source", "target"))
    support, had, wanted = (known[name].to_numpy() for name in ("support", "source_users", "target_users"))
    open_ = (support >= least) & ~_few(had - support, least) & ~_few(wanted - support, least)
    shape = (len(nodes), len(nodes))

    def spread(name: str, empty: float) -> NDArray[np.float64]:
        values = np.full(shape, empty)
        values[row[open_], column[open_]] = known[name].to_numpy()[open_]
        return values

    order, window = about["order"], int(about["window"])
    within = {"time": f"within {window // DAY} days", "position": f"within the next {window}", "none": "in either order"}[order]
    return CategoryMap(
        paths=[catalogue.tree.paths[int(node)] for node in nodes],
        users=users[nodes],
        lift=spread("lift", np.nan),
        lift_low=spread("lift_low", np.nan),
        lift_high=spread("lift_high", np.nan),
        support=spread("support", 0).astype(np.int64),
        share=spread("confidence", np.nan),
        base_rate=spread("base_rate", np.nan),
        significant=spread("fdr", 1.0) <= SIGNIFICANCE_LEVEL,
        order=order,
        window=within,
        verb=about["verb"],
        suppressed=int(((support > 0) & ~open_).sum()),
        min_users=least,
    )


def _few(number: NDArray[np.int64], least: int) -> NDArray[np.bool_]:
    return np.asarray((number > 0) & (number < least))
