"""Beyond-accuracy metrics by hand, and against scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from sklearn.metrics.pairwise import cosine_similarity

from crossaisle.eval.metrics import beyond_accuracy
from crossaisle.eval.splits.cases import Cases
from crossaisle.retrieval.items.ragged import RaggedArray

TOP = np.asarray([[0, 1, 2], [0, 1, -1], [0, -1, -1]], dtype=np.int32)
ALL = np.ones(5, dtype=bool)
USERS = np.asarray([8, 4, 2, 0, 1])
CATEGORY = np.asarray([0, 0, 1, 1, 2], dtype=np.int32)


def test_by_hand() -> None:
    assert beyond_accuracy.coverage(TOP, ALL) == pytest.approx(3 / 5)
    assert beyond_accuracy.coverage(TOP, np.asarray([True, True, True, True, False])) == pytest.approx(3 / 4)
    # recommended 3, 2, 1, 0, 0 times: Gini by mean absolute differences
    frequencies = np.asarray([3, 2, 1, 0, 0])
    assert beyond_accuracy.gini(TOP, ALL) == pytest.approx(np.abs(frequencies[:, None] - frequencies).mean() / (2 * frequencies.mean()))
    assert beyond_accuracy.gini(np.asarray([[0, 1, 2, 3, 4]], dtype=np.int32), ALL) == pytest.approx(0)
    assert beyond_accuracy.average_popularity(TOP, USERS) == pytest.approx((3 * 8 + 2 * 4 + 2) / 6)
    histories = RaggedArray.of([[1], [2, 4], [0]])
    assert beyond_accuracy.popularity_lift(TOP, USERS, histories) == pytest.approx(
        (34 / 6 - (4 + (2 + 1) / 2 + 8) / 3) / ((4 + (2 + 1) / 2 + 8) / 3)
    )
    assert beyond_accuracy.novelty(TOP, USERS, 16) == pytest.approx((3 * 1 + 2 * 2 + 3) / 6)
    assert beyond_accuracy.novelty(np.asarray([[3]], dtype=np.int32), USERS, 16) == pytest.approx(5)
    cases = Cases(["u", "v", "w"], histories, RaggedArray.of([[3], [0], [4]]), [None] * 3)
    # history categories {0}, {1, 2}, {0}: new are one item of the first list and two of the second
    assert beyond_accuracy.cross_category_rate(TOP, cases, CATEGORY) == pytest.approx(3 / 6)


def test_calibration_matches_scipy() -> None:
    targets = RaggedArray.of([[3], [0], [4]])
    # lists of three, two and one item have equal weight: 2/3 + 1 + 1 of category 0, 1/3 of category 1
    expected = jensenshannon([8 / 9, 1 / 9, 0], [1 / 3, 1 / 3, 1 / 3], base=2) ** 2
    assert beyond_accuracy.calibration(TOP, targets, CATEGORY) == pytest.approx(expected)
    assert beyond_accuracy.calibration(np.asarray([[0, 2, 4]], dtype=np.int32), RaggedArray.of([[1, 3, 4]]), CATEGORY) == pytest.approx(0)


@given(st.lists(st.permutations(range(6)), min_size=1, max_size=5), st.integers(2, 6))
def test_diversity_matches_scikit_learn(orders, k):
    vectors = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    top = np.asarray(orders, dtype=np.int32)[:, :k]
    similarities = [cosine_similarity(vectors[row])[np.triu_indices(k, 1)].mean() for row in top]
    assert beyond_accuracy.diversity(top, vectors) == pytest.approx(1 - np.mean(similarities), abs=1e-5)


def test_gap_between_groups() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(0.5, 0.1, 200), np.random.default_rng(1).normal(0.3, 0.1, 200), [9.0]])
    groups = ["young"] * 200 + ["old"] * 200 + [None]
    gaps = beyond_accuracy.group_gap(values, groups, np.arange(401))
    assert set(gaps) == {"old", "young", "gap"}
    assert gaps["gap"].low < 0.2 < gaps["gap"].high
    error = np.sqrt(0.1**2 / 200 * 2) * 1.96
    assert gaps["gap"].high - gaps["gap"].low == pytest.approx(2 * error, rel=0.15)
