"""Statistical disclosure control of counts: cell suppression and Laplace noise, as pure functions without files.

Two protections, used separately or together. Without noise, a count of fewer than `min_users` users is suppressed, and so is a count
from which such a count follows by differencing (`suppressed_cells`; across answers: `query_audit`). With noise (`noisy_counts`), every
answer is epsilon-differentially private, whatever else the recipient knows; `budget_ledger` adds up the costs.

Limits of suppression: it prevents the differencing of two counts, not of three or more ("phones" plus "tents" minus "phones or
tents"), nor bounds derived from many. A count of 0, or one equal to its group, is disclosed: "all 40 of them bought a stove" may be
shown, though it holds for each of them. Use noise to rule these out.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import QueryError, SettingsError
from ..hashing import splitmix64

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_USERS = 20
"""Default threshold below which a count is suppressed (k-anonymity threshold)."""
MIN_EPSILON = 1e-6
"""Smallest epsilon; below it the noise exceeds a million and answers are meaningless."""


@dataclass(frozen=True, slots=True)
class CountCell:
    """One count of an answer: users of the cohort with some property.

    Attributes:
        users: Users of the cohort with the property.
        base: Users of the whole snapshot with the property, if published; None if not.
        parent: Name of the cell that contains these users (an item's category); None at the top.
    """

    users: int
    base: int | None = None
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class CellTable:
    """The cells of an answer as columns.

    Attributes:
        cohort: Number of users in the cohort.
        total: Number of users in the snapshot.
        names: Name of each cell.
        users: As in `CountCell`, int64, shape (cells,).
        base: As in `CountCell`, int64, shape (cells,); -1 if not published.
        parent: Row of the parent, int64, shape (cells,); -1 at the top.
    """

    cohort: int
    total: int
    names: tuple[str, ...]
    users: NDArray[np.int64]
    base: NDArray[np.int64]
    parent: NDArray[np.int64]

    @classmethod
    def of(cls, cells: Mapping[str, CountCell], cohort: int, total: int) -> CellTable:
        """Convert cells to columns, in the order of the mapping.

        Raises:
            ValueError: A cell is larger than the group that contains it, or its parent is missing (and cannot be checked against it).
        """
        row = {name: i for i, name in enumerate(cells)}
        absent = {cell.parent for cell in cells.values() if cell.parent is not None} - row.keys()
        if absent:
            raise ValueError(f"the parents of some cells are missing: {sorted(absent)[:3]}")
        users = np.fromiter((cell.users for cell in cells.values()), np.int64, len(cells))
        base = np.fromiter((-1 if cell.base is None else cell.base for cell in cells.values()), np.int64, len(cells))
        parent = np.fromiter((-1 if cell.parent is None else row[cell.parent] for cell in cells.values()), np.int64, len(cells))
        child = np.flatnonzero(parent >= 0)
        above, based = parent[child], base >= 0
        if (based[child] != based[above]).any():
            raise ValueError("a cell and its parent must both have a base, or neither")
        if (
            (users < 0).any()
            or (users > cohort).any()
            or (users > base)[based].any()
            or (base - users > total - cohort)[based].any()
            or (users[child] > users[above]).any()
            or (base[child] > base[above]).any()
        ):
            raise ValueError("a cell has more users than the cohort, the snapshot or the parent that contains it")
        return cls(cohort, total, tuple(cells), users, base, parent)


def suppressed_cells(figures: CellTable, min_users: int) -> NDArray[np.bool_]:
    """Mask of the cells of one answer to suppress, True for suppressed, shape (cells,).

    A cell is suppressed if it has fewer than `min_users` users (0 included, so that 0 and small counts look the same), or if 1 to
    `min_users - 1` users follow by differencing two of: the cell, the cohort, its parents, and the same three of the whole snapshot,
    which base rates disclose. Children of a suppressed cell are suppressed. `min_users=1` suppresses nothing.

    Checking neighbours is sufficient: the difference between a cell and its grandparent, or between inside and outside the cohort, is
    a sum of differences between neighbours, each of which is 0 or at least `min_users`.
    """
    if min_users == 1:
        return np.zeros(len(figures.names), bool)
    small = figures.users < min_users
    small |= reveals_few_users(figures.cohort, figures.users, figures.parent, min_users)
    outside = reveals_few_users(figures.total - figures.cohort, figures.base - figures.users, figures.parent, min_users)
    small |= outside & (figures.base >= 0)
    return with_children(small, figures.parent)


def reveals_few_users(
    size: int, count: NDArray[np.int64], parent: NDArray[np.int64], min_users: int, *, exact: bool = True
) -> NDArray[np.bool_]:
    """Mask of the counts that reveal 1 to `min_users - 1` users, alone or as a difference to the group or the parent.

    Args:
        size: Number of users in the group.
        count: Users in each cell, shape (cells,). Size and counts may all be negative (a difference with reversed sign).
        parent: As in `CellTable`.
        min_users: The threshold.
        exact: False if up to `min_users - 1` users of the group are unknown, one of whom may be the recipient: a count of 0 can then
            mean any number below `min_users`, and is masked too.

    Returns:
        Boolean array, shape (cells,).
    """
    smallest = 1 if exact else 0

    def few(number: NDArray[np.int64]) -> NDArray[np.bool_]:
        is_few: NDArray[np.bool_] = (np.abs(number) >= smallest) & (np.abs(number) < min_users)
        return is_few

    revealing = few(count) | few(size - count)
    child = np.flatnonzero(parent >= 0)
    revealing[child] |= few(count[parent[child]] - count[child])
    return revealing


def with_children(marked: NDArray[np.bool_], parent: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The marked cells and all their descendants."""
    marked = marked.copy()
    below = np.flatnonzero(parent >= 0)
    while (new := below[marked[parent[below]] & ~marked[below]]).size:
        marked[new] = True
    return marked


# ------------------------------------------------------------------ noise


def laplace_mechanism(per_user: int, epsilon: float) -> Any:
    """OpenDP measurement that adds discrete Laplace noise to an integer vector; `.map(per_user) <= epsilon` by OpenDP's proof.

    The mechanism works on 64-bit integers with noise from exact rational arithmetic, so that no floating-point digit can reveal the
    true count (Mironov, CCS 2012; Ghosh et al., STOC 2009).

    Args:
        per_user: L1 sensitivity: largest change of the vector by one user, 1 or more.
        epsilon: See `check_epsilon`.
    """
    # Not `opendp.prelude`, which takes seconds to import because it imports scikit-learn.
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_laplace
    from opendp.metrics import l1_distance
    from opendp.mod import binary_search_param, enable_features

    if per_user < 1 or per_user != int(per_user):
        raise ValueError(f"per_user is {per_user}; it must be a whole number of 1 or more")
    check_epsilon(epsilon)
    enable_features("contrib")  # OpenDP's flag for mechanisms without an external review
    space = vector_domain(atom_domain(T="i64")), l1_distance(T="i64")

    def of_scale(scale: float) -> Any:
        return make_laplace(*space, scale=scale)

    return of_scale(binary_search_param(of_scale, d_in=int(per_user), d_out=float(epsilon), T=float))


def noisy_counts(counts: NDArray[np.int64], *, per_user: int, epsilon: float) -> NDArray[np.int64]:
    """The counts with discrete Laplace noise, newly sampled at every call; the whole vector costs `epsilon` once. May be negative.

    Args:
        counts: Whole numbers, shape (cells,), of any dtype.
        per_user: As in `laplace_mechanism`.
        epsilon: As in `laplace_mechanism`.

    Raises:
        QueryError: Invalid epsilon.
        ValueError: The counts are not whole numbers.
    """
    whole = np.asarray(counts).astype(np.int64)
    if whole.ndim != 1 or not np.array_equal(whole, counts):
        raise ValueError("noisy_counts() expects a vector of whole numbers")
    return np.array(laplace_mechanism(per_user, epsilon)(whole.tolist()), np.int64)


def bound_contributions(user: NDArray[np.int64], cell: NDArray[np.int64], max_cells: int, seed: str) -> NDArray[np.bool_]:
    """Mask of the (user, cell) pairs to count so that each user is in at most `max_cells` cells, once each (contribution bounding).

    A user's cells are selected in the order of a hash of (seed, user, cell), which is independent of the counts and of other users:
    adding or removing a user leaves the selection of all others unchanged, so counts differ by at most `max_cells` in the L1 norm.

    Args:
        user: User numbers that do not depend on other users (a hash of the user id), shape (pairs,). Row numbers of a snapshot are
            sufficient if neighbouring data sets differ by emptying one user's history, without renumbering.
        cell: Cell numbers, fixed by the catalogue, shape (pairs,).
        max_cells: 1 or more.
        seed: Any text; the same for all users.

    Returns:
        Boolean array, shape (pairs,); of repeated pairs only the first is True.
    """
    if max_cells < 1:
        raise ValueError(f"max_cells is {max_cells}; it must be 1 or more")
    key = np.frombuffer(hashlib.sha256(seed.encode()).digest()[:8], np.uint64)
    order_key = splitmix64(splitmix64(user.astype(np.uint64) + key) + cell.astype(np.uint64))
    order = np.lexsort((cell, order_key, user))
    user, cell = user[order], cell[order]
    first_of_user = np.ones(len(user), bool)
    first_of_user[1:] = user[1:] != user[:-1]
    first_of_pair = first_of_user.copy()
    first_of_pair[1:] |= cell[1:] != cell[:-1]
    nth = np.cumsum(first_of_pair)
    before = np.maximum.accumulate(np.where(first_of_user, nth - 1, 0)) if len(user) else nth
    kept = np.empty(len(user), bool)
    kept[order] = first_of_pair & (nth - before <= max_cells)
    return kept


# ------------------------------------------------------------------ validation


def check_epsilon(epsilon: float) -> float:
    """Return `epsilon` after validation.

    Raises:
        QueryError: Not a number, not finite, or below `MIN_EPSILON`.
    """
    if not math.isfinite(epsilon) or epsilon < MIN_EPSILON:
        raise QueryError(
            f"epsilon is {epsilon}; it must be a number of at least {MIN_EPSILON:g}, and smaller is more private: try 1 or 0.1"
        )
    return epsilon


def check_min_users(min_users: int) -> int:
    """Return `min_users` as an integer after validation.

    Raises:
        SettingsError: Not a whole number of 1 or more.
    """
    if not math.isfinite(min_users) or min_users != int(min_users) or min_users < 1:
        raise SettingsError(
            f"min_users is {min_users}; it must be a whole number of 1 or more, where 1 suppresses nothing (default {MIN_USERS})"
        )
    return int(min_users)
