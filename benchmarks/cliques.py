"""Effect of a few dozen users with the same items on associations, with equal user weights and with `user_weights`.

    python benchmarks/cliques.py

Reads the Amazon 2014 reviews (../shared/data/amazon14), whose free-sample reviewers share items of unrelated categories. The file has no
timestamps, and its positions are dropped, so pairs have no direction. The strongest pairs are selected under equal weights; the result
contains no item and no user. A lower rank does not prove that a pair is false, only how much of its support came from similar users.
"""

from __future__ import annotations

import time

import numpy as np
import polars as pl
from record import SHARED, write

from crossaisle.retrieval.associations.rules import SIGNIFICANCE_LEVEL, association_table, count_pairs
from crossaisle.retrieval.associations.user_weights import UNIT, similar_user_counts, user_weights
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import Events, distinct

SHARED_USERS = 5
STRONGEST = 10
EVERY = 1_000_000


def main() -> None:
    """Count twice, compare, and write the result."""
    items = pl.read_ndjson(SHARED / "amazon14" / "items.jsonl.gz")
    interactions = (
        pl.read_csv(SHARED / "amazon14" / "interactions.csv.gz")
        .select("user_id", "item_id", kind=pl.lit("purchase"), timestamp=pl.lit(None, pl.Int64), position=pl.lit(None, pl.Int64))
        .sort("user_id")
    )
    catalogue = Catalogue.build(items, interactions, 1)
    events = Events.build(interactions, catalogue)
    start = time.perf_counter()
    ours = user_weights(events)
    seconds = time.perf_counter() - start
    owned = distinct((events.user.astype(np.int64) << 32) | events.row)
    user, row = owned >> 32, owned & 0xFFFFFFFF
    many = np.bincount(user, minlength=len(events.users))
    like = similar_user_counts(user, row, many)
    alike = pairs_of(events, catalogue, np.full(len(ours), UNIT))
    weighted = pairs_of(events, catalogue, ours)
    strongest = across(alike).head(STRONGEST).select("source", "target", "both")
    write(
        "cliques",
        {
            "users": len(events.users),
            "items": len(items),
            "order": events.order,
            "item_pairs": len(alike),
            "weights_seconds": round(seconds, 2),
            "users_with_lookalikes": int((like > 0).sum()),
            "most_lookalikes_of_a_user": int(like.max()),
            "users_below_full_weight": int((ours < UNIT).sum()),
            "pairs_across_categories": {
                "both_at_least": SHARED_USERS,
                "pairs": len(across(alike)),
                "fdr_below": SIGNIFICANCE_LEVEL,
                "found_with_equal_weights": found(across(alike)),
                "found_with_weights": found(across(weighted)),
            },
            "pairs_within_categories": {
                "found_with_equal_weights": found(within(alike)),
                "found_with_weights": found(within(weighted)),
            },
            "strongest_across_with_equal_weights": {
                "pairs": STRONGEST,
                "shared_users": strongest["both"].to_list(),
                "rank_with_equal_weights": ranks(alike, strongest),
                "rank_with_weights": ranks(weighted, strongest),
                "found_with_weights": found(weighted.join(strongest, on=["source", "target"])),
            },
        },
    )


def pairs_of(events: Events, catalogue: Catalogue, weight: np.ndarray) -> pl.DataFrame:
    """All item pairs once, the strongest first by llr, with their rank and whether their broad categories differ."""
    category = pl.DataFrame({"item_id": catalogue.items["item_id"], "code": catalogue.category})
    pairs = association_table(count_pairs(events, catalogue, weight)[:1], catalogue.total_users, per_thing=EVERY).filter(
        pl.col("source") < pl.col("target")
    )
    return (
        pairs.join(category, left_on="source", right_on="item_id")
        .join(category, left_on="target", right_on="item_id", suffix="_target")
        .with_columns(across=pl.col("code") != pl.col("code_target"))
        .sort("llr", "source", "target", descending=[True, False, False])
        .with_row_index("rank", 1)
    )


def across(pairs: pl.DataFrame) -> pl.DataFrame:
    """Those between broad categories that enough users share."""
    return pairs.filter(pl.col("across") & (pl.col("both") >= SHARED_USERS))


def within(pairs: pl.DataFrame) -> pl.DataFrame:
    """Those inside one broad category that enough users share."""
    return pairs.filter(~pl.col("across") & (pl.col("both") >= SHARED_USERS))


def found(pairs: pl.DataFrame) -> int:
    """How many are called associations."""
    return int((pairs["fdr"] < SIGNIFICANCE_LEVEL).sum())


def ranks(pairs: pl.DataFrame, some: pl.DataFrame) -> dict[str, float]:
    """The best, median and worst rank of some pairs."""
    rank = pairs.join(some, on=["source", "target"])["rank"].to_numpy()
    return {"best": int(rank.min()), "median": float(np.median(rank)), "worst": int(rank.max())}


if __name__ == "__main__":
    main()
