"""Co-occurrence channels, against sums computed by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from crossaisle.retrieval.channels import co_occurrence
from crossaisle.retrieval.channels.base import CandidateQuery
from crossaisle.retrieval.channels.behavioural import (
    ItemSimilarity,
    RecentPopularity,
    SequentialCoOccurrence,
    TextSmoothedCoOccurrence,
)
from crossaisle.retrieval.channels.channel_configs import ItemKNNConfig, RandomWalkConfig
from crossaisle.retrieval.channels.text_similarity import TextNeighbors, TextSimilarity
from crossaisle.retrieval.channels.user_knn import UserKNN
from crossaisle.retrieval.items.interactions import Events
from crossaisle.retrieval.items.ragged import RaggedArray

HISTORIES = [[0, 1, 2], [0, 1], [1, 0], [3, 2]]
"""Three users have 0 and 1, two of them in that order; 2 follows 0 and 1 once, and 3 once; 4 has no user."""

BM25, CONDITIONAL = ItemKNNConfig(similarity="bm25"), ItemKNNConfig(partner_exponent=0.0)


def query(*rows: int, weights: Sequence[float] | None = None) -> CandidateQuery:
    undecayed = None if weights is None else np.asarray(weights)
    return CandidateQuery(np.asarray(rows, dtype=np.int64), np.ones(len(rows)), np.empty((0, 0), np.float32), undecayed)


def texts() -> NDArray[np.float32]:
    """Item 4 has a cosine of 0.9 with item 0; all other texts are orthogonal."""
    vectors = np.eye(5, dtype=np.float32)
    vectors[4] = 0.9 * vectors[0] + np.sqrt(1 - 0.81) * vectors[4]
    return vectors


def test_sequential_co_occurrence_equals_hand_computed_shares() -> None:
    channel = SequentialCoOccurrence.from_histories(RaggedArray.of(HISTORIES), 5)
    scores, anchors = channel.scores(query(0))
    # Of the 3 users of item 0, two have 1 after it and one has 2, damped by 20 users.
    assert scores == pytest.approx([0, 2 / 23, 1 / 23, 0, 0])
    assert anchors.tolist() == [-1, 0, 0, -1, -1]


def test_scores_decay_with_age_and_scale_with_weight() -> None:
    channel = SequentialCoOccurrence.from_histories(RaggedArray.of(HISTORIES), 5)
    older, _ = channel.scores(query(0, 4))
    newer, _ = channel.scores(query(4, 0))
    assert older == pytest.approx(newer * 0.8)
    half, _ = channel.scores(query(4, 0, weights=[1.0, 0.5]))
    assert half == pytest.approx(newer * 0.5)


def test_the_anchor_has_the_largest_contribution() -> None:
    channel = SequentialCoOccurrence.from_histories(RaggedArray.of(HISTORIES), 5)
    scores, anchors = channel.scores(query(0, 3))
    # 2 follows 3 for its only user (1/21, newest), and 0 for one of three (1/23, one item older).
    assert scores[2] == pytest.approx(1 / 21 + 0.8 / 23)
    assert anchors[2] == 1
    assert anchors[1] == 0


def test_item_knn_ignores_the_order_of_the_history() -> None:
    channel = ItemSimilarity.from_histories(RaggedArray.of(HISTORIES), 5)
    assert channel.scores(query(0, 3))[0] == pytest.approx(channel.scores(query(3, 0))[0])


def test_bm25_agrees_with_implicit() -> None:
    from implicit.nearest_neighbours import bm25_weight
    from scipy import sparse

    user_items = sparse.csr_matrix(RaggedArray.of(HISTORIES).matrix(5))
    weighted = bm25_weight(user_items.T.tocsr(), K1=100.0, B=0.25).tocsr()
    theirs = (weighted @ weighted.T).toarray()
    np.fill_diagonal(theirs, 0)
    ours = co_occurrence.bm25(RaggedArray.of(HISTORIES), 5, max_neighbors=5, k1=100.0, b=0.25).toarray()
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_conditional_co_occurrence_equals_hand_computed_sums() -> None:
    scores, anchors = ItemSimilarity.from_histories(RaggedArray.of(HISTORIES), 5, CONDITIONAL).scores(query(0, 3))
    # Item 0 has three users, all of whom have 1 and one of whom has 2; item 3 has one, who has 2. Age does not matter.
    assert scores == pytest.approx([0, 3 / np.sqrt(3), 1 / np.sqrt(3) + 1, 0, 0])
    assert anchors.tolist() == [-1, 0, 1, -1, -1]


def test_an_item_without_users_uses_the_co_occurrence_of_its_text_neighbors() -> None:
    neighbors = TextNeighbors(texts())
    channel = TextSmoothedCoOccurrence.from_histories(RaggedArray.of(HISTORIES), 5, neighbors, ordered=True)
    scores, anchors = channel.scores(query(4))
    weight = np.exp((0.9 - 1) / 0.1)  # the others are orthogonal: exp(-10) is negligible
    # Item 0, the neighbor of 4, occurs with 1 for three users and with 2 for one; its 3 users are damped by 20.
    assert scores == pytest.approx([0, 3 * weight / 23, weight / 23, 0, 0], abs=1e-4)
    assert anchors[[1, 2]].tolist() == [0, 0]
    assert SequentialCoOccurrence.from_histories(RaggedArray.of(HISTORIES), 5).scores(query(4))[0].sum() == 0


def test_without_an_order_all_pairs_of_a_user_count() -> None:
    distant = [[0, *range(1, 5), 0, 1, 2, 3, 1, 2, 3, 4]]
    unordered = TextSmoothedCoOccurrence.from_histories(RaggedArray.of(distant), 5, TextNeighbors(texts()), ordered=False)
    assert (unordered.scores(query(0))[0][1:] > 0).all()


def test_recent_popularity_ignores_old_events() -> None:
    day = 86_400_000
    events = Events(
        np.array([0, 0, 1, 2], np.int32),
        np.array([0, 1, 1, 1], np.int32),
        np.array([0, 300, 301, 302]) * day,
        "time",
        pl.Series(["a"]),
        "bought",
    )
    assert RecentPopularity.from_events(events, 3).scores(query(0))[0].tolist() == [0, 3, 0]


def test_a_wrong_time_in_the_future_does_not_make_all_events_old() -> None:
    day = 86_400_000
    time = np.append(np.arange(400), 9999) * day
    events = Events(np.arange(401, dtype=np.int32), np.zeros(401, np.int32), time, "time", pl.Series(["a"]), "bought")
    scores, _ = RecentPopularity.from_events(events, 1).scores(query(0))
    assert scores.tolist() == [184]  # the 180 days before day 396, and the days after it


def test_a_decay_weights_the_older_items_of_the_history_less() -> None:
    plain, decayed = (ItemSimilarity.from_histories(RaggedArray.of(HISTORIES), 5, ItemKNNConfig(decay=decay)) for decay in (1.0, 0.9))
    assert decayed.scores(query(0, 4))[0] == pytest.approx(plain.scores(query(0, 4))[0] * 0.9)  # item 4 has no users
    assert decayed.scores(query(4, 0))[0] == pytest.approx(plain.scores(query(4, 0))[0])


@given(
    st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=8), min_size=1, max_size=12),
)
def test_sequential_co_occurrence_equals_counting_pair_by_pair(histories: list[list[int]]) -> None:
    items, window, shrinkage = 7, 3, 5.0
    counted = co_occurrence.sequential(RaggedArray.of(histories), items, window=window, shrinkage=shrinkage, both_directions=False)
    matrix = counted.toarray()
    for source in range(items):
        users = sum(source in history for history in histories)
        for target in range(items):
            pairs = sum(
                history[i] == source and history[j] == target and source != target
                for history in histories
                for i in range(len(history))
                for j in range(i + 1, min(i + window, len(history) - 1) + 1)
            )
            assert matrix[source, target] == pytest.approx(pairs / (users + shrinkage))


@given(
    st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=6), min_size=1, max_size=12),
    st.lists(st.integers(0, 7), min_size=1, max_size=6, unique=True),
    st.randoms(use_true_random=False),
)
def test_only_the_sequential_channel_depends_on_the_order_of_a_history(
    pasts: list[list[int]], history: list[int], random: random.Random
) -> None:
    """docs/training.md: without a decay, `item_knn`, `random_walk`, `user_knn` and `lately` ignore the order; `sequential` weights by it, and scores the same items."""
    histories, shuffled = RaggedArray.of(pasts), history.copy()
    random.shuffle(shuffled)
    weights = dict(zip(history, np.linspace(0.5, 1.0, len(history)).tolist(), strict=True))
    original = query(*history, weights=[weights[row] for row in history])
    permuted = query(*shuffled, weights=[weights[row] for row in shuffled])
    for channel in (
        *(ItemSimilarity.from_histories(histories, 8, config) for config in (ItemKNNConfig(), BM25, CONDITIONAL, RandomWalkConfig())),
        UserKNN.from_histories(histories, 8),
        RecentPopularity(np.arange(8, dtype=np.float32)),
    ):
        np.testing.assert_allclose(channel.scores(original)[0], channel.scores(permuted)[0], rtol=1e-5, atol=1e-6)
    sequential = SequentialCoOccurrence.from_histories(histories, 8)
    assert ((sequential.scores(original)[0] > 0) == (sequential.scores(permuted)[0] > 0)).all()


def test_text_similarity_is_the_weighted_mean_of_cosines() -> None:
    scores, anchors = TextSimilarity(texts()).scores(CandidateQuery(np.array([0, 1]), np.array([1.0, 3.0]), np.empty((0, 0), np.float32)))
    assert scores == pytest.approx([0.25, 0.75, 0, 0, 0.225])
    assert anchors.tolist() == [0, 1, -1, -1, 0]
