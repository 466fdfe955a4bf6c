"""Baselines against plain loops, against libraries, and in a world where who buys a tent buys a stove next."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from crossaisle.eval.baselines.ease_ials import EASEConfig, EASEScorer, IALSConfig, IALSScorer
from crossaisle.eval.baselines.item_knn import BM25Config, CoOccurrenceConfig, CoOccurrenceScorer, CosineConfig, ItemKNNScorer
from crossaisle.eval.baselines.popularity import (
    CategoryPopularityConfig,
    CategoryPopularityScorer,
    PopularityScorer,
    RecentPopularityConfig,
    RecentPopularityScorer,
)
from crossaisle.eval.baselines.registry import BASELINES
from crossaisle.eval.baselines.text_similarity import (
    TextCoOccurrenceConfig,
    TextCoOccurrenceScorer,
    TextSimilarityConfig,
    TextSimilarityScorer,
)
from crossaisle.eval.metrics.full_ranking import top_k
from crossaisle.eval.splits.training_data import TrainingData
from crossaisle.retrieval.items.interactions import DAY
from crossaisle.retrieval.items.ragged import Runs

ITEMS = 8
PASTS = st.lists(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=6), min_size=2, max_size=10)


def world(pasts: list[list[int]], *, items: int = ITEMS, time: list[int] | None = None) -> TrainingData:
    vectors = np.random.default_rng(0).normal(size=(items, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return TrainingData(Runs.of(pasts), None if time is None else np.asarray(time), items, np.arange(items, dtype=np.int32) % 3, vectors)


def drawn(users: int = 300, items: int = 40) -> TrainingData:
    random = np.random.default_rng(1)
    return world([random.permutation(random.zipf(1.4, 20) % items)[: random.integers(2, 9)].tolist() for _ in range(users)], items=items)


@settings(max_examples=40, deadline=None)
@given(PASTS, st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=4, unique=True))
def test_knn_and_co_occurrence_by_loops(pasts, history):
    training = world(pasts)
    had = [set(past) for past in pasts]
    users = [sum(item in past for past in had) for item in range(ITEMS)]
    both = [[sum(a in past and b in past for past in had) if a != b else 0 for b in range(ITEMS)] for a in range(ITEMS)]
    expected = [sum(both[a][b] / np.sqrt(max(users[a], 1) * max(users[b], 1)) for a in history) for b in range(ITEMS)]
    found = ItemKNNScorer(training, CosineConfig(neighbours=ITEMS)).scores(Runs.of([history]))[0]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)

    config = CoOccurrenceConfig(window=2, shrinkage=1.0, decay=0.5)
    after = np.zeros((ITEMS, ITEMS))
    for past in pasts:
        for i, a in enumerate(past):
            for b in past[i + 1 : i + 3]:
                after[a, b] += a != b
    expected = [sum(0.5 ** (len(history) - 1 - i) * after[a, b] / (users[a] + 1.0) for i, a in enumerate(history)) for b in range(ITEMS)]
    assert CoOccurrenceScorer(training, config).scores(Runs.of([history]))[0].tolist() == pytest.approx(expected, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(PASTS, st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=4, unique=True))
def test_ease_and_popularity_by_loops(pasts, history):
    training = world(pasts)
    x = np.zeros((len(pasts), ITEMS))
    for user, past in enumerate(pasts):
        x[user, past] = 1
    kept = x.sum(axis=0) > 0
    inverse = np.linalg.inv(x[:, kept].T @ x[:, kept] + 3.0 * np.eye(kept.sum()))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    asked = np.zeros(ITEMS)
    asked[history] = 1
    expected = np.zeros(ITEMS)
    expected[kept] = asked[kept] @ weights
    assert EASEScorer(training, EASEConfig(penalty=3.0)).scores(Runs.of([history]))[0].tolist() == pytest.approx(
        expected.tolist(), abs=1e-3
    )
    assert PopularityScorer(training).scores(Runs.of([history]))[0].tolist() == x.sum(axis=0).tolist()

    category = [item % 3 for item in range(ITEMS)]
    of_user = [{category[item] for item in past} for past in pasts]
    users = [sum(c in one for one in of_user) for c in range(3)]
    goes = [
        [(sum(a in one and b in one for one in of_user) + 2 * users[b] / len(pasts)) / (users[a] + 2) for b in range(3)] for a in range(3)
    ]
    expected = [
        np.mean([goes[category[a]][category[b]] for a in history]) * x[:, b].sum() / max(users[category[b]], 1) for b in range(ITEMS)
    ]
    # A category nobody had is not in the arrays when it is the last; the scores of its items are 0 either way.
    found = CategoryPopularityScorer(training, CategoryPopularityConfig(prior=2.0)).scores(Runs.of([history]))[0]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_knn_as_implicit_has_it() -> None:
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
    from threadpoolctl import threadpool_limits

    training = drawn()
    history = [3, 1]
    user = sparse.csr_matrix(Runs.of([history]).matrix(training.item_count))
    user.indices, user.indptr = user.indices.astype(np.int32), user.indptr.astype(np.int32)
    counts = sparse.csr_matrix(training.histories.matrix(training.item_count))
    for theirs, matrix, ours in (
        (
            CosineRecommender(K=training.item_count),
            sparse.csr_matrix(training.matrix),
            ItemKNNScorer(training, CosineConfig(neighbours=training.item_count)),
        ),
        (
            BM25Recommender(K=training.item_count, K1=1.2, B=0.75),
            counts,
            ItemKNNScorer(training, BM25Config(neighbours=training.item_count)),
        ),
    ):
        with threadpool_limits(1, "blas"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of a conversion of its own
            theirs.fit(matrix, show_progress=False)
        rows, scores = theirs.recommend(0, user, N=10, filter_already_liked_items=True)
        mine = ours.scores(Runs.of([history]))[0]
        # Theirs counts the item itself as a neighbour, which only adds to the history items that are filtered here.
        assert mine[rows].tolist() == pytest.approx(scores.tolist(), rel=1e-3)
        mine[history] = -1
        assert set(np.argsort(-mine)[:10].tolist()) == set(rows.tolist()) or mine[rows].min() == pytest.approx(np.sort(mine)[-10], rel=1e-3)


def test_a_new_shoppers_vector_is_the_ridge_of_the_source() -> None:
    """The library folds a history in; by hand: (Y'Y + Y'(C - I)Y + penalty I) x = Y'C p, with confidence alpha where there is something."""
    training, config = drawn(), IALSConfig(factors=8, alpha=5.0, penalty=0.1, iterations=5)
    model = IALSScorer(training, config, seed=0)
    vectors = model.vectors.astype(np.float64)
    history = Runs.of([[3, 1, 7], [2]])
    for case in range(2):
        had = vectors[history[case]]
        left = vectors.T @ vectors + (config.alpha - 1) * had.T @ had + config.penalty * np.eye(8)
        user = np.linalg.solve(left, config.alpha * had.sum(axis=0))
        assert model.scores(history)[case].tolist() == pytest.approx((vectors @ user).tolist(), abs=1e-3)


