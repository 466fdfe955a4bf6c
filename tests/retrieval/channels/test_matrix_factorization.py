"""The channel of factors: the solution is the solution, texts place what few had, and files are whole or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crossaisle.data.errors import StaleIndexError
from crossaisle.retrieval.channels import matrix_factorization
from crossaisle.retrieval.channels.base import CandidateQuery
from crossaisle.retrieval.channels.matrix_factorization import FactorizationConfig, ItemFactors, MatrixFactorization
from crossaisle.retrieval.items.ragged import Runs

GROUPS, EACH, USERS = 4, 12, 240
"""Of the world: users have items of one group only, and an item's text names its group."""


def seeds(rows: list[int], likings: list[float] | None = None) -> CandidateQuery:
    weights = np.ones(len(rows))
    return CandidateQuery(
        np.asarray(rows, np.int64), weights, np.empty((0, 0), np.float32), None if likings is None else np.asarray(likings)
    )


@pytest.fixture(scope="module")
def world() -> tuple[Runs, np.ndarray]:
    """Pasts, and texts; the last item of every group was had by nobody, the one before it by one user."""
    draw = np.random.default_rng(3)
    pasts = []
    for user in range(USERS):
        group = user % GROUPS
        pasts.append((group * EACH + draw.choice(EACH - 2, 5, replace=False)).tolist())
    for group in range(GROUPS):
        pasts[group].append(group * EACH + EACH - 2)
    texts = np.repeat(np.eye(GROUPS, 16), EACH, axis=0) + 0.1 * draw.standard_normal((GROUPS * EACH, 16))
    return Runs.of(pasts), (texts / np.linalg.norm(texts, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted(world: tuple[Runs, np.ndarray]) -> ItemFactors:
    return matrix_factorization.fit_factors(*world, FactorizationConfig(size=8, penalty=5.0))


def test_a_history_points_at_its_own_group_and_names_an_item_of_it(world: tuple[Runs, np.ndarray], fitted: ItemFactors) -> None:
    channel = MatrixFactorization(fitted.items, fitted.config)
    for group in range(GROUPS):
        rows = [group * EACH, (group + 1) % GROUPS * EACH, group * EACH + 3]
        scores, places = channel.scores(seeds(rows[:1] + rows[2:]))
        best = np.argsort(-scores)[: EACH - 2]
        assert (best // EACH == group).all()
        scores, places = channel.scores(seeds(rows))
        for item in range(group * EACH + 4, group * EACH + EACH - 2):
            assert scores[item] > 0
            assert places[item] in (0, 2)  # of the history's two items of the group, not of the other one


def test_what_nobody_or_one_had_lies_where_its_text_lets_expect(world: tuple[Runs, np.ndarray], fitted: ItemFactors) -> None:
    channel = MatrixFactorization(fitted.items, fitted.config)
    for group in range(GROUPS):
        scores = channel.item_scores(seeds([group * EACH, group * EACH + 1]))
        few = scores[EACH - 2 :: EACH], scores[EACH - 1 :: EACH]
        assert all(one.argmax() == group and one[group] > 2 * np.delete(one, group).max() for one in few)
    blind = matrix_factorization.fit_factors(*world, FactorizationConfig(size=8, penalty=5.0, text=False))
    assert (MatrixFactorization(blind.items, blind.config).item_scores(seeds([0, 1]))[EACH - 1 :: EACH] == 0).all()


def test_conjugate_gradients_come_to_the_solution_of_each_row(world: tuple[Runs, np.ndarray]) -> None:
    pasts, texts = world
    draw = np.random.default_rng(0)
    config = FactorizationConfig(size=6, confidence=7.0, penalty=3.0, steps=12)
    had = pasts.matrix(len(texts))
    had.data[:] = 1
    others = draw.standard_normal((len(texts), 6)).astype(np.float32)
    prior = draw.standard_normal((len(pasts), 6)).astype(np.float32)
    found = matrix_factorization._solve(had, others, np.zeros_like(prior), prior, config)
    for row in range(0, len(pasts), 17):
        mine = others[np.unique(pasts[row])].astype(np.float64)
        curve = others.T.astype(np.float64) @ others + 6.0 * mine.T @ mine + 3.0 * np.eye(6)
        assert np.allclose(found[row], np.linalg.solve(curve, 7.0 * mine.sum(axis=0) + 3.0 * prior[row]), atol=1e-3)


def test_without_texts_it_ranks_as_the_library_implicit_does() -> None:
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy import sparse
    from threadpoolctl import threadpool_limits

    draw = np.random.default_rng(5)
    taste, kind = draw.standard_normal((400, 4)), draw.standard_normal((150, 4))
    chance = 1 / (1 + np.exp(-(taste @ kind.T - 2.5)))
    had = draw.random(chance.shape) < chance
    pasts = Runs.of([np.flatnonzero(row).tolist() for row in had])
    ours = matrix_factorization.fit_factors(
        pasts, np.zeros((150, 3), np.float32), FactorizationConfig(size=4, penalty=10.0, text=False, rounds=40)
    )
    known = sparse.csr_matrix(had.astype(np.float32))
    with threadpool_limits(1, "blas"):  # the library warns otherwise
        theirs = AlternatingLeastSquares(factors=4, regularization=10.0, alpha=10.0, iterations=40, random_state=1)
        theirs.fit(known, show_progress=False)
        other = theirs.recalculate_user(np.arange(400), known) @ theirs.item_factors.T
    mine = MatrixFactorization(ours.items, ours.config).scores_of(pasts)
    likeness = [np.corrcoef(a, b)[0, 1] for a, b in zip(mine, np.maximum(other, 0), strict=True)]
    assert np.mean(likeness) > 0.98


def test_parts_of_a_history_add_up_to_its_scores(fitted: ItemFactors) -> None:
    channel = MatrixFactorization(fitted.items, fitted.config)
    asked = seeds([0, 5, EACH + 2], [1.0, 0.5, 2.0])
    curve, had, weight = channel._normal_equations(asked.rows, asked.undecayed_weights)
    parts = (had * weight[:, None]) @ np.linalg.solve(curve, fitted.items.T)
    assert np.allclose(np.maximum(parts.sum(axis=0), 0), channel.item_scores(asked), atol=1e-5)
    rows = np.asarray([3, EACH + 4, 2 * EACH])
    assert (channel.anchors(asked, rows) == channel.scores(asked)[1][rows]).all()


def test_the_order_of_a_history_means_nothing_and_liking_does(fitted: ItemFactors) -> None:
    channel = MatrixFactorization(fitted.items, fitted.config)
    here, there = channel.item_scores(seeds([0, EACH, 3])), channel.item_scores(seeds([EACH, 3, 0]))
    assert np.allclose(here, there, atol=1e-6)
    more = channel.item_scores(seeds([0, EACH, 3], [1.0, 4.0, 1.0]))
    assert more[EACH + 5] > here[EACH + 5]
    nothing = channel.scores(seeds([]))
    assert (nothing[0] == 0).all()
    assert (nothing[1] == -1).all()


def test_one_seed_one_result(world: tuple[Runs, np.ndarray], fitted: ItemFactors) -> None:
    assert (matrix_factorization.fit_factors(*world, FactorizationConfig(size=8, penalty=5.0)).items == fitted.items).all()
    assert (matrix_factorization.fit_factors(*world, FactorizationConfig(size=8, penalty=5.0, seed=1)).items != fitted.items).any()


def test_of_nobody_nothing_is_learned() -> None:
    found = matrix_factorization.fit_factors(Runs.of([]), np.zeros((5, 3), np.float32), FactorizationConfig(size=4))
    assert (found.items == 0).all()
    assert np.isfinite(found.text_map).all()


def test_files_bring_it_back_and_a_new_item_has_the_vector_of_its_text(
    tmp_path: Path, world: tuple[Runs, np.ndarray], fitted: ItemFactors
) -> None:
    _, texts = world
    ids = [f"i{row}" for row in range(len(texts))]
    matrix_factorization.save_factors(tmp_path, fitted, ids, {"snapshot": "s1"})
    assert json.loads((tmp_path / "factors" / "card.json").read_text())["snapshot"] == "s1"
    same = matrix_factorization.load_factors(tmp_path, ids, texts)
    assert same is not None
    assert (same.items == fitted.items).all()
    moved = matrix_factorization.load_factors(
        tmp_path, [*ids[5:], "new", "bare"], np.concatenate([texts[5:], texts[:1], np.zeros((1, 16), np.float32)])
    )
    assert moved is not None
    assert (moved.items[: len(ids) - 5] == fitted.items[5:]).all()
    assert np.allclose(moved.items[-2], fitted.from_text(texts[:1])[0])
    assert (moved.items[-1] == 0).all()
    assert matrix_factorization.load_factors(tmp_path / "elsewhere", ids, texts) is None


def test_what_does_not_fit_is_refused_in_one_sentence(tmp_path: Path, world: tuple[Runs, np.ndarray], fitted: ItemFactors) -> None:
    _, texts = world
    ids = [f"i{row}" for row in range(len(texts))]
    matrix_factorization.save_factors(tmp_path, fitted, ids, {})
    with pytest.raises(StaleIndexError, match="16 dimensions, the index has 15; run `crossaisle train"):
        matrix_factorization.load_factors(tmp_path, ids, texts[:, :15])
    (tmp_path / "factors" / "items.parquet").write_bytes(b"nothing")
    with pytest.raises(StaleIndexError, match="cannot be read"):
        matrix_factorization.load_factors(tmp_path, ids, texts)
    matrix_factorization.save_factors(tmp_path, fitted, ids[:-1], {})
    with pytest.raises(StaleIndexError, match="ValueError"):
        matrix_factorization.load_factors(tmp_path, ids, texts)
    (tmp_path / "factors" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(StaleIndexError, match="cannot be read"):
        matrix_factorization.load_factors(tmp_path, ids, texts)
