"""Runs of rows against plain lists."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.retrieval.items.ragged import RaggedArray

LISTS = st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=8)


@given(LISTS, st.data())
def test_operations_equal_those_on_lists(lists, data):
    runs = RaggedArray.of(lists)
    assert [runs[i].tolist() for i in range(len(runs))] == lists
    n = data.draw(st.integers(0, 4))
    newest = runs.newest(n)
    assert [newest[i].tolist() for i in range(len(runs))] == [rows[len(rows) - n :] if n < len(rows) else rows for rows in lists]
    picked = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=5)) if lists else []
    part = runs.part(np.asarray(picked, dtype=np.int64))
    assert [part[i].tolist() for i in range(len(part))] == [lists[i] for i in picked]
    assert runs.row_index.tolist() == [i for i, rows in enumerate(lists) for _ in rows]
    assert runs.age.tolist() == [len(rows) - 1 - place for rows in lists for place in range(len(rows))]


@given(LISTS)
def test_the_matrix_counts(lists):
    runs = RaggedArray.of(lists)
    matrix = runs.matrix(10)
    assert [runs[i].tolist() for i in range(len(runs))] == lists, "the runs are left as they were"
    assert matrix.toarray().tolist() == [[float(rows.count(item)) for item in range(10)] for rows in lists]
