"""Quality after training on real stores: the blend, each channel and each ablation beside the tuned baselines.

    python benchmarks/blend.py [NAME ...] [--home FOLDER] [--max-cases 2000]

NAME is amazon14, completejourney, courses, movielens, or a pair of categories such as amazon14-beauty+toys. Runs `crossaisle train` and
`crossaisle evaluate` with the protocols users and whole-category; of a pair, with a case file for each direction: everything that the
held-out shoppers of both categories have in one is the history, everything in the other the targets. Writes `results/blend-NAME.json` and
`results/blend-NAME-whole-category.json`, or `results/blend-pair-FROM-TO.json`. With `--home` the trained store is kept, for `ranker.py`,
`candidates.py` and `new_items.py`. Reads ../shared/data; the results contain no item and no user.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from record import write
from stores import workspace

import crossaisle
from crossaisle.data.settings import Settings
from crossaisle.data.splits import HeldOut, Split
from crossaisle.eval.offline import report as reports
from crossaisle.eval.offline.evaluation import Evaluation
from crossaisle.eval.offline.options import EvaluationOptions
from crossaisle.eval.splits import protocols
from crossaisle.eval.splits.cases import Cases, EligibleItems, save_cases
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.retrieval.index.builder import item_vectors, load
from crossaisle.retrieval.items.interactions import Events
from crossaisle.retrieval.items.ragged import RaggedArray
from crossaisle.retrieval.trainable_channels import TRAINABLE_CHANNELS
from crossaisle.train.pipeline import train_workspace

STORES = ("courses", "movielens", "completejourney", "amazon14")
PAIRS = ("amazon14-beauty+toys", "amazon14-beauty+sports")
KEPT = ("ndcg@10", "recall@10", "hit@10", "mrr", "vs_best_baseline")


def main() -> None:
    """Train and evaluate the named stores, default all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--max-cases", type=int, default=2000)
    arguments = parser.parse_args()
    for name in arguments.names or (*STORES, *PAIRS):
        with tempfile.TemporaryDirectory() as temporary:
            measure(name, arguments.home or Path(temporary) / "stores", arguments.max_cases)


def measure(store: str, home: Path, max_cases: int) -> None:
    """Train a copy of one store, evaluate it and write the results."""
    settings = Settings.read().with_(llm="none")
    shop = copied(store, home)
    training = train_workspace(shop, settings, part="blend", progress=_tell)
    if "+" in store:
        for cases in pair_cases(shop, home / f"{store}-cases"):
            write(
                f"blend-pair-{cases.stem}", evaluated(shop, EvaluationOptions(cases=str(cases), max_cases=max_cases, llm_cases=0), training)
            )
        return
    for protocol, suffix in (("users", ""), ("whole-category", "-whole-category")):
        options = EvaluationOptions(protocol=protocol, max_cases=max_cases, llm_cases=0)  # type: ignore[arg-type]
        write(f"blend-{store}{suffix}", evaluated(shop, options, training))


def evaluated(shop: crossaisle.Workspace, options: EvaluationOptions, training: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one evaluation of a trained store. Args: training: metrics of its training."""
    settings, start = Settings.read().with_(llm="none"), time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        rankings = Evaluation(shop, settings, Path(temporary) / "out", options, _tell).run()
        report = reports.to_jsonable(reports.build(rankings, options, shop, settings.llm))
    seconds = round(time.perf_counter() - start, 1)
    figures: dict[str, Any] = {name: report[name] for name in ("cases", "users", "scope", "best_baseline", "split", "left_out", "training")}
    figures |= {"candidate_recall": report["candidate_recall"], "oracle": report.get("oracle"), "trained": reports.to_jsonable(training)}
    figures["evaluation_seconds"] = seconds
    figures["systems"] = {
        name: {"kind": about["kind"]}
        | {metric: about[metric] for metric in KEPT}
        | {"coverage": about["beyond"]["coverage"], "average_popularity": about["beyond"]["average_popularity"]}
        | {"by_history_length": about["slices"]["history_length"], "by_target_popularity": about["slices"]["target_popularity"]}
        for name, about in report["systems"].items()
    }
    figures["new_items"] = report["new_items"]
    figures["tuned"] = {name: about.get("config", about) for name, about in report["baselines"].items()}
    return figures


def pair_cases(shop: crossaisle.Workspace, folder: Path) -> list[Path]:
    """A case file for each direction between the store's two categories, of its held-out users of both."""
    settings = Settings.read().with_(llm="none")
    catalogue, _, _ = load(shop, settings)
    events = Events.build(shop.table("interactions"), catalogue)
    split = protocols.resolve_split(Split(), events, catalogue)
    is_test = split.users(events.users.to_list(), "test")
    names = [name for name in catalogue.categories if name]
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for target in names:
        users, histories, targets = [], [], []
        for user in np.flatnonzero(is_test).tolist():
            rows = np.unique(events.row[events.starts[user] : events.starts[user + 1]])
            inside = np.asarray([catalogue.categories[code] == target for code in catalogue.category[rows].tolist()])
            if inside.any() and not inside.all():
                users.append(str(events.users[user]))
                histories.append(rows[~inside].tolist())
                targets.append(rows[inside].tolist())
        source = next(name for name in names if name != target)
        slug = "-".join(name.split()[0].lower() for name in (source, target))
        files.append(folder / f"{slug}.jsonl")
        save_cases(Cases(users, RaggedArray.of(histories), RaggedArray.of(targets), [target] * len(users)), catalogue, files[-1])
    return files


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
