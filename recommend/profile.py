"""What a history says of its shopper: each item once, weighted by what was done with it and by how long ago that was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECAY = 0.7
"""Weight of a history item relative to the next newer one."""
LEAST = 0.02
"""What the oldest still counts: a liking of long ago does not fall to nothing."""


def profile(rows: NDArray[np.int64], weights: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """The items of a history, each at its latest place.

    Args: rows: (interactions,) item rows, oldest first. weights: (interactions,) of the kind of each (see `KIND_WEIGHTS`).
    Returns: rows (items,), oldest first; weights (items,), above 0: that of an item's weightiest interaction, decayed by its place; the
        same before it was decayed.
    """
    # np.unique keeps first places, so it is asked of the reversed history.
    _, places = np.unique(rows[::-1], return_index=True)
    latest = np.sort(len(rows) - 1 - places)
    # Looking again at what one bought takes nothing away.
    distinct, item = np.unique(rows, return_inverse=True)
    most = np.zeros(len(distinct))
    np.maximum.at(most, item, weights)
    age = np.arange(len(latest))[::-1]
    liking = most[item[latest]]
    return rows[latest], liking * np.maximum(DECAY**age, LEAST), liking
