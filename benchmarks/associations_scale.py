"""Time and memory of association mining for a large store, incremental counting, and other libraries on the same data.

    python benchmarks/associations_scale.py [--users 1000000] [--interactions 10000000] [--items 100000]

The store is simulated with a seed: power-law users and items over two years, all items independent, so every association found is a false
positive. Each part runs in its own process, to measure its own peak memory. The peers, efficient-apriori and (if installed) mlxtend, get a
smaller store without order.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import record

from crossaisle.retrieval.associations import count_store, statistics
from crossaisle.retrieval.associations.pair_counts import EventSequence
from crossaisle.retrieval.associations.rules import association_table, count, count_pairs
from crossaisle.retrieval.associations.user_weights import user_weights
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import DAY, Events

WINDOW = 90 * DAY


def main() -> None:
    """Run every part in a child process and write the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--users", type=int, default=1_000_000)
    options.add_argument("--interactions", type=int, default=10_000_000)
    options.add_argument("--items", type=int, default=100_000)
    options.add_argument("--part", choices=("scale", "onwards", "peer"))
    chosen = options.parse_args()
    if chosen.part:
        part = {"scale": scale, "onwards": onwards, "peer": peer}[chosen.part]
        print(json.dumps(part(chosen.users, chosen.interactions, chosen.items)))
        return
    figures_found = {}
    for name in ("scale", "onwards", "peer"):
        command = [sys.executable, __file__, "--part", name, "--users", str(chosen.users)]
        command += ["--interactions", str(chosen.interactions), "--items", str(chosen.items)]
        child = subprocess.run(command, check=True, capture_output=True, text=True)
        figures_found[name] = json.loads(child.stdout.splitlines()[-1])
    record.write("associations_scale", figures_found)


def scale(users: int, interactions: int, items: int) -> dict[str, object]:
    """Mine items and both category levels, from tables in memory to the association table."""
    things, events = store(users, interactions, items)
    seconds: dict[str, float] = {}

    def timed(name: str, start: float) -> None:
        seconds[name] = round(time.perf_counter() - start, 1)

    whole = time.perf_counter()
    catalogue = Catalogue.build(things, events, 1)
    timed("catalogue", whole)
    start = time.perf_counter()
    happened = Events.build(events, catalogue)
    timed("events", start)
    start = time.perf_counter()
    weight = user_weights(happened)
    timed("weights", start)
    start = time.perf_counter()
    tallies = count_pairs(happened, catalogue, weight, window=WINDOW)
    timed("counting", start)
    start = time.perf_counter()
    found = association_table(tallies, catalogue.total_users)
    timed("figures", start)
    timed("all", whole)
    broad = found.filter(pl.col("depth") == 1)
    classic = statistics.lift(broad["support"], broad["source_users"], broad["target_users"], broad["users"])
    return {
        "users": catalogue.total_users,
        "interactions": len(happened),
        "items": items,
        "associations": len(found),
        "seconds": seconds,
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "of_independent_categories": {
            "mean_lift": round(float(broad["lift"].mean()), 4),  # type: ignore[arg-type]  # a float column
            "mean_lift_over_the_share_of_users_who_have_it": round(float(np.nanmean(classic)), 4),
            "called_associations": int((found["fdr"] < 0.05).sum()),
            "of_pairs": len(found),
        },
    }


