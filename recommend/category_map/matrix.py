"""Category map: lift and other statistics of every category pair, as matrices for a picture or a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...data.privacy.disclosure import MIN_USERS, check_min_users
from ...data.records import Category
from ...data.settings import Settings
from ...data.store_words import DEFAULT_WORDS, StoreWords
from ...data.workspace import Workspace
from ...retrieval.associations import count_store, mining
from ...retrieval.associations.rules import SIGNIFICANCE_LEVEL
from ...retrieval.index.builder import load
from ...retrieval.items.interactions import DAY

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class CategoryMap:
    """Statistics of category pairs, row -> column: users of the row category who buy from the column category next.

    A cell with a lift of nan is suppressed or unknown, and its other statistics must not be shown. Every axis has the order of `paths`.

    Attributes:
        paths: Distinct category paths, broad to narrow.
        users: (categories,) distinct users of each category.
        lift: (categories, categories) share over base rate, 0 or more; nan if suppressed or unknown, and on the diagonal.
        lift_low: (categories, categories) lower end of its 95 % interval.
        lift_high: (categories, categories) upper end of its 95 % interval; may be inf.
        support: (categories, categories) users with the transition from row to column; 0 if suppressed.
        share: (categories, categories) support per user of the row, 0 to 1.
        base_rate: (categories, categories) share after any other category, 0 to 1 (see `retrieval.associations.pair_counts`).
        significant: (categories, categories) whether the false-discovery rate is at most `rules.SIGNIFICANCE_LEVEL`.
        order: Order of the events: times, positions in a list, or none (both categories in either order).
        window: Maximum distance between the two events, in words: "within 90 days".
        verb: What the users did, in the store's words: bought, took, looked at.
        suppressed: Number of ordered pairs suppressed because their counts would disclose fewer than `min_users` users.
        min_users: Smallest group whose statistics may be shown (k-anonymity threshold).
        words: The store's words.
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
    words: StoreWords = DEFAULT_WORDS


def build_category_map(workspace: Workspace, settings: Settings, *, level: int | None = None, min_users: int = MIN_USERS) -> CategoryMap:
    """Build the category map of a workspace from its associations.

    A pair is suppressed if fewer than `min_users` users make the transition, or if the rest of the row's or the column's users are
    fewer, which subtraction would disclose. A category with fewer users is left out.

    Args:
        workspace: An indexed workspace.
        settings: As for opening the index.
        level: Level of the categories, 1 = broadest; default, the workspace's.
        min_users: Smallest group whose statistics may be shown.

    Raises:
        NoIndexError, StaleIndexError: See `retrieval.index.builder.load`.
        SettingsError: `min_users` is smaller than 1.
    """
    import polars as pl

    check_min_users(min_users)
    catalogue, _, associations = load(workspace, settings)
    about = count_store.about(mining.folder(workspace))
    depth = min(level or catalogue.level, max(catalogue.tree.levels, 1))
    users = count_store.margins(mining.folder(workspace), depth).users[0]
    node_of_row = catalogue.tree.at(depth)
    nodes = np.asarray([node for node in np.unique(node_of_row[node_of_row >= 0]).tolist() if users[node] >= min_users], dtype=np.int64)
    index = {catalogue.tree.words(int(node)): i for i, node in enumerate(nodes)}
    pairs = associations.filter(
        (pl.col("level") == "category")
        & (pl.col("depth") == depth)
        & pl.col("source").is_in(list(index))
        & pl.col("target").is_in(list(index))
    )
    row, column = (pairs[name].replace_strict(index, return_dtype=pl.Int64).to_numpy() for name in ("source", "target"))
    support, source_users, target_users = (pairs[name].to_numpy() for name in ("support", "source_users", "target_users"))
    shown = (
        (support >= min_users) & ~_is_small_group(source_users - support, min_users) & ~_is_small_group(target_users - support, min_users)
    )

    def matrix(name: str, missing: float) -> NDArray[np.float64]:
        values = np.full((len(nodes), len(nodes)), missing)
        values[row[shown], column[shown]] = pairs[name].to_numpy()[shown]
        return values

    order, window = about["order"], int(about["window"])
    within = {"time": f"within {window // DAY} days", "position": f"within the next {window}", "none": "in either order"}[order]
    return CategoryMap(
        paths=[catalogue.tree.paths[int(node)] for node in nodes],
        users=users[nodes],
        lift=matrix("lift", np.nan),
        lift_low=matrix("lift_low", np.nan),
        lift_high=matrix("lift_high", np.nan),
        support=matrix("support", 0).astype(np.int64),
        share=matrix("confidence", np.nan),
        base_rate=matrix("base_rate", np.nan),
        significant=matrix("fdr", 1.0) <= SIGNIFICANCE_LEVEL,
        order=order,
        window=within,
        verb=catalogue.words.counted_past(about["verb"]),
        suppressed=int(((support > 0) & ~shown).sum()),
        min_users=min_users,
        words=catalogue.words,
    )


def _is_small_group(users: NDArray[np.int64], min_users: int) -> NDArray[np.bool_]:
    return np.asarray((users > 0) & (users < min_users))
