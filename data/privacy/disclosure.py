"""What may be said of a group of people, and with how much noise: pure functions, no files.

Two protections, used apart or together. Without noise, a figure of fewer than `min_users` users is withheld, and so is one from
which such a figure follows by subtraction (`withheld`; across answers: `releases`). With noise (`noisy`), every answer is
epsilon-differentially private whatever else the asker knows; `ledger` adds up what was spent.

What the first protection does not promise: it stops the subtraction of two figures, not of three or more ("phones" plus "tents"
minus "phones or tents"), nor bounds drawn from many. A figure of 0, or one equal to its whole, is a set of nobody and its
complement: "all 40 of them bought a stove" may be shown, though it says so of each. Who must rule these out asks for noise.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import QueryError, SettingsError
from ..hashing import mix

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_USERS = 20
"""Figures of fewer users than this are withheld unless a workspace says otherwise."""
LEAST_EPSILON = 1e-6
"""Below it the noise is in the millions and an answer says nothing."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of an answer: so many of the cohort did this.

    Attributes:
        users: users of the cohort who did. base: users of the whole snapshot who did, where anybody is told; None where nobody is.
        parent: name of the cell whose users contain these (an item's category), None at the top.
    """

    users: int
    base: int | None = None
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """The cells of an answer as columns.

    Attributes:
        cohort / total: users in the cohort, and in the snapshot.
        users / base: as in `Cell`, int64, shape (cells,); -1 is a base that nobody is told.
        parent: row of the parent, -1 at the top.
    """

    cohort: int
    total: int
    names: tuple[str, ...]
    users: NDArray[np.int64]
    base: NDArray[np.int64]
    parent: NDArray[np.int64]

    @classmethod
    def of(cls, cells: Mapping[str, Cell], cohort: int, total: int) -> Figures:
        """The cells in their order.

        Raises: ValueError: a cell is larger than what contains it, or names a parent that is not among the cells. A child without its
            parent could not be checked against it.
        """
        row = {name: i for i, name in enumerate(cells)}
        absent = {cell.parent for cell in cells.values() if cell.parent is not None} - row.keys()
        if absent:
            raise ValueError(f"cells name a parent that is not given with them: {sorted(absent)[:3]}")
        users = np.fromiter((cell.users for cell in cells.values()), np.int64, len(cells))
        base = np.fromiter((-1 if cell.base is None else cell.base for cell in cells.values()), np.int64, len(cells))
        parent = np.fromiter((-1 if cell.parent is None else row[cell.parent] for cell in cells.values()), np.int64, len(cells))
        child = np.flatnonzero(parent >= 0)
        above, based = parent[child], base >= 0
        if (based[child] != based[above]).any():
            raise ValueError("of a cell and its parent one has a base and the other none, so they cannot be compared")
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


def withheld(figures: Figures, min_users: int) -> NDArray[np.bool_]:
    """Which cells of one answer, seen on its own, must not be shown: True is withheld.

    A cell is withheld when it has fewer than `min_users` users (0 included, so that never and seldom look alike), or when 1 to
    `min_users - 1` users follow by subtracting two of: the cell, the cohort, its parents, and the same three of the whole snapshot,
    which base rates give away. A child of a withheld cell is withheld. `min_users=1` withholds nothing.

    Steps are enough: what lies between a cell and its grandparent, or in the snapshot between inside and outside the cohort, is a sum of
    what lies between neighbours, each nobody or at least `min_users`.
    """
    if min_users == 1:
        return np.zeros(len(figures.names), bool)
    small = figures.users < min_users
    small |= exposed(figures.cohort, figures.users, figures.parent, min_users)
    outside = exposed(figures.total - figures.cohort, figures.base - figures.users, figures.parent, min_users)
    small |= outside & (figures.base >= 0)
    return with_children(small, figures.parent)


def exposed(size: int, count: NDArray[np.int64], parent: NDArray[np.int64], min_users: int, *, exact: bool = True) -> NDArray[np.bool_]:
    """Which counts within a group of `size` users give away 1 to `min_users - 1` of them, alone or by subtraction from what contains them.

    Args:
        count: users, shape (cells,); parent: as in `Figures`. Size and counts may all be negative (a difference the other way round).
        exact: False when the group is known but for fewer than `min_users` users, of whom the asker may be one: then a count of 0 may
            stand for any smaller than `min_users`, and is given away too.
    """
    least = 1 if exact else 0

    def few(number: NDArray[np.int64]) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (np.abs(number) >= least) & (np.abs(number) < min_users)
        return found

    found = few(count) | few(size - count)
    child = np.flatnonzero(parent >= 0)
    found[child] |= few(count[parent[child]] - count[child])
    return found


def with_children(marked: NDArray[np.bool_], parent: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The marked cells and everything below them."""
    marked = marked.copy()
    below = np.flatnonzero(parent >= 0)
    while (new := below[marked[parent[below]] & ~marked[below]]).size:
        marked[new] = True
    return marked


# ------------------------------------------------------------------ noise


def laplace(per_user: int, epsilon: float) -> Any:
    """OpenDP's measurement that adds noise to a vector of whole numbers; `.map(per_user) <= epsilon` by OpenDP's own proof.

    The discrete Laplace mechanism on 64-bit integers: counts are whole numbers, its noise is drawn from exact rational arithmetic,
    and no digit of a floating-point number can betray the count beneath (Mironov, CCS 2012; Ghosh et al., STOC 2009).

    Args: per_user: how much one user changes the vector at most, in the L1 norm, 1 or more. epsilon: see `check_epsilon`.
    """
    # Not `opendp.prelude`, which takes seconds to import because it imports scikit-learn.
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_laplace
    from opendp.metrics import l1_distance
    from opendp.mod import binary_search_param, enable_features

    if per_user < 1 or per_user != int(per_user):
        raise ValueError(f"per_user is {per_user}; a user changes counts by a whole number, 1 or more")
    check_epsilon(epsilon)
    enable_features("contrib")  # OpenDP's switch for mechanisms whose proofs it has not had vetted from outside
    space = vector_domain(atom_domain(T="i64")), l1_distance(T="i64")

    def of_scale(scale: float) -> Any:
        return make_laplace(*space, scale=scale)

    return of_scale(binary_search_param(of_scale, d_in=int(per_user), d_out=float(epsilon), T=float))


def noisy(counts: NDArray[np.int64], *, per_user: int, epsilon: float) -> NDArray[np.int64]:
    """The counts with discrete Laplace noise; the whole vector costs `epsilon` once. May be negative; drawn anew at every call.

    Args: counts: whole numbers, shape (cells,), of any dtype. per_user, epsilon: as in `laplace`.
    Raises: QueryError: an epsilon that means nothing. ValueError: counts that are not whole numbers.
    """
    whole = np.asarray(counts).astype(np.int64)
    if whole.ndim != 1 or not np.array_equal(whole, counts):
        raise ValueError("noisy() takes one vector of whole numbers")
    return np.array(laplace(per_user, epsilon)(whole.tolist()), np.int64)


def bound(user: NDArray[np.int64], cell: NDArray[np.int64], most: int, seed: str) -> NDArray[np.bool_]:
    """Which (user, cell) pairs to count so that each user is in at most `most` cells, once each.

    A user's cells are taken in the order of a hash of (seed, user, cell), which sees neither the counts nor other users: one user more
    or less leaves every other user's choice as it was, so counts differ by at most `most` in the L1 norm.

    Args:
        user: numbers that stay a person's own when another comes or goes (a hash of the user id). Row numbers of a snapshot serve when
            neighbouring data means that one user's history is emptied and nobody is renumbered.
        cell: cell numbers, fixed by the catalogue. most: 1 or more. seed: any text; the same for all users.

    Returns: shape (pairs,); of a pair given twice only the first is True.
    """
    if most < 1:
        raise ValueError(f"most is {most}; a user counts in at least one cell")
    key = np.frombuffer(hashlib.sha256(seed.encode()).digest()[:8], np.uint64)
    order_key = mix(mix(user.astype(np.uint64) + key) + cell.astype(np.uint64))
    order = np.lexsort((cell, order_key, user))
    user, cell = user[order], cell[order]
    first_of_user = np.ones(len(user), bool)
    first_of_user[1:] = user[1:] != user[:-1]
    first_of_pair = first_of_user.copy()
    first_of_pair[1:] |= cell[1:] != cell[:-1]
    nth = np.cumsum(first_of_pair)
    before = np.maximum.accumulate(np.where(first_of_user, nth - 1, 0)) if len(user) else nth
    kept = np.empty(len(user), bool)
    kept[order] = first_of_pair & (nth - before <= most)
    return kept


# ------------------------------------------------------------------ what may be asked for


def check_epsilon(epsilon: float) -> float:
    """`epsilon` as it came. Raises: QueryError: not a number, not finite, or below `LEAST_EPSILON`."""
    if not math.isfinite(epsilon) or epsilon < LEAST_EPSILON:
        raise QueryError(
            f"epsilon is {epsilon}; it must be a number of at least {LEAST_EPSILON:g}, and smaller is more private: try 1 or 0.1"
        )
    return epsilon


def check_min_users(min_users: int) -> int:
    """`min_users` as it came. Raises: SettingsError: not a whole number of 1 or more."""
    if not math.isfinite(min_users) or min_users != int(min_users) or min_users < 1:
        raise SettingsError(
            f"min_users is {min_users}; it must be a whole number of 1 or more, where 1 withholds nothing ({MIN_USERS} is usual)"
        )
    return int(min_users)
