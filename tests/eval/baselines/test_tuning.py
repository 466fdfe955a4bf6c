"""Tuning returns the best configuration on the validation cases, within its budget, and records its trials."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from crossaisle.eval.baselines.registry import BASELINES, Baseline
from crossaisle.eval.baselines.text_similarity import TextCoOccurrenceConfig
from crossaisle.eval.baselines.tuning import tune
from crossaisle.eval.splits.cases import Cases
from crossaisle.eval.splits.training_data import TrainingData
from crossaisle.retrieval.items.ragged import RaggedArray

TRAINING = TrainingData(RaggedArray.of([[0, 1]]), None, 6, np.zeros(6, np.int32), np.zeros((6, 2), np.float32))
CASES = Cases(["u"], RaggedArray.of([[0]]), RaggedArray.of([[3]]), [None])
EVERYTHING: Any = SimpleNamespace(rankable=np.ones(6, dtype=bool), mask=lambda cases, block: np.ones((len(cases), 6), dtype=bool)[block])


class Fixed:
    """Ranks item 3 at the position given by `config.last`."""

    def __init__(self, training: TrainingData, config: TextCoOccurrenceConfig) -> None:
        self.items, self.position = training.item_count, config.last

    def scores(self, histories: RaggedArray) -> np.ndarray:
        scores = -np.arange(self.items, dtype=np.float32)
        scores[3] = -self.position + 0.5
        return np.broadcast_to(scores, (len(histories), self.items))


def test_best_config_wins_and_all_trials_are_recorded() -> None:
    tuned = tune(
        Baseline(Fixed, [TextCoOccurrenceConfig(last=2), TextCoOccurrenceConfig(last=0), TextCoOccurrenceConfig(last=1)]),
        TRAINING,
        CASES,
        EVERYTHING,
    )
    assert tuned.config == TextCoOccurrenceConfig(last=0)
    assert [trial["config"]["last"] for trial in tuned.trials] == [2, 0, 1]
    assert tuned.trials[1]["ndcg@10"] == 1


def test_budget_holds_and_the_default_is_always_tried() -> None:
    configs = [TextCoOccurrenceConfig(last=5 - i % 5, decay=i / 30) for i in range(30)]
    tuned = tune(Baseline(Fixed, configs), TRAINING, CASES, EVERYTHING, budget=4, seed=1)
    assert len(tuned.trials) == 4
    assert tuned.trials[0]["config"]["decay"] == 0
    repeated = tune(Baseline(Fixed, configs), TRAINING, CASES, EVERYTHING, budget=4, seed=1)
    assert tuned == repeated


def test_default_without_validation_cases() -> None:
    no_cases = Cases([], RaggedArray.of([]), RaggedArray.of([]), [])
    for baseline in BASELINES.values():
        assert tune(baseline, TRAINING, no_cases, EVERYTHING).config == baseline.configs[0]
