"""What the tests of language models in training share."""

from __future__ import annotations

import numpy as np
import pytest

from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.retrieval.channels.base import TrainingContext
from crossaisle.retrieval.index.builder import load
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.ragged import RaggedArray
from crossaisle.train import blend
from crossaisle.train.llm.ranker_examples import RankerExamples
from crossaisle.train.out_of_fold import OutOfFoldQueries
from crossaisle.train.ranking_dataset import RankingDataset

CANDIDATES = 60
"""Candidates of every query."""


@pytest.fixture(scope="session")
def catalogue(demo_workspace: Workspace, settings: Settings) -> Catalogue:
    """The items of the demo store."""
    return load(demo_workspace, settings)[0]


@pytest.fixture(scope="session")
def queries(catalogue: Catalogue) -> OutOfFoldQueries:
    """Two hundred queries of a hundred users over the demo store, whose purchase mostly has the highest first feature."""
    rng = np.random.default_rng(4)
    count = 200
    features = rng.normal(0, 1, (count * CANDIDATES, 3)).astype(np.float32)
    purchased = np.zeros(count * CANDIDATES, dtype=bool)
    rows, histories = [], []
    for query in range(count):
        sample = rng.choice(len(catalogue), CANDIDATES + 4, replace=False)
        histories.append(sample[CANDIDATES:].tolist())
        rows.append(np.sort(sample[:CANDIDATES]))
        purchased[query * CANDIDATES + rng.integers(CANDIDATES)] = True
    features[purchased, 0] += 3
    pair_counts = np.full((count * CANDIDATES, 3), [-1, 0, 0], dtype=np.int32)
    anchors = np.repeat([history[0] for history in histories], CANDIDATES)[::2]
    pair_counts[::2] = np.stack([anchors, np.full(len(anchors), 3), np.full(len(anchors), 40)], axis=1)
    starts = np.arange(count + 1, dtype=np.int64) * CANDIDATES
    dataset = RankingDataset(["one:log rank", "two:share", "three:share"], features, purchased, starts, np.arange(count) // 2)
    users = [f"u{query // 2}" for query in range(count)]
    return OutOfFoldQueries(dataset, users, RaggedArray.of(histories), np.concatenate(rows).astype(np.int32), pair_counts)


@pytest.fixture(scope="session")
def examples(queries: OutOfFoldQueries) -> RankerExamples:
    return RankerExamples.from_queries(queries, blend.fit_blend(queries.dataset, seed=0), TrainingContext())
