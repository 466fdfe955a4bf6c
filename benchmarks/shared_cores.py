"""A warm `recommend` beside other busy programs, with idle threads spinning and with idle threads asleep, in turn in the same run.

    python benchmarks/shared_cores.py [--busy 1] [--rounds 2]

The other programs multiply matrices, each on one thread. `data/threads.py` has idle threads sleep unless the environment says otherwise.
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

BUSY = "import numpy as np, time\nend = time.time() + 600\na = np.ones((1200, 1200))\nwhile time.time() < end: a @ a"
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


def warm(shop: Path, policy: str) -> list[float]:
    """Seconds of some answers in a process of its own; an empty policy is the OpenMP library's own default, which spins for a while."""
    done = subprocess.run(
        [sys.executable, "-c", WARM, str(shop)], env={**os.environ, "OMP_WAIT_POLICY": policy}, capture_output=True, text=True, check=True
    )
    seconds: list[float] = json.loads(done.stdout)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--busy", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {"": [], "PASSIVE": []}
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder) / "shop"
        crossaisle.ingest(shop, "files", [demo.write(Path(folder) / "files")])
        crossaisle.index(crossaisle.Workspace(shop), crossaisle.Settings.read())
        alone = {policy: statistics.median(warm(shop, policy)) for policy in seconds}
        busy = [
            subprocess.Popen([sys.executable, "-c", BUSY], env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
            for _ in range(arguments.busy)
        ]
        try:
            for _ in range(arguments.rounds):
                for policy, taken in seconds.items():
                    taken += warm(shop, policy)
        finally:
            for process in busy:
                process.kill()
    write(
        "shared_cores",
        {
            "busy_programs": arguments.busy,
            "alone_seconds": {"spinning": round(alone[""], 2), "asleep": round(alone["PASSIVE"], 2)},
            "beside_seconds": {"spinning": quantiles(seconds[""]), "asleep": quantiles(seconds["PASSIVE"])},
            "ratio_of_medians": round(statistics.median(seconds[""]) / statistics.median(seconds["PASSIVE"]), 2),
        },
    )


if __name__ == "__main__":
    main()
