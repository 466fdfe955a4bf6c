"""Popularity penalty: trades relevance against item popularity.

Popular items are recommended more often and therefore sell more. `novelty`, from 0 to 1, is the weight of the penalty: at 1, popularity
counts against an item as much as relevance counts for it, both in standard deviations over the candidates of the query. The evaluation
report of a trained store states the cost in accuracy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PENALTY_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Values of `novelty` that an evaluation compares."""


def penalized_order(scores: NDArray[np.float64], users: NDArray[np.integer], novelty: float) -> NDArray[np.int64]:
    """Return (candidates,) indices, best first; ties keep their order. Args: see `popularity_penalized_scores`."""
    return np.argsort(-popularity_penalized_scores(scores, users, novelty), kind="stable")


def popularity_penalized_scores(scores: NDArray[np.float64], users: NDArray[np.integer], novelty: float) -> NDArray[np.float64]:
    """Return (candidates,) penalized scores in standard deviations; the scores themselves where `novelty` is 0.

    Args:
        scores: (candidates,) relevance, on any scale.
        users: (candidates,) number of users of each item.
        novelty: weight of the penalty, 0 to 1.
    """
    return scores if not novelty or not len(scores) else _z_scores(scores) - novelty * _z_scores(np.log1p(users))


def _z_scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    deviation = float(values.std())
    return np.asarray((values - values.mean()) / deviation if deviation > 1e-12 else np.zeros(len(values)))
