"""Query auditing: prevents differencing attacks, in which two answers about similar cohorts reveal a small group.

The log stores every answered cohort as a bitmap over the snapshot's users, with the counts disclosed for it. What the difference of two
answers reveals depends on the relation of their cohorts A and B:

    A inside B            B - A: its size, and every count disclosed for both
    A and B disjoint      everyone - A - B likewise, because base rates cover everyone
    A and B cover all     the intersection of A and B likewise
    none of these         nothing: the overlap is unknown unless queried, and that query is one of the above

A relation that fails by fewer than `min_users` users is treated as true; otherwise adding oneself to a group would bypass the audit.

Answers are compared pairwise within a snapshot. Not covered are three answers together, two snapshots together, and the information in
a rejection itself ("an earlier group is similar to this one"); noise covers them (`disclosure.noisy_counts`).
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
from .budget_ledger import FILE, damaged, encodable_text, now, transaction
from .disclosure import MIN_USERS, CellTable, CountCell, check_min_users, reveals_few_users, suppressed_cells, with_children

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITMAP_CACHE_BYTES = 256 * 2**20
"""Bytes of bitmaps cached in memory: 2,100 large cohorts of a million users, or many more small ones. Others are read from disk when
needed, which is slower and gives the same result."""
PREFIX_WORDS = 512
"""64-bit words of a bitmap that are compared first and always kept in memory; for most large cohorts they rule out a relation."""


_Words = tuple["NDArray[np.int64] | None", "NDArray[np.uint64]"]
"""Cached bitmap: indices of its non-empty words (None if all words are stored), and the words."""


@dataclass(frozen=True, slots=True)
class _AuditedCohort:
    """An answered cohort; `answers` contains, per answer, ids of the disclosed cells and their users, both int64."""

    id: int
    size: int
    question: str
    prefix: NDArray[np.uint64]
    prefix_size: int
    answers: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=list)


class QueryAuditLog:
    """Log of the answers given for one snapshot. Thread-safe; several processes may share the folder."""

    def __init__(self, folder: Path, snapshot: str, users: int, min_users: int = MIN_USERS, cache_bytes: int = BITMAP_CACHE_BYTES) -> None:
        """Open the log; nothing is read or written before the first `admit_query`.

        Args:
            folder: Folder of the workspace.
            snapshot: Id of the snapshot.
            users: Number of users in the snapshot.
            min_users: Smallest group whose counts may be disclosed.
            cache_bytes: See `BITMAP_CACHE_BYTES`.

        Raises:
            SettingsError: See `check_min_users`.
        """
        self.folder, self.snapshot, self.users, self.cache_bytes = Path(folder), snapshot, users, cache_bytes
        self.min_users = check_min_users(min_users)
        self._lock = threading.Lock()
        self._reset("")

    def admit_query(self, question: str, cohort: NDArray[np.int64], cells: Mapping[str, CountCell]) -> frozenset[str]:
        """Names of the cells to suppress; all other cells, and the size of the cohort, are recorded as disclosed.

        Repeating a query gives the same names. The answer is recorded before the method returns, so an answer lost afterwards counts.

        Args:
            question: Text of the query, for the error message of a later, similar query.
            cohort: User numbers, 0 to users - 1.
            cells: Name to count; every child with its parents. A name stands for one property of a user; variants of it (within 30
                days, within 90) share the name, so that they are compared.

        Raises:
            SuppressedError: The cohort is too small, or too similar to an earlier one. Nothing is recorded.
            ValueError: Impossible user number or count, or a base that differs from the one disclosed before.
            WorkspaceBusyError, WorkspaceError, StorageError: See `budget_ledger.transaction`.
        """
        if len(cohort) and not 0 <= cohort.min() <= cohort.max() < self.users:
            raise ValueError(f"user numbers of this snapshot must be 0 to {self.users - 1}")
        inside = np.zeros(-(-self.users // 64) * 64, bool)
        inside[: self.users][cohort] = True
        size, bits = int(inside.sum()), np.packbits(inside).view(np.uint64)
        table = CellTable.of(cells, size, self.users)
        self._check_size(size)
        with self._lock, transaction(self.folder) as database:
            self._load_new_rows(database)
            cell_ids = self._cell_ids(table)
            suppressed = suppressed_cells(table, self.min_users)
            for earlier, overlap in self._related(database, bits, size) if self.min_users > 1 else ():
                suppressed |= self._revealed_by_difference(table, cell_ids, earlier, overlap)
            suppressed = with_children(suppressed, table.parent)
            self._record(database, encodable_text(question), bits, table, suppressed)
        return frozenset(name for name, is_suppressed in zip(table.names, suppressed, strict=True) if is_suppressed)

    def _check_size(self, size: int) -> None:
        few = f"fewer than {self.min_users} users"
        if size < self.min_users:
            raise SuppressedError(
                f"{few} are in this group, too few to show without identifying people; use a broader group: "
                "a broader category, a longer period, fewer conditions"
            )
        if 0 < self.users - size < self.min_users:
            raise SuppressedError(f"all but {few} are in this group, which would reveal the few outside it; use a narrower group")

    # ------------------------------------------------------------------ comparing

    def _related(self, database: sqlite3.Connection, bits: NDArray[np.uint64], size: int) -> Iterator[tuple[_AuditedCohort, int]]:
        """Earlier cohorts in a revealing relation to this one, each with the number of shared users.

        One of the four parts (in both, only in this, only in the earlier, in neither) has fewer than `min_users` users.
        """
        prefix, prefix_size = bits[:PREFIX_WORDS], int(np.bitwise_count(bits[:PREFIX_WORDS]).sum())
        prefix_users = min(self.users, PREFIX_WORDS * 64)
        for earlier in self._cohorts.values():
            shared = int(np.bitwise_count(earlier.prefix & prefix).sum(dtype=np.int64))
            if min(_parts(shared, prefix_size, earlier.prefix_size, prefix_users)) >= self.min_users:
                continue
            word_indices, words = self._words(database, earlier)
            shared = int(np.bitwise_count((bits if word_indices is None else bits[word_indices]) & words).sum(dtype=np.int64))
            if min(_parts(shared, size, earlier.size, self.users)) < self.min_users:
                yield earlier, shared

    def _revealed_by_difference(
        self, table: CellTable, cell_ids: NDArray[np.int64], earlier: _AuditedCohort, overlap: int
    ) -> NDArray[np.bool_]:
        """Mask of the counts whose difference to those of an earlier related cohort reveals too few users.

        Raises:
            SuppressedError: The sizes alone reveal too few users.
        """
        both, only_this, only_earlier, neither = _parts(overlap, table.cohort, earlier.size, self.users)
        few = self.min_users
        if 0 < only_this + only_earlier < few or 0 < both + neither < few:
            raise SuppressedError(
                f"this group and an earlier one ({earlier.question[:80]!r}) differ by, or both leave out, fewer than {few} users, "
                "whom the two answers together would reveal; repeat the earlier query, or use one that differs more"
            )
        revealed = np.zeros(len(table.names), bool)
        for earlier_ids, earlier_users in earlier.answers:
            # Rows of this answer that were also disclosed in the earlier one, and their counts there.
            position = np.searchsorted(earlier_ids, cell_ids)
            position[position == len(earlier_ids)] = 0
            row = np.flatnonzero(earlier_ids[position] == cell_ids) if len(earlier_ids) else np.empty(0, np.int64)
            before = earlier_users[position[row]]
            common_row = np.full(len(table.names), -1)
            common_row[row] = np.arange(len(row))
            parent = np.where(table.parent[row] >= 0, common_row[table.parent[row]], -1)
            now_users, base = table.users[row], table.base[row]
            if min(only_this, only_earlier) < few:
                exact = min(only_this, only_earlier) == 0
                revealed[row] |= reveals_few_users(only_earlier - only_this, before - now_users, parent, few, exact=exact)
            if min(both, neither) < few:
                exact = min(both, neither) == 0
                revealed[row] |= reveals_few_users(neither - both, base - now_users - before, parent, few, exact=exact) & (base >= 0)
        return revealed

    # ------------------------------------------------------------------ storage

    def _reset(self, identity: str) -> None:
        self._identity = identity
        self._cohorts: dict[int, _AuditedCohort] = {}
        self._bitmap_cache: dict[int, _Words] = {}
        self._free_bytes = self.cache_bytes
        self._names: dict[str, tuple[int, int]] = {}
        self._last = {"names": 0, "cohorts": 0, "answers": 0}

    def _load_new_rows(self, database: sqlite3.Connection) -> None:
        """Read the rows that this and other processes added since the last call; rows are only appended, with growing ids."""
        identity = database.execute("SELECT id FROM identity").fetchone()[0]
        if identity != self._identity:
            self._reset(identity)  # the file was deleted and created again
        scope = (self.snapshot, self._last["names"])
        for id_, name, base in database.execute("SELECT id, name, base FROM names WHERE snapshot = ? AND id > ?", scope):
            self._names[name] = id_, base
            self._last["names"] = max(id_, self._last["names"])
        scope = (self.snapshot, self._last["cohorts"])
        new = "SELECT id, size, question, head FROM cohorts WHERE snapshot = ? AND id > ? ORDER BY id"
        for id_, size, question, packed in database.execute(new, scope):
            prefix = self._unpacked(packed, min(PREFIX_WORDS, -(-self.users // 64)))
            self._cohorts[id_] = _AuditedCohort(id_, size, question, prefix, int(np.bitwise_count(prefix).sum()))
            self._last["cohorts"] = id_
        scope = (self.snapshot, self._last["answers"])
        new = "SELECT a.id, cohort, figures FROM answers a JOIN cohorts c ON c.id = cohort WHERE snapshot = ? AND a.id > ? ORDER BY a.id"
        for id_, cohort, packed in database.execute(new, scope):
            cell_ids, users = self._unpacked(packed).view(np.int64).reshape(2, -1)
            self._cohorts[cohort].answers.append((cell_ids, users))
            self._last["answers"] = id_

    def _words(self, database: sqlite3.Connection, cohort: _AuditedCohort) -> _Words:
        """A cohort's bitmap, from the cache or from disk."""
        if cohort.id in self._bitmap_cache:
            return self._bitmap_cache[cohort.id]
        packed = database.execute("SELECT bits FROM cohorts WHERE id = ?", (cohort.id,)).fetchone()[0]
        words: NDArray[np.uint64] = self._unpacked(packed, -(-self.users // 64))
        word_indices = np.flatnonzero(words) if cohort.size < len(words) // 8 else None
        bitmap = (word_indices, words if word_indices is None else words[word_indices])
        size = bitmap[1].nbytes + (0 if word_indices is None else word_indices.nbytes)
        if size <= self._free_bytes:
            self._bitmap_cache[cohort.id] = bitmap
            self._free_bytes -= size
        return bitmap

    def _cell_ids(self, table: CellTable) -> NDArray[np.int64]:
        """Ids of the cells' names in the log, -1 for names never disclosed."""
        known = [self._names.get(name, (-1, base)) for name, base in zip(table.names, table.base.tolist(), strict=True)]
        for name, base, (_, before) in zip(table.names, table.base.tolist(), known, strict=True):
            if base != before:
                raise ValueError(f"the base of {name!r} is {base}, and was {before} in an earlier answer from the same snapshot")
        return np.array([cell_id for cell_id, _ in known], np.int64)

    def _record(
        self, database: sqlite3.Connection, question: str, bits: NDArray[np.uint64], table: CellTable, suppressed: NDArray[np.bool_]
    ) -> None:
        """Write the new rows; memory is updated by the next `_load_new_rows`, from committed rows only."""
        disclosed = [
            (name, int(base)) for name, base, is_suppressed in zip(table.names, table.base, suppressed, strict=True) if not is_suppressed
        ]
        unknown = [(self.snapshot, name, base) for name, base in disclosed if name not in self._names]
        database.executemany("INSERT INTO names (snapshot, name, base) VALUES (?, ?, ?)", unknown)
        ids = dict(database.execute("SELECT name, id FROM names WHERE snapshot = ?", (self.snapshot,))) if unknown else {}
        cell_ids = np.array([ids[name] if name in ids else self._names[name][0] for name, _ in disclosed], np.int64)
        order = np.argsort(cell_ids)
        cell_ids, users = cell_ids[order], table.users[~suppressed][order]
        key = (self.snapshot, hashlib.sha256(bits.tobytes()).digest())
        row = database.execute("SELECT id FROM cohorts WHERE snapshot = ? AND digest = ?", key).fetchone()
        if row is None:
            # A bitmap is compressible only if nearly all users are on one side; otherwise level 0, for the checksum only.
            level = 1 if 20 * min(table.cohort, self.users - table.cohort) < self.users else 0
            blobs = (zlib.compress(bits[:PREFIX_WORDS].tobytes(), level), zlib.compress(bits.tobytes(), level))
            insert = "INSERT INTO cohorts (snapshot, digest, size, question, at, head, bits) VALUES (?, ?, ?, ?, ?, ?, ?)"
            cohort = database.execute(insert, (*key, table.cohort, question, now(), *blobs)).lastrowid
        else:
            cohort = row[0]
            if any(np.isin(_pairs(cell_ids, users), _pairs(*earlier)).all() for earlier in self._cohorts[cohort].answers):
                return
        packed = zlib.compress(np.concatenate([cell_ids, users]).tobytes(), 1)
        database.execute("INSERT INTO answers (cohort, figures, at) VALUES (?, ?, ?)", (cohort, packed, now()))

    def _unpacked(self, packed: bytes, length: int | None = None) -> NDArray[Any]:
        """64-bit values from a stored blob; `length` is the expected number of values, None if unknown."""
        try:
            values = np.frombuffer(zlib.decompress(packed), np.uint64)
        except (zlib.error, ValueError) as error:
            raise damaged(self.folder / FILE, error) from error
        if length is not None and len(values) != length:
            raise damaged(self.folder / FILE, f"a cohort of {len(values) * 64} users, of a snapshot of {self.users}")
        return values


def _parts(overlap: int, first: int, second: int, users: int) -> tuple[int, int, int, int]:
    """Number of users in both groups, only in the first, only in the second, in neither."""
    return overlap, first - overlap, second - overlap, users - first - second + overlap


def _pairs(cell_ids: NDArray[np.int64], users: NDArray[np.int64]) -> NDArray[np.void]:
    """(cell, users) rows as single comparable values."""
    return np.ascontiguousarray(np.stack([cell_ids, users], axis=1)).view("V16").ravel()
