"""Association rules: directed pairs of items, and of categories at every level, with statistics and significance.

`pair_counts` counts and `statistics` computes the figures; this module defines the counts of a snapshot (`CountTable`), the stored table
(`association_table`), and its lookup for recommendations (`Associations`). Does not know cohorts, questions or privacy: the table is
for the store's own machines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..items.interactions import DAY, Order
from . import statistics
from .pair_counts import EventSequence, MarginalCounts, PairCounts, StreamingPairCounter
from .user_weights import UNIT

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray
    from scipy import sparse

    from ...data.records import Association
    from ..items.catalogue import Catalogue
    from ..items.interactions import Events

WINDOWS: Mapping[Order, int] = {"time": 90 * DAY, "position": 10, "none": 0}
"""Default window from A to B: ninety days; ten positions where there are no timestamps."""
MIN_SUPPORT = 2
"""Minimum users of a pair: a pair with a single user is no evidence about the items."""
MAX_PARTNERS = 200
SIGNIFICANCE_LEVEL = 0.05
"""p-value below which an association may be quoted, and false-discovery rate of the pairs called associations."""


@dataclass(frozen=True)
class CountTable:
    """All counts of items or of one category level.

    Attributes:
        depth: 0 for items, otherwise the category level.
        names: (things) item ids or category paths.
        margins: marginal counts.
        pairs: pairs with at least `MIN_SUPPORT` users.
    """

    depth: int
    names: Sequence[str]
    margins: MarginalCounts
    pairs: PairCounts


def count_pairs(
    events: Events, catalogue: Catalogue, weight: NDArray[np.int64], *, window: int | None = None, min_support: int = MIN_SUPPORT
) -> list[CountTable]:
    """Counts of a snapshot: items first, then categories from the broadest level down.

    Args:
        events: the counted events.
        catalogue: the items.
        weight: (users,) see `user_weights`.
        window: in milliseconds or positions; default `WINDOWS`.
        min_support: minimum users of a pair.
    """
    window = WINDOWS[events.order] if window is None else window
    return [
        count(EventSequence.of(events, code, len(names), window, weight), depth, names, min_support=min_support)
        for depth, names, code in spaces(catalogue)
    ]


def spaces(catalogue: Catalogue) -> list[tuple[int, list[str], NDArray[np.int32]]]:
    """Code spaces to count: (0, item ids, item rows), then for every category level (level, paths, node of each item)."""
    tree = catalogue.tree
    paths = [tree.words(node) for node in range(len(tree))]
    ids = catalogue.items["item_id"].to_list()
    return [(0, ids, np.arange(len(ids), dtype=np.int32)), *((level, paths, tree.at(level)) for level in range(1, tree.levels + 1))]


def count(moments: EventSequence, depth: int, names: Sequence[str], *, min_support: int = MIN_SUPPORT) -> CountTable:
    """Counts of items or of one category level."""
    counter = StreamingPairCounter(moments)
    blocks = list(counter.blocks(min_support))  # most pairs have a single user, and together would not fit into memory
    return CountTable(depth, names, counter.margins, PairCounts.chained(blocks))


def association_table(
    tallies: Sequence[CountTable], total: int, *, min_support: int = MIN_SUPPORT, per_thing: int = MAX_PARTNERS
) -> pl.DataFrame:
    """Association table by level, depth and source, strongest first.

    Args:
        tallies: counts of items and of category levels.
        total: users of the snapshot.
        min_support: minimum users of a pair.
        per_thing: maximum targets per source, by shared users divided by the root of the target's users.
    Returns:
        Columns level ("item" | "category"), depth (0 for items), source, target (id or path), both (users of both), support (users with
        target after source), source_users, target_users, users, confidence, low, high (95 %), base_rate (see `pair_counts`), lift,
        lift_low, lift_high (95 %), llr (log-likelihood ratio), fdr (false-discovery rate over all pairs of things with `min_support`
        users, whether or not anybody has both). llr and fdr use weighted users (see `user_weights`), all others plain counts.
    """
    import polars as pl

    return pl.concat([_rows(one, total, min_support, per_thing) for one in tallies])


def _rows(one: CountTable, total: int, min_support: int, per_thing: int) -> pl.DataFrame:
    import polars as pl

    margins, pairs, things = one.margins, one.pairs, len(one.names)
    source, target = pairs.key // max(things, 1), pairs.key % max(things, 1)
    usual, rate_of = margins.usual, margins.base_rate
    weighted = (pairs.weight / UNIT, margins.users[1, source] / UNIT, margins.followers[1, target] / UNIT, usual[1, target] / UNIT)
    able = int((margins.users[0] >= min_support).sum())
    rate = statistics.false_discovery_rate(statistics.poisson_tail(*weighted), max(able * (able - 1), len(source)))
    # The strongest partners of each source, and within a source the strongest first.
    strength = pairs.both / np.sqrt(np.maximum(margins.users[0, target], 1))
    order = np.lexsort((target, -strength, source))
    order = order[np.arange(len(order)) - np.searchsorted(source[order], source[order]) < per_thing]
    source, target, rate = source[order], target[order], rate[order]
    both, support = pairs.both[order].astype(np.int64), pairs.support[order].astype(np.int64)
    heads = (support, margins.users[0, source], margins.followers[0, target], usual[0, target])
    low, high = statistics.wilson(*heads[:2])
    lift_low, lift_high = statistics.lift_interval(*heads)
    names = pl.Series(one.names, dtype=pl.String)
    return pl.DataFrame(
        {
            "level": pl.Series(["item" if one.depth == 0 else "category"], dtype=pl.String).new_from_index(0, len(order)),
            "depth": np.full(len(order), one.depth, dtype=np.int64),
            "source": names.gather(source),
            "target": names.gather(target),
            "both": both,
            "support": support,
            "source_users": heads[1],
            "target_users": margins.users[0, target],
            "users": np.full(len(order), total, dtype=np.int64),
            "confidence": support / np.maximum(heads[1], 1),
            "low": low,
            "high": high,
            "base_rate": rate_of[0, target],
            "lift": statistics.lift(*heads),
            "lift_low": lift_low,
            "lift_high": lift_high,
            "llr": statistics.log_likelihood_ratio(*(part[order] for part in weighted)),
            "fdr": rate,
        }
    )


def fisher_p_value(pair: Association) -> float:
    """One-sided p-value of the number of shared users under independence, 0 to 1.

    Source: Fisher's exact test, the upper tail of the hypergeometric distribution.
    """
    from scipy.special import gammaln

    def choices(n: float, k: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return np.asarray(gammaln(n + 1) - gammaln(np.asarray(k) + 1) - gammaln(n - np.asarray(k) + 1))

    most = min(pair.source_users, pair.target_users)
    shared = np.arange(pair.support, most + 1, dtype=np.float64)
    shared = shared[pair.source_users - shared <= pair.users - pair.target_users]
    logs = (
        choices(pair.target_users, shared)
        + choices(pair.users - pair.target_users, pair.source_users - shared)
        - choices(pair.users, pair.source_users)
    )
    return float(min(1.0, np.exp(logs).sum()))


@dataclass(frozen=True)
class Associations:
    """Co-occurrence lookup by item row or category code, in both directions: other users may have bought the recommended item first.

    Attributes:
        catalogue: the items.
        items: (items, items) sparse matrix of users of both.
        source_users: (items,) users of each item.
        categories: (categories, categories) sparse matrix of users of both, at the catalogue's level.
        category_users: (categories,) users of each category.
        users: number of counted users.
    """

    catalogue: Catalogue
    items: sparse.csr_array
    source_users: NDArray[np.int64]
    categories: sparse.csr_array
    category_users: NDArray[np.int64]
    users: int

    @classmethod
    def load(cls, pairs: pl.DataFrame, catalogue: Catalogue) -> Associations:
        """Build the lookup from an `association_table` of the same snapshot."""
        import polars as pl

        ids = catalogue.row_table().rename({"item_id": "name", "row": "code"})
        tree = catalogue.tree
        paths = pl.DataFrame(
            {"name": [tree.words(node) if node >= 0 else "" for node in catalogue.nodes.tolist()], "code": np.arange(len(catalogue.nodes))},
            schema={"name": pl.String, "code": pl.Int64},
        )
        # Levels below the tree mean its leaves.
        level = min(catalogue.level, tree.levels)
        return cls(
            catalogue,
            _matrix(pairs.filter(pl.col("level") == "item"), ids),
            catalogue.users.astype(np.int64),
            _matrix(pairs.filter((pl.col("level") == "category") & (pl.col("depth") == level)), paths),
            catalogue.category_users.astype(np.int64),
            catalogue.total_users,
        )

    def scores(self, rows: NDArray[np.int64], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Association scores of all items for a weighted history, and the history item with the strongest association to each.

        Counts of each history item are divided by the root of its users: the item-kNN variant that ranked best on a two-category
        review data set, ahead of EASE and iALS.

        The strongest association does not depend on the weights: it is the pair with the largest signed deviance of its support from
        the expected value under a Poisson model, which follows the logarithm of `fisher_p_value` and is vectorized.

        Args:
            rows: (history,) item rows.
            weights: (history,) weights.
        Returns: scores (items,), 0 without an association; strongest (items,), an index into `rows`, -1 without an association.
        """
        scores = np.zeros(len(self.catalogue))
        best, strongest = np.full(len(self.catalogue), -np.inf), np.full(len(self.catalogue), -1, dtype=np.int64)
        for place, (row, weight) in enumerate(zip(rows, weights, strict=True)):
            run = slice(self.items.indptr[row], self.items.indptr[row + 1])
            targets = self.items.indices[run]
            support, users = self.items.data[run], max(self.source_users[row], 1)
            scores[targets] += weight * support / np.sqrt(users)
            expected = users * self.source_users[targets] / self.users
            above = np.sign(support - expected) * (support * np.log(support / expected) - (support - expected))
            ahead = above > best[targets]
            best[targets[ahead]], strongest[targets[ahead]] = above[ahead], place
        return scores, strongest


def _matrix(pairs: pl.DataFrame, codes: pl.DataFrame) -> sparse.csr_array:
    """(things, things) sparse matrix of the column `both`."""
    from scipy import sparse

    source, target = (
        pairs.select(name).join(codes, left_on=name, right_on="name", how="left", maintain_order="left")["code"].to_numpy()
        for name in ("source", "target")
    )
    return sparse.csr_array((pairs["both"].to_numpy(), (source, target)), shape=(len(codes), len(codes)))
