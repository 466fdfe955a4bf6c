"""Time of every baseline to fit, and to score and rank 2,000 cases over 40,000 items.

    python benchmarks/baselines_speed.py

The store is simulated: 60,000 users, power-law popularity, about nine items per user, some categories new to each case. Each baseline has
its default configuration; the ranking quality is not measured.
"""

from __future__ import annotations

import resource
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
from record import write

from crossaisle.eval.baselines.registry import BASELINES
from crossaisle.eval.metrics.full_ranking import rank
from crossaisle.eval.offline.system_names import RANKING_DEPTH
from crossaisle.eval.splits.cases import Cases
from crossaisle.eval.splits.training_data import TrainingData
from crossaisle.retrieval.items.interactions import DAY
from crossaisle.retrieval.items.ragged import RaggedArray

USERS, ITEMS, CASES, CATEGORIES, DIMENSIONS = 60_000, 40_000, 2_000, 20, 384


def generated() -> tuple[TrainingData, Cases, Any]:
    """Training data, cases and their candidates."""
    random = np.random.default_rng(0)
    popularity = 1 / (np.arange(ITEMS) + 10) ** 0.8
    lengths = 3 + random.poisson(6, USERS + CASES)
    rows = random.permutation(ITEMS)[random.choice(ITEMS, int(lengths.sum()), p=popularity / popularity.sum())]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    everything = RaggedArray(starts, rows.astype(np.int32))
    pasts, histories = everything.part(np.arange(USERS)), everything.part(np.arange(USERS, USERS + CASES))
    vectors = random.normal(size=(ITEMS, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    category = random.integers(0, CATEGORIES, ITEMS).astype(np.int32)
    training = TrainingData(pasts, random.integers(0, 365 * DAY, len(pasts.rows)), ITEMS, category, vectors)
    known = np.zeros((CASES, CATEGORIES), dtype=bool)
    known[histories.row_index, category[histories.rows]] = True
    eligible = SimpleNamespace(rankable=np.ones(ITEMS, dtype=bool), mask=lambda _, block: ~known[block][:, category])
    cases = Cases([str(i) for i in range(CASES)], histories, histories.newest(1), [None] * CASES)
    return training, cases, eligible


def main() -> None:
    """Time every baseline and write the result."""
    training, cases, eligible = generated()
    figures: dict[str, Any] = {
        "users": USERS,
        "items": ITEMS,
        "interactions": len(training.histories.rows),
        "cases": CASES,
        "depth": RANKING_DEPTH,
    }
    figures["seconds"] = {}
    _ = training.matrix
    for name, baseline in BASELINES.items():
        start = time.perf_counter()
        fitted = baseline.fit(training, baseline.configs[0])
        fit = time.perf_counter() - start
        start = time.perf_counter()
        top = rank(fitted, cases, eligible, RANKING_DEPTH)
        assert top.shape == (CASES, RANKING_DEPTH)
        figures["seconds"][name] = {"fit": round(fit, 2), "score_and_rank": round(time.perf_counter() - start, 2)}
        print(name, figures["seconds"][name], flush=True)
        del fitted
    figures["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    write("baselines_speed", figures)


if __name__ == "__main__":
    main()
