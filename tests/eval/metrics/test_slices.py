"""Slices of cases, by hand."""

from __future__ import annotations

import numpy as np

from crossaisle.eval.metrics import slices
from crossaisle.retrieval.items.ragged import Runs


def test_by_length() -> None:
    histories = Runs.of([[0] * n for n in (1, 3, 4, 10, 11, 30, 31, 500)])
    assert {name: np.flatnonzero(inside).tolist() for name, inside in slices.by_history_length(histories)} == {
        "1-3": [0, 1], "4-10": [2, 3], "11-30": [4, 5], "31+": [6, 7],
    }  # fmt: skip


def test_by_popularity_each_target_counts_where_it_belongs() -> None:
    # of 20 pairs: item 0 begins at 0 and item 1 at .4 (head), 2 at .6 (mid), 3 at .8 and 4 at .95 (tail), 5 is cold
    users = np.asarray([8, 4, 4, 3, 1, 0])
    found = {
        name: [part[i].tolist() for i in range(2)] for name, part in slices.by_target_popularity(Runs.of([[0, 2, 5], [1, 3, 4]]), users)
    }
    assert found.pop("at most two users") == [[5], [4]]  # across the others: 4 has one user, 5 none
    assert found == {"head": [[0], [1]], "mid": [[2], []], "tail": [[], [3, 4]], "cold": [[5], []]}
