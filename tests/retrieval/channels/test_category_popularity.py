"""Popularity by category as a channel, against the baseline of the same model and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.eval.baselines import popularity
from crossaisle.eval.splits.training_data import TrainingData
from crossaisle.retrieval.channels.base import CandidateQuery
from crossaisle.retrieval.channels.category_popularity import CategoryPopularity
from crossaisle.retrieval.channels.channel_configs import CategoryPopularityChannelConfig
from crossaisle.retrieval.items.ragged import RaggedArray

ITEMS = 8
CATEGORY = np.arange(ITEMS, dtype=np.int32) % 3
HISTORY = st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=5, unique=True)


def query(*rows: int) -> CandidateQuery:
    return CandidateQuery(np.asarray(rows, dtype=np.int64), np.ones(len(rows)), np.empty((0, 0), np.float32))


@given(
    st.lists(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=6), min_size=1, max_size=10),
    HISTORY,
    st.sampled_from([1.0, 10.0, 100.0]),
)
def test_scores_equal_those_of_the_baseline(pasts: list[list[int]], history: list[int], prior: float) -> None:
    histories = RaggedArray.of(pasts)
    training = TrainingData(histories, None, ITEMS, CATEGORY, np.zeros((ITEMS, 2), np.float32))
    baseline = popularity.CategoryPopularityScorer(training, popularity.CategoryPopularityConfig(prior))
    scores, anchors = CategoryPopularity(histories, CATEGORY, CategoryPopularityChannelConfig(prior)).scores(query(*history))
    assert scores == pytest.approx(baseline.scores(RaggedArray.of([history]))[0], rel=1e-5)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert ((anchors >= 0) == (scores > 0)).all()


def test_scores_and_anchors_equal_hand_computed_shares() -> None:
    histories = RaggedArray.of([[0, 1], [0, 1], [0, 2], [3, 4]])  # users of categories 0: all four, 1: three, 2: one
    scores, anchors = CategoryPopularity(histories, CATEGORY, CategoryPopularityChannelConfig(prior=0.0)).scores(query(0, 2))
    # Of the four users of category 0, three buy from category 1; the one user of category 2 does not. Item 1 has two of those three.
    assert scores[1] == pytest.approx((3 / 4 + 0) / 2 * 2 / 3)
    assert scores[4] == pytest.approx((3 / 4 + 0) / 2 * 1 / 3)
    assert (anchors[1], anchors[4]) == (0, 0)
    assert scores[5] == 0  # no user
    assert anchors[5] == -1


def test_an_empty_history_scores_nothing() -> None:
    scores, anchors = CategoryPopularity(RaggedArray.of([[0, 1]]), CATEGORY).scores(query())
    assert (scores.shape, anchors.shape) == ((ITEMS,), (ITEMS,))
    assert not scores.any()
    assert (anchors == -1).all()
