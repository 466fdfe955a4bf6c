"""Each item as a linear mix of all others, in closed form: what a history item says of another beyond what the rest of the history says.

Source: Steck, WWW 2019 (EASE). Knows nothing of queries, categories or cases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse


def mix(had: sparse.csr_array, *, penalty: float, items: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The items that take part, and the weights between them.

    Args:
        had: (users, items) 1 where a user had an item. penalty: of the ridge, lambda of the source.
        items: the most had that take part, at most; memory and time grow with the square and the cube of it.
    Returns: (kept,) rows, ascending; (kept, kept) float32: what having the first adds to wanting the second, any sign, 0 on the diagonal.
    """
    from scipy import linalg

    users = np.bincount(had.indices, minlength=had.shape[1])
    kept = np.sort(np.argsort(-users, kind="stable")[: min(items, int((users > 0).sum()))])
    part = had[:, kept]
    gram = (part.T @ part).toarray().astype(np.float32)
    gram[np.diag_indices_from(gram)] += penalty
    factor, _ = linalg.lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, _ = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    inverse = np.tril(inverse)
    inverse += np.tril(inverse, -1).T
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices_from(weights)] = 0
    return kept, weights.astype(np.float32)
