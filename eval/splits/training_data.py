"""Training data for baselines, and the protocol of a fitted baseline."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ...retrieval.channels.co_occurrence import pair_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from ...retrieval.items.ragged import RaggedArray


@dataclass(frozen=True)
class TrainingData:
    """Histories of the training users, and what is known of the items.

    Attributes:
        histories: Item rows of each user, oldest first, repeats included.
        timestamps: (entries,) milliseconds since 1970, or None if the interactions have no times.
        item_count: Number of items in the catalogue.
        category: (items,) int32 category codes.
        vectors: (items, dimensions) text embeddings of length 1, or zeros for items without text.
    """

    histories: RaggedArray
    timestamps: NDArray[np.int64] | None
    item_count: int
    category: NDArray[np.int32]
    vectors: NDArray[np.float32]

    @cached_property
    def matrix(self) -> sparse.csr_array:
        """(users, items) float32 interaction matrix with entries 1."""
        matrix = self.histories.matrix(self.item_count)
        matrix.data[:] = 1
        return matrix

    @cached_property
    def user_counts(self) -> NDArray[np.int64]:
        """(items,) number of distinct users of each item."""
        return np.bincount(self.matrix.indices, minlength=self.item_count).astype(np.int64)

    @cached_property
    def pair_counts(self) -> sparse.csr_array:
        """(items, items) float32 number of distinct users of each pair of items, without the diagonal; not to be changed."""
        return pair_counts(self.histories, self.item_count)


class Scorer(Protocol):
    """A fitted baseline."""

    def scores(self, histories: RaggedArray) -> NDArray[np.float32]:
        """Return (cases, items) scores of all items for each history (oldest item first); any scale, higher is better."""
