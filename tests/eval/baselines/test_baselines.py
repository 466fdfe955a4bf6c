"""Baselines against plain loops, against libraries, and on data in which buyers of a tent buy a stove next."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from crossaisle.eval.baselines.ease_ials import EASEConfig, EASEScorer, IALSConfig, IALSScorer, _ItemWeights, _UserInverse
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
from crossaisle.retrieval.items.ragged import RaggedArray

ITEMS = 8
HISTORIES = st.lists(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=6), min_size=2, max_size=10)


def training_data(histories: list[list[int]], *, items: int = ITEMS, time: list[int] | None = None) -> TrainingData:
    vectors = np.random.default_rng(0).normal(size=(items, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return TrainingData(
        RaggedArray.of(histories), None if time is None else np.asarray(time), items, np.arange(items, dtype=np.int32) % 3, vectors
    )


def random_training_data(users: int = 300, items: int = 40) -> TrainingData:
    random = np.random.default_rng(1)
    return training_data(
        [random.permutation(random.zipf(1.4, 20) % items)[: random.integers(2, 9)].tolist() for _ in range(users)], items=items
    )


@settings(max_examples=40, deadline=None)
@given(HISTORIES, st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=4, unique=True))
def test_knn_and_co_occurrence_by_loops(histories, history):
    training = training_data(histories)
    item_sets = [set(items_of_user) for items_of_user in histories]
    users = [sum(item in items_of_user for items_of_user in item_sets) for item in range(ITEMS)]
    pair_counts = [
        [sum(a in items_of_user and b in items_of_user for items_of_user in item_sets) if a != b else 0 for b in range(ITEMS)]
        for a in range(ITEMS)
    ]
    expected = [sum(pair_counts[a][b] / np.sqrt(max(users[a], 1) * max(users[b], 1)) for a in history) for b in range(ITEMS)]
    scores = ItemKNNScorer(training, CosineConfig(neighbours=ITEMS)).scores(RaggedArray.of([history]))[0]
    assert scores.tolist() == pytest.approx(expected, abs=1e-5)

    config = CoOccurrenceConfig(window=2, shrinkage=1.0, decay=0.5)
    after = np.zeros((ITEMS, ITEMS))
    for items_of_user in histories:
        for i, a in enumerate(items_of_user):
            for b in items_of_user[i + 1 : i + 3]:
                after[a, b] += a != b
    expected = [sum(0.5 ** (len(history) - 1 - i) * after[a, b] / (users[a] + 1.0) for i, a in enumerate(history)) for b in range(ITEMS)]
    assert CoOccurrenceScorer(training, config).scores(RaggedArray.of([history]))[0].tolist() == pytest.approx(expected, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(HISTORIES, st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=4, unique=True))
def test_ease_and_popularity_by_loops(histories, history):
    training = training_data(histories)
    x = np.zeros((len(histories), ITEMS))
    for user, items_of_user in enumerate(histories):
        x[user, items_of_user] = 1
    in_model = x.sum(axis=0) > 0
    inverse = np.linalg.inv(x[:, in_model].T @ x[:, in_model] + 3.0 * np.eye(in_model.sum()))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    query = np.zeros(ITEMS)
    query[history] = 1
    expected = np.zeros(ITEMS)
    expected[in_model] = query[in_model] @ weights
    assert EASEScorer(training, EASEConfig(penalty=3.0)).scores(RaggedArray.of([history]))[0].tolist() == pytest.approx(
        expected.tolist(), abs=1e-3
    )
    assert PopularityScorer(training).scores(RaggedArray.of([history]))[0].tolist() == x.sum(axis=0).tolist()

    category = [item % 3 for item in range(ITEMS)]
    category_sets = [{category[item] for item in items_of_user} for items_of_user in histories]
    users = [sum(c in categories for categories in category_sets) for c in range(3)]
    transition = [
        [
            (sum(a in categories and b in categories for categories in category_sets) + 2 * users[b] / len(histories)) / (users[a] + 2)
            for b in range(3)
        ]
        for a in range(3)
    ]
    expected = [
        np.mean([transition[category[a]][category[b]] for a in history]) * x[:, b].sum() / max(users[category[b]], 1) for b in range(ITEMS)
    ]
    # A last category without users is not in the arrays; the scores of its items are 0 either way.
    scores = CategoryPopularityScorer(training, CategoryPopularityConfig(prior=2.0)).scores(RaggedArray.of([history]))[0]
    assert scores.tolist() == pytest.approx(expected, abs=1e-5)


def test_knn_matches_implicit() -> None:
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
    from threadpoolctl import threadpool_limits

    training = random_training_data()
    history = [3, 1]
    user = sparse.csr_matrix(RaggedArray.of([history]).matrix(training.item_count))
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
            warnings.simplefilter("ignore")  # implicit warns about a conversion of its own
            theirs.fit(matrix, show_progress=False)
        rows, scores = theirs.recommend(0, user, N=10, filter_already_liked_items=True)
        mine = ours.scores(RaggedArray.of([history]))[0]
        # implicit counts the item itself as a neighbor, which only affects the history items that are filtered here.
        assert mine[rows].tolist() == pytest.approx(scores.tolist(), rel=1e-3)
        mine[history] = -1
        assert set(np.argsort(-mine)[:10].tolist()) == set(rows.tolist()) or mine[rows].min() == pytest.approx(np.sort(mine)[-10], rel=1e-3)


def test_ials_user_vector_matches_the_source() -> None:
    """Fold-in of a history by hand: (Y'Y + Y'(C - I)Y + penalty I) x = Y'C p, with confidence alpha for interactions."""
    training, config = random_training_data(), IALSConfig(factors=8, alpha=5.0, penalty=0.1, iterations=5)
    model = IALSScorer(training, config, seed=0)
    vectors = model.vectors.astype(np.float64)
    history = RaggedArray.of([[3, 1, 7], [2]])
    for case in range(2):
        history_vectors = vectors[history[case]]
        left = vectors.T @ vectors + (config.alpha - 1) * history_vectors.T @ history_vectors + config.penalty * np.eye(8)
        user = np.linalg.solve(left, config.alpha * history_vectors.sum(axis=0))
        assert model.scores(history)[case].tolist() == pytest.approx((vectors @ user).tolist(), abs=1e-3)


