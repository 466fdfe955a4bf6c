"""What a few dozen users who have the same things do to associations, with every user counting alike and with `weights`.

    python benchmarks/cliques.py

Reads the Amazon reviews of 2014 (../shared/data/amazon14), whose users of free samples hold the same items in unrelated categories. That
file has no clock, and its positions are dropped, so that pairs have no direction. The strongest pairs are chosen under equal weights;
the result names no item and no user. It does not show that a pair that sinks is false, only how much of it was people alike.
"""

from __future__ import annotations

import time

import numpy as np
import polars as pl
from record import SHARED, write

from crossaisle.retrieval.associations.rules import UNLIKELY, table, tally
from crossaisle.retrieval.associations.user_weights import UNIT, lookalikes, weights
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import Events, distinct

SHARED_USERS = 5
STRONGEST = 10
EVERY = 1_000_000


def main() -> None:
    """Counts twice, compares, writes the result."""
    items = pl.read_ndjson(SHARED / "amazon14" / "items.jsonl.gz")
    interactions = (
        pl.read_csv(SHARED / "amazon14" / "interactions.csv.gz")
        .select("user_id", "item_id", kind=pl.lit("purchase"), timestamp=pl.lit(None, pl.Int64), position=pl.lit(None, pl.Int64))
        .sort("user_id")
    )
    catalogue = Catalogue.build(items, interactions, 1)
    events = Events.build(interactions, catalogue)
    start = time.perf_counter()
    ours = weights(events)
    seconds = time.perf_counter() - start
    owned = distinct((events.user.astype(np.int64) << 32) | events.row)
    user, row = owned >> 32, owned & 0xFFFFFFFF
    many = np.bincount(user, minlength=len(events.users))
    like = lookalikes(user, row, many)
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
                "fdr_below": UNLIKELY,
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
    pairs = table(tally(events, catalogue, weight)[:1], catalogue.total_users, per_thing=EVERY).filter(pl.col("source") < pl.col("target"))
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
    return int((pairs["fdr"] < UNLIKELY).sum())


def ranks(pairs: pl.DataFrame, some: pl.DataFrame) -> dict[str, float]:
    """The best, median and worst rank of some pairs."""
    rank = pairs.join(some, on=["source", "target"])["rank"].to_numpy()
    return {"best": int(rank.min()), "median": float(np.median(rank)), "worst": int(rank.max())}


if __name__ == "__main__":
    main()
