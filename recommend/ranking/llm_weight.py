"""The LLM's vote in the learned order: it reads the best candidates, and how its margins lie beside each other moves them.

The level of its margins is the model's and the shopper's, not a candidate's (4 bits alone shift it by whole nats), so a margin counts by
its standard score among those of the same shopper. One weight says what that is worth beside the blend's score; it is fitted to shoppers
whom neither the LLM nor that score knew, and is 0 where it does not measure better. Knows nothing of prompts or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LLM_RERANK_DEPTH = 20
"""Candidates that the LLM reads: those that the blend ranks highest without it."""
MAX_WEIGHT = 5.0
"""The largest weight that is considered."""


@dataclass(frozen=True, slots=True)
class LLMWeight:
    """What the LLM counts: `weight`, 0 or more, of the blend's score for one standard deviation of its margins."""

    weight: float

    def contributions(self, logit_margins: NDArray[np.floating]) -> NDArray[np.float64]:
        """(candidates,) what is added to the score of each, 0 on average. Args: margins: (candidates,) of one shopper."""
        return self.weight * z_scores(logit_margins)


NO_LLM_WEIGHT = LLMWeight(0.0)


@dataclass(frozen=True)
class LLMScoredQuery:
    """One shopper's candidates as the LLM read them.

    Attributes: scores: (candidates,) of the blend without it. margins: (candidates,) in nats. bought: (candidates,) bool.
    """

    scores: NDArray[np.floating]
    logit_margins: NDArray[np.floating]
    bought: NDArray[np.bool_]


def z_scores(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """(candidates,) standard scores; all 0 where all are alike."""
    told = np.asarray(values, dtype=np.float64)
    spread = float(told.std()) if len(told) else 0.0
    return (told - told.mean()) / spread if spread > 1e-9 else np.zeros(len(told))


def fit_llm_weight(queries: Sequence[LLMScoredQuery]) -> LLMWeight:
    """The weight under which what was bought is likeliest, by a softmax over each shopper's candidates; 0 if there is nothing to fit to."""
    from scipy.optimize import minimize_scalar

    told = [(one.scores.astype(np.float64), z_scores(one.logit_margins), one.bought) for one in queries if one.bought.any()]
    if not told:
        return NO_LLM_WEIGHT

    def loss(weight: float) -> float:
        total = 0.0
        for scores, said, bought in told:
            sums = scores + weight * said
            sums = sums - sums.max()
            total += float(np.log(np.exp(sums).sum()) - sums[bought].mean())
        return total

    found = minimize_scalar(loss, bounds=(0.0, MAX_WEIGHT), method="bounded", options={"xatol": 1e-3})
    return LLMWeight(round(float(found.x), 4) if loss(float(found.x)) < loss(0.0) else 0.0)
