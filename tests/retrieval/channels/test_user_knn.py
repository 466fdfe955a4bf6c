"""User-kNN, against sums computed by hand and against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from crossaisle.retrieval.channels.base import CandidateQuery, LazyAnchorChannel
from crossaisle.retrieval.channels.channel_configs import UserKNNConfig
from crossaisle.retrieval.channels.user_knn import UserKNN
from crossaisle.retrieval.items.ragged import RaggedArray

ITEMS = 8
PASTS = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=6), min_size=1, max_size=12)
HISTORY = st.lists(st.integers(0, ITEMS - 1), max_size=5, unique=True)
EXPONENTS = st.sampled_from([0.0, 0.25, 0.5, 1.0])
HISTORIES = [[0, 1, 2], [0, 1], [3, 2], [4, 0, 0, 5, 6]]
"""Item 0 has three users, 1 and 2 have two each; the last user has four distinct items."""


def query(*rows: int, weights: NDArray[np.float64] | None = None) -> CandidateQuery:
    return CandidateQuery(np.asarray(rows, dtype=np.int64), np.ones(len(rows)), np.empty((0, 0), np.float32), weights)


def dense_contributions(
    pasts: list[list[int]], history: list[int], weights: NDArray[np.float64], config: UserKNNConfig
) -> NDArray[np.float64]:
    """(items, history) part of each history item in the score of each item, from dense matrices; without a cut of the neighbors."""
    owned = np.asarray([[item in past for item in range(ITEMS)] for past in pasts], dtype=float)  # (users, items)
    rarity = np.maximum(owned.sum(axis=0), 1) ** -config.rarity_exponent
    length = np.maximum(owned.sum(axis=1), 1) ** -config.length_exponent
    return np.einsum("ui,uh,h,u->ih", owned, owned[:, history], weights * rarity[history], length)


def test_scores_equal_hand_computed_sums() -> None:
    scores, anchors = UserKNN.from_histories(RaggedArray.of(HISTORIES), ITEMS).scores(query(0, 3))
    common, rare = 1 / np.sqrt(3), 1.0  # items 0 and 3 have three users and one
    first, second, third, fourth = common / np.sqrt(3), common / np.sqrt(2), rare / np.sqrt(2), common / 2
    expected = [first + second + fourth, first + second, first + third, third, fourth, fourth, fourth, 0]
    assert scores == pytest.approx(expected)
    assert anchors.tolist() == [0, 0, 1, 1, 0, 0, 0, -1]  # of item 2, the user with item 3 is more similar than the one with item 0


@given(PASTS, HISTORY, EXPONENTS, EXPONENTS, st.data())
def test_scores_and_anchors_equal_those_of_dense_matrices(
    pasts: list[list[int]], history: list[int], rarity: float, length: float, data: st.DataObject
) -> None:
    config = UserKNNConfig(rarity_exponent=rarity, length_exponent=length)
    weights = np.asarray(data.draw(st.lists(st.sampled_from([0.25, 0.5, 1.0]), min_size=len(history), max_size=len(history))))
    channel = UserKNN.from_histories(RaggedArray.of(pasts), ITEMS, config)
    scores, anchors = channel.scores(query(*history, weights=weights))
    contributions = dense_contributions(pasts, history, weights, config)
    assert scores == pytest.approx(contributions.sum(axis=1), rel=1e-5, abs=1e-6)
    assert ((anchors >= 0) == (scores > 0)).all()
    for item in np.flatnonzero(anchors >= 0).tolist():
        assert contributions[item, anchors[item]] == pytest.approx(contributions[item].max(), rel=1e-5)


@given(PASTS, HISTORY, st.randoms(use_true_random=False))
def test_the_order_of_the_users_changes_nothing(pasts: list[list[int]], history: list[int], random: object) -> None:
    shuffled = pasts.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    original, permuted = (UserKNN.from_histories(RaggedArray.of(of), ITEMS).scores(query(*history))[0] for of in (pasts, shuffled))
    assert original == pytest.approx(permuted, rel=1e-5, abs=1e-6)


def test_the_output_has_items_and_history_positions_but_no_users() -> None:
    many = [[0, 1]] * 50
    scores, anchors = UserKNN.from_histories(RaggedArray.of(many), ITEMS).scores(query(0))
    assert (scores.shape, anchors.shape) == ((ITEMS,), (ITEMS,))
    assert set(anchors.tolist()) <= {-1, 0}


def test_only_the_nearest_users_count() -> None:
    histories = RaggedArray.of([[0, 1, 2], [0, 3], [4]])
    for neighbors, expected in ((1, {0, 1, 2}), (2, {0, 1, 2, 3}), (3, {0, 1, 2, 3})):
        channel = UserKNN.from_histories(histories, ITEMS, UserKNNConfig(neighbors=neighbors, rarity_exponent=0.0))
        scores, anchors = channel.scores(query(0, 1))  # the first user has both items, and is nearest although its history is longer
        assert set(np.flatnonzero(scores).tolist()) == expected
        assert set(np.flatnonzero(anchors >= 0).tolist()) == expected


def test_a_history_that_nobody_shares_scores_nothing() -> None:
    channel = UserKNN.from_histories(RaggedArray.of(HISTORIES), ITEMS)
    for history in ([], [7]):
        scores, anchors = channel.scores(query(*history))
        assert not scores.any()
        assert set(anchors.tolist()) == {-1}
    empty = UserKNN.from_histories(RaggedArray.of([]), ITEMS)
    assert not empty.scores(query(0))[0].any()


def test_anchors_are_computed_for_the_asked_items_only() -> None:
    channel = UserKNN.from_histories(RaggedArray.of(HISTORIES), ITEMS)
    assert isinstance(channel, LazyAnchorChannel)
    asked = np.asarray([5, 2, 7])
    assert channel.anchors(query(0, 3), asked).tolist() == channel.scores(query(0, 3))[1][asked].tolist()
    assert channel.anchors(query(0, 3), np.empty(0, np.int64)).tolist() == []
