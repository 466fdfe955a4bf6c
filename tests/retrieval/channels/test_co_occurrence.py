"""Item-item matrices: the largest entries of each row against a full sort."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from crossaisle.retrieval.channels.co_occurrence import top_per_row

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
