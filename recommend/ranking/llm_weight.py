"""The weight of the LLM in the learned order: its z-scored logit margins, times a fitted weight, are added to the blend scores.

The level of the margins depends on the model and the shopper, not on the candidate (4-bit quantization alone shifts it by whole nats).
Margins are therefore standardized over the candidates of one shopper. The weight is fitted to held-out shoppers that neither the LLM nor
the blend was trained on, and is 0 where the LLM does not improve the ranking. Does not know prompts or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LLM_RERANK_DEPTH = 20
"""Number of candidates that the LLM scores: those with the highest blend scores."""
MAX_WEIGHT = 5.0
"""Upper bound of the fitted weight."""


@dataclass(frozen=True, slots=True)
class LLMWeight:
    """Weight of the LLM score: blend-score units per standard deviation of the logit margins, 0 or more."""

    weight: float

    def contributions(self, logit_margins: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (candidates,) what the LLM adds to each score, 0 on average. Args: logit_margins: (candidates,) of one shopper."""
        return self.weight * z_scores(logit_margins)


NO_LLM_WEIGHT = LLMWeight(0.0)


@dataclass(frozen=True)
class LLMScoredQuery:
    """Candidates of one shopper with the scores of the blend and of the LLM.

    Attributes:
        scores: (candidates,) of the blend alone.
        logit_margins: (candidates,) of the LLM, in nats.
        bought: (candidates,) bool.
    """

    scores: NDArray[np.floating]
    logit_margins: NDArray[np.floating]
    bought: NDArray[np.bool_]


def z_scores(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (candidates,) standard scores; all 0 where the values are equal."""
    values = np.asarray(values, dtype=np.float64)
    deviation = float(values.std()) if len(values) else 0.0
    return (values - values.mean()) / deviation if deviation > 1e-9 else np.zeros(len(values))


def fit_llm_weight(queries: Sequence[LLMScoredQuery]) -> LLMWeight:
    """Return the weight that minimizes the listwise softmax loss of the purchases; 0 without a purchase to fit to, or if 0 is better."""
    from scipy.optimize import minimize_scalar

    fitted = [(query.scores.astype(np.float64), z_scores(query.logit_margins), query.bought) for query in queries if query.bought.any()]
    if not fitted:
        return NO_LLM_WEIGHT

    def loss(weight: float) -> float:
        total = 0.0
        for scores, standardized, bought in fitted:
            logits = scores + weight * standardized
            logits = logits - logits.max()
            total += float(np.log(np.exp(logits).sum()) - logits[bought].mean())
        return total

    result = minimize_scalar(loss, bounds=(0.0, MAX_WEIGHT), method="bounded", options={"xatol": 1e-3})
    return LLMWeight(round(float(result.x), 4) if loss(float(result.x)) < loss(0.0) else 0.0)
