"""Latency of warm probe questions to a large store, and time to build its workspace.

    python benchmarks/probe_speed.py [--rows 10000000] [--users 1000000] [--items 100000]

The store is simulated with a seed (power-law users and items, times over two years, all independent). Its items have only 400 different
texts, so the time of `index` is counting and writing without embedding. Questions use neither a language model nor sentences.
`open_seconds` and `first_seconds` are the waiting time before the first answer.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from ingest_scale import START, skewed
from record import quantiles, write

import crossaisle
from crossaisle.data.errors import QueryError, SuppressedError
from crossaisle.recommend.segments.probe import Probe
from crossaisle.recommend.segments.query.filters import Filters

PROGRAM = Path(sys.executable).with_name("crossaisle")
BROAD, NARROW, BRANDS, COLOURS = 40, 400, 50, 10
SPAN = 2 * 365 * 86_400
EACH = 5
"""Questions of each kind."""


def main() -> None:
    """Generate the store, ingest, index, ask, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--users", type=int, default=1_000_000)
    options.add_argument("--items", type=int, default=100_000)
    chosen = options.parse_args()
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="probe-speed-") as folder:
        store, shop = Path(folder) / "store", Path(folder) / "shop"
        store.mkdir()
        generate(store, chosen.rows, chosen.users, chosen.items)
        start = time.perf_counter()
        report = crossaisle.ingest(shop, "files", [store])
        seconds["ingest"] = time.perf_counter() - start
        shutil.rmtree(store)
        start = time.perf_counter()
        subprocess.run([str(PROGRAM), "index", "-w", str(shop)], check=True, stdout=subprocess.DEVNULL)
        seconds["index"] = time.perf_counter() - start
        disk = sum(file.stat().st_size for file in shop.rglob("*") if file.is_file())
        start = time.perf_counter()
        probe = Probe.open(shop, llm="none")
        seconds["open"] = time.perf_counter() - start
        timings = answers(probe, seconds)
    write(
        "probe_speed",
        {
            "users": report.users,
            "interactions": report.interactions,
            "items": report.items,
            "workspace_gb": round(disk / 2**30, 2),
            **{f"{name}_seconds": round(value, 2) for name, value in seconds.items()},
            **timings,
        },
    )


def generate(store: Path, rows: int, users: int, items: int) -> None:
    """Writes `items.parquet` and `interactions.parquet`."""
    random = np.random.default_rng(7)
    numbers = pl.Series("n", np.arange(items))
    pl.select(
        item_id=pl.format("i{}", numbers),
        title=pl.format("Thing of kind {}", numbers % NARROW),
        category=pl.concat_list(pl.format("Shelf {}", numbers % BROAD), pl.format("Board {}", numbers % NARROW)),
        brand=pl.format("Maker {}", numbers % BRANDS),
        price=pl.Series(random.gamma(2.0, 15.0, items).round(2)),
        colour=pl.format("hue{}", pl.Series(random.integers(0, COLOURS, items))),
    ).write_parquet(store / "items.parquet")
    user, item = skewed(random, rows, users, 1.5), skewed(random, rows, items, 2.5)
    moment = START + random.integers(0, SPAN, rows)
    pl.DataFrame({"user": user, "item": item, "timestamp": moment}).select(
        pl.format("u{}", "user").alias("user_id"), pl.format("i{}", "item").alias("item_id"), kind=pl.lit("purchase"), timestamp="timestamp"
    ).write_parquet(store / "interactions.parquet")


def questions() -> list[tuple[str, str, Filters]]:
    """(kind, question, filters), `EACH` of every kind, kinds taking turns."""
    found = []
    for n in range(EACH):
        shelf, other, board = f"Shelf {3 * n + 1}", f"Shelf {3 * n + 20}", f"Shelf {3 * n + 1} > Board {80 * n + 3 * n + 1}"
        one, two = f'category:"{shelf}"', f'category:"{other}"'
        found += [
            ("category, level 1", one, Filters()),
            ("category, level 2", f'category:"{board}"', Filters()),
            ("brand", f'brand:"Maker {7 * n + 2}"', Filters()),
            ("item", f'item:"i{n}"', Filters()),
            ("a and b", f"{one} and {two}", Filters()),
            ("a not b", f"{one} and not {two}", Filters()),
            ("a or b", f"{one} or {two}", Filters()),
            ("price band", one, Filters(min_price=10.0, max_price=20.0 + n)),
            ("at least 2", one, Filters(at_least=2)),
            ("where", one, Filters(where=(f"colour=hue{n}",))),
            ("reverse, level 1", f"who would need {one}?", Filters()),
            ("reverse, level 2", f'who would need category:"{board}"?', Filters()),
        ]
    return found


def answers(probe: Probe, seconds: dict[str, float]) -> dict[str, Any]:
    """Seconds of every question after one warm-up question; refusals count as answers, and are counted."""
    start = time.perf_counter()
    probe.ask('category:"Shelf 0"', words=False)
    seconds["first"] = time.perf_counter() - start
    took: dict[str, list[float]] = defaultdict(list)
    users: dict[str, list[int]] = defaultdict(list)
    needs, refused = 0, {"suppressed": 0, "nobody": 0}
    slowest = (0.0, "", {})
    for kind, question, filters in questions():
        start = time.perf_counter()
        try:
            finding = probe.ask(question, filters=filters, words=False)
            needs += len(finding.needs)
        except SuppressedError:
            refused["suppressed"] += 1
        except QueryError:
            refused["nobody"] += 1
        spent = time.perf_counter() - start
        took[kind].append(spent)
        users[kind].append(len(probe.understand(question, filters).cohort))
        slowest = max(slowest, (spent, question, filters.to_dict()), key=lambda one: one[0])
    return {
        "warm_seconds": quantiles([spent for kind in took.values() for spent in kind]),
        "warm_seconds_by_kind": {
            kind: {"median": round(float(np.median(spent)), 3), "most": round(max(spent), 3), "median_users": int(np.median(users[kind]))}
            for kind, spent in took.items()
        },
        "slowest": {"seconds": round(slowest[0], 3), "question": slowest[1], "filters": slowest[2]},
        "refused": refused,
        "needs_told": needs,
    }


if __name__ == "__main__":
    main()
