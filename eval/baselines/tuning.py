"""Hyperparameter tuning of baselines on validation cases, within a number of trials."""

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
"""Largest number of configurations to try per baseline."""
TUNING_DEPTH = 10
"""Cutoff of the NDCG that is maximised."""


@dataclass(frozen=True, slots=True)
class TuningResult:
    """Outcome of tuning a baseline.

    Attributes:
        config: Best configuration.
        trials: Every trial, with its configuration and the mean NDCG@10 of the validation cases.
    """

    config: Any
    trials: list[dict[str, Any]]


def tune(
    baseline: Baseline, training: TrainingData, cases: Cases, eligible: EligibleItems, *, budget: int = DEFAULT_BUDGET, seed: int = 0
) -> TuningResult:
    """Return the best configuration of a baseline by NDCG@10.

    The default configuration is always tried, the others are sampled if they exceed the budget. The earlier of two equal configurations
    wins. Without validation cases, the default is returned untried.

    Args:
        baseline: Baseline to tune.
        training: Training data that excludes the users of the cases.
        cases: Validation cases.
        eligible: Items that the cases rank.
        budget: Largest number of configurations to try.
        seed: Random seed of the sample and of ties.
    """
    configs = list(baseline.configs)
    if len(configs) == 1 or not len(cases):
        return TuningResult(configs[0], [])
    if len(configs) > budget:
        sample = np.random.default_rng(seed).choice(np.arange(1, len(configs)), budget - 1, replace=False)
        configs = [configs[0], *(configs[i] for i in sorted(sample.tolist()))]
    trials = []
    for config in configs:
        top = rank(baseline.fit(training, config), cases, eligible, TUNING_DEPTH, seed=seed)
        score = float(np.nanmean(ndcg(hits(top, cases.targets), cases.targets.lengths, TUNING_DEPTH)))
        trials.append({"config": asdict(config), "ndcg@10": round(score, 5)})
    best = max(range(len(configs)), key=lambda i: (trials[i]["ndcg@10"], -i))
    return TuningResult(configs[best], trials)
