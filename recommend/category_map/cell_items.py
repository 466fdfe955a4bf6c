"""Drill-down of one cell of the category map: its strongest item pairs, under disclosure control, and popular items of both categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...data.errors import QueryError, WorkspaceError
from ...data.privacy.disclosure import MIN_USERS, check_min_users
from ...data.records import Category
from ...data.workspace import Workspace
from ...retrieval.associations import mining
from ..segments.fallback_needs import popular_items
from ..segments.results import ItemNeed

if TYPE_CHECKING:
    import polars as pl

    from ...retrieval.items.catalogue import Catalogue

MAX_PAIRS = 8
"""Maximum number of item pairs of a cell."""
EXAMPLE_ITEMS = 4
"""Number of popular items listed for each category."""


@dataclass(frozen=True, slots=True)
class ItemPair:
    """Transition of users from an item of one category to an item of the other.

    Attributes:
        source: Item id.
        target: Item id.
        users: Users with the transition from source to target.
        of: Users of the source.
        lift: Share of the source's users over the base rate.
        lift_interval: 95 % interval of the lift.
    """

    source: str
    target: str
    users: int
    of: int
    lift: float
    lift_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class CellDrilldown:
    """Items of a cell.

    Attributes:
        pairs: Strongest item pairs that may be shown, best first; titles are in the catalogue.
        sources: Items of the source category with the most users, as examples without figures.
        targets: The same of the target category.
    """

    pairs: tuple[ItemPair, ...]
    sources: tuple[ItemNeed, ...]
    targets: tuple[ItemNeed, ...]


def cell_drilldown(
    workspace: Workspace, catalogue: Catalogue, source: Category, target: Category, *, users: int = 0, min_users: int = MIN_USERS
) -> CellDrilldown:
    """Return the items of the cell source -> target.

    A pair is suppressed under the rule of the category map, and if the rest of the cell's `users` are fewer than `min_users`: they make the
    transition between the categories by another pair, and subtraction would disclose them.

    Args:
        workspace: The workspace.
        catalogue: Its items.
        source: Category path of the row.
        target: Category path of the column.
        users: Users of the cell, as the category map shows them; 0 if it shows none.
        min_users: Smallest group whose statistics may be shown.

    Raises:
        QueryError: The store has no such category.
        WorkspaceError: The associations cannot be read, or were replaced since the workspace was opened.
    """
    check_min_users(min_users)
    tree = catalogue.tree
    unknown = next((path for path in (source, target) if path not in tree.code), None)
    if unknown is not None:
        raise QueryError(f"no category {' > '.join(unknown)!r} in this store")
    nodes = tree.code[source], tree.code[target]
    item_ids = [catalogue.items["item_id"].filter(_item_mask(catalogue, node)).to_list() for node in nodes]
    rows = _disclosable(_item_associations(workspace, *item_ids), users, min_users).head(MAX_PAIRS)
    pairs = tuple(
        ItemPair(row["source"], row["target"], row["support"], row["source_users"], row["lift"], (row["lift_low"], row["lift_high"]))
        for row in rows.iter_rows(named=True)
    )
    sources, targets = (popular_items(catalogue, node, int(tree.depth[node]), set(), EXAMPLE_ITEMS) for node in nodes)
    return CellDrilldown(pairs, sources, targets)


def _item_mask(catalogue: Catalogue, node: int) -> pl.Series:
    import polars as pl

    return pl.Series(catalogue.tree.under(node))


def _item_associations(workspace: Workspace, sources: list[str], targets: list[str]) -> pl.DataFrame:
    """Return the associations from some items to others, without pairs labelled substitutes."""
    import polars as pl

    file = workspace.path / "associations.parquet"
    try:
        if any(pl.read_parquet_metadata(file).get(name) != value for name, value in mining.mark(workspace).items()):
            raise WorkspaceError(
                f"the associations of {workspace.path} belong to another snapshot than the one that is open; open it again"
            )
        of_cell = (pl.col("level") == "item") & pl.col("source").is_in(sources) & pl.col("target").is_in(targets)
        return pl.scan_parquet(file).filter(of_cell).filter(~pl.col("substitute")).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise WorkspaceError(f"the associations of {workspace.path} cannot be read ({type(error).__name__}); open it again") from error


def _disclosable(pairs: pl.DataFrame, users: int, min_users: int) -> pl.DataFrame:
    """Return the pairs that may be shown and have a lift over 1, best first."""
    import polars as pl

    support = pl.col("support")
    others = (pl.col("source_users") - support, pl.col("target_users") - support, pl.lit(users) - support)
    large_or_empty = [~((number > 0) & (number < min_users)) for number in others]
    shown = pairs.filter(support >= min_users, pl.col("lift") > 1, *large_or_empty)
    return shown.sort("lift_low", "source", "target", descending=[True, False, False])
