"""Quality after training on real stores: the blend, each channel and each ablation beside the tuned baselines.

    python benchmarks/blend.py [NAME ...] [--home FOLDER] [--max-cases 2000] [--questions N]

NAME is amazon14, completejourney, courses, movielens, or a pair of categories such as amazon14-beauty+toys. Runs `crossaisle train` and
`crossaisle evaluate` with the protocols users and whole-category; of a pair, with a case file for each direction: everything that the
held-out shoppers of both categories have in one is the history, everything in the other the targets. Beside the trained blend stand the
`prior`, which is what an untrained store gets, fitted without the store's family (`priors/`, see `prior.py`), and on some of the cases the
former mix of three channels by rank. Writes `results/blend-NAME.json` and `results/blend-NAME-whole-category.json`, or
`results/blend-pair-FROM-TO.json`; with `--questions N` the blend is fitted to about N questions only, and the files end in `-N-questions`.
With `--home` the trained store is kept, for `ranker.py`. Reads ../shared/data; the results contain no item and no user.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from prior import prior_without, serving_prior
from record import write
from stores import workspace

import crossaisle
from crossaisle.data.settings import Settings
from crossaisle.data.splits import HeldOut, Split
from crossaisle.eval.metrics.accuracy import per_case
from crossaisle.eval.offline import report as reports
from crossaisle.eval.offline.blend_systems import Blends, BlendSystems
from crossaisle.eval.offline.checkpoints import EvaluationCheckpoint
from crossaisle.eval.offline.evaluation import Evaluation, Rankings, padded_rows
from crossaisle.eval.offline.options import EvaluationOptions
from crossaisle.eval.offline.system_names import BLEND
from crossaisle.eval.splits import protocols
from crossaisle.eval.splits.cases import Cases, EligibleItems, save_cases
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.eval.stats.bootstrap import bootstrap_mean, paired_difference
from crossaisle.recommend.profiles.profile import ItemAttributes, purchase_profile
from crossaisle.retrieval.index.builder import item_vectors, load
from crossaisle.retrieval.items.interactions import Events
from crossaisle.retrieval.items.ragged import RaggedArray
from crossaisle.train import out_of_fold
from crossaisle.train.pipeline import train_workspace
from crossaisle.train.questions import KINDS

STORES = ("courses", "movielens", "completejourney", "amazon14")
PAIRS = ("amazon14-beauty+toys",)
SEED = 2
"""Seed of the split. The design of the blend was compared on test users of seeds 0 and 1."""
MIX_CASES = 500
"""Cases on which the prior is compared with the former mix, which takes up to a second each."""
KEPT = ("ndcg@10", "recall@10", "hit@10", "mrr", "vs_best_baseline")


def main() -> None:
    """Train and evaluate the named stores, default all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--max-cases", type=int, default=2000)
    parser.add_argument("--questions", type=int)
    arguments = parser.parse_args()
    for name in arguments.names or (*STORES, *PAIRS):
        with tempfile.TemporaryDirectory() as temporary:
            home = arguments.home or Path(temporary) / "stores"
            with serving_prior(prior_without(name)):
                measure(name, home, arguments.max_cases, arguments.questions)


def measure(store: str, home: Path, max_cases: int, questions: int | None = None) -> None:
    """Train a copy of one store, evaluate it and write the results."""
    settings, end = Settings.read().with_(llm="none"), ""
    shop = copied(store, home)
    if questions:
        end = f"-{questions}-questions"
        out_of_fold.MAX_QUERIES_PER_KIND = questions // len(KINDS)
    training = train_workspace(shop, settings, Split(seed=SEED), part="blend", progress=_tell)
    if "+" in store:
        for cases in pair_cases(shop, home / f"{store}-cases"):
            options = EvaluationOptions(cases=str(cases), max_cases=max_cases, llm_cases=0, seed=SEED)
            write(f"blend-pair-{cases.stem}{end}", evaluated(shop, options, training))
        return
    measured: dict[bytes, dict[str, Any]] = {}
    for protocol, suffix in (("users", ""), ("whole-category", "-whole-category")):
        options = EvaluationOptions(protocol=protocol, max_cases=max_cases, llm_cases=0, seed=SEED)  # type: ignore[arg-type]
        cases = tested(shop, options).cases  # of a store without an order, both protocols have the same
        key = b"".join(part.tobytes() for rows in (cases.histories, cases.targets) for part in (rows.starts, rows.rows))
        measured[key] = measured.get(key) or evaluated(shop, options, training)
        write(f"blend-{store}{suffix}{end}", measured[key])


