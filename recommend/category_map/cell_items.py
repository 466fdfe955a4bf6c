"""The items behind one cell of the atlas: which pairs of items carry it, as far as that may be told, and what the two categories hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

MAX_PAIRS, EXAMPLE_ITEMS = 8, 4


@dataclass(frozen=True, slots=True)
class ItemPair:
    """Users who had an item of the one category and went on to one of the other. Figures as `Association` and `CategoryMap` have them."""

    source: str
    target: str
    users: int
    of: int
    lift: float
    lift_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class CellDrilldown:
    """What stands behind a cell.

    Attributes:
        pairs: the strongest pairs of items that may be told of, best first; titles are in the catalogue.
        sources, targets: the items of either category that most users had, as examples without figures.
    """

    pairs: tuple[ItemPair, ...]
    sources: tuple[ItemNeed, ...]
    targets: tuple[ItemNeed, ...]


def cell_drilldown(
    workspace: Workspace, catalogue: Catalogue, source: Category, target: Category, *, users: int = 0, min_users: int = MIN_USERS
) -> CellDrilldown:
    """The items behind source -> target.

    A pair is withheld by the atlas's own rule, and also where the rest of the cell's `users` is one to `min_users`: they went from the one
    category to the other by another pair, and would be had by subtraction.
    Raises: QueryError: a category is none of the store's. WorkspaceError: the associations were replaced meanwhile.
    """
    least = check_min_users(min_users)
    tree = catalogue.tree
    unknown = next((path for path in (source, target) if path not in tree.code), None)
    if unknown is not None:
        raise QueryError(f"no category {' > '.join(unknown)!r} in this store")
    nodes = tree.code[source], tree.code[target]
    inside = [catalogue.items["item_id"].filter(_mask(catalogue, node)).to_list() for node in nodes]
    found = _told(_between(workspace, *inside), users, least).head(MAX_PAIRS)
    pairs = tuple(
        ItemPair(row["source"], row["target"], row["support"], row["source_users"], row["lift"], (row["lift_low"], row["lift_high"]))
        for row in found.iter_rows(named=True)
    )
    shown = [popular_items(catalogue, node, int(tree.depth[node]), set(), EXAMPLE_ITEMS) for node in nodes]
    return CellDrilldown(pairs, shown[0], shown[1])


def _mask(catalogue: Catalogue, node: int) -> Any:
    import polars as pl

    return pl.Series(catalogue.tree.under(node))


def _between(workspace: Workspace, sources: list[str], targets: list[str]) -> pl.DataFrame:
    """The associations from some items to some others that shoppers do not choose between."""
    import polars as pl

    file = workspace.path / "associations.parquet"
    try:
        if any(pl.read_parquet_metadata(file).get(name) != value for name, value in mining.mark(workspace).items()):
            raise WorkspaceError(f"the associations of {workspace.path} are of another snapshot than the one that is open; start it again")
        asked = pl.scan_parquet(file).filter(
            (pl.col("level") == "item") & pl.col("source").is_in(sources) & pl.col("target").is_in(targets)
        )
        return asked.filter(~pl.col("substitute")).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise WorkspaceError(f"the associations of {workspace.path} cannot be read ({type(error).__name__}); open it again") from error


def _told(pairs: pl.DataFrame, users: int, least: int) -> pl.DataFrame:
    """The pairs that may be told of and are more frequent than usual, best first."""
    import polars as pl

    support = pl.col("support")
    rests = (pl.col("source_users") - support, pl.col("target_users") - support, pl.lit(users) - support)
    safe = [~((rest > 0) & (rest < least)) for rest in rests]
    return pairs.filter(support >= least, pl.col("lift") > 1, *safe).sort("lift_low", "source", "target", descending=[True, False, False])
