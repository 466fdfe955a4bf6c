"""Slots reserved for new items: hand-computed lists and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.recommend.constraints.list_selection import new_item_phrase, reserve_new_item_slots


@pytest.mark.parametrize(
    ("new", "slots", "expected"),
    [
        ([6, 7], 0, [0, 1, 2, 3]),
        ([6, 7], 1, [0, 1, 2, 6]),
        ([6, 7, 8], 2, [0, 1, 6, 7]),
        ([1, 7], 1, [0, 1, 2, 3]),  # a new item in the list counts
        ([1, 7], 2, [0, 1, 2, 7]),
        ([], 2, [0, 1, 2, 3]),
    ],
)
def test_the_last_slots_hold_the_best_new_items(new: list[int], slots: int, expected: list[int]) -> None:
    order = list(range(9))
    assert reserve_new_item_slots(order[:4], order, np.isin(np.arange(9), new), slots, 4) == expected


@given(st.permutations(range(12)), st.sets(st.integers(0, 11)), st.integers(1, 6), st.integers(0, 6))
def test_slots_are_reserved_and_the_order_is_kept(order: list[int], new: set[int], k: int, slots: int) -> None:
    slots = min(slots, k)
    top = order[:k]
    kept = reserve_new_item_slots(top, order, np.isin(np.arange(12), list(new)), slots, k)
    assert len(kept) == len(set(kept)) == k
    assert sum(row in new for row in kept) >= min(slots, len(new))
    assert [row for row in kept if row in top] == [row for row in top if row in kept]
    assert {row for row in top if row in new} <= set(kept)


def test_definition_of_a_new_item_as_a_phrase() -> None:
    assert [new_item_phrase(max_users) for max_users in (0, 1, 2)] == ["nobody had yet", "at most 1 user had", "at most 2 users had"]
