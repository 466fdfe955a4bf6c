"""How sure a share is when the same people are counted again and again: Wilson's interval, as wide as the people's likeness makes it.

Ten places of a list, seen by one shopper, are not ten independent trials. The design effect says how much more the share varies than
one of independent trials would; Wilson's interval is then that of so many fewer trials. It is honest near 0, where click rates are, and
where a bootstrap of no clicks at all would claim certainty.

Source: Wilson, JASA 1927; effective sample size in Wilson's interval for clustered samples: Korn and Graubard, Survey Methodology 1998;
Franco, Little, Louis and Slud, Journal of Survey Statistics and Methodology 2019.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ...retrieval.associations import statistics
from .bootstrap import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray


def wilson(share: float, trials: float) -> Interval:
    """Wilson's 95 % interval of a share of independent trials; NaN without trials. Args: trials: 0 or more, not necessarily whole."""
    if trials <= 0:
        return Interval(math.nan, math.nan, math.nan)
    low, high = statistics.wilson(share * trials, trials)
    return Interval(share, float(low), float(high))


def clustered_rate(hits: NDArray[np.int64], trials: NDArray[np.int64]) -> Interval:
    """The share of hits among trials, by user, with its 95 % interval.

    Args: hits, trials: (users,) of each user, hits never more than trials; users without trials are left out.
    """
    there = trials > 0
    if not there.any():
        return wilson(0.0, 0.0)
    hit, tried = hits[there].astype(np.float64), trials[there].astype(np.float64)
    share = float(hit.sum() / tried.sum())
    return wilson(share, effective_trials(hit, tried, share))


def effective_trials(hits: NDArray[np.float64], trials: NDArray[np.float64], share: float) -> float:
    """So many independent trials would say as much: from 1 to all trials.

    The variance of the share over users is that of a ratio, linearised (Cochran, Sampling Techniques, 1977). Where it cannot be told,
    because all trials ended alike or there is one user, each user counts once: nothing says that a user's trials are not all the same.
    """
    users, total = len(trials), float(trials.sum())
    if users < 2 or share in (0.0, 1.0):
        return float(users)
    variance = users / (users - 1) * float(np.square(hits - share * trials).sum()) / total**2
    independent = share * (1 - share) / total
    return max(1.0, total / max(1.0, variance / independent))
