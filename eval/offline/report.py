"""The metrics of an evaluation, as stored in `report.json`.

Every system is evaluated on the same cases. Where the LLM scores only some of them, the systems that need it are evaluated on those, and
every other system also has its metrics on those cases, so that the LLM is never compared across different cases.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import __version__
from ...data.atomic_files import write_atomically
from ...data.errors import storage_errors
from ..metrics import beyond_accuracy, slices
from ..metrics.accuracy import hits, ndcg, per_case, recall
from ..stats.bootstrap import Interval, bootstrap_mean, paired_difference, smallest_detectable
from .blend_systems import LIST_LENGTH
from .system_names import BLEND, LLM, blend_without

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.workspace import Workspace
    from ...retrieval.items.ragged import RaggedArray
    from ..splits.cases import Cases
    from .evaluation import Rankings
    from .options import EvaluationOptions

RECALL_DEPTHS = (50, 100, 200, 500)
"""Cutoffs of candidate recall."""
WORST_CASE_COUNT = 5
"""Number of cases shown in which the blend loses most against the best baseline."""


def build(rankings: Rankings, options: EvaluationOptions, workspace: Workspace, llm: str) -> dict[str, Any]:
    """Return the report: the setup of the evaluation, and the metrics of each system with 95 % intervals.

    Args:
        rankings: All rankings.
        options: Options of the evaluation.
        workspace: Evaluated workspace.
        llm: Name of the LLM, or `none`.
    """
    cases, k, seed = rankings.cases, options.k, options.seed
    llm_indices = rankings.llm_case_indices
    llm_cases = cases.take(llm_indices)
    llm_scores_some = 0 < len(llm_cases) < len(cases)
    values = {
        name: per_case(top, (llm_cases if name in rankings.llm_systems else cases).targets, k) for name, top in rankings.ranked_rows.items()
    }
    headline = f"ndcg@{k}"
    baselines = [name for name, kind in rankings.system_kinds.items() if kind == "baseline"]
    best = max(baselines, key=lambda name: float(np.nanmean(values[name][headline])))
    groups = slices.load_user_groups(Path(options.groups), str(options.group_by), cases.users) if options.groups else None
    systems: dict[str, Any] = {}
    for name, kind in rankings.system_kinds.items():
        needs_llm = name in rankings.llm_systems
        system_cases = llm_cases if needs_llm else cases
        reference = values[best][headline][llm_indices] if needs_llm else values[best][headline]
        systems[name] = {
            "kind": kind,
            "cases": len(system_cases),
            **_intervals(values[name], system_cases, seed),
            "vs_best_baseline": paired_difference(values[name][headline], reference, system_cases.clusters, seed=seed).to_dict(),
            "beyond": _beyond_accuracy(rankings, rankings.ranked_rows[name][:, :k], system_cases),
            "slices": _slices(rankings, rankings.ranked_rows[name], system_cases, values[name][headline], k, seed),
        }
        if groups:
            case_groups = [groups[i] for i in llm_indices.tolist()] if needs_llm else groups
            gaps = beyond_accuracy.group_gap(values[name][headline], case_groups, system_cases.clusters)
            systems[name]["groups"] = {group: interval.to_dict() for group, interval in gaps.items()}
        if llm_scores_some and not needs_llm:
            on_llm_cases = {metric: case_values[llm_indices] for metric, case_values in values[name].items()}
            difference = paired_difference(on_llm_cases[headline], values[best][headline][llm_indices], llm_cases.clusters, seed=seed)
            systems[name]["on_llm_part"] = {
                "cases": len(llm_cases),
                **_intervals(on_llm_cases, llm_cases, seed),
                "vs_best_baseline": difference.to_dict(),
            }
    training = rankings.training_view.training_data
    return {
        "crossaisle": __version__,
        "cases": len(cases),
        "llm_cases": len(llm_cases),
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
        "store_words": dict(workspace.manifest.store_words),
        "llm": llm,
        "trained": rankings.trained,
        "training": {
            "users": len(training.histories),
            "items": training.item_count,
            "interactions": len(training.histories.rows),
        },
        "candidate_recall": {} if options.baselines_only else _candidate_recall(rankings),
        "llm_depths": llm_section(rankings, k, seed),
        "oracle": oracle_section(rankings.blend_candidates, cases, k, seed) if rankings.blend_candidates else {},
        "baselines": dict(rankings.tuning),
        "systems": systems,
        "novelty": _novelty(rankings, k, seed),
        "new_items": new_items_section(rankings, seed),
        "losing": [] if options.baselines_only else _worst_cases(rankings, values, best, headline),
    }


def write(report: Mapping[str, Any], out: Path) -> Path:
    """Write `report.json` into a folder and return its path.

    Raises:
        StorageError: The file cannot be written.
    """
    path = out / "report.json"
    with storage_errors(f"the report in {out}"):
        write_atomically(path, (json.dumps(to_jsonable(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return path


def _intervals(values: Mapping[str, NDArray[np.float64]], cases: Cases, seed: int) -> dict[str, Any]:
    return {metric: bootstrap_mean(case_values, cases.clusters, seed=seed).to_dict() for metric, case_values in values.items()}


def _beyond_accuracy(rankings: Rankings, top: NDArray[np.int32], cases: Cases) -> dict[str, float]:
    training, category = rankings.training_view.training_data, rankings.training_view.catalogue.category
    user_counts, rankable = training.user_counts, rankings.eligible.rankable
    return {
        "coverage": beyond_accuracy.coverage(top, rankable),
        "gini": beyond_accuracy.gini(top, rankable),
        "average_popularity": beyond_accuracy.average_popularity(top, user_counts),
        "popularity_lift": beyond_accuracy.popularity_lift(top, user_counts, cases.histories),
        "novelty": beyond_accuracy.novelty(top, user_counts, len(training.histories)),
        "diversity": beyond_accuracy.diversity(top, rankings.training_view.vectors),
        "cross_category_rate": beyond_accuracy.cross_category_rate(top, cases, category),
        "calibration": beyond_accuracy.calibration(top, cases.targets, category),
    }


def _slices(
    rankings: Rankings, top: NDArray[np.int32], cases: Cases, values: NDArray[np.float64], k: int, seed: int
) -> dict[str, dict[str, Any]]:
    """The headline metric of one system on each slice of its cases."""

    def summary(case_values: NDArray[np.float64], clusters: NDArray[np.int64]) -> dict[str, Any]:
        interval = bootstrap_mean(case_values, clusters, seed=seed, resamples=500)
        return {"cases": int((~np.isnan(case_values)).sum()), **interval.to_dict()}

    catalogue, user_counts = rankings.training_view.catalogue, rankings.training_view.training_data.user_counts
    lengths = {name: summary(values[in_slice], cases.clusters[in_slice]) for name, in_slice in slices.by_history_length(cases.histories)}
    popularity = {
        name: summary(ndcg(hits(top, targets), targets.lengths, k), cases.clusters)
        for name, targets in slices.by_target_popularity(cases.targets, user_counts)
    }
    categories = {name: summary(values[in_slice], cases.clusters[in_slice]) for name, in_slice in slices.by_category_pair(cases, catalogue)}
    return {"history_length": lengths, "target_popularity": popularity, "category_pair": categories}


def _candidate_recall(rankings: Rankings) -> dict[str, dict[str, float]]:
    """Recall at each cutoff of each channel, and of the union of all channels."""
    targets, channels = rankings.cases.targets, rankings.channel_rows
    recalls: dict[str, dict[str, float]] = {}
    for name, top in channels.items():
        hit = hits(top, targets)
        recalls[name] = {str(n): float(np.nanmean(recall(hit, targets.lengths, n))) for n in RECALL_DEPTHS}
    recalls["union"] = {}
    for n in RECALL_DEPTHS:
        union = [np.concatenate([top[case, :n] for top in channels.values()]) for case in range(len(rankings.cases))]
        recalls["union"][str(n)] = float(np.mean([np.isin(targets[case], rows).mean() for case, rows in enumerate(union)]))
    return recalls


def oracle_section(candidates: Sequence[Sequence[int]], cases: Cases, k: int, seed: int) -> dict[str, Any]:
    """Return what the best order of the blend's candidates would reach: all targets among them first.

    Args:
        candidates: Item rows of each case that the blend ranks.
        cases: Test cases.
        k: Length of the evaluated lists.
        seed: Random seed of the intervals.

    Returns:
        The mean number of candidates, the share of the targets among them (`recall`) and the NDCG of that order, with intervals.
    """
    targets = cases.targets
    found = np.asarray([int(np.isin(targets[case], rows).sum()) for case, rows in enumerate(candidates)], dtype=np.int64)
    hit = np.arange(k)[None] < found[:, None]
    return {
        "cases": len(cases),
        "candidates": float(np.mean([len(rows) for rows in candidates])),
        "recall": bootstrap_mean(found / targets.lengths, cases.clusters, seed=seed).to_dict(),
        f"ndcg@{k}": bootstrap_mean(ndcg(hit, targets.lengths, k), cases.clusters, seed=seed).to_dict(),
    }


def llm_section(rankings: Rankings, k: int, seed: int) -> dict[str, Any]:
    """Return what the LLM gains over the blend by the number of candidates that it reads, on the cases that it read, and what that costs.

    Args:
        rankings: All rankings.
        k: Length of the evaluated lists.
        seed: Random seed of the intervals.

    Returns:
        The cost per case (milliseconds and tokens; null if all cases were read before an interruption), and for each depth the gain with
        its interval and the smallest gain that so many cases would show.
    """
    if not rankings.llm_depths:
        return {}
    indices, cost = rankings.llm_case_indices, rankings.llm_cost
    cases = rankings.cases.take(indices)
    alone = rankings.ranked_rows[blend_without(LLM)][indices]
    reference = ndcg(hits(alone, cases.targets), cases.targets.lengths, k)
    depths = {}
    for depth, rows in rankings.llm_depths.items():
        gain = paired_difference(ndcg(hits(rows, cases.targets), cases.targets.lengths, k), reference, cases.clusters, seed=seed)
        depths[str(depth)] = {"gain": gain.to_dict(), "smallest_detectable_gain": smallest_detectable(gain)}
    return {
        "cases": len(cases),
        "read_cases": cost.cases,
        "ms_per_case": 1000 * cost.seconds / cost.cases if cost.cases else None,
        "tokens_per_case": cost.tokens / cost.cases if cost.cases else None,
        "candidates_per_case": cost.candidates / cost.cases if cost.cases else None,
        "depths": depths,
    }


def _novelty(rankings: Rankings, k: int, seed: int) -> list[dict[str, Any]]:
    """Accuracy, coverage and popularity with each popularity penalty, with accuracy paired by case against no penalty."""
    cases, user_counts = rankings.cases, rankings.training_view.training_data.user_counts
    values = {level: ndcg(hits(top, cases.targets), cases.targets.lengths, k) for level, top in rankings.novelty.items()}
    return [
        {
            "novelty": level,
            f"ndcg@{k}": bootstrap_mean(case_values, cases.clusters, seed=seed).to_dict(),
            "minus_none": paired_difference(case_values, values[0.0], cases.clusters, seed=seed).to_dict(),
            "coverage": beyond_accuracy.coverage(rankings.novelty[level][:, :k], rankings.eligible.rankable),
            "average_popularity": beyond_accuracy.average_popularity(rankings.novelty[level][:, :k], user_counts),
        }
        for level, case_values in values.items()
    ]


def new_items_section(rankings: Rankings, seed: int) -> list[dict[str, Any]]:
    """Return NDCG@10 with slots reserved for new items, on all targets and on rare ones, paired by case against no reserved slots."""
    cases = rankings.cases
    if not rankings.new_items:
        return []
    popularity_slices = dict(slices.by_target_popularity(cases.targets, rankings.training_view.training_data.user_counts))
    target_sets = {"all": cases.targets, **{name: popularity_slices[name] for name in (slices.COLD, slices.RARE)}}
    unreserved = rankings.novelty[0.0]

    def summary(top: NDArray[np.int32], targets: RaggedArray) -> dict[str, Any]:
        values, reference = (ndcg(hits(rows, targets), targets.lengths, LIST_LENGTH) for rows in (top, unreserved))
        return {
            "cases": int((targets.lengths > 0).sum()),
            f"ndcg@{LIST_LENGTH}": bootstrap_mean(values, cases.clusters, seed=seed).to_dict(),
            "minus_none": paired_difference(values, reference, cases.clusters, seed=seed).to_dict(),
        }

    settings = {(0, 0): unreserved, **rankings.new_items}
    return [
        {"places": slots, "up_to": max_users, **{name: summary(top, targets) for name, targets in target_sets.items()}}
        for (slots, max_users), top in settings.items()
    ]


def _worst_cases(
    rankings: Rankings, values: Mapping[str, Mapping[str, NDArray[np.float64]]], best: str, headline: str
) -> list[dict[str, Any]]:
    """The cases in which the blend loses most against the best baseline, with the top titles of both."""
    indices = rankings.llm_case_indices if BLEND in rankings.llm_systems else np.arange(len(rankings.cases))
    differences = values[BLEND][headline] - values[best][headline][indices]
    all_titles = rankings.training_view.catalogue.items["title"].to_list()
    cases = rankings.cases

    def titles(rows: NDArray[np.int32], limit: int = 5) -> list[str]:
        return [all_titles[row] for row in rows[:limit].tolist() if row >= 0]

    worst_cases = []
    for i in np.argsort(differences, kind="stable")[:WORST_CASE_COUNT].tolist():
        case = int(indices[i])
        if differences[i] < 0:
            worst_cases.append(
                {
                    "case": case,
                    "difference": float(differences[i]),
                    "history": titles(cases.histories[case][::-1]),
                    "targets": titles(cases.targets[case]),
                    BLEND: titles(rankings.ranked_rows[BLEND][i]),
                    best: titles(rankings.ranked_rows[best][case]),
                }
            )
    return worst_cases


def to_jsonable(value: Any) -> Any:
    """Return a value with null for NaN and infinity, which JSON lacks, and floats rounded to five digits."""
    if isinstance(value, Interval):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_jsonable(item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) or math.isinf(value) else round(value, 5)
    return value
