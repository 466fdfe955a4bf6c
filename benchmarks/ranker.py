"""What teaching the LLM gains: the same model untuned and tuned on the same candidates, and its vote in the blend.

    python benchmarks/ranker.py [NAME ...] [--home FOLDER] [--examples 300] [--epochs 1] [--cases 150] [--ship]

NAME is demo, amazon14, completejourney, courses or movielens. Trains the blend unless `blend.py` left a trained store in `--home`, then the
ranker, then asks both of held-out shoppers (users protocol). Writes `results/ranker-NAME.json`. `--ship` makes the adapter of the demo
store the one that the package ships. Reads ../shared/data, but for the demo; the results name no item and no user.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from blend import _tell, copied
from record import write

import crossaisle
from crossaisle.data import demo
from crossaisle.data.settings import Settings
from crossaisle.eval import report as reports
from crossaisle.eval.evaluation import Evaluation, Options
from crossaisle.eval.intervals import paired
from crossaisle.eval.learning import learn
from crossaisle.eval.metrics import per_case
from crossaisle.eval.trained import ZERO_SHOT
from crossaisle.llm.recipe import Config

LISTS = ("llm", ZERO_SHOT, "blend", "blend without llm")


def main() -> None:
    """Teaches and measures the stores that are named, or all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--cases", type=int, default=150)
    parser.add_argument("--ship", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.names or ("demo", "courses", "movielens", "completejourney", "amazon14"):
        with tempfile.TemporaryDirectory() as temporary:
            teach(name, arguments.home or Path(temporary), arguments)


def teach(store: str, home: Path, arguments: argparse.Namespace) -> None:
    """Teaches the LLM on one store, measures it, writes its result."""
    settings = Settings.read().with_(llm="smollm2")
    path = home / f"{store}-trained"
    if not (path / "blend").exists():
        shop = copied(store, home)
        learn(shop, settings, part="blend", progress=_tell)
    shop = crossaisle.Workspace(path)
    trained = learn(shop, settings, part="ranker", ranker=Config(epochs=arguments.epochs), examples=arguments.examples, progress=_tell)
    options = Options(max_cases=arguments.cases, llm_cases=arguments.cases, budget=1)
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        rankings = Evaluation(shop, settings, Path(out), options, _tell).run()
        report = reports._plain(reports.build(rankings, options, shop, settings.llm))
        seconds = round(time.perf_counter() - start, 1)
    part = rankings.cases.part(rankings.part)
    ndcg = {}
    for name in LISTS:
        top = rankings.tops[name] if name in rankings.with_llm else rankings.tops[name][rankings.part]
        ndcg[name] = per_case(top, part.targets, options.k)["ndcg@10"]
    figures: dict[str, Any] = {"cases": len(part), "ranker": trained["ranker"], "training_seconds": trained["seconds"]}
    figures["ndcg@10"] = {name: report["systems"][name].get("on_llm_part", report["systems"][name])["ndcg@10"] for name in LISTS}
    figures["tuned_minus_zero_shot"] = paired(ndcg["llm"], ndcg[ZERO_SHOT], part.clusters).to_dict()
    figures["vote_adds"] = paired(ndcg["blend"], ndcg["blend without llm"], part.clusters).to_dict()
    figures["by_history_length"] = {
        name: report["systems"][name]["slices"]["history_length"] for name in LISTS if name in rankings.with_llm
    }
    figures |= {"adapter_bytes": (path / "adapter" / "adapter_model.safetensors").stat().st_size, "evaluation_seconds": seconds}
    figures["random_order_of_the_same_candidates"] = round(_by_lot(rankings.tops["llm"], part.targets, options.k), 5)
    write(f"ranker-{store}", figures)
    if store == "demo" and arguments.ship:
        shutil.rmtree(demo.ADAPTER, ignore_errors=True)
        shutil.copytree(path / "adapter", demo.ADAPTER)


def _by_lot(top: np.ndarray, targets: Any, k: int) -> float:
    """NDCG of what was read, in an order by lot: the mean of twenty."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(20):
        mixed = top.copy()
        for row in mixed:
            there = int((row >= 0).sum())
            row[:there] = random.permutation(row[:there])
        found.append(float(np.nanmean(per_case(mixed, targets, k)[f"ndcg@{k}"])))
    return float(np.mean(found))


if __name__ == "__main__":
    main()
