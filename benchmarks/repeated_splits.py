"""The blend against the baselines over several test splits, for effects that one split cannot show, above all on rare items.

    python benchmarks/repeated_splits.py [NAME ...] [--home FOLDER] [--seeds 4] [--max-cases 2000]

NAME is amazon14, completejourney, courses or movielens. For each seed everything is trained and tuned again without that seed's test
users (users protocol), and their cases are ranked; then all cases are pooled, with the cases of a user as one cluster. Writes
`results/draws-NAME.json`: NDCG@10 of the blend and of each behavioural baseline, on all targets and on those with at most two training
users, the differences, and the ratio of the blend to the best baseline. Reads ../shared/data; the results contain no item and no user.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from blend import STORES, _tell, copied
from record import write

from crossaisle.data.settings import Settings
from crossaisle.data.splits import Split
from crossaisle.eval.metrics import slices
from crossaisle.eval.metrics.accuracy import per_case
from crossaisle.eval.offline.evaluation import Evaluation
from crossaisle.eval.offline.options import EvaluationOptions
from crossaisle.eval.offline.system_names import BLEND
from crossaisle.eval.stats.bootstrap import bootstrap_mean, bootstrap_statistic, paired_difference
from crossaisle.retrieval.trainable_channels import TRAINABLE_CHANNELS
from crossaisle.train.pipeline import train_workspace

ALL = "all"
WITH_TEXT = ("text mean", "text max", "text + co-occurrence")
"""Baselines that know more than behaviour."""
Values = Mapping[str, Mapping[str, "np.ndarray[Any, Any]"]]
"""Slice to system to (cases,) NDCG@10, NaN for a case without such a target."""


def main() -> None:
    """Measure the named stores, default all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--max-cases", type=int, default=2000)
    arguments = parser.parse_args()
    for name in arguments.names or STORES:
        with tempfile.TemporaryDirectory() as temporary:
            home = arguments.home or Path(temporary)
            splits = [measured(name, home, seed, arguments.max_cases) for seed in range(arguments.seeds)]
        write(f"draws-{name}", together([values for values, _ in splits], [users for _, users in splits]))


def measured(store: str, home: Path, seed: int, most: int) -> tuple[Values, list[str]]:
    """NDCG of the systems on the cases of one split, and the users of the cases."""
    settings, split = Settings.read().with_(llm="none"), Split(seed=seed)
    shop = copied(store, home)
    train_workspace(shop, settings, split, part="blend", channels=tuple(TRAINABLE_CHANNELS), progress=_tell)
    with tempfile.TemporaryDirectory() as out:
        rankings = Evaluation(shop, settings, Path(out), EvaluationOptions(max_cases=most, llm_cases=0, seed=seed), _tell).run()
    cases = rankings.cases
    of = {
        ALL: cases.targets,
        slices.RARE: dict(slices.by_target_popularity(cases.targets, rankings.training_view.training_data.user_counts))[slices.RARE],
    }
    wanted = [BLEND, *(name for name, kind in rankings.system_kinds.items() if kind == "baseline" and name not in WITH_TEXT)]
    values = {part: {name: per_case(rankings.ranked_rows[name], targets, 10)["ndcg@10"] for name in wanted} for part, targets in of.items()}
    return values, list(cases.users)


def together(splits: list[Values], users: list[list[str]]) -> dict[str, Any]:
    """Pooled figures of all splits."""
    number = {user: i for i, user in enumerate(dict.fromkeys(user for part in users for user in part))}
    clusters = np.asarray([number[user] for part in users for user in part])
    figures: dict[str, Any] = {"draws": len(splits), "cases": len(clusters), "users": len(number)}
    for part in splits[0]:
        systems = [name for name in splits[0][part] if all(name in values[part] for values in splits)]
        values = {name: np.concatenate([one[part][name] for one in splits]) for name in systems}
        there = ~np.isnan(values[BLEND])
        values, whose = {name: of[there] for name, of in values.items()}, clusters[there]
        best = max((name for name in systems if name != BLEND), key=lambda name: float(values[name].mean()))
        figures[part] = {
            "cases": int(there.sum()),
            "best_baseline": best,
            "ndcg@10": {name: bootstrap_mean(of, whose).to_dict() for name, of in values.items()},
            "by_draw": {name: [round(float(np.nanmean(one[part][name])), 5) for one in splits] for name in (BLEND, best)},
            "blend_minus_best": paired_difference(values[BLEND], values[best], whose).to_dict(),
            "blend_times_best": bootstrap_statistic(np.stack([values[BLEND], values[best]], axis=1), whose, _times).to_dict(),
        }
    return figures


def _times(sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(n,) how many times the second of (n, 2) sums the first is."""
    return np.asarray(sums[:, 0] / np.where(sums[:, 1] > 0, sums[:, 1], np.nan))


if __name__ == "__main__":
    main()
