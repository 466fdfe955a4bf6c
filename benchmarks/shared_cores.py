"""A warm `recommend` alone and beside another busy program, with OpenMP's default spinning and with our setting, in the same run.

    python benchmarks/shared_cores.py [--rounds 2]

The other program multiplies matrices with torch. `data/threads.py` sets our value unless the environment already does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from record import quantiles, write

import crossaisle
from crossaisle.data import demo

BUSY = "import torch, time\nend = time.time() + 900\na = torch.ones(1500, 1500)\nwhile time.time() < end: a @ a"
SPINS = {"library": "300000", "ours": "1000"}
WARM = """
import json, sys, time, crossaisle
shop = crossaisle.Recommender.open(sys.argv[1])
shop.recommend(user_id="s001")
seconds = []
for user in ("s002", "s003", "s004", "s005", "s006", "s007"):
    start = time.perf_counter()
    shop.recommend(user_id=user)
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""


def warm(shop: Path, spins: str) -> list[float]:
    """Seconds of several answers in their own process."""
    done = subprocess.run(
        [sys.executable, "-c", WARM, str(shop)], env={**os.environ, "GOMP_SPINCOUNT": spins}, capture_output=True, text=True, check=True
    )
    seconds: list[float] = json.loads(done.stdout)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    seconds: dict[str, list[float]] = {name: [] for name in SPINS}
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder) / "shop"
        crossaisle.ingest(shop, "files", [demo.write_store(Path(folder) / "files")])
        crossaisle.index(crossaisle.Workspace(shop), crossaisle.Settings.read())
        alone = {name: quantiles(warm(shop, spins)) for name, spins in SPINS.items()}
        busy = subprocess.Popen([sys.executable, "-c", BUSY])
        try:
            for _ in range(rounds):
                for name, spins in SPINS.items():
                    seconds[name] += warm(shop, spins)
        finally:
            busy.kill()
    write(
        "shared_cores",
        {
            "alone_seconds": alone,
            "beside_seconds": {name: quantiles(taken) for name, taken in seconds.items()},
            "ratio_of_medians": round(statistics.median(seconds["library"]) / statistics.median(seconds["ours"]), 2),
        },
    )


if __name__ == "__main__":
    main()
