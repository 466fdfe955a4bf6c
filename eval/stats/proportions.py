"""Intervals of proportions with repeated trials per user: Wilson's interval with an effective sample size.

Ten slots of a list seen by one shopper are not ten independent trials. The design effect is the variance of the proportion relative to that
of independent trials; the interval is Wilson's for the number of trials divided by it. Near 0, where click rates are, Wilson's interval
remains valid, while a bootstrap without any clicks has width 0.

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
    """Return Wilson's 95 % interval of a proportion of independent trials; NaN without trials.

    Args:
        share: Proportion of successes, 0 to 1.
        trials: Number of trials, 0 or more, not necessarily an integer.
    """
    if trials <= 0:
        return Interval(math.nan, math.nan, math.nan)
    low, high = statistics.wilson(share * trials, trials)
    return Interval(share, float(low), float(high))


def clustered_rate(hits: NDArray[np.int64], trials: NDArray[np.int64]) -> Interval:
    """Return the proportion of hits among all trials, with a 95 % interval clustered by user.

    Args:
        hits: (users,) number of hits, at most the number of trials.
        trials: (users,) number of trials; users without trials are left out.
    """
    has_trials = trials > 0
    if not has_trials.any():
        return wilson(0.0, 0.0)
    user_hits, user_trials = hits[has_trials].astype(np.float64), trials[has_trials].astype(np.float64)
    share = float(user_hits.sum() / user_trials.sum())
    return wilson(share, effective_trials(user_hits, user_trials, share))


def effective_trials(hits: NDArray[np.float64], trials: NDArray[np.float64], share: float) -> float:
    """Return the effective sample size: the number of independent trials with the same variance, from 1 to the number of trials.

    The variance over users is that of a ratio estimator, linearised (Cochran, Sampling Techniques, 1977). Where it is undefined, because
    all trials have the same outcome or there is one user, each user counts as one trial, which is conservative.
    """
    users, total = len(trials), float(trials.sum())
    if users < 2 or share in (0.0, 1.0):
        return float(users)
    variance = users / (users - 1) * float(np.square(hits - share * trials).sum()) / total**2
    independent_variance = share * (1 - share) / total
    return max(1.0, total / max(1.0, variance / independent_variance))
