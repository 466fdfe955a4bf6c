"""Less of what everybody has: how well candidates fit, traded against how much they are had.

What sells much is proposed much and so sells more. `novelty` from 0 to 1 sets how strongly an item's users count against it: at 1 as much
as how well it fits counts for it, both in standard deviations over the candidates of the query. What that costs in accuracy is in the
report of every evaluation of a trained store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""What an evaluation tries."""


def order(scores: NDArray[np.float64], users: NDArray[np.integer], novelty: float) -> NDArray[np.int64]:
    """(candidates,) places, best first; at 0 the order of the scores, equal ones as they stand. Args: as `adjusted` has them."""
    return np.argsort(-adjusted(scores, users, novelty), kind="stable")


def adjusted(scores: NDArray[np.float64], users: NDArray[np.integer], novelty: float) -> NDArray[np.float64]:
    """(candidates,) the scores, or, for a novelty above 0, what is left of them when popularity is counted against.

    Args: scores: (candidates,) how well each fits. users: (candidates,) who had each. novelty: 0 to 1.
    """
    return scores if not novelty or not len(scores) else _standard(scores) - novelty * _standard(np.log1p(users))


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = float(values.std())
    return np.asarray((values - values.mean()) / spread if spread > 1e-12 else np.zeros(len(values)))