def test_text_by_cosines() -> None:
    training, history = training_data([[0, 1]]), RaggedArray.of([[0, 2, 5], [4]])
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


def test_recent_popularity_counts_the_last_days() -> None:
    training = training_data([[0, 1], [0, 1], [2]], time=[0, 100 * DAY, 0, 100 * DAY, 99 * DAY])
    scores = RecentPopularityScorer(training, RecentPopularityConfig(days=7)).scores(RaggedArray.of([[5]]))[0]
    assert scores.argsort()[::-1][:3].tolist() == [1, 2, 0]
    with pytest.raises(ValueError, match="no timestamps"):
        RecentPopularityScorer(training_data([[0]]), RecentPopularityConfig())


def test_tent_buyers_get_the_stove() -> None:
    """Half of the users buy 0 then 1, the rest buy other items: baselines that count pairs must rank 1 first."""
    random = np.random.default_rng(0)
    histories = [[0, 1, int(random.integers(2, 8))] for _ in range(60)] + [
        random.permutation(np.arange(2, 8))[:3].tolist() for _ in range(60)
    ]
    training = training_data(histories)
    for name in ("item-knn cosine", "item-knn bm25", "co-occurrence", "ease", "ials", "text + co-occurrence"):
        baseline = BASELINES[name]
        scores = baseline.fit(training, baseline.configs[0]).scores(RaggedArray.of([[0]]))[0]
        scores[0] = -np.inf
        assert scores.argmax() == 1, name


def test_permuting_the_items_permutes_the_scores() -> None:
    histories = [list(items_of_user) for items_of_user in ([0, 1, 2], [1, 2], [3, 4, 1], [5, 0], [6, 7, 0, 2])]
    permutation = np.random.default_rng(2).permutation(ITEMS)
    original = training_data(histories)
    permuted = TrainingData(
        RaggedArray.of([[int(permutation[i]) for i in items_of_user] for items_of_user in histories]),
        None,
        ITEMS,
        original.category[np.argsort(permutation)],
        original.vectors[np.argsort(permutation)],
    )
    for name, baseline in BASELINES.items():
        if name in ("random", "ials", "most popular lately"):  # random vectors; no timestamps here
            continue
        config = baseline.configs[0]
        scores = baseline.fit(original, config).scores(RaggedArray.of([[1, 0]]))[0]
        permuted_scores = baseline.fit(permuted, config).scores(RaggedArray.of([[int(permutation[1]), int(permutation[0])]]))[0]
        assert scores.tolist() == pytest.approx(permuted_scores[permutation].tolist(), abs=1e-4), name


@given(st.lists(st.lists(st.sampled_from([-np.inf, 0.0, 1.0, 2.0]), min_size=7, max_size=7), min_size=1, max_size=4), st.integers(1, 9))
def test_top_k_matches_sorting(scores, depth):
    table = np.asarray(scores, dtype=np.float32)
    tie_order = np.random.default_rng(0).permutation(7)
    top = top_k(table, depth, tie_order)
    tie_rank = np.argsort(tie_order)
    for row, columns in zip(table, top, strict=True):
        expected = [i for i in sorted(range(7), key=lambda i: (-row[i], tie_rank[i])) if row[i] > -np.inf][:depth]
        assert columns.tolist() == expected + [-1] * (depth - len(expected))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from([2, 5, 1000]), st.sampled_from([0.0, 0.5, 0.97]))
def test_top_k_of_many_columns_matches_sorting(seed, depth, distinct_values, share_left_out):
    random = np.random.default_rng(seed)
    table = random.integers(0, distinct_values, (4, 300)).astype(np.float32)
    table[random.random(table.shape) < share_left_out] = -np.inf
    table[random.random(table.shape) < share_left_out / 2] = np.nan
    tie_order = random.permutation(300)
    tie_rank = np.argsort(tie_order)
    for row, columns in zip(table, top_k(table, depth, tie_order), strict=True):
        expected = [int(i) for i in np.lexsort((tie_rank, -row)) if row[i] > -np.inf][:depth]
        assert columns.tolist() == expected + [-1] * (depth - len(expected))


def test_ease_by_users_equals_ease_by_items() -> None:
    training = random_training_data(users=10)
    histories = RaggedArray.of([[3, 1, 7], [2], [0, 5, 6, 30]])
    scorer = EASEScorer(training, EASEConfig(penalty=5.0, items=15))
    assert isinstance(scorer.solution, _UserInverse)
    by_items = _ItemWeights(scorer.solution.interactions, 5.0).scores(histories.matrix(training.item_count)[:, scorer.model_items])
    assert scorer.scores(histories)[:, scorer.model_items] == pytest.approx(by_items, abs=1e-4)
