"""Matrix factorization: its linear algebra, the text prior for rare items, and its storage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crossaisle.data.errors import StaleIndexError
from crossaisle.retrieval.channels import matrix_factorization
from crossaisle.retrieval.channels.base import CandidateQuery, ServedItems
from crossaisle.retrieval.channels.matrix_factorization import FactorizationConfig, ItemFactors, MatrixFactorization
from crossaisle.retrieval.items.ragged import RaggedArray

GROUPS, EACH, USERS = 4, 12, 240
"""Users have items of one group only, and an item's text determines its group."""


def query(rows: list[int], weights: list[float] | None = None) -> CandidateQuery:
    undecayed = None if weights is None else np.asarray(weights)
    return CandidateQuery(np.asarray(rows, np.int64), np.ones(len(rows)), np.empty((0, 0), np.float32), undecayed)


def served(ids: list[str], vectors: np.ndarray) -> ServedItems:
    return ServedItems(ids, vectors, "s1", len(ids))


@pytest.fixture(scope="module")
def world() -> tuple[RaggedArray, np.ndarray]:
    """Histories and text vectors; the last item of every group has no user, the one before it has one."""
    rng = np.random.default_rng(3)
    histories = []
    for user in range(USERS):
        group = user % GROUPS
        histories.append((group * EACH + rng.choice(EACH - 2, 5, replace=False)).tolist())
    for group in range(GROUPS):
        histories[group].append(group * EACH + EACH - 2)
    texts = np.repeat(np.eye(GROUPS, 16), EACH, axis=0) + 0.1 * rng.standard_normal((GROUPS * EACH, 16))
    return RaggedArray.of(histories), (texts / np.linalg.norm(texts, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted(world: tuple[RaggedArray, np.ndarray]) -> ItemFactors:
    return matrix_factorization.fit_factors(*world, FactorizationConfig(size=8, penalty=5.0))


def test_a_history_scores_its_own_group_highest_with_an_anchor_in_it(world: tuple[RaggedArray, np.ndarray], fitted: ItemFactors) -> None:
    channel = MatrixFactorization(fitted)
    for group in range(GROUPS):
        rows = [group * EACH, (group + 1) % GROUPS * EACH, group * EACH + 3]
        scores, anchors = channel.scores(query(rows[:1] + rows[2:]))
        best = np.argsort(-scores)[: EACH - 2]
        assert (best // EACH == group).all()
        scores, anchors = channel.scores(query(rows))
        for item in range(group * EACH + 4, group * EACH + EACH - 2):
            assert scores[item] > 0
            assert anchors[item] in (0, 2)  # the two history items of the group


def test_items_with_at_most_one_user_are_placed_by_their_text(world: tuple[RaggedArray, np.ndarray], fitted: ItemFactors) -> None:
    channel = MatrixFactorization(fitted)
    for group in range(GROUPS):
        scores = channel.item_scores(query([group * EACH, group * EACH + 1]))
        for rare in (scores[EACH - 2 :: EACH], scores[EACH - 1 :: EACH]):
            assert rare.argmax() == group
            assert rare[group] > 2 * np.delete(rare, group).max()
    without_text = matrix_factorization.fit_factors(*world, FactorizationConfig(size=8, penalty=5.0, text=False))
    assert (MatrixFactorization(without_text).item_scores(query([0, 1]))[EACH - 1 :: EACH] == 0).all()


def test_conjugate_gradients_reach_the_exact_solution(world: tuple[RaggedArray, np.ndarray]) -> None:
    histories, texts = world
    rng = np.random.default_rng(0)
    config = FactorizationConfig(size=6, confidence=7.0, penalty=3.0, steps=12)
    observed = histories.matrix(len(texts))
    observed.data[:] = 1
    item_factors = rng.standard_normal((len(texts), 6)).astype(np.float32)
    prior = rng.standard_normal((len(histories), 6)).astype(np.float32)
    solved = matrix_factorization._solve(observed, item_factors, np.zeros_like(prior), prior, config)
    for row in range(0, len(histories), 17):
        own = item_factors[np.unique(histories[row])].astype(np.float64)
        matrix = item_factors.T.astype(np.float64) @ item_factors + 6.0 * own.T @ own + 3.0 * np.eye(6)
        assert np.allclose(solved[row], np.linalg.solve(matrix, 7.0 * own.sum(axis=0) + 3.0 * prior[row]), atol=1e-3)


def test_without_text_prior_it_agrees_with_implicit() -> None:
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy import sparse
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(5)
    users, items = rng.standard_normal((400, 4)), rng.standard_normal((150, 4))
    probability = 1 / (1 + np.exp(-(users @ items.T - 2.5)))
    observed = rng.random(probability.shape) < probability
    histories = RaggedArray.of([np.flatnonzero(row).tolist() for row in observed])
    ours = matrix_factorization.fit_factors(
        histories, np.zeros((150, 3), np.float32), FactorizationConfig(size=4, penalty=10.0, text=False, rounds=40)
    )
    matrix = sparse.csr_matrix(observed.astype(np.float32))
    with threadpool_limits(1, "blas"):  # the library warns otherwise
        theirs = AlternatingLeastSquares(factors=4, regularization=10.0, alpha=10.0, iterations=40, random_state=1)
        theirs.fit(matrix, show_progress=False)
        their_scores = theirs.recalculate_user(np.arange(400), matrix) @ theirs.item_factors.T
    our_scores = MatrixFactorization(ours).scores_of(histories)
    correlations = [np.corrcoef(a, b)[0, 1] for a, b in zip(our_scores, np.maximum(their_scores, 0), strict=True)]
    assert np.mean(correlations) > 0.98


def test_contributions_of_the_history_add_up_to_the_scores(fitted: ItemFactors) -> None:
    channel = MatrixFactorization(fitted)
    history = query([0, 5, EACH + 2], [1.0, 0.5, 2.0])
    matrix, factors, confidence = channel._normal_equations(history.rows, history.undecayed_weights)
    contributions = (factors * confidence[:, None]) @ np.linalg.solve(matrix, fitted.items.T)
    assert np.allclose(np.maximum(contributions.sum(axis=0), 0), channel.item_scores(history), atol=1e-5)
    rows = np.asarray([3, EACH + 4, 2 * EACH])
    assert (channel.anchors(history, rows) == channel.scores(history)[1][rows]).all()


def test_scores_depend_on_weights_but_not_on_the_order_of_a_history(fitted: ItemFactors) -> None:
    channel = MatrixFactorization(fitted)
    scores, reordered = channel.item_scores(query([0, EACH, 3])), channel.item_scores(query([EACH, 3, 0]))
    assert np.allclose(scores, reordered, atol=1e-6)
    weighted = channel.item_scores(query([0, EACH, 3], [1.0, 4.0, 1.0]))
    assert weighted[EACH + 5] > scores[EACH + 5]
    empty = channel.scores(query([]))
    assert (empty[0] == 0).all()
    assert (empty[1] == -1).all()


def test_fitting_is_deterministic(world: tuple[RaggedArray, np.ndarray], fitted: ItemFactors) -> None:
    assert (matrix_factorization.fit_factors(*world, FactorizationConfig(size=8, penalty=5.0)).items == fitted.items).all()
    assert (matrix_factorization.fit_factors(*world, FactorizationConfig(size=8, penalty=5.0, seed=1)).items != fitted.items).any()


def test_without_users_all_factors_are_zero() -> None:
    factors = matrix_factorization.fit_factors(RaggedArray.of([]), np.zeros((5, 3), np.float32), FactorizationConfig(size=4))
    assert (factors.items == 0).all()
    assert np.isfinite(factors.text_map).all()


def test_saved_factors_are_aligned_with_the_catalogue_when_loaded(
    tmp_path: Path, world: tuple[RaggedArray, np.ndarray], fitted: ItemFactors
) -> None:
    _, texts = world
    ids, folder = [f"i{row}" for row in range(len(texts))], tmp_path / "factors"
    MatrixFactorization(fitted, ids, {"snapshot": "s1"}).save(folder)
    assert json.loads((folder / "card.json").read_text())["snapshot"] == "s1"
    assert (MatrixFactorization.load(folder, served(ids, texts)).items == fitted.items).all()
    other_texts = np.concatenate([texts[5:], texts[:1], np.zeros((1, 16), np.float32)])
    aligned = MatrixFactorization.load(folder, served([*ids[5:], "new", "without text"], other_texts))
    assert len(aligned) == len(ids) - 3
    assert (aligned.items[: len(ids) - 5] == fitted.items[5:]).all()
    assert np.allclose(aligned.items[-2], fitted.from_text(texts[:1])[0])
    assert (aligned.items[-1] == 0).all()


def test_unusable_factors_are_rejected_with_a_remedy(tmp_path: Path, world: tuple[RaggedArray, np.ndarray], fitted: ItemFactors) -> None:
    _, texts = world
    ids, folder = [f"i{row}" for row in range(len(texts))], tmp_path / "factors"
    MatrixFactorization(fitted, ids).save(folder)
    with pytest.raises(StaleIndexError, match="16 dimensions, the index has 15; run `crossaisle train"):
        MatrixFactorization.load(folder, served(ids, texts[:, :15]))
    (folder / "items.parquet").write_bytes(b"nothing")
    with pytest.raises(StaleIndexError, match="cannot be read"):
        MatrixFactorization.load(folder, served(ids, texts))
    MatrixFactorization(fitted, ids[:-1]).save(folder)
    with pytest.raises(StaleIndexError, match="ValueError"):
        MatrixFactorization.load(folder, served(ids, texts))
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(StaleIndexError, match="cannot be read"):
        MatrixFactorization.load(folder, served(ids, texts))
