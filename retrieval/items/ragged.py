"""Lists of item rows of unequal length as two arrays: histories, targets, what a shopper had."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse


@dataclass(frozen=True)
class Runs:
    """Runs of item rows, in an order that means something (a history is oldest first).

    Attributes:
        starts: (runs + 1,) int64 where each run begins, and the end. rows: (entries,) int32 item rows.
    """

    starts: NDArray[np.int64]
    rows: NDArray[np.int32]

    @classmethod
    def of(cls, lists: Iterable[Iterable[int]]) -> Runs:
        """Runs from lists of rows."""
        runs = [list(rows) for rows in lists]
        starts = np.concatenate([[0], np.cumsum([len(rows) for rows in runs], dtype=np.int64)]).astype(np.int64)
        return cls(starts, np.asarray([row for rows in runs for row in rows], dtype=np.int32))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, run: int) -> NDArray[np.int32]:
        return self.rows[self.starts[run] : self.starts[run + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(runs,) entries of each run."""
        return np.diff(self.starts)

    @property
    def owner(self) -> NDArray[np.int64]:
        """(entries,) the run that each entry belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    @property
    def age(self) -> NDArray[np.int64]:
        """(entries,) how many entries of its run come after each one; 0 is the newest."""
        return np.repeat(self.starts[1:], self.lengths) - 1 - np.arange(len(self.rows))

    def part(self, runs: NDArray[np.int64]) -> Runs:
        """Some of the runs, in the order asked for."""
        lengths = self.lengths[runs]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths) + np.repeat(self.starts[runs], lengths)
        return Runs(starts, self.rows[places])

    def where(self, kept: NDArray[np.bool_]) -> Runs:
        """The same runs with only the entries marked in `kept`, (entries,)."""
        starts = np.concatenate([[0], np.cumsum(kept)])[self.starts].astype(np.int64)
        return Runs(starts, self.rows[kept])

    def newest(self, n: int) -> Runs:
        """The last `n` entries of each run."""
        return self.where(self.age < n)

    def matrix(self, items: int, values: NDArray[np.float32] | None = None) -> sparse.csr_array:
        """(runs, items) float32, 1 (or `values`, one an entry) where a run holds an item, the sum where it does so repeatedly."""
        from scipy import sparse

        values = np.ones(len(self.rows), dtype=np.float32) if values is None else values
        found = sparse.csr_array((values.astype(np.float32), self.rows.astype(np.int64), self.starts.copy()), shape=(len(self), items))
        found.sum_duplicates()  # works in place, hence the copy
        return found
