"""The best configuration of each baseline by validation cases, within a stated number of trials."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics.accuracy import hits, ndcg
from ..metrics.full_ranking import rank

if TYPE_CHECKING:
    from ..splits.cases import Cases, EligibleItems
    from ..splits.training_data import TrainingData
    from .registry import Baseline

DEFAULT_BUDGET = 12
"""Configurations that are tried of a baseline, at most."""
TUNING_DEPTH = 10


@dataclass(frozen=True, slots=True)
class TuningResult:
    """What was chosen, and every trial: its configuration and the mean NDCG@10 of the validation cases."""

    config: Any
    trials: list[dict[str, Any]]


def tune(
    baseline: Baseline, training: TrainingData, cases: Cases, eligible: EligibleItems, *, budget: int = DEFAULT_BUDGET, seed: int = 0
) -> TuningResult:
    """Tries the baseline's choices; the earlier of two that come out alike is taken. Without validation cases the usual one is."""
    choices = list(baseline.configs)
    if len(choices) == 1 or not len(cases):
        return TuningResult(choices[0], [])
    if len(choices) > budget:
        others = np.random.default_rng(seed).choice(np.arange(1, len(choices)), budget - 1, replace=False)
        choices = [choices[0], *(choices[i] for i in sorted(others.tolist()))]
    trials = []
    for config in choices:
        top = rank(baseline.fit(training, config), cases, eligible, TUNING_DEPTH, seed=seed)
        score = float(np.nanmean(ndcg(hits(top, cases.targets), cases.targets.lengths, TUNING_DEPTH)))
        trials.append({"config": asdict(config), "ndcg@10": round(score, 5)})
    best = max(range(len(choices)), key=lambda i: (trials[i]["ndcg@10"], -i))
    return TuningResult(choices[best], trials)
