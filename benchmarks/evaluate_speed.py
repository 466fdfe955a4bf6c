"""Time of an offline evaluation by part: 2,000 cases over 38,000 items in two categories, with all baselines and untrained channels.

    python benchmarks/evaluate_speed.py [--users 8500] [--items 38000] [--cases 2000] [--baselines-only]

The store is simulated with a seed: shoppers and items have latent factors, and shoppers buy by their factors and by power-law popularity.
Titles are different combinations of words. The protocol is leave-one-out, in which every shopper has a case and every case ranks all
items. There is no LLM. The peer is one fit and ranking of `item-knn cosine` in the same process; `ratio` is the time of `Evaluation.run`
over it. The quality is not measured.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from record import write

import crossaisle
from crossaisle.eval.baselines.registry import BASELINES
from crossaisle.eval.metrics.full_ranking import rank
from crossaisle.eval.offline.evaluation import Evaluation, Rankings
from crossaisle.eval.offline.options import EvaluationOptions
from crossaisle.eval.offline.system_names import RANKING_DEPTH
from crossaisle.eval.splits.training_data import TrainingData

FACTORS, SHOPPERS_AT_ONCE, SPAN = 16, 250, 2 * 365 * 86_400
START = 1_600_000_000
QUALITIES = "red blue green black white small large light heavy soft hard round flat warm cool plain old new wide thin".split()
MATERIALS = "steel wool oak glass cotton leather paper stone copper rubber silk clay linen brass bamboo felt cork wax tin".split()
NOUNS = (
    "lamp chair table kettle rope tent drum flute scarf glove boot plate bowl spoon knife clock mirror basket box bag belt hat "
    "coat shirt sock pen brush easel frame vase candle carpet curtain pillow blanket towel soap comb razor ring necklace bracelet "
    "watch ball bat racket net kite sledge skate oar anchor lantern compass map globe puzzle puppet doll train car truck plane "
    "boat bridge tower fence gate ladder hammer saw drill nail screw bolt wrench level bucket hose rake spade pot seed bench swing "
    "hammock umbrella fan heater stove oven pan sieve jug mug tray whisk grater funnel press scale"
).split()


def main() -> None:
    """Generate the store, index it, evaluate, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--users", type=int, default=8_500)
    options.add_argument("--items", type=int, default=38_000)
    options.add_argument("--cases", type=int, default=2_000)
    options.add_argument("--baselines-only", action="store_true")
    chosen = options.parse_args()
    settings = crossaisle.Settings.read().with_(llm="none")
    with tempfile.TemporaryDirectory(prefix="evaluate-speed-") as folder:
        store, shop = Path(folder) / "store", Path(folder) / "shop"
        store.mkdir()
        generate(store, chosen.users, chosen.items)
        report = crossaisle.ingest(shop, "files", [store])
        workspace = crossaisle.Workspace(shop)
        start = time.perf_counter()
        crossaisle.index(workspace, settings)
        index_seconds = time.perf_counter() - start
        print(f"indexed in {index_seconds:.0f} s", flush=True)
        evaluation_options = EvaluationOptions(
            protocol="leave-one-out", max_cases=chosen.cases, near_duplicates=True, baselines_only=chosen.baselines_only
        )
        rankings, seconds = timed_run(crossaisle.Workspace(shop), settings, Path(folder) / "report", evaluation_options)
        peer = one_ranking(rankings)
    write(
        "evaluate_speed",
        {
            "users": report.users,
            "items": report.items,
            "interactions": report.interactions,
            "cases": len(rankings.cases),
            "validation_cases": max((tuned.get("validation_cases", 0) for tuned in rankings.tuning.values()), default=0),
            "configurations_tried": sum(len(tuned.get("trials", [])) for tuned in rankings.tuning.values()),
            "seconds": {part: round(value, 2) for part, value in seconds.items()},
            "peer_seconds": round(peer, 2),
            "ratio": round(seconds["run"] / peer, 1),
            "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        },
    )


def generate(store: Path, users: int, items: int) -> None:
    """Write `items.parquet` and `interactions.parquet`."""
    random = np.random.default_rng(11)
    category = np.arange(items) % 2
    words = np.unravel_index(
        random.permutation(len(QUALITIES) * len(MATERIALS) * len(NOUNS))[:items], (len(QUALITIES), len(MATERIALS), len(NOUNS))
    )
    titles = [f"{QUALITIES[a]} {MATERIALS[b]} {NOUNS[c]}" for a, b, c in zip(*(part.tolist() for part in words), strict=True)]
    pl.DataFrame(
        {"item_id": [f"i{i}" for i in range(items)], "title": titles, "category": [[("Indoors", "Outdoors")[i]] for i in category.tolist()]}
    ).write_parquet(store / "items.parquet")
    popularity = np.log(1 / (random.permutation(items) + 20) ** 0.9)
    item_factors = random.normal(size=(items, FACTORS)).astype(np.float32)
    shoppers, rows = [], []
    for start in range(0, users, SHOPPERS_AT_ONCE):
        factors = random.normal(size=(min(SHOPPERS_AT_ONCE, users - start), FACTORS)).astype(np.float32)
        # The highest scores with Gumbel noise are a sample without replacement by the softmax of the scores.
        utility = 0.5 * factors @ item_factors.T + popularity + random.gumbel(size=(len(factors), items))
        lengths = 4 + random.poisson(22, len(factors))
        best = np.argpartition(-utility, 63, axis=1)[:, :64]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(utility, best, axis=1), axis=1), axis=1)
        shopper, place = np.nonzero(np.arange(64) < lengths[:, None])
        shoppers.append(shopper + start)
        rows.append(best[shopper, place])
    shopper, row = np.concatenate(shoppers), np.concatenate(rows)
    pl.DataFrame({"user": shopper, "row": row, "timestamp": START + random.integers(0, SPAN, len(row))}).select(
        pl.format("u{}", "user").alias("user_id"), pl.format("i{}", "row").alias("item_id"), kind=pl.lit("purchase"), timestamp="timestamp"
    ).write_parquet(store / "interactions.parquet")


def timed_run(
    workspace: crossaisle.Workspace, settings: crossaisle.Settings, out: Path, options: EvaluationOptions
) -> tuple[Rankings, dict[str, float]]:
    """The rankings, and the seconds of each part: opening, preparation, each baseline tuned and ranked, the channels, and all of `run`."""
    marks: list[tuple[str, float]] = []
    names = [*BASELINES, "channels"]

    def progress(stage: str, done: int, _: int) -> None:
        if stage == "baselines":
            marks.append((names[done], time.perf_counter()))

    start = time.perf_counter()
    evaluation = Evaluation(workspace, settings, out, options, progress)
    opened = time.perf_counter()
    rankings = evaluation.run()
    end = time.perf_counter()
    moments = [("preparation", opened), *marks, ("", end)]
    parts = {name: later - moment for (name, moment), (_, later) in pairwise(moments)}
    return rankings, {"open": opened - start, **parts, "baselines": marks[-1][1] - marks[0][1], "run": end - opened}


def one_ranking(rankings: Rankings) -> float:
    """Seconds of one fit and ranking of `item-knn cosine`, the peer, without anything cached."""
    known = rankings.training_view.training_data
    training = TrainingData(known.histories, known.timestamps, known.item_count, known.category, known.vectors)
    baseline = BASELINES["item-knn cosine"]
    start = time.perf_counter()
    rank(baseline.fit(training, baseline.configs[0]), rankings.cases, rankings.eligible, RANKING_DEPTH)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
