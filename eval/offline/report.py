"""All figures of one evaluation, as `report.json` holds them.

Every system stands on the same cases. Where the LLM read a part of them only, its systems are of that part, and every other system has its
figures on that part beside its own, so that the LLM is never held against other cases.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import __version__
from ...data.atomic_files import write_atomically
from ...data.errors import storing
from ..metrics import beyond_accuracy, slices
from ..metrics.accuracy import hits, ndcg, per_case, recall
from ..stats.bootstrap import Interval, bootstrap_mean, paired_difference
from .channel_systems import BLEND, LLM, blend_without
from .trained_systems import LIST_LENGTH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.workspace import Workspace
    from ...retrieval.items.ragged import Runs
    from ..splits.cases import Cases
    from .evaluation import EvaluationOptions, Rankings

RECALL_DEPTHS = (50, 100, 200)
WORST_CASE_COUNT = 5


def build(rankings: Rankings, options: EvaluationOptions, workspace: Workspace, llm: str) -> dict[str, Any]:
    """The report: what was evaluated, and per system its figures with 95 % intervals."""
    cases, k, seed = rankings.cases, options.k, options.seed
    everything = np.arange(len(cases))
    part = cases.take(rankings.llm_case_indices)
    partial = 0 < len(part) < len(cases)
    values = {
        name: per_case(top, (part if name in rankings.llm_systems else cases).targets, k) for name, top in rankings.ranked_rows.items()
    }
    headline = f"ndcg@{k}"
    baselines = [name for name, kind in rankings.system_kinds.items() if kind == "baseline"]
    best = max(baselines, key=lambda name: float(np.nanmean(values[name][headline])))
    groups = slices.load_user_groups(Path(options.groups), str(options.group_by), cases.users) if options.groups else None
    found: dict[str, Any] = {}
    for name, kind in rankings.system_kinds.items():
        of_part = name in rankings.llm_systems
        these = part if of_part else cases
        rival = values[best][headline][rankings.llm_case_indices] if of_part else values[best][headline]
        found[name] = {
            "kind": kind,
            "cases": len(these),
            **_intervals(values[name], these, seed),
            "vs_best_baseline": paired_difference(values[name][headline], rival, these.clusters, seed=seed).to_dict(),
            "beyond": _beyond_accuracy(rankings, rankings.ranked_rows[name][:, :k], these),
            "slices": _slices(rankings, rankings.ranked_rows[name], these, values[name][headline], k, seed),
        }
        if groups:
            told = [groups[i] for i in (rankings.llm_case_indices if of_part else everything).tolist()]
            gaps = beyond_accuracy.group_gap(values[name][headline], told, these.clusters)
            found[name]["groups"] = {group: interval.to_dict() for group, interval in gaps.items()}
        if partial and not of_part:
            on_part = {metric: of_case[rankings.llm_case_indices] for metric, of_case in values[name].items()}
            found[name]["on_llm_part"] = {
                "cases": len(part),
                **_intervals(on_part, part, seed),
                "vs_best_baseline": paired_difference(
                    on_part[headline], values[best][headline][rankings.llm_case_indices], part.clusters, seed=seed
                ).to_dict(),
            }
    return {
        "crossaisle": __version__,
        "cases": len(cases),
        "llm_cases": len(part),
        "users": len(set(cases.users)),
        "k": k,
        "best_baseline": best,
        "split": rankings.split.to_dict(),
        "scope": cases.scope,
        "held_out": dict(rankings.held_out.to_dict()),
        "left_out": dict(cases.exclusions),
        "options": asdict(options),
        "snapshot": workspace.manifest.snapshot,
        "item_noun": workspace.manifest.item_noun,
        "llm": llm,
        "training": {
            "users": len(rankings.training_view.training_data.histories),
            "items": rankings.training_view.training_data.item_count,
            "interactions": len(rankings.training_view.training_data.histories.rows),
        },
        "candidate_recall": {} if options.baselines_only else _candidate_recall(rankings),
        "baselines": dict(rankings.tuning),
        "systems": found,
        "novelty": _novelty(rankings, k, seed),
        "new_items": new_items_section(rankings, seed),
        "losing": [] if options.baselines_only else _worst_cases(rankings, values, best, headline),
    }


def write(report: Mapping[str, Any], out: Path) -> Path:
    """Writes `report.json` into the folder; returns its path."""
    path = out / "report.json"
    with storing(f"the report in {out}"):
        write_atomically(path, (json.dumps(to_jsonable(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return path


def _intervals(values: Mapping[str, NDArray[np.float64]], cases: Cases, seed: int) -> dict[str, Any]:
    return {metric: bootstrap_mean(of_case, cases.clusters, seed=seed).to_dict() for metric, of_case in values.items()}


def _beyond_accuracy(rankings: Rankings, top: NDArray[np.int32], cases: Cases) -> dict[str, float]:
    users, category = rankings.training_view.training_data.user_counts, rankings.training_view.catalogue.category
    rankable = rankings.eligible.rankable
    return {
        "coverage": beyond_accuracy.coverage(top, rankable),
        "gini": beyond_accuracy.gini(top, rankable),
        "average_popularity": beyond_accuracy.average_popularity(top, users),
        "popularity_lift": beyond_accuracy.popularity_lift(top, users, cases.histories),
        "novelty": beyond_accuracy.novelty(top, users, len(rankings.training_view.training_data.histories)),
        "diversity": beyond_accuracy.diversity(top, rankings.training_view.vectors),
        "cross_category_rate": beyond_accuracy.cross_category_rate(top, cases, category),
        "calibration": beyond_accuracy.calibration(top, cases.targets, category),
    }


def _slices(
    rankings: Rankings, top: NDArray[np.int32], cases: Cases, values: NDArray[np.float64], k: int, seed: int
) -> dict[str, dict[str, Any]]:
    def told(of_case: NDArray[np.float64], clusters: NDArray[np.int64]) -> dict[str, Any]:
        return {"cases": int((~np.isnan(of_case)).sum()), **bootstrap_mean(of_case, clusters, seed=seed, resamples=500).to_dict()}

    lengths = {name: told(values[inside], cases.clusters[inside]) for name, inside in slices.by_history_length(cases.histories)}
    popularity = {
        name: told(ndcg(hits(top, targets), targets.lengths, k), cases.clusters)
        for name, targets in slices.by_target_popularity(cases.targets, rankings.training_view.training_data.user_counts)
    }
    categories = {
        name: told(values[inside], cases.clusters[inside])
        for name, inside in slices.by_category_pair(cases, rankings.training_view.catalogue)
    }
    return {"history_length": lengths, "target_popularity": popularity, "category_pair": categories}


def _candidate_recall(rankings: Rankings) -> dict[str, dict[str, float]]:
    """Share of the targets, over the cases, that each channel and all of them together hold among their first n."""
    cases = rankings.cases
    channels = [name for name, kind in rankings.system_kinds.items() if kind == "channel" and name not in rankings.llm_systems]
    found: dict[str, dict[str, float]] = {name: {} for name in (*channels, "union")}
    for n in RECALL_DEPTHS:
        each = [hits(rankings.ranked_rows[name], cases.targets)[:, :n] for name in channels]
        for name, hit in zip(channels, each, strict=True):
            found[name][str(n)] = float(np.nanmean(recall(hit, cases.targets.lengths, n)))
        together = [np.unique(np.concatenate([rankings.ranked_rows[name][i, :n] for name in channels])) for i in range(len(cases))]
        held = [np.isin(cases.targets[i], rows).mean() for i, rows in enumerate(together)]
        found["union"][str(n)] = float(np.mean(held))
    return found


def _novelty(rankings: Rankings, k: int, seed: int) -> list[dict[str, Any]]:
    """What each level of novelty costs in accuracy, paired by case against none, and what it gains."""
    cases = rankings.cases
    at = {level: ndcg(hits(top, cases.targets), cases.targets.lengths, k) for level, top in rankings.novelty.items()}
    return [
        {
            "novelty": level,
            f"ndcg@{k}": bootstrap_mean(of_case, cases.clusters, seed=seed).to_dict(),
            "minus_none": paired_difference(of_case, at[0.0], cases.clusters, seed=seed).to_dict(),
            "coverage": beyond_accuracy.coverage(rankings.novelty[level][:, :k], rankings.eligible.rankable),
            "average_popularity": beyond_accuracy.average_popularity(
                rankings.novelty[level][:, :k], rankings.training_view.training_data.user_counts
            ),
        }
        for level, of_case in at.items()
    ]


def new_items_section(rankings: Rankings, seed: int) -> list[dict[str, Any]]:
    """What keeping places of ten for new items costs in accuracy, paired by case against keeping none, and gains on such targets."""
    cases = rankings.cases
    if not rankings.new_items:
        return []
    slice_of = dict(slices.by_target_popularity(cases.targets, rankings.training_view.training_data.user_counts))
    of = {"all": cases.targets, **{name: slice_of[name] for name in (slices.COLD, slices.RARE)}}
    plain = rankings.novelty[0.0]

    def told(top: NDArray[np.int32], targets: Runs) -> dict[str, Any]:
        value, none = (ndcg(hits(one, targets), targets.lengths, LIST_LENGTH) for one in (top, plain))
        return {
            "cases": int((targets.lengths > 0).sum()),
            f"ndcg@{LIST_LENGTH}": bootstrap_mean(value, cases.clusters, seed=seed).to_dict(),
            "minus_none": paired_difference(value, none, cases.clusters, seed=seed).to_dict(),
        }

    ways = {(0, 0): plain, **rankings.new_items}
    return [
        {"places": places, "up_to": up_to, **{name: told(top, targets) for name, targets in of.items()}}
        for (places, up_to), top in ways.items()
    ]


def _worst_cases(
    rankings: Rankings, values: Mapping[str, Mapping[str, NDArray[np.float64]]], best: str, headline: str
) -> list[dict[str, Any]]:
    """The cases where the blend falls furthest behind the best baseline, with what each of the two ranked first."""
    blend = BLEND if BLEND in rankings.ranked_rows else blend_without(LLM)
    of_part = blend in rankings.llm_systems
    numbers = rankings.llm_case_indices if of_part else np.arange(len(rankings.cases))
    behind = values[blend][headline] - values[best][headline][numbers]
    titles = rankings.training_view.catalogue.items["title"].to_list()
    worst = np.argsort(behind, kind="stable")[:WORST_CASE_COUNT]
    cases = rankings.cases

    def names(rows: NDArray[np.int32], most: int = 5) -> list[str]:
        return [titles[row] for row in rows[:most].tolist() if row >= 0]

    return [
        {
            "case": int(numbers[place]),
            "difference": float(behind[place]),
            "history": names(cases.histories[int(numbers[place])][::-1]),
            "targets": names(cases.targets[int(numbers[place])]),
            blend: names(rankings.ranked_rows[blend][place]),
            best: names(rankings.ranked_rows[best][int(numbers[place])]),
        }
        for place in worst.tolist()
        if behind[place] < 0
    ]


def to_jsonable(value: Any) -> Any:
    """The same with null for NaN, which JSON has no word for, and figures rounded."""
    if isinstance(value, Interval):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(name): to_jsonable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_jsonable(part) for part in value]
    if isinstance(value, float):
        return None if math.isnan(value) or math.isinf(value) else round(value, 5)
    return value
