"""Selection of the items with the highest scores, with an even share of the categories if asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def highest(
    scores: NDArray[np.floating[Any]],
    rows: NDArray[np.int64],
    most: int,
    category: NDArray[np.integer[Any]] | None = None,
    quota: float = 0.0,
) -> NDArray[np.int64]:
    """The `most` rows with the highest scores, highest first; ties by row.

    Args:
        scores: (items,) scores.
        rows: candidate rows.
        most: number of rows to return.
        category: (items,) category codes.
        quota: share of the result that is distributed evenly over categories before the rest is filled by score. With more categories
            than such slots, the categories with the best items get one each.
    """
    if category is not None and quota and len(rows) > most:
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        _, code = np.unique(category[rows], return_inverse=True)
        by_category = np.argsort(code, kind="stable")  # still by falling score inside
        sizes = np.bincount(code)
        place = np.empty(len(rows), dtype=np.int64)
        place[by_category] = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        kept = int(quota * most)
        first = place < max(1, kept // len(sizes))
        first &= np.cumsum(first) <= kept
        chosen = np.concatenate([np.flatnonzero(first), np.flatnonzero(~first)])[:most]
        return np.asarray(rows[np.sort(chosen)])
    if len(rows) > 4 * most:  # partition first: sorting thirty thousand rows to keep fifty takes most of a query's time
        edge = np.partition(scores[rows], len(rows) - most)[len(rows) - most]
        rows = rows[scores[rows] >= edge]
    return rows[np.argsort(-scores[rows], kind="stable")][:most]
