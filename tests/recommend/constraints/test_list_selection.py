"""Places of a list that are kept for what is new, by hand and as properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.recommend.constraints.list_selection import who_had, with_places


@pytest.mark.parametrize(
    ("new", "places", "wanted"),
    [
        ([6, 7], 0, [0, 1, 2, 3]),
        ([6, 7], 1, [0, 1, 2, 6]),
        ([6, 7, 8], 2, [0, 1, 6, 7]),
        ([1, 7], 1, [0, 1, 2, 3]),  # one that is in the list counts
        ([1, 7], 2, [0, 1, 2, 7]),
        ([], 2, [0, 1, 2, 3]),
    ],
)
def test_the_last_places_go_to_the_best_new_items(new: list[int], places: int, wanted: list[int]) -> None:
    order = list(range(9))
    assert with_places(order[:4], order, np.isin(np.arange(9), new), places, 4) == wanted


@given(st.permutations(range(12)), st.sets(st.integers(0, 11)), st.integers(1, 6), st.integers(0, 6))
def test_places_are_kept_and_nothing_else_moves(order: list[int], new: set[int], k: int, places: int) -> None:
    places = min(places, k)
    top = order[:k]
    kept = with_places(top, order, np.isin(np.arange(12), list(new)), places, k)
    assert len(kept) == len(set(kept)) == k
    assert sum(row in new for row in kept) >= min(places, len(new))
    assert [row for row in kept if row in top] == [row for row in top if row in kept]
    assert {row for row in top if row in new} <= set(kept)


def test_in_words() -> None:
    assert [who_had(most) for most in (0, 1, 2)] == ["nobody had yet", "at most 1 user had", "at most 2 users had"]
