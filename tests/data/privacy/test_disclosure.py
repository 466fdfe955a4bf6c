"""Cell suppression within one answer, and noise: against attackers, neighbouring datasets and OpenDP's privacy map."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.data.errors import CrossaisleError, QueryError, SettingsError
from crossaisle.data.privacy.disclosure import (
    CellTable,
    CountCell,
    bound_contributions,
    check_epsilon,
    check_min_users,
    laplace_mechanism,
    noisy_counts,
    suppressed_cells,
)


def hidden(cells: dict[str, CountCell], cohort: int, total: int, min_users: int = 20) -> set[str]:
    figures = CellTable.of(cells, cohort, total)
    return {name for name, out in zip(figures.names, suppressed_cells(figures, min_users), strict=True) if out}


# ------------------------------------------------------------------ one answer


@pytest.mark.parametrize(
    ("users", "base", "out"),
    [
        (19, 500, True),  # too few
        (20, 500, False),
        (0, 500, True),  # 0 looks like a small count
        (81, 500, True),  # all but 19 of the cohort
        (80, 500, False),
        (100, 500, False),  # all of them: the rest is empty
        (50, 69, True),  # all buyers but 19 are in the cohort
        (50, 70, False),
        (50, 50, False),
        (100, 981, True),  # all but 19 of the snapshot
        (100, 980, False),
        (60, 959, True),  # outside the cohort, all but 1 of 900
    ],
)
def test_cell_is_suppressed_if_it_or_a_difference_is_small(users: int, base: int, out: bool) -> None:
    assert hidden({"stoves": CountCell(users, base)}, 100, 1000) == ({"stoves"} if out else set())


def test_item_close_to_its_whole_category_is_suppressed_but_not_the_category() -> None:
    cells = {
        "kitchen": CountCell(50, 400),
        "pan": CountCell(45, 300, "kitchen"),
        "pot": CountCell(30, 200, "kitchen"),
        "only": CountCell(50, 400, "kitchen"),
    }
    assert hidden(cells, 100, 1000) == {"pan"}


def test_item_is_compared_with_every_ancestor() -> None:
    cells = {"home": CountCell(50, 400), "kitchen": CountCell(50, 390, "home"), "pan": CountCell(30, 385, "kitchen")}
    assert hidden(cells, 100, 1000) == {"kitchen", "pan"}  # 10 of all users bought from home and not from kitchen
    cells = {"home": CountCell(50, 430), "kitchen": CountCell(50, 430, "home"), "pan": CountCell(31, 300, "kitchen")}
    assert hidden(cells, 100, 1000) == {"pan"}


def test_children_of_a_suppressed_category_are_suppressed() -> None:
    cells = {"home": CountCell(90, 400), "kitchen": CountCell(60, 300, "home"), "pan": CountCell(30, 200, "kitchen")}
    assert hidden(cells, 100, 1000) == set(cells)


def test_threshold_of_one_suppresses_nothing() -> None:
    assert hidden({"a": CountCell(0, 1), "b": CountCell(1, 1), "c": CountCell(99, 999)}, 100, 1000, min_users=1) == set()


@pytest.mark.parametrize(
    "cells",
    [
        {"a": CountCell(11, 20)},  # more than the cohort
        {"a": CountCell(5, 4)},  # more than the snapshot's
        {"a": CountCell(-1, 4)},
        {"a": CountCell(1, 92)},  # more outside the cohort than there are users
        {"a": CountCell(3, 20), "b": CountCell(4, 20, "a")},
        {"a": CountCell(3, 20), "b": CountCell(3, 21, "a")},
        {"b": CountCell(4, 20, "a")},
    ],
)
def test_impossible_counts_raise_value_error(cells: dict[str, CountCell]) -> None:
    with pytest.raises(ValueError):
        CellTable.of(cells, 10, 100)


# ------------------------------------------------------------------ noise


@given(st.integers(1, 1000), st.floats(1e-6, 1e3))
@settings(max_examples=60, deadline=None)
def test_opendp_confirms_the_epsilon_of_the_noise(per_user: int, epsilon: float) -> None:
    spent = laplace_mechanism(per_user, epsilon).map(per_user)
    assert 0.999 * epsilon < spent <= epsilon


def losses(left: np.ndarray, right: np.ndarray) -> list[tuple[float, float]]:
    """(privacy loss, standard error) of every output that is frequent enough on both sides; rows are outputs."""
    ours, theirs = (Counter(map(tuple, side.tolist())) for side in (left, right))
    return [
        (abs(math.log(ours[output] / theirs[output])), math.sqrt(1 / ours[output] + 1 / theirs[output]))
        for output in ours
        if min(ours[output], theirs[output]) >= 100
    ]


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_output_ratio_of_neighbouring_counts_is_within_epsilon(epsilon: float) -> None:
    draws = 20_000
    first, second = (noisy_counts(np.full(draws, count), per_user=1, epsilon=epsilon)[:, None] for count in (40, 41))
    found = losses(first, second)
    assert len(found) >= 4
    assert all(loss <= epsilon + 6 * error for loss, error in found)
    # The bound is reached: too little noise would fail the test, and there is no more noise than necessary.
    assert max(loss + 6 * error for loss, error in found) > epsilon > 0.8 * max(loss - 6 * error for loss, error in found)
    assert sum(loss for loss, _ in found) / len(found) > 0.8 * epsilon


def test_noise_covers_a_user_in_two_cells() -> None:
    """Two neighbouring datasets end to end: bounded contributions, counts, noise; the outputs are pairs of counts."""
    user, cell = np.array([1, 1, 1, 2, 2, 3]), np.array([0, 1, 1, 0, 1, 1])
    counts = []
    for chosen in (np.ones(6, bool), user != 1):
        kept = bound_contributions(user[chosen], cell[chosen], 2, "seed")
        counts.append(np.bincount(cell[chosen][kept], minlength=2))
    assert np.abs(counts[0] - counts[1]).sum() == 2
    first, second = (noisy_counts(np.tile(count, 40_000), per_user=2, epsilon=2.0).reshape(-1, 2) for count in counts)
    found = losses(first, second)
    assert len(found) >= 10
    assert all(loss <= 2.0 + 6 * error for loss, error in found)
    assert max(loss for loss, _ in found) > 1.5


def test_noise_is_centred_integer_and_independent() -> None:
    drawn = noisy_counts(np.full(20_000, 7.0), per_user=1, epsilon=1.0)
    assert drawn.dtype == np.int64
    assert abs(drawn.mean() - 7) < 0.08  # the standard error is 0.01
    # The variance of the discrete Laplace distribution with ratio q is 2q / (1 - q)^2.
    assert drawn.var() == pytest.approx(2 * math.exp(-1) / (1 - math.exp(-1)) ** 2, rel=0.15)
    assert (drawn != noisy_counts(np.full(20_000, 7.0), per_user=1, epsilon=1.0)).any()
    assert noisy_counts(np.empty(0), per_user=1, epsilon=1.0).shape == (0,)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf, -math.inf, 1e-9])
def test_invalid_epsilon(epsilon: float) -> None:
    for ask in (lambda: check_epsilon(epsilon), lambda: noisy_counts(np.zeros(1), per_user=1, epsilon=epsilon)):
        with pytest.raises(QueryError, match="epsilon is .*; it must be a number of at least 1e-06"):
            ask()


@pytest.mark.parametrize("min_users", [0, -5, 2.5, math.nan, math.inf])
def test_invalid_threshold(min_users: float) -> None:
    with pytest.raises(SettingsError, match="min_users is .*; it must be a whole number of 1 or more"):
        check_min_users(min_users)  # type: ignore[arg-type]


def test_fractional_counts_raise_value_error() -> None:
    for counts, per_user in ((np.array([0.5]), 1), (np.zeros((2, 2)), 1), (np.zeros(1), 0)):
        with pytest.raises(ValueError) as caught:
            noisy_counts(counts, per_user=per_user, epsilon=1.0)
        assert not isinstance(caught.value, CrossaisleError)


# ------------------------------------------------------------------ contribution bounding

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=60)


def counted(pairs: list[tuple[int, int]], most: int) -> np.ndarray:
    user, cell = (np.array([pair[i] for pair in pairs], np.int64) for i in (0, 1))
    return np.bincount(cell[bound_contributions(user, cell, most, "seed")], minlength=10)


@given(PAIRS, st.integers(1, 4), st.integers(0, 6))
@settings(max_examples=300, deadline=None)
def test_removing_one_user_changes_counts_by_at_most_the_bound(pairs: list[tuple[int, int]], most: int, gone: int) -> None:
    difference = counted(pairs, most) - counted([pair for pair in pairs if pair[0] != gone], most)
    distinct = len({cell for user, cell in pairs if user == gone})
    assert difference.min() >= 0
    assert difference.sum() == min(most, distinct)


@given(PAIRS, st.integers(1, 4), st.randoms())
@settings(max_examples=100, deadline=None)
def test_selection_is_independent_of_row_order(pairs: list[tuple[int, int]], most: int, random: object) -> None:
    shuffled = sorted(pairs, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert counted(pairs, most).tolist() == counted(shuffled, most).tolist()


def test_selection_is_uniform_over_cells_and_depends_on_the_seed() -> None:
    user, cell = np.repeat(np.arange(20_000), 5), np.tile(np.arange(5), 20_000)
    kept = bound_contributions(user, cell, 2, "one")
    counts = np.bincount(cell[kept])
    assert counts.sum() == 40_000
    assert np.abs(counts - 8000).max() < 6 * math.sqrt(20_000 * 0.4 * 0.6)
    assert (kept != bound_contributions(user, cell, 2, "two")).any()
    assert (kept == bound_contributions(user, cell, 2, "one")).all()
    with pytest.raises(ValueError, match="max_cells is 0"):
        bound_contributions(user, cell, 0, "one")
