"""Events in one order: by user, oldest first, with ties in time in random order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from .interactions import Events


@dataclass(frozen=True)
class OrderedEvents:
    """Events by user, oldest first, with ties in time in random order.

    Attributes:
        user: (events,) user numbers, as in `Events`.
        row: (events,) item rows, repeated items included.
        time: (events,) times, as in `Events`.
        starts: (users + 1,) index of each user's first event, and the number of events.
        ids: User ids by number.
    """

    user: NDArray[np.int32]
    row: NDArray[np.int32]
    time: NDArray[np.int64]
    starts: NDArray[np.int64]
    ids: pl.Series

    @classmethod
    def from_events(cls, events: Events, seed: int) -> OrderedEvents:
        """Shuffle ties in time with the seed; events without a time come first."""
        tie_breaks = np.random.default_rng(seed).random(len(events))
        order = np.lexsort((tie_breaks, events.time, events.user))
        return cls(events.user[order], events.row[order], events.time[order], events.starts, events.users)


def first_in_category(events: OrderedEvents, category: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(events,) which events are a user's first in their category.

    Args:
        events: Ordered events.
        category: (items,) category codes.
    """
    key = (events.user.astype(np.int64) << 32) | category[events.row]
    _, first = np.unique(key, return_index=True)
    is_first = np.zeros(len(events.row), dtype=bool)
    is_first[first] = True
    return is_first
