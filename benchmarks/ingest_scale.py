"""Time and memory of `ingest` for ten million interactions in one csv file.

    python benchmarks/ingest_scale.py [--rows 10000000] [--users 1000000] [--items 100000]

Writes the files (seeded; power-law users and items, times over two years, 0.5 % duplicates, 0.1 % unknown items) to a temporary folder and
ingests them in a child process. Reading from a cold disk is not measured: the files were just written.
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

BLOCK = 1_000_000
START = 1_700_000_000
CHILD = """
import json, sys
from crossaisle import ingest
report = ingest(sys.argv[1], "files", [sys.argv[2]])
print(json.dumps(report.to_dict()))
"""


def main() -> None:
    """Generate, ingest, measure, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--users", type=int, default=1_000_000)
    options.add_argument("--items", type=int, default=100_000)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="ingest-scale-") as folder:
        store = Path(folder) / "store"
        store.mkdir()
        generate(store, chosen.rows, chosen.users, chosen.items)
        figures = measure(Path(folder) / "ws", store)
    record.write("ingest_scale", figures)


def generate(store: Path, rows: int, users: int, items: int) -> None:
    """Writes `items.csv` and `interactions.csv`."""
    random = np.random.default_rng(7)
    numbers = pl.Series("n", np.arange(items))
    shelf = (numbers % 40).cast(pl.String)
    pl.DataFrame(
        {
            "item_id": "i" + numbers.cast(pl.String),
            "title": "Thing number " + numbers.cast(pl.String),
            "category": "Shelf " + shelf + " > Board " + (numbers % 400).cast(pl.String),
            "price": random.gamma(2.0, 15.0, items).round(2),
        }
    ).write_csv(store / "items.csv")
    with (store / "interactions.csv").open("wb") as file:
        for first in range(0, rows, BLOCK):
            block(random, min(BLOCK, rows - first), users, items).write_csv(file, include_header=first == 0)


def block(random: np.random.Generator, rows: int, users: int, items: int) -> pl.DataFrame:
    """Interactions, `(rows, 4)`; a few repeat the previous line, a few have unknown items."""
    user, item = skewed(random, rows, users, 1.5), skewed(random, rows, items, 2.5)
    item[random.random(rows) < 0.001] = items + 1
    moment = START + random.integers(0, 63_072_000, rows)
    kind = random.choice(np.array(["purchase", "view", "cart"]), rows, p=[0.6, 0.3, 0.1])
    frame = pl.DataFrame({"user_id": user, "item_id": item, "kind": kind, "timestamp": moment}).with_columns(
        pl.format("u{}", "user_id").alias("user_id"), pl.format("i{}", "item_id").alias("item_id")
    )
    repeated = pl.Series(random.random(rows) < 0.005)
    return frame.with_columns(pl.when(repeated).then(pl.all().shift(1).fill_null(strategy="backward")).otherwise(pl.all()).name.keep())


def skewed(random: np.random.Generator, rows: int, many: int, power: float) -> np.ndarray:
    """`(rows,)` numbers below `many` with a power-law distribution."""
    return (many * random.random(rows) ** power).astype(np.int64)


def measure(workspace: Path, store: Path) -> dict[str, object]:
    """Wall seconds and peak memory of an ingest in its own process."""
    started = time.monotonic()
    child = subprocess.run([sys.executable, "-c", CHILD, workspace, store], check=True, capture_output=True, text=True)
    wall = time.monotonic() - started
    report = json.loads(child.stdout)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # Linux counts in kB
    interactions = store / "interactions.csv"
    return {
        "wall_seconds": round(wall, 1),
        "rows_per_second": round((report["interactions"] + report["problems"].get("duplicate interactions", 0)) / wall),
        "peak_memory_gb": round(peak / 1e9, 2),
        "csv_mb": round(interactions.stat().st_size / 1e6),
        "interactions": report["interactions"],
        "users": report["users"],
        "items": report["items"],
        "rejects": report["rejects"],
        "problems": report["problems"],
    }


if __name__ == "__main__":
    main()