def onwards(users: int, interactions: int, items: int) -> dict[str, object]:
    """Incremental counting after one in a hundred users changed, against a full count."""
    things, events = store(users, interactions, items)
    catalogue = Catalogue.build(things, events, 1)
    happened = Events.build(events, catalogue)
    weight = user_weights(happened)
    paths = ["\x1f".join(path) for path in things["category"].to_list()]
    random = np.random.default_rng(11)
    some = pl.DataFrame({"user_id": happened.users.sample(users // 100, seed=3)})
    bought = pl.Series("item_id", "i" + pl.Series(random.integers(0, items, len(some))).cast(pl.String))
    more = some.with_columns(bought, pl.lit(730 * DAY, pl.Int64).alias("timestamp"), pl.lit("purchase").alias("kind"))
    later = pl.concat([events, more.select(events.columns)]).sort("user_id", "timestamp")
    then = Catalogue.build(things, later, 1)
    after = Events.build(later, then)
    with tempfile.TemporaryDirectory() as folder:
        count_store.save(
            Path(folder),
            count_store.CountSnapshot(count_pairs(happened, catalogue, weight, window=WINDOW), happened, WINDOW, weight),
            paths,
        )
        start = time.perf_counter()
        counted = count_store.recount(Path(folder), after, then, WINDOW, paths)
        seconds = time.perf_counter() - start
    assert counted is not None
    start = time.perf_counter()
    whole = count_pairs(after, then, counted[0].weight, window=WINDOW)
    full = time.perf_counter() - start
    same = all(
        np.array_equal(getattr(one.pairs, name), getattr(other.pairs, name))
        for one, other in zip(counted[0].tables, whole, strict=True)
        for name in ("key", "both", "support", "weight")
    )
    return {
        "users_changed": counted[1],
        "seconds": round(seconds, 1),
        "seconds_from_the_start": round(full, 1),
        "ratio": round(full / seconds, 1),
        "same_counts": same,
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
    }


def peer(users: int, interactions: int, items: int) -> dict[str, object]:  # noqa: ARG001 -- the peer gets what it can do
    """The same pairs, support, confidence and lift from efficient-apriori, on a store without order."""
    from efficient_apriori import apriori

    things, events = store(100_000, 1_000_000, 2_000)
    events = events.with_columns(pl.lit(None, pl.Int64).alias("timestamp")).unique(["user_id", "item_id"], maintain_order=True)
    least = 25
    baskets = [tuple(basket) for basket in events.group_by("user_id", maintain_order=True).agg("item_id")["item_id"].to_list()]
    start = time.perf_counter()
    _, rules = apriori(baskets, min_support=least / len(baskets), min_confidence=0.0, max_length=2)
    theirs = time.perf_counter() - start
    catalogue = Catalogue.build(things, events, 1)
    happened = Events.build(events, catalogue)
    names, code = things["item_id"].to_list(), np.arange(len(things), dtype=np.int32)
    start = time.perf_counter()
    moments = EventSequence.of(happened, code, len(names), 0, user_weights(happened))
    found = association_table([count(moments, 0, names, min_support=least)], len(baskets), min_support=least, per_thing=10**6)
    ours = time.perf_counter() - start
    lift = statistics.lift(found["both"], found["source_users"], found["target_users"], found["users"])
    mine = {
        (a, b): (k, c, x) for a, b, k, c, x in zip(found["source"], found["target"], found["both"], found["confidence"], lift, strict=True)
    }
    wrong = 0
    for rule in rules:
        k, confidence, times = mine.get((rule.lhs[0], rule.rhs[0]), (0, 0.0, 0.0))
        wrong += not (k == round(rule.support * len(baskets)) and np.isclose(confidence, rule.confidence) and np.isclose(times, rule.lift))
    return {
        "users": len(baskets),
        "items": len(things),
        "pairs": len(rules),
        "pairs_of_ours": len(mine),
        "with_another_support_confidence_or_lift": wrong,
        "efficient_apriori_seconds": round(theirs, 3),
        "seconds": round(ours, 3),
        "times_faster": round(theirs / ours, 1),
        "mlxtend_fpgrowth_seconds": mlxtend(baskets, names, least),
    }


def mlxtend(baskets: list[tuple[str, ...]], names: list[str], least: int) -> float | None:
    """Seconds mlxtend takes for the same pairs and rules; None if it is not installed."""
    try:
        import pandas as pd
        from mlxtend.frequent_patterns import association_rules, fpgrowth
    except ImportError:
        return None
    place = {name: i for i, name in enumerate(names)}
    has = np.zeros((len(baskets), len(names)), dtype=bool)
    for row, basket in enumerate(baskets):
        has[row, [place[name] for name in basket]] = True
    frame = pd.DataFrame(has, columns=names)
    start = time.perf_counter()
    association_rules(
        fpgrowth(frame, min_support=least / len(baskets), use_colnames=True, max_len=2), metric="confidence", min_threshold=0.0
    )
    return round(time.perf_counter() - start, 3)


def store(users: int, interactions: int, items: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """An items table, and interactions sorted by user and time, with power-law popularity."""
    random = np.random.default_rng(7)
    numbers = np.arange(items)
    names = pl.Series("item_id", [f"i{n}" for n in numbers])
    things = pl.DataFrame({"item_id": names, "title": names, "category": [[f"Shelf {n % 40}", f"Board {n % 400}"] for n in numbers]})
    sampled = pl.DataFrame(
        {
            "user": (users * random.random(interactions) ** 1.5).astype(np.int64),
            "item": (items * random.random(interactions) ** 2.5).astype(np.int64),
            "timestamp": random.integers(0, 730 * DAY, interactions),
        }
    )
    events = sampled.select(
        pl.format("u{}", "user").alias("user_id"), pl.format("i{}", "item").alias("item_id"), "timestamp", pl.lit("purchase").alias("kind")
    )
    return things, events.sort("user_id", "timestamp")


if __name__ == "__main__":
    main()
