"""Ragged arrays: lists of item rows with unequal lengths as offsets and values (histories, targets)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse


@dataclass(frozen=True)
class RaggedArray:
    """Lists of item rows as offsets and values; the order within a list is kept (a history is oldest first).

    Attributes:
        starts: (lists + 1,) int64 offset of each list, and the end.
        rows: (entries,) int32 item rows.
    """

    starts: NDArray[np.int64]
    rows: NDArray[np.int32]

    @classmethod
    def of(cls, lists: Iterable[Iterable[int]]) -> RaggedArray:
        """Build from an iterable of lists of rows."""
        copies = [list(rows) for rows in lists]
        starts = np.concatenate([[0], np.cumsum([len(rows) for rows in copies], dtype=np.int64)]).astype(np.int64)
        return cls(starts, np.asarray([row for rows in copies for row in rows], dtype=np.int32))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> NDArray[np.int32]:
        return self.rows[self.starts[number] : self.starts[number + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(lists,) number of entries of each list."""
        return np.diff(self.starts)

    @property
    def row_index(self) -> NDArray[np.int64]:
        """(entries,) number of the list that each entry belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    @property
    def age(self) -> NDArray[np.int64]:
        """(entries,) number of later entries in the same list; 0 for the newest."""
        return np.repeat(self.starts[1:], self.lengths) - 1 - np.arange(len(self.rows))

    def part(self, numbers: NDArray[np.int64]) -> RaggedArray:
        """The lists with the given numbers, in that order."""
        lengths = self.lengths[numbers]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        positions = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths) + np.repeat(self.starts[numbers], lengths)
        return RaggedArray(starts, self.rows[positions])

    def where(self, kept: NDArray[np.bool_]) -> RaggedArray:
        """The same lists with only the entries marked in `kept`, (entries,)."""
        starts = np.concatenate([[0], np.cumsum(kept)])[self.starts].astype(np.int64)
        return RaggedArray(starts, self.rows[kept])

    def newest(self, n: int) -> RaggedArray:
        """The last `n` entries of each list."""
        return self.where(self.age < n)

    def matrix(self, items: int, values: NDArray[np.float32] | None = None) -> sparse.csr_array:
        """(lists, items) float32 sparse matrix: sum of `values` (one per entry, default 1) of each item in each list."""
        from scipy import sparse

        values = np.ones(len(self.rows), dtype=np.float32) if values is None else values
        matrix = sparse.csr_array((values.astype(np.float32), self.rows.astype(np.int64), self.starts.copy()), shape=(len(self), items))
        matrix.sum_duplicates()  # works in place, hence the copy
        return matrix
