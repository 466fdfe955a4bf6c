"""Slices of cases, by hand."""

from __future__ import annotations

import numpy as np

from crossaisle.eval.metrics import slices
from crossaisle.retrieval.items.ragged import RaggedArray


def test_by_history_length() -> None:
    histories = RaggedArray.of([[0] * n for n in (1, 3, 4, 10, 11, 30, 31, 500)])
    assert {name: np.flatnonzero(inside).tolist() for name, inside in slices.by_history_length(histories)} == {
        "1-3": [0, 1], "4-10": [2, 3], "11-30": [4, 5], "31+": [6, 7],
    }  # fmt: skip


def test_each_target_is_in_its_popularity_slice() -> None:
    # of 20 interactions: item 0 starts at 0 and item 1 at .4 (head), 2 at .6 (mid), 3 at .8 and 4 at .95 (tail), 5 is cold
    user_counts = np.asarray([8, 4, 4, 3, 1, 0])
    slices_by_name = {
        name: [part[i].tolist() for i in range(2)]
        for name, part in slices.by_target_popularity(RaggedArray.of([[0, 2, 5], [1, 3, 4]]), user_counts)
    }
    assert slices_by_name.pop("at most two users") == [[5], [4]]  # overlaps the others: 4 has one user, 5 none
    assert slices_by_name == {"head": [[0], [1]], "mid": [[2], []], "tail": [[], [3, 4]], "cold": [[5], []]}
