"""What goes with what: directed pairs of items, and of categories, counted by distinct users.

First version: two things go together when one user had both, whichever came first; the direction is that of the confidence.
A user counts with at most `MAX_ITEMS` items, the latest ones, so that a heavy buyer cannot make everything go with everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..data.records import Association
from .catalogue import telling

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray
    from scipy import sparse

    from .catalogue import Catalogue

MAX_ITEMS = 100
MIN_SUPPORT = 2
"""A pair that a single user made says more of that user than of the items."""
PER_ITEM = 200
UNLIKELY = 0.05
"""Chance under which a pair counts as one; no correction for the many pairs yet, so take a single figure with care."""
BLOCK = 2048


def mine(interactions: pl.DataFrame, catalogue: Catalogue, *, max_items: int = MAX_ITEMS, min_support: int = MIN_SUPPORT) -> pl.DataFrame:
    """All associations of a snapshot, as a table.

    Args:
        interactions: sorted by user, oldest first, as the snapshot keeps them.
        max_items: latest distinct items that count per user, in pairs of items. min_support: users a pair needs.
    Returns: columns level ("item" | "category"), source, target, support, source_users, target_users, users, confidence, lift.
        Items keep their `PER_ITEM` strongest partners by support over the root of the partner's users.
    """
    import polars as pl
    from scipy import sparse

    owned = (
        telling(interactions)[0]
        .lazy()
        .select("user_id", "item_id")
        .unique(keep="last", maintain_order=True)
        .join(catalogue.row_table().lazy(), on="item_id", maintain_order="left")
        .with_columns(pl.col("user_id").rank("dense").cast(pl.Int64).alias("user") - 1)
        .select("user", "row")
        .collect()
    )
    users = int(owned["user"].max()) + 1 if len(owned) else 0  # type: ignore[arg-type]  # an integer column's maximum
    latest = owned.group_by("user", maintain_order=True).tail(max_items)
    ones = np.ones(len(latest), dtype=np.int32)
    items = sparse.csr_array((ones, (latest["user"].to_numpy(), latest["row"].to_numpy())), shape=(users, len(catalogue)))
    # A category is one thing to have, however many of its items: nobody is capped there.
    codes = catalogue.category[owned["row"].to_numpy()]
    named = np.asarray([bool(name) for name in catalogue.categories])[codes] if len(owned) else np.empty(0, bool)
    in_category = sparse.csr_array(
        (np.ones(int(named.sum()), dtype=np.int32), (owned["user"].to_numpy()[named], codes[named])),
        shape=(users, len(catalogue.categories)),
    )
    in_category.data[:] = 1  # several items of a category are one user
    return pl.concat(
        [
            _pairs("item", items, catalogue.items["item_id"].to_list(), users, min_support, PER_ITEM),
            _pairs("category", in_category, catalogue.categories, users, min_support, len(catalogue.categories)),
        ]
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


def _pairs(level: str, had: sparse.csr_array, names: list[str], users: int, min_support: int, keep: int) -> pl.DataFrame:
    """Directed pairs of the columns of a user-by-thing incidence matrix of ones."""
    import polars as pl
    from scipy import sparse

    counts = np.asarray(had.sum(axis=0), dtype=np.int64)
    by_thing = had.T.tocsr()
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    support: NDArray[np.int64]
    for start in range(0, had.shape[1], BLOCK):
        together = sparse.coo_array(by_thing[start : start + BLOCK] @ had)  # (block, things)
        source, target, support = (
            np.asarray(part, dtype=np.int64) for part in (together.coords[0] + start, together.coords[1], together.data)
        )
        good = (support >= min_support) & (source != target)
        source, target, support = source[good], target[good], support[good]
        strength = support / np.sqrt(counts[target])
        order = np.lexsort((target, -strength, source))
        source, target, support = source[order], target[order], support[order]
        first = np.searchsorted(source, source)  # where each source's run begins
        best = np.arange(len(source)) - first < keep
        parts.append((source[best], target[best], support[best]))
    source, target, support = (np.concatenate([part[i] for part in parts]) if parts else np.empty(0, np.int64) for i in range(3))
    label = np.asarray(names, dtype=object)
    return pl.DataFrame(
        {
            "level": pl.Series([level] * len(source), dtype=pl.String),
            "source": pl.Series(label[source].tolist(), dtype=pl.String),
            "target": pl.Series(label[target].tolist(), dtype=pl.String),
            "support": support,
            "source_users": counts[source],
            "target_users": counts[target],
            "users": np.full(len(source), users, dtype=np.int64),
        }
    ).with_columns(
        (pl.col("support") / pl.col("source_users")).alias("confidence"),
        (pl.col("support") * pl.col("users") / (pl.col("source_users") * pl.col("target_users"))).alias("lift"),
    )


@dataclass(frozen=True)
class Associations:
    """The mined pairs, looked up by item row or by category code.

    Attributes:
        items: (items, items) sparse, users who had both. source_users: (items,) users counted for each item.
        categories: (categories, categories) dense, users who had both; the diagonal is zero. category_users: (categories,)
        users: all users counted.
    """

    catalogue: Catalogue
    items: sparse.csr_array
    source_users: NDArray[np.int64]
    categories: NDArray[np.int64]
    category_users: NDArray[np.int64]
    users: int

    @classmethod
    def load(cls, table: pl.DataFrame, catalogue: Catalogue) -> Associations:
        """The lookup structure of a table made by `mine` for the same snapshot."""
        import polars as pl
        from scipy import sparse

        n, c = len(catalogue), len(catalogue.categories)
        pairs = table.filter(pl.col("level") == "item")
        rows = pl.DataFrame({"id": catalogue.items["item_id"], "row": np.arange(n, dtype=np.int64)})
        source = pairs.join(rows, left_on="source", right_on="id", maintain_order="left")["row"].to_numpy()
        target = pairs.join(rows, left_on="target", right_on="id", maintain_order="left")["row"].to_numpy()
        matrix = sparse.csr_array((pairs["support"].to_numpy(), (source, target)), shape=(n, n))
        source_users = catalogue.users.astype(np.int64)
        source_users[source] = pairs["source_users"].to_numpy()
        code = {name: i for i, name in enumerate(catalogue.categories)}
        categories, category_users = np.zeros((c, c), dtype=np.int64), catalogue.category_users.astype(np.int64)
        for left, right, support, left_users in (
            table.filter(pl.col("level") == "category").select("source", "target", "support", "source_users").iter_rows()
        ):
            categories[code[left], code[right]] = support
            category_users[code[left]] = left_users
        users = int(table["users"].max()) if len(table) else catalogue.total_users  # type: ignore[arg-type]  # an integer column
        return cls(catalogue, matrix, source_users, categories, category_users, users)

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

    def pair(self, source: int, target: int) -> Association | None:
        """The association between two item rows; None below the support that was mined."""
        support = int(self.items[source, target])
        if not support:
            return None
        ids = self.catalogue.items["item_id"]
        return Association(
            "item", ids[source], ids[target], support, int(self.source_users[source]), int(self.source_users[target]), self.users
        )

    def category_pair(self, source: int, target: int) -> Association | None:
        """The association between two category codes; None below the support that was mined."""
        support = int(self.categories[source, target])
        if not support:
            return None
        names = self.catalogue.categories
        return Association(
            "category",
            names[source],
            names[target],
            support,
            int(self.category_users[source]),
            int(self.category_users[target]),
            self.users,
        )

    def needs(self, category: int, n: int = 5) -> list[Association]:
        """The categories that users of a category have more often than chance would have it, by lift, best first; at least 5 users each."""
        pairs = [self.category_pair(category, other) for other in range(len(self.category_users)) if other != category]
        strong = [pair for pair in pairs if pair and pair.support >= 5 and chance(pair) <= UNLIKELY]
        return sorted(strong, key=lambda pair: (-pair.lift, pair.target))[:n]
