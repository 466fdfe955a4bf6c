"""What goes with what: directed pairs of items, and of categories at every level, with the figures that say how sure it is.

Counting is in `pairs`, figures in `figures`; here is what is counted for a snapshot (`Tally`), the table that is kept of it (`table`), and
how a recommender looks it up (`Associations`). Knows nothing of cohorts, questions or privacy: the table is for the store's own machines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..items.interactions import DAY, Order
from . import statistics
from .pair_counts import Counting, Margins, Moments, PairCounts
from .user_weights import UNIT

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray
    from scipy import sparse

    from ...data.records import Association
    from ..items.catalogue import Catalogue
    from ..items.interactions import Events

WINDOWS: Mapping[Order, int] = {"time": 90 * DAY, "position": 10, "none": 0}
"""How far behind A a B still follows it: ninety days; where there are only positions, ten."""
MIN_SUPPORT = 2
"""A pair that a single user made says more of that user than of the items."""
PER_ITEM = 200
UNLIKELY = 0.05
"""Chance under which a figure that is said aloud counts as one, and share of false ones among the pairs called associations."""


@dataclass(frozen=True)
class Tally:
    """All counts of one kind of thing.

    Attributes:
        depth: 0 for items, else the level of categories. names: (things) id, or path, of each. margins: of the things.
        pairs: those that at least `MIN_SUPPORT` users had both of.
    """

    depth: int
    names: Sequence[str]
    margins: Margins
    pairs: PairCounts


def tally(
    events: Events, catalogue: Catalogue, weight: NDArray[np.int64], *, window: int | None = None, min_support: int = MIN_SUPPORT
) -> list[Tally]:
    """The counts of a snapshot: items first, then categories from the broadest level down.

    Args: window: in milliseconds or positions, see `WINDOWS`. weight: (users,) see `weights`.
    """
    window = WINDOWS[events.order] if window is None else window
    return [
        count(Moments.of(events, code, len(names), window, weight), depth, names, min_support=min_support)
        for depth, names, code in spaces(catalogue)
    ]


def spaces(catalogue: Catalogue) -> list[tuple[int, list[str], NDArray[np.int32]]]:
    """What is counted: (0, ids of the items, their rows), then for every level of categories (level, paths, node of each item)."""
    tree = catalogue.tree
    paths = [tree.words(node) for node in range(len(tree))]
    ids = catalogue.items["item_id"].to_list()
    return [(0, ids, np.arange(len(ids), dtype=np.int32)), *((level, paths, tree.at(level)) for level in range(1, tree.levels + 1))]


def count(moments: Moments, depth: int, names: Sequence[str], *, min_support: int = MIN_SUPPORT) -> Tally:
    """The counts of one kind of thing."""
    counting = Counting(moments)
    kept = list(counting.blocks(min_support))  # nearly all pairs are of a single user, and would not fit into memory together
    return Tally(depth, names, counting.margins, PairCounts.chained(kept))


def table(tallies: Sequence[Tally], total: int, *, min_support: int = MIN_SUPPORT, per_thing: int = PER_ITEM) -> pl.DataFrame:
    """The associations as a table, by level, depth and source, the strongest first.

    Args: total: users of the snapshot. per_thing: partners kept of each source, by shared users over the root of the partner's users.
    Returns:
        level ("item" | "category"), depth (0 for items), source, target (id or path), both (users who had both), support (who went from
        source to target), source_users, target_users, users, confidence, low, high (95 %), base_rate (see `pairs`), lift, lift_low,
        lift_high (95 %), llr (log-likelihood ratio), fdr (false-discovery rate, over all pairs of things that `min_support` users had,
        whether anybody had both or not). The last two are by weighted users (see `weights`), the others count heads.
    """
    import polars as pl

    return pl.concat([_rows(one, total, min_support, per_thing) for one in tallies])


def _rows(one: Tally, total: int, min_support: int, per_thing: int) -> pl.DataFrame:
    import polars as pl

    margins, pairs, things = one.margins, one.pairs, len(one.names)
    source, target = pairs.key // max(things, 1), pairs.key % max(things, 1)
    usual, rate_of = margins.usual, margins.base_rate
    weighted = (pairs.weight / UNIT, margins.users[1, source] / UNIT, margins.went[1, target] / UNIT, usual[1, target] / UNIT)
    able = int((margins.users[0] >= min_support).sum())
    rate = statistics.false_discovery_rate(statistics.tail(*weighted), max(able * (able - 1), len(source)))
    # The strongest partners of each source, and within a source the strongest first.
    strength = pairs.both / np.sqrt(np.maximum(margins.users[0, target], 1))
    order = np.lexsort((target, -strength, source))
    order = order[np.arange(len(order)) - np.searchsorted(source[order], source[order]) < per_thing]
    source, target, rate = source[order], target[order], rate[order]
    both, support = pairs.both[order].astype(np.int64), pairs.support[order].astype(np.int64)
    heads = (support, margins.users[0, source], margins.went[0, target], usual[0, target])
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


def chance(pair: Association) -> float:
    """How likely so many shared users, or more, would be if the two were independent: 0 to 1, one-sided.

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
    """Who had both, looked up by item row or by category code; in either order, because what is recommended may be had first by others.

    Attributes:
        items: (items, items) sparse, users who had both. source_users: (items,) users of each item.
        categories: (categories, categories) sparse, users who had both, at the catalogue's level. category_users: (categories,)
        users: all users counted.
    """

    catalogue: Catalogue
    items: sparse.csr_array
    source_users: NDArray[np.int64]
    categories: sparse.csr_array
    category_users: NDArray[np.int64]
    users: int

    @classmethod
    def load(cls, pairs: pl.DataFrame, catalogue: Catalogue) -> Associations:
        """The lookup structure of a table made by `table` for the same snapshot."""
        import polars as pl

        ids = catalogue.row_table().rename({"item_id": "name", "row": "code"})
        tree = catalogue.tree
        paths = pl.DataFrame(
            {"name": [tree.words(node) if node >= 0 else "" for node in catalogue.nodes.tolist()], "code": np.arange(len(catalogue.nodes))},
            schema={"name": pl.String, "code": pl.Int64},
        )
        # A level deeper than the tree is its leaves.
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
        """How strongly a weighted history points at every item, and which history item makes the most telling pair with it.

        Each history item's counts are divided by the root of its users: item-kNN as it ranked best on a two-category
        set of reviews, ahead of EASE and iALS.

        Which pair is most telling does not depend on the weights: it is the one furthest above chance, by the deviance of its support
        from the expected one, both taken as Poisson counts; that follows the logarithm of `chance`, in whole arrays.

        Returns: scores (items,), 0 where nothing points; strongest (items,), a place in `rows`, -1 where nothing points.
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
    """(things, things) of `both`, by the codes of the names."""
    from scipy import sparse

    source, target = (
        pairs.select(name).join(codes, left_on=name, right_on="name", how="left", maintain_order="left")["code"].to_numpy()
        for name in ("source", "target")
    )
    return sparse.csr_array((pairs["both"].to_numpy(), (source, target)), shape=(len(codes), len(codes)))
