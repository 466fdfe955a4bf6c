"""The channels that count every pair, against sums done by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from crossaisle.retrieval.channels import behavioural, co_occurrence
from crossaisle.retrieval.channels.base import CandidateQuery
from crossaisle.retrieval.channels.behavioural import (
    BM25Neighbors,
    ConditionalCoOccurrence,
    RecentPopularity,
    SequentialCoOccurrence,
    TextSmoothedCoOccurrence,
)
from crossaisle.retrieval.channels.text_similarity import TextNeighbors, TextSimilarity
from crossaisle.retrieval.items.interactions import Events
from crossaisle.retrieval.items.ragged import RaggedArray

PASTS = [[0, 1, 2], [0, 1], [1, 0], [3, 2]]
"""Three had 0 and 1, two of them in that order; 2 came after 0 and 1 once, and after 3 once; 4 was never had."""


def seeds(*rows: int, likings: Sequence[float] | None = None) -> CandidateQuery:
    rows_, ones = np.asarray(rows, dtype=np.int64), np.ones(len(rows))
    return CandidateQuery(rows_, ones, np.empty((0, 0), np.float32), None if likings is None else np.asarray(likings))


def texts() -> NDArray[np.float32]:
    """Item 4 reads like item 0 at a cosine of 0.9, nothing else is alike."""
    vectors = np.eye(5, dtype=np.float32)
    vectors[4] = 0.9 * vectors[0] + np.sqrt(1 - 0.81) * vectors[4]
    return vectors


def test_what_follows_is_counted_by_hand() -> None:
    channel = SequentialCoOccurrence.from_histories(RaggedArray.of(PASTS), 5)
    scores, places = channel.scores(seeds(0))
    # Of the 3 users of item 0, two had 1 after it and one had 2, damped by 20 users.
    assert scores == pytest.approx([0, 2 / 23, 1 / 23, 0, 0])
    assert places.tolist() == [-1, 0, 0, -1, -1]


def test_newer_history_items_count_for_more_and_liking_scales() -> None:
    channel = SequentialCoOccurrence.from_histories(RaggedArray.of(PASTS), 5)
    older, _ = channel.scores(seeds(0, 4))
    newer, _ = channel.scores(seeds(4, 0))
    assert older == pytest.approx(newer * 0.8)
    half, _ = channel.scores(seeds(4, 0, likings=[1.0, 0.5]))
    assert half == pytest.approx(newer * 0.5)


def test_the_place_is_that_of_the_largest_share() -> None:
    channel = SequentialCoOccurrence.from_histories(RaggedArray.of(PASTS), 5)
    scores, places = channel.scores(seeds(0, 3))
    # 2 follows 3 for the one user of 3 (1/21, newest), and 0 for one of three (1/23, a place older).
    assert scores[2] == pytest.approx(1 / 21 + 0.8 / 23)
    assert places[2] == 1
    assert places[1] == 0


def test_neighbours_do_not_care_for_order_or_age() -> None:
    channel = BM25Neighbors.from_histories(RaggedArray.of(PASTS), 5)
    assert channel.scores(seeds(0, 3))[0] == pytest.approx(channel.scores(seeds(3, 0))[0])


def test_bm25_equals_a_second_implementation() -> None:
    from implicit.nearest_neighbours import bm25_weight
    from scipy import sparse

    had = sparse.csr_matrix(RaggedArray.of(PASTS).matrix(5))
    weighted = bm25_weight(had.T.tocsr(), K1=100.0, B=0.25).tocsr()
    theirs = (weighted @ weighted.T).toarray()
    np.fill_diagonal(theirs, 0)
    ours = co_occurrence.bm25(RaggedArray.of(PASTS), 5, max_neighbors=5, k1=100.0, b=0.25).toarray()
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_what_was_had_together_is_counted_by_hand() -> None:
    scores, places = ConditionalCoOccurrence.from_histories(RaggedArray.of(PASTS), 5).scores(seeds(0, 3))
    # Item 0 had three users, all of whom had 1 and one of whom had 2; item 3 had one, who had 2. Old and new count alike.
    assert scores == pytest.approx([0, 3 / np.sqrt(3), 1 / np.sqrt(3) + 1, 0, 0])
    assert places.tolist() == [-1, 0, 1, -1, -1]


def test_what_nobody_had_borrows_the_company_of_what_it_reads_like() -> None:
    alike = TextNeighbors(texts())
    channel = TextSmoothedCoOccurrence.from_histories(RaggedArray.of(PASTS), 5, alike, ordered=True)
    scores, places = channel.scores(seeds(4))
    vote = np.exp((0.9 - 1) / 0.1)  # others are at right angles: exp(-10) is next to nothing
    # Item 0, which 4 reads like, stands beside 1 for three users and beside 2 for one, of its 3 users damped by 20.
    assert scores == pytest.approx([0, 3 * vote / 23, vote / 23, 0, 0], abs=1e-4)
    assert places[[1, 2]].tolist() == [0, 0]
    assert SequentialCoOccurrence.from_histories(RaggedArray.of(PASTS), 5).scores(seeds(4))[0].sum() == 0


def test_without_an_order_all_pairs_of_a_user_count() -> None:
    far = [[0, *range(1, 5), 0, 1, 2, 3, 1, 2, 3, 4]]
    unordered = TextSmoothedCoOccurrence.from_histories(RaggedArray.of(far), 5, TextNeighbors(texts()), ordered=False)
    assert (unordered.scores(seeds(0))[0][1:] > 0).all()


def test_lately_forgets_what_is_old() -> None:
    day = 86_400_000
    events = Events(
        np.array([0, 0, 1, 2], np.int32),
        np.array([0, 1, 1, 1], np.int32),
        np.array([0, 300, 301, 302]) * day,
        "time",
        pl.Series(["a"]),
        "bought",
    )
    assert RecentPopularity.from_events(events, 3).scores(seeds(0))[0].tolist() == [0, 3, 0]


def test_one_wrong_clock_does_not_make_everything_old() -> None:
    day = 86_400_000
    time = np.append(np.arange(400), 9999) * day
    events = Events(np.arange(401, dtype=np.int32), np.zeros(401, np.int32), time, "time", pl.Series(["a"]), "bought")
    assert RecentPopularity.from_events(events, 1).scores(seeds(0))[0].tolist() == [
        184
    ]  # the last 180 days before day 396, and what came after


def test_a_store_without_an_order_has_no_channel_of_what_follows() -> None:
    events = Events(np.zeros(2, np.int32), np.array([0, 1], np.int32), np.zeros(2, np.int64), "none", pl.Series(["a"]), "bought")
    assert set(behavioural.behavioural_channels(events, 5, TextNeighbors(texts()))) == {
        "item_knn",
        "co_occurrence",
        "text_smoothed",
        "lately",
    }


@given(
    st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=8), min_size=1, max_size=12),
    st.lists(st.integers(0, 6), min_size=1, max_size=5, unique=True),
)
def test_follows_equals_counting_pair_by_pair(pasts: list[list[int]], history: list[int]) -> None:
    items, window, shrinkage = 7, 3, 5.0
    matrix = co_occurrence.sequential(RaggedArray.of(pasts), items, window=window, shrinkage=shrinkage, both_directions=False).toarray()
    for source in range(items):
        had = sum(source in past for past in pasts)
        for target in range(items):
            went = sum(
                past[i] == source and past[j] == target and source != target
                for past in pasts
                for i in range(len(past))
                for j in range(i + 1, min(i + window, len(past) - 1) + 1)
            )
            assert matrix[source, target] == pytest.approx(went / (had + shrinkage))


@given(
    st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=6), min_size=1, max_size=12),
    st.lists(st.integers(0, 7), min_size=1, max_size=6, unique=True),
    st.randoms(use_true_random=False),
)
def test_a_history_permuted_in_time_moves_only_what_is_said_to_depend_on_it(
    pasts: list[list[int]], history: list[int], random: random.Random
) -> None:
    """docs/training.md: `item_knn`, `co_occurrence` and `lately` know no order; `sequential` weighs by it, and counts the same items."""
    runs, mixed = RaggedArray.of(pasts), history.copy()
    random.shuffle(mixed)
    likings = dict(zip(history, np.linspace(0.5, 1.0, len(history)).tolist(), strict=True))
    first = seeds(*history, likings=[likings[row] for row in history])
    second = seeds(*mixed, likings=[likings[row] for row in mixed])
    for channel in (
        BM25Neighbors.from_histories(runs, 8),
        ConditionalCoOccurrence.from_histories(runs, 8),
        RecentPopularity(np.arange(8, dtype=np.float32)),
    ):
        np.testing.assert_allclose(channel.scores(first)[0], channel.scores(second)[0], rtol=1e-5, atol=1e-6)
    follows = SequentialCoOccurrence.from_histories(runs, 8)
    assert ((follows.scores(first)[0] > 0) == (follows.scores(second)[0] > 0)).all()


def test_likeness_is_the_weighted_mean_of_cosines() -> None:
    scores, places = TextSimilarity(texts()).scores(CandidateQuery(np.array([0, 1]), np.array([1.0, 3.0]), np.empty((0, 0), np.float32)))
    assert scores == pytest.approx([0.25, 0.75, 0, 0, 0.225])
    assert places.tolist() == [0, 1, -1, -1, 0]
