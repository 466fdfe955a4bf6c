"""What a baseline is fitted to: the histories of the training users, and what is known of the items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from ...retrieval.items.ragged import Runs


@dataclass(frozen=True)
class TrainingData:
    """Training users and items.

    Attributes:
        histories: one run of item rows a user, oldest first, repeats as they happened. timestamps: (entries,) milliseconds, None without a clock.
        item_count: how many item rows there are. category: (items,) int32 code. vectors: (items, dimensions) unit vectors, or zeros.
    """

    histories: Runs
    timestamps: NDArray[np.int64] | None
    item_count: int
    category: NDArray[np.int32]
    vectors: NDArray[np.float32]

    @cached_property
    def matrix(self) -> sparse.csr_array:
        """(users, items) float32: 1 where a user had an item."""
        found = self.histories.matrix(self.item_count)
        found.data[:] = 1
        return found

    @cached_property
    def user_counts(self) -> NDArray[np.int64]:
        """(items,) distinct users who had each item."""
        return np.bincount(self.matrix.indices, minlength=self.item_count).astype(np.int64)


class Scorer(Protocol):
    """What ranks: a fitted baseline."""

    def scores(self, histories: Runs) -> NDArray[np.float32]:
        """(cases, items) how strongly each history, oldest first, points at each item; any scale, higher is better."""