def test_text_by_cosines() -> None:
    training, history = world([[0, 1]]), Runs.of([[0, 2, 5], [4]])
    cosines = training.vectors @ training.vectors.T
    assert TextSimilarityScorer(training, TextSimilarityConfig(how="max", last=2)).scores(history)[0].tolist() == pytest.approx(
        cosines[[2, 5]].max(axis=0).tolist(), abs=1e-5
    )
    assert TextSimilarityScorer(training, TextSimilarityConfig(how="mean", last=2)).scores(history)[0].tolist() == pytest.approx(
        cosines[[2, 5]].sum(axis=0).tolist(), abs=1e-5
    )
    both = TextCoOccurrenceScorer(training, TextCoOccurrenceConfig(text=1.0)).scores(history)[1]
    assert both.argmax() == 4
    assert both.max() == pytest.approx(1)


def test_recent_is_what_was_had_lately() -> None:
    training = world([[0, 1], [0, 1], [2]], time=[0, 100 * DAY, 0, 100 * DAY, 99 * DAY])
    scores = RecentPopularityScorer(training, RecentPopularityConfig(days=7)).scores(Runs.of([[5]]))[0]
    assert scores.argsort()[::-1][:3].tolist() == [1, 2, 0]
    with pytest.raises(ValueError, match="no clock"):
        RecentPopularityScorer(world([[0]]), RecentPopularityConfig())


def test_a_tent_calls_for_a_stove() -> None:
    """Half of the users buy 0 then 1; the rest buy among the others: whatever counts pairs must put 1 first."""
    random = np.random.default_rng(0)
    pasts = [[0, 1, int(random.integers(2, 8))] for _ in range(60)] + [random.permutation(np.arange(2, 8))[:3].tolist() for _ in range(60)]
    training = world(pasts)
    for name in ("item-knn cosine", "item-knn bm25", "co-occurrence", "ease", "ials", "text + co-occurrence"):
        baseline = BASELINES[name]
        scores = baseline.fit(training, baseline.configs[0]).scores(Runs.of([[0]]))[0]
        scores[0] = -np.inf
        assert scores.argmax() == 1, name


def test_renaming_the_items_renames_the_scores() -> None:
    pasts = [list(past) for past in ([0, 1, 2], [1, 2], [3, 4, 1], [5, 0], [6, 7, 0, 2])]
    new = np.random.default_rng(2).permutation(ITEMS)
    one = world(pasts)
    other = TrainingData(
        Runs.of([[int(new[i]) for i in past] for past in pasts]), None, ITEMS, one.category[np.argsort(new)], one.vectors[np.argsort(new)]
    )
    for name, baseline in BASELINES.items():
        if name in ("random", "ials", "most popular lately"):  # drawn vectors; no clock here
            continue
        config = baseline.configs[0]
        mine = baseline.fit(one, config).scores(Runs.of([[1, 0]]))[0]
        theirs = baseline.fit(other, config).scores(Runs.of([[int(new[1]), int(new[0])]]))[0]
        assert mine.tolist() == pytest.approx(theirs[new].tolist(), abs=1e-4), name


@given(st.lists(st.lists(st.sampled_from([-np.inf, 0.0, 1.0, 2.0]), min_size=7, max_size=7), min_size=1, max_size=4), st.integers(1, 9))
def test_the_best_by_sorting(scores, depth):
    table = np.asarray(scores, dtype=np.float32)
    lot = np.random.default_rng(0).permutation(7)
    found = top_k(table, depth, lot)
    place = np.argsort(lot)
    for row, mine in zip(table, found, strict=True):
        expected = [i for i in sorted(range(7), key=lambda i: (-row[i], place[i])) if row[i] > -np.inf][:depth]
        assert mine.tolist() == expected + [-1] * (depth - len(expected))
