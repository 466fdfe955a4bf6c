"""Behaviour behind a use: do shoppers of one of its items go on to another of its items in another category, more often than by chance?

For each user with an item of the use, everything after the first such item is compared with as many random draws from all purchases of
the store: a user with n later items would have one of the use in another category by chance with probability 1 - (1 - p)^n, where p is the
share of those items in all purchases. The sum over users is the expected count, so heavy buyers do not inflate the lift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..items.ordered_events import OrderedEvents

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..items.interactions import Events

SEED = 0
"""Seed of the order of purchases at the same time."""


@dataclass(frozen=True, slots=True)
class UseSupport:
    """Counts of one use.

    Attributes:
        users: Users with an item of the use.
        continued: Those who went on to another item of it in another category.
        expected: Number of users who would by chance.
        lift: continued / expected; nan if nobody is expected.
        low: Lower end of the 95 % interval of the lift.
        high: Upper end; inf if nobody is expected.
    """

    users: int
    continued: int
    expected: float
    lift: float
    low: float
    high: float


class UseCounter:
    """Counts the users of uses.

    Args:
        events: Counted interactions. Without an order, all other items of a user count as later ones.
        category: (items,) category codes.
    """

    def __init__(self, events: Events, category: NDArray[np.int32]) -> None:
        ordered = OrderedEvents.from_events(events, SEED)
        # The first purchase of each item by each user; positions are in the user's order.
        key = (ordered.user.astype(np.int64) << 32) | ordered.row
        first = np.sort(np.unique(key, return_index=True)[1])
        self._user, self._row = ordered.user[first], ordered.row[first]
        self._counts = np.bincount(self._user, minlength=len(events.users))
        self._place = np.arange(len(first)) - np.concatenate([[0], np.cumsum(self._counts)])[self._user]
        self._ordered = events.order != "none"
        self._category = category
        self._buyers = np.bincount(self._row, minlength=len(category)).astype(np.float64)

    def support(self, rows: Sequence[int]) -> UseSupport:
        """Return the counts of a use.

        Args:
            rows: Rows of its items.
        """
        inside = np.zeros(len(self._category), dtype=bool)
        inside[list(rows)] = True
        purchases = np.flatnonzero(inside[self._row])
        if not len(purchases):
            return UseSupport(0, 0, 0.0, np.nan, 0.0, np.inf)
        user, category = self._user[purchases], self._category[self._row[purchases]]
        users, start = np.unique(user, return_index=True)
        first_category = category[start]
        group = np.repeat(np.arange(len(users)), np.diff(np.append(start, len(user))))
        continued = len(np.unique(group[category != first_category[group]]))
        later = self._counts[users] - 1 - (self._place[purchases[start]] if self._ordered else 0)
        of_use = np.bincount(self._category[inside], self._buyers[inside], minlength=int(self._category.max()) + 1)
        share = (of_use.sum() - of_use[first_category]) / self._buyers.sum()
        expected = float((1 - (1 - share) ** later).sum())
        return UseSupport(len(users), continued, expected, *ratio_interval(continued, expected))


def ratio_interval(count: int, expected: float) -> tuple[float, float, float]:
    """Return count / expected with its exact 95 % interval for a Poisson count; (nan, 0, inf) if nothing is expected.

    The count is a sum of independent events, whose variance is below that of a Poisson count: the interval is conservative.
    Source: Garwood, Biometrika 1936.
    """
    from scipy.special import gammaincinv

    if expected <= 0:
        return np.nan, 0.0, np.inf
    low = float(gammaincinv(count, 0.025)) if count else 0.0
    return count / expected, low / expected, float(gammaincinv(count + 1, 0.975)) / expected
