"""Time and memory of graph training for a large store, and of queries to it.

    python benchmarks/graph_scale.py [--users 100000] [--interactions 1000000] [--items 50000] [--convolution normalised]

The store is simulated with a seed: power-law users and items; every user prefers a few of 200 topics across 40 categories, and the item
vectors cluster around the topics, so there is something to learn. Training runs in its own process, to measure its peak memory.
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

from crossaisle.retrieval.graph.model import GraphConfig
from crossaisle.retrieval.graph.storage import save_graph
from crossaisle.retrieval.graph.trainer import train_graph
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import DAY, Events

THEMES, SHELVES, DIMENSIONS = 200, 40, 384


def main() -> None:
    """Run the measurement in its own process, or be that process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--interactions", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--convolution", choices=["normalised", "attention"], default="normalised")
    parser.add_argument("--dry", action="store_true", help="print the figures, write no file")
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        print(json.dumps(scale(chosen.users, chosen.interactions, chosen.items, chosen.convolution)))
        return
    command = [sys.executable, __file__, "--part", "--users", str(chosen.users), "--interactions", str(chosen.interactions)]
    command += ["--items", str(chosen.items), "--convolution", chosen.convolution]
    child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(child.stdout.splitlines()[-1])
    if chosen.dry:
        print(json.dumps(found, indent=1))
    else:
        record.write("graph_scale", found)


def scale(users: int, interactions: int, items: int, convolution: str) -> dict[str, object]:
    """From tables in memory to a trained graph on disk, and queries to it."""
    items_table, interactions_table, vectors = store(users, interactions, items)
    catalogue = Catalogue.build(items_table, interactions_table, 1)
    events = Events.build(interactions_table, catalogue)
    start = time.perf_counter()
    graph = train_graph(interactions_table, events, catalogue, vectors, GraphConfig(convolution=convolution))  # type: ignore[arg-type]
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    with tempfile.TemporaryDirectory() as folder:
        size = sum(file.stat().st_size for file in save_graph(graph, Path(folder)).iterdir())
    random, taken = np.random.default_rng(5), []
    graph.scores(np.asarray([0]), np.ones(1))
    for _ in range(50):
        rows = random.choice(items, 20, replace=False)
        start = time.perf_counter()
        graph.scores(rows, 0.7 ** np.arange(20.0)[::-1])
        taken.append(1000 * (time.perf_counter() - start))
    return {
        "users": len(events.users),
        "interactions": len(events),
        "items": items,
        "convolution": convolution,
        "examples": graph.card["figures"]["examples"],
        "rounds": len(graph.card["figures"]["rounds"]),
        "ndcg_at_10_of_held_out_users": graph.card["figures"]["ndcg@10"],
        "training_seconds": round(seconds, 1),
        "peak_memory_gb": round(peak, 2),
        "file_mb": round(size / 1e6, 1),
        "query_of_20_items_ms": record.quantiles(taken),
    }


def store(users: int, interactions: int, items: int) -> tuple[pl.DataFrame, pl.DataFrame, np.ndarray]:
    """Items, interactions sorted by user and time, and the items' vectors."""
    random = np.random.default_rng(7)
    theme, shelf = np.arange(items) % THEMES, random.integers(0, SHELVES, items)
    names = pl.Series("item_id", [f"i{n}" for n in range(items)])
    items_table = pl.DataFrame({"item_id": names, "title": names, "category": [[f"Shelf {n}"] for n in shelf.tolist()]})
    who = (users * random.random(interactions) ** 1.5).astype(np.int64)
    taste = (who * 2654435761 + random.integers(0, 3, interactions) * 40503) % THEMES  # three themes a user
    popular = (items // THEMES * random.random(interactions) ** 2.5).astype(np.int64) * THEMES
    what = np.where(random.random(interactions) < 0.7, popular + taste, popular + random.integers(0, THEMES, interactions))
    interactions_table = pl.DataFrame(
        {
            "user_id": pl.Series("user_id", who).cast(pl.String),
            "item_id": names.gather(what),
            "timestamp": random.integers(0, 730 * DAY, interactions),
        }
    )
    interactions_table = interactions_table.with_columns(pl.lit("purchase").alias("kind")).sort("user_id", "timestamp")
    vectors = random.standard_normal((THEMES, DIMENSIONS))[theme] + 2 * random.standard_normal((items, DIMENSIONS))
    return items_table, interactions_table, (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    main()
