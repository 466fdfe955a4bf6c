"""Item-item matrices: the largest entries of each row against a full sort, the random walk against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from crossaisle.retrieval.channels.co_occurrence import random_walk, top_per_row
from crossaisle.retrieval.items.ragged import RaggedArray

VALUES = st.sampled_from([-2.0, -0.0, 0.5, 1.0, 3.0])
ENTRIES = st.dictionaries(st.tuples(st.integers(0, 5), st.integers(0, 11)), VALUES, max_size=60)


def top_per_row_by_sorting(pairs: sparse.csr_array, count: int) -> sparse.csr_array:
    owner = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))
    order = np.lexsort((pairs.indices, -pairs.data, owner))
    rank = np.arange(len(order)) - np.repeat(pairs.indptr[:-1], np.diff(pairs.indptr))
    kept = order[rank < count]
    return sparse.csr_array((pairs.data[kept], (owner[kept], pairs.indices[kept])), shape=pairs.shape)


@given(ENTRIES, st.integers(1, 13), st.randoms(use_true_random=False))
def test_top_per_row_equals_sorting(entries, count, random):
    shuffled = list(entries.items())
    random.shuffle(shuffled)  # a product of sparse matrices has its columns in no order
    shuffled.sort(key=lambda entry: entry[0][0])
    indptr = np.concatenate([[0], np.cumsum([sum(row == i for row, _ in entries) for i in range(6)])])
    columns = np.asarray([column for (_, column), _ in shuffled], dtype=np.int64)
    pairs = sparse.csr_array((np.asarray([value for _, value in shuffled], dtype=np.float32), columns, indptr), shape=(6, 12))
    expected, top = top_per_row_by_sorting(pairs, count), top_per_row(pairs, count)
    assert top.indptr.tolist() == expected.indptr.tolist()
    assert top.indices.tolist() == expected.indices.tolist()
    assert top.data.tolist() == expected.data.tolist()


def test_top_per_row_of_many_rows_of_unequal_length():
    random = np.random.default_rng(0)
    dense = random.integers(0, 4, (300, 400)) * (random.random((300, 400)) < random.random((300, 1)))
    pairs = sparse.csr_array(dense.astype(np.float32))
    for count in (1, 50, 399):
        assert (top_per_row(pairs, count).toarray() == top_per_row_by_sorting(pairs, count).toarray()).all()


@given(
    st.lists(st.lists(st.integers(0, 6), max_size=8), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_the_random_walk_equals_products_of_dense_transition_matrices(histories, exponent):
    owned = np.asarray([[item in history for item in range(7)] for history in histories], dtype=float)  # (users, items)
    to_user = owned.T / np.maximum(owned.sum(axis=0), 1)[:, None]
    to_item = owned / np.maximum(owned.sum(axis=1), 1)[:, None]
    walk = to_user @ to_item / np.maximum(owned.sum(axis=0), 1) ** exponent
    np.fill_diagonal(walk, 0)
    counted = random_walk(RaggedArray.of(histories), 7, max_neighbors=7, popularity_exponent=exponent)
    assert counted.toarray() == pytest.approx(walk, rel=1e-5)


def test_the_random_walk_is_a_probability_and_keeps_the_most_probable_targets():
    histories = RaggedArray.of([[0, 1, 2], [0, 1], [0, 3]])
    walk = random_walk(histories, 4, max_neighbors=4, popularity_exponent=0.0).toarray()
    # From item 0 to each of its three users with 1/3, and from them to each of their items.
    assert walk[0] == pytest.approx([0, (1 / 3 + 1 / 2) / 3, 1 / 9, 1 / 6])
    nearest = random_walk(histories, 4, max_neighbors=1, popularity_exponent=0.0).toarray()
    assert np.count_nonzero(nearest, axis=1).tolist() == [1, 1, 1, 1]
    assert nearest[0, 1] == walk[0, 1]
