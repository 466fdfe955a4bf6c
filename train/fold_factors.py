"""Factors of the folds of out-of-fold queries, brought into one space.

The factors of each fold are fitted without its users, so they come in a space of their own. They are rotated into the space of the
factorization that serves, by the rotation that brings the factors of all items closest to each other (orthogonal Procrustes problem).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FoldFactors:
    """Factors of one fold, in its own space.

    Attributes:
        items: (items, size) factors of all items of the catalogue.
        histories: (queries of the fold, size) factors of the histories.
    """

    items: NDArray[np.float32]
    histories: NDArray[np.float32]

    def rotated(self, reference: NDArray[np.float32]) -> FoldFactors:
        """Return the factors in the space of other ones. Args: reference: (items, size) factors of the same items."""
        rotation = rotation_between(self.items, reference)
        return FoldFactors(self.items @ rotation, self.histories @ rotation)


def rotation_between(factors: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the orthogonal (size, size) matrix that brings factors closest to others, by the sum of squares.

    Args:
        factors: (items, size).
        reference: (items, size).

    Source: Schönemann, Psychometrika 1966.
    """
    left, _, right = np.linalg.svd(factors.T.astype(np.float64) @ reference.astype(np.float64))
    return np.asarray(left @ right, dtype=np.float32)
