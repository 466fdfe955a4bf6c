"""Which groups were told of before, so that a new answer minus an old one does not single anybody out.

Remembers every cohort that was answered for, as a bitmap over the snapshot's users, with the figures shown for it. What two
answers give away by subtraction depends on how their cohorts A and B lie to one another:

    A inside B            B - A is known: its size, and for every figure shown for both, how many of it did that
    A and B apart         everyone - A - B likewise, for base rates tell of everyone
    A and B cover all     A and B likewise
    none of these         nothing: how much they overlap is not known unless asked, and that is one of the above

A relation that fails by fewer than `min_users` users counts as holding, or adding oneself to a group would be a way around.

Answers are compared two by two within a snapshot. Three answers together, two snapshots together, and what a refusal itself says ("some
earlier group is nearly this one") are not covered; noise covers them (`privacy.noisy`).
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SuppressedError
from .budget_ledger import FILE, damaged, now, storable, transaction
from .disclosure import MIN_USERS, Cell, Figures, check_min_users, exposed, with_children, withheld

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEMORY = 256 * 2**20
"""Bytes of bitmaps kept in memory: 2,100 large cohorts of a million users, or many more small ones. Whatever does not fit is read from the
disk whenever it is needed, which is slower and finds the same."""
HEAD = 512
"""Words of 64 users that are compared first, and always kept in memory; most large cohorts mix enough in these to be told unrelated."""


_Words = tuple["NDArray[np.int64] | None", "NDArray[np.uint64]"]
"""A cohort in memory: which words of its bitmap these are (None: all of them; else only those not empty), and the words."""


@dataclass(frozen=True, slots=True)
class _Told:
    """A cohort that was answered for. `answers`: per answer, numbers of the cells shown and their users, both int64."""

    id: int
    size: int
    question: str
    head: NDArray[np.uint64]
    head_size: int
    answers: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=list)


class Releases:
    """The answers given for one snapshot. One object serves all threads of a process, and processes may share the folder."""

    def __init__(self, folder: Path, snapshot: str, users: int, min_users: int = MIN_USERS, memory: int = MEMORY) -> None:
        """Opens the record; nothing is read or written before the first `admit`.

        Args: folder: the workspace's. snapshot: its id. users: how many the snapshot has. memory: bytes, see `MEMORY`.
        Raises: SettingsError: see `check_min_users`.
        """
        self.folder, self.snapshot, self.users, self.memory = Path(folder), snapshot, users, memory
        self.min_users = check_min_users(min_users)
        self._lock = threading.Lock()
        self._forget("")

    def admit(self, question: str, cohort: NDArray[np.int64], cells: Mapping[str, Cell]) -> frozenset[str]:
        """The names of the cells that must not be shown; all others, and the size of the cohort, count as told from now on.

        Asking again gives the same names. An answer is recorded before this returns, so one that is then lost still counts.

        Args:
            question: what was asked, for the message to whoever comes too near it later.
            cohort: user numbers, 0 to users - 1. cells: name -> figure, every child with its parents. A name stands for one thing that
                a user did or did not do; ways to count it (within 30 days, within 90) share the name, so that they are compared.

        Raises:
            SuppressedError: the cohort is too small, or too near an earlier one. Nothing is recorded.
            ValueError: a user or a figure that cannot be, or a base that differs from the one told before.
            WorkspaceBusyError, WorkspaceError, StorageError: see `ledger.transaction`.
        """
        if len(cohort) and not 0 <= cohort.min() <= cohort.max() < self.users:
            raise ValueError(f"user numbers of this snapshot are 0 to {self.users - 1}")
        inside = np.zeros(-(-self.users // 64) * 64, bool)
        inside[: self.users][cohort] = True
        size, bits = int(inside.sum()), np.packbits(inside).view(np.uint64)
        figures = Figures.of(cells, size, self.users)
        self._check_size(size)
        with self._lock, transaction(self.folder) as database:
            self._catch_up(database)
            number = self._numbers(figures)
            hidden = withheld(figures, self.min_users)
            for told, overlap in self._related(database, bits, size) if self.min_users > 1 else ():
                hidden |= self._given_away(figures, number, told, overlap)
            hidden = with_children(hidden, figures.parent)
            self._record(database, storable(question), bits, figures, hidden)
        return frozenset(name for name, out in zip(figures.names, hidden, strict=True) if out)

    def _check_size(self, size: int) -> None:
        few = f"fewer than {self.min_users} users"
        if size < self.min_users:
            raise SuppressedError(
                f"{few} are in this group, too few to tell of without pointing at persons; ask about a broader one: "
                "a broader category, a longer period, fewer conditions"
            )
        if 0 < self.users - size < self.min_users:
            raise SuppressedError(f"all but {few} are in this group, which would tell of the few outside it; ask about a narrower group")

    # ------------------------------------------------------------------ comparing

    def _related(self, database: sqlite3.Connection, bits: NDArray[np.uint64], size: int) -> Iterator[tuple[_Told, int]]:
        """Earlier cohorts that lie to this one in a way that gives something away, and how many users they share.

        Of the four parts (in both, only here, only there, in neither) one has fewer than `min_users` users.
        """
        head, head_size = bits[:HEAD], int(np.bitwise_count(bits[:HEAD]).sum())
        head_users = min(self.users, HEAD * 64)
        for told in self._told.values():
            shared = int(np.bitwise_count(told.head & head).sum(dtype=np.int64))
            if min(_parts(shared, head_size, told.head_size, head_users)) >= self.min_users:
                continue
            where, words = self._words(database, told)
            shared = int(np.bitwise_count((bits if where is None else bits[where]) & words).sum(dtype=np.int64))
            if min(_parts(shared, size, told.size, self.users)) < self.min_users:
                yield told, shared

    def _given_away(self, figures: Figures, number: NDArray[np.int64], told: _Told, overlap: int) -> NDArray[np.bool_]:
        """Which figures, less those of an earlier related cohort, tell of too few.

        Raises: SuppressedError: the sizes alone do.
        """
        both, here, there, neither = _parts(overlap, figures.cohort, told.size, self.users)
        few = self.min_users
        if 0 < here + there < few or 0 < both + neither < few:
            raise SuppressedError(
                f"this group and one that was told of before ({told.question[:80]!r}) differ, or leave out, fewer than {few} users, "
                "of whom the two answers together would tell; ask the earlier question again, or one that differs more"
            )
        found = np.zeros(len(figures.names), bool)
        for shown, users in told.answers:
            # Rows of this answer that were shown in that one, and what was shown.
            place = np.searchsorted(shown, number)
            place[place == len(shown)] = 0
            row = np.flatnonzero(shown[place] == number) if len(shown) else np.empty(0, np.int64)
            then = users[place[row]]
            at = np.full(len(figures.names), -1)
            at[row] = np.arange(len(row))
            parent = np.where(figures.parent[row] >= 0, at[figures.parent[row]], -1)
            mine, base = figures.users[row], figures.base[row]
            if min(here, there) < few:
                found[row] |= exposed(there - here, then - mine, parent, few, exact=min(here, there) == 0)
            if min(both, neither) < few:
                rest = exposed(neither - both, base - mine - then, parent, few, exact=min(both, neither) == 0)
                found[row] |= rest & (base >= 0)
        return found

    # ------------------------------------------------------------------ the record

    def _forget(self, identity: str) -> None:
        self._identity = identity
        self._told: dict[int, _Told] = {}
        self._kept: dict[int, _Words] = {}
        self._free = self.memory
        self._names: dict[str, tuple[int, int]] = {}
        self._last = {"names": 0, "cohorts": 0, "answers": 0}

    def _catch_up(self, database: sqlite3.Connection) -> None:
        """Reads what this and other processes recorded since the last time. Rows are only ever added, so ids tell what is new."""
        identity = database.execute("SELECT id FROM identity").fetchone()[0]
        if identity != self._identity:
            self._forget(identity)  # the file was deleted and begun anew
        scope = (self.snapshot, self._last["names"])
        for id_, name, base in database.execute("SELECT id, name, base FROM names WHERE snapshot = ? AND id > ?", scope):
            self._names[name] = id_, base
            self._last["names"] = max(id_, self._last["names"])
        scope = (self.snapshot, self._last["cohorts"])
        new = "SELECT id, size, question, head FROM cohorts WHERE snapshot = ? AND id > ? ORDER BY id"
        for id_, size, question, packed in database.execute(new, scope):
            head = self._unpacked(packed, min(HEAD, -(-self.users // 64)))
            self._told[id_] = _Told(id_, size, question, head, int(np.bitwise_count(head).sum()))
            self._last["cohorts"] = id_
        scope = (self.snapshot, self._last["answers"])
        new = "SELECT a.id, cohort, figures FROM answers a JOIN cohorts c ON c.id = cohort WHERE snapshot = ? AND a.id > ? ORDER BY a.id"
        for id_, cohort, packed in database.execute(new, scope):
            shown, users = self._unpacked(packed).view(np.int64).reshape(2, -1)
            self._told[cohort].answers.append((shown, users))
            self._last["answers"] = id_

    def _words(self, database: sqlite3.Connection, told: _Told) -> _Words:
        """A cohort's bitmap, from memory or from the disk."""
        if told.id in self._kept:
            return self._kept[told.id]
        packed = database.execute("SELECT bits FROM cohorts WHERE id = ?", (told.id,)).fetchone()[0]
        words: NDArray[np.uint64] = self._unpacked(packed, -(-self.users // 64))
        where = np.flatnonzero(words) if told.size < len(words) // 8 else None
        found = (where, words if where is None else words[where])
        size = found[1].nbytes + (0 if where is None else where.nbytes)
        if size <= self._free:
            self._kept[told.id] = found
            self._free -= size
        return found

    def _numbers(self, figures: Figures) -> NDArray[np.int64]:
        """The numbers of the cells' names in the record, -1 for those never shown."""
        found = [self._names.get(name, (-1, base)) for name, base in zip(figures.names, figures.base.tolist(), strict=True)]
        for name, base, (_, before) in zip(figures.names, figures.base.tolist(), found, strict=True):
            if base != before:
                raise ValueError(f"the base of {name!r} is {base}, and was {before} in an earlier answer from the same snapshot")
        return np.array([number for number, _ in found], np.int64)

    def _record(
        self, database: sqlite3.Connection, question: str, bits: NDArray[np.uint64], figures: Figures, hidden: NDArray[np.bool_]
    ) -> None:
        """Writes what is new. Memory follows at the next `_catch_up`, from what was truly committed."""
        shown = [(name, int(base)) for name, base, out in zip(figures.names, figures.base, hidden, strict=True) if not out]
        unknown = [(self.snapshot, name, base) for name, base in shown if name not in self._names]
        database.executemany("INSERT INTO names (snapshot, name, base) VALUES (?, ?, ?)", unknown)
        ids = dict(database.execute("SELECT name, id FROM names WHERE snapshot = ?", (self.snapshot,))) if unknown else {}
        number = np.array([ids[name] if name in ids else self._names[name][0] for name, _ in shown], np.int64)
        order = np.argsort(number)
        number, users = number[order], figures.users[~hidden][order]
        key = (self.snapshot, hashlib.sha256(bits.tobytes()).digest())
        row = database.execute("SELECT id FROM cohorts WHERE snapshot = ? AND digest = ?", key).fetchone()
        if row is None:
            # A bitmap compresses only when nearly all users are on one side; else level 0, for the check sum alone.
            level = 1 if 20 * min(figures.cohort, self.users - figures.cohort) < self.users else 0
            blobs = (zlib.compress(bits[:HEAD].tobytes(), level), zlib.compress(bits.tobytes(), level))
            insert = "INSERT INTO cohorts (snapshot, digest, size, question, at, head, bits) VALUES (?, ?, ?, ?, ?, ?, ?)"
            cohort = database.execute(insert, (*key, figures.cohort, question, now(), *blobs)).lastrowid
        else:
            cohort = row[0]
            if any(np.isin(_pairs(number, users), _pairs(*earlier)).all() for earlier in self._told[cohort].answers):
                return
        packed = zlib.compress(np.concatenate([number, users]).tobytes(), 1)
        database.execute("INSERT INTO answers (cohort, figures, at) VALUES (?, ?, ?)", (cohort, packed, now()))

    def _unpacked(self, packed: bytes, length: int | None = None) -> NDArray[Any]:
        """64-bit values from a stored blob; `length` is how many it must hold, None when that is not known."""
        try:
            found = np.frombuffer(zlib.decompress(packed), np.uint64)
        except (zlib.error, ValueError) as error:
            raise damaged(self.folder / FILE, error) from error
        if length is not None and len(found) != length:
            raise damaged(self.folder / FILE, f"a cohort of {len(found) * 64} users, of a snapshot of {self.users}")
        return found


def _parts(overlap: int, here: int, there: int, users: int) -> tuple[int, int, int, int]:
    """How many users are in both, only here, only there, in neither."""
    return overlap, here - overlap, there - overlap, users - here - there + overlap


def _pairs(number: NDArray[np.int64], users: NDArray[np.int64]) -> NDArray[np.void]:
    """(cell, users) rows as single values that compare as one."""
    return np.ascontiguousarray(np.stack([number, users], axis=1)).view("V16").ravel()
