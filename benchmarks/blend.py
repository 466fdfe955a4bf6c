"""Quality after training on real stores: the blend, each channel and each ablation beside the tuned baselines.

    python benchmarks/blend.py [NAME ...] [--home FOLDER] [--max-cases 2000] [--convolution normalised|attention]

NAME is amazon14, completejourney, courses or movielens. Runs `crossaisle train blend` and `crossaisle evaluate` with the users protocol.
Writes `results/blend-NAME.json`, with the suffix `-attention` for that convolution. With `--home` the trained store is kept, for
`ranker.py`, `candidates.py` and `new_items.py`. Reads ../shared/data; the results contain no item and no user.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from record import write
from stores import workspace

import crossaisle
from crossaisle.data.settings import Settings
from crossaisle.data.splits import HeldOut, Split
from crossaisle.eval.offline import report as reports
from crossaisle.eval.offline.evaluation import Evaluation
from crossaisle.eval.offline.options import EvaluationOptions
from crossaisle.eval.splits.cases import Cases, EligibleItems
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.retrieval.graph.model import GraphConfig
from crossaisle.retrieval.index.builder import item_vectors
from crossaisle.retrieval.trainable_channels import TRAINABLE_CHANNELS
from crossaisle.train.pipeline import train_workspace

STORES = ("courses", "movielens", "completejourney", "amazon14")
KEPT = ("ndcg@10", "recall@10", "hit@10", "mrr", "vs_best_baseline")


def main() -> None:
    """Train and evaluate the named stores, default all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--max-cases", type=int, default=2000)
    parser.add_argument("--convolution", choices=("normalised", "attention"), default="normalised")
    arguments = parser.parse_args()
    for name in arguments.names or STORES:
        evaluate(name, arguments)


def evaluate(store: str, arguments: argparse.Namespace) -> None:
    """Train and evaluate a copy of one store and write its result."""
    settings = Settings.read().with_(llm="none")
    with tempfile.TemporaryDirectory() as temporary:
        shop = copied(store, arguments.home or Path(temporary) / "stores")
        trained = train_workspace(
            shop,
            settings,
            part="blend",
            channels=tuple(TRAINABLE_CHANNELS),
            config=GraphConfig(convolution=arguments.convolution),
            progress=_tell,
        )
        options = EvaluationOptions(max_cases=arguments.max_cases, llm_cases=0)
        start = time.perf_counter()
        rankings = Evaluation(shop, settings, Path(temporary) / "out", options, _tell).run()
        report = reports.to_jsonable(reports.build(rankings, options, shop, settings.llm))
        seconds = round(time.perf_counter() - start, 1)
    figures: dict[str, Any] = {name: report[name] for name in ("cases", "users", "scope", "best_baseline", "split", "left_out", "training")}
    figures |= {"candidate_recall": report["candidate_recall"], "trained": reports.to_jsonable(trained), "evaluation_seconds": seconds}
    figures["systems"] = {
        name: {"kind": about["kind"]}
        | {metric: about[metric] for metric in KEPT}
        | {"coverage": about["beyond"]["coverage"], "average_popularity": about["beyond"]["average_popularity"]}
        | {"by_history_length": about["slices"]["history_length"], "by_target_popularity": about["slices"]["target_popularity"]}
        for name, about in report["systems"].items()
    }
    figures["new_items"] = report["new_items"]
    figures["tuned"] = {name: about.get("config", about) for name, about in report["baselines"].items()}
    write(f"blend-{store}" + ("-attention" if arguments.convolution == "attention" else ""), figures)


def named(measured: Callable[[str, Path, int], None]) -> None:
    """Parse store names, `--home` and `--max-cases`, and measure each store in that folder or a temporary one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--max-cases", type=int, default=2000)
    arguments = parser.parse_args()
    for name in arguments.names or STORES:
        with tempfile.TemporaryDirectory() as temporary:
            measured(name, arguments.home or Path(temporary), arguments.max_cases)


def trained(store: str, home: Path, part: str) -> crossaisle.Workspace:
    """The trained store of a folder, as it is where it has the part, else trained up to it. Args: part: graph or blend."""
    path = home / f"{store}-trained"
    if not (path / part).exists():
        train_workspace(
            copied(store, home), Settings.read().with_(llm="none"), part=part, channels=tuple(TRAINABLE_CHANNELS), progress=_tell
        )
    return crossaisle.Workspace(path)


class Tested(NamedTuple):
    """Who an evaluation of a store would test, and what may be known beside them."""

    split: Split
    cases: Cases
    held_out: HeldOut
    eligible: EligibleItems
    known: TrainingView


def tested(shop: crossaisle.Workspace, options: EvaluationOptions) -> Tested:
    """The cases of `crossaisle evaluate` with some options, and what its systems may know."""
    with tempfile.TemporaryDirectory() as temporary:
        evaluation = Evaluation(shop, Settings.read().with_(llm="none"), Path(temporary), options)
        vectors = item_vectors(evaluation.index, evaluation.catalogue)
        split, cases, held_out, eligible = evaluation._cases(vectors)
    return Tested(split, cases, held_out, eligible, TrainingView.from_workspace(shop, held_out, evaluation.index, vectors))


def copied(store: str, home: Path) -> crossaisle.Workspace:
    """A copy of a store to train in, `NAME-trained` beside it; one that was there is removed."""
    made, path = workspace(store, home), home / f"{store}-trained"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(made.path, path)
    return crossaisle.Workspace(path)


_last = [""]


def _tell(stage: str, done: int, total: int) -> None:
    if stage != _last[0]:
        _last[0] = stage
        print(f"{time.strftime('%H:%M:%S')} {stage} ({done} of {total})", flush=True)


if __name__ == "__main__":
    main()