def evaluated(shop: crossaisle.Workspace, options: EvaluationOptions, training: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one evaluation of a trained store. Args: training: metrics of its training."""
    settings, start = Settings.read().with_(llm="none"), time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        rankings = Evaluation(shop, settings, Path(temporary) / "out", options, _tell).run()
        seconds = round(time.perf_counter() - start, 1)
        rankings = with_prior(rankings, shop, Path(temporary))
        report = reports.to_jsonable(reports.build(rankings, options, shop, settings.llm))
    figures: dict[str, Any] = {name: report[name] for name in ("cases", "users", "scope", "best_baseline", "split", "left_out", "training")}
    figures |= {"candidate_recall": report["candidate_recall"], "oracle": report.get("oracle"), "trained": reports.to_jsonable(training)}
    figures["evaluation_seconds"] = seconds
    targets, clusters = rankings.cases.targets, rankings.cases.clusters
    values = {name: per_case(top, targets, 10)["ndcg@10"] for name, top in rankings.ranked_rows.items()}
    minus_blend = {name: paired_difference(each, values[BLEND], clusters, seed=SEED).to_dict() for name, each in values.items()}
    figures["systems"] = {
        name: {"kind": about["kind"]}
        | {metric: about[metric] for metric in KEPT}
        | {"minus_blend": minus_blend[name]}
        | {"coverage": about["beyond"]["coverage"], "average_popularity": about["beyond"]["average_popularity"]}
        | {"by_history_length": about["slices"]["history_length"], "by_target_popularity": about["slices"]["target_popularity"]}
        for name, about in report["systems"].items()
    }
    figures["prior_and_mix"] = compared_with_mix(rankings)
    figures["new_items"] = report["new_items"]
    figures["tuned"] = {name: about.get("config", about) for name, about in report["baselines"].items()}
    return figures


def with_prior(rankings: Rankings, shop: crossaisle.Workspace, folder: Path) -> Rankings:
    """The rankings with the prior as another blend, over default channels fitted to what is not held out."""
    settings = Settings.read().with_(llm="none")
    blends = Blends.untrained(rankings.training_view)
    checkpoint = EvaluationCheckpoint.open(folder / "prior", shop, settings, {}, rankings.cases)
    blends, nobody = replace(blends, models={BLEND: blends.models[BLEND]}), np.empty(0, np.int64)
    systems = BlendSystems(shop, settings, rankings.training_view, blends, rankings.cases, rankings.eligible, nobody, checkpoint)
    rows = padded_rows(systems.rank(_tell).lists[BLEND])
    return replace(rankings, system_kinds={**rankings.system_kinds, "prior": "blend"}, ranked_rows={**rankings.ranked_rows, "prior": rows})


def compared_with_mix(rankings: Rankings) -> dict[str, Any]:
    """NDCG@10 of the prior and of the former mix of three channels on some of the cases, and their difference."""
    view, count = rankings.training_view, len(rankings.cases)
    chosen = np.sort(np.random.default_rng(SEED).permutation(count)[:MIX_CASES])
    cases, facts, lists = rankings.cases.take(chosen), ItemAttributes.from_catalogue(view.catalogue), []
    for case in range(len(cases)):
        _tell("the former mix", case, len(cases))
        mask = rankings.eligible.mask(cases, slice(case, case + 1))[0]
        query = purchase_profile(cases.histories[case], facts).candidate_query()
        lists.append([view.catalogue.row(candidate.item_id) for candidate in view.retriever.candidates(query, mask, 20)])
    values = {
        name: per_case(rows, cases.targets, 10)["ndcg@10"]
        for name, rows in (("mix", padded_rows(lists)), ("prior", rankings.ranked_rows["prior"][chosen]))
    }
    difference = paired_difference(values["prior"], values["mix"], cases.clusters, seed=SEED).to_dict()
    means = {name: bootstrap_mean(each, cases.clusters, seed=SEED).to_dict() for name, each in values.items()}
    return {"cases": len(cases), **means, "prior_minus_mix": difference}


def pair_cases(shop: crossaisle.Workspace, folder: Path) -> list[Path]:
    """A case file for each direction between the store's two categories, of its held-out users of both."""
    settings = Settings.read().with_(llm="none")
    catalogue, _, _ = load(shop, settings)
    events = Events.build(shop.table("interactions"), catalogue)
    split = protocols.resolve_split(Split(seed=SEED), events, catalogue)
    is_test = split.users(events.users.to_list(), "test")
    sizes = np.bincount(catalogue.category, minlength=len(catalogue.categories))
    names = [catalogue.categories[code] for code in np.argsort(-sizes, kind="stable")[:2].tolist()]  # a few items are filed elsewhere
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for source, target in (names, names[::-1]):
        users, histories, targets = [], [], []
        for user in np.flatnonzero(is_test).tolist():
            rows = np.unique(events.row[events.starts[user] : events.starts[user + 1]])
            categories = np.asarray([catalogue.categories[code] for code in catalogue.category[rows].tolist()])
            if (categories == source).any() and (categories == target).any():
                users.append(str(events.users[user]))
                histories.append(rows[categories == source].tolist())
                targets.append(rows[categories == target].tolist())
        slug = "-".join(name.split()[0].lower() for name in (source, target))
        files.append(folder / f"{slug}.jsonl")
        save_cases(Cases(users, RaggedArray.of(histories), RaggedArray.of(targets), [target] * len(users)), catalogue, files[-1])
    return files


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
