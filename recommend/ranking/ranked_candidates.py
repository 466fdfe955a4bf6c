"""The candidates of one query with their blend scores, and what each channel contributes to a score.

Does not know how candidates are retrieved or which language model re-ranks them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .features import LLM_CHANNEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.retriever import CandidateScores
    from .learned_blend import BlendModel


@dataclass(frozen=True)
class ScoredCandidates:
    """Candidates of one query, scored by the blend.

    Attributes:
        proposals: items that the channels propose, with their channel scores.
        scores: (candidates,) blend scores on any scale, higher is better, with the LLM's contributions once re-ranked.
        features: (candidates, features) input of the model.
        model: the blend.
        logit_margins: (candidates,) yes/no logit differences of the LLM in nats, NaN for candidates it did not score; None without an LLM.
        llm_contributions: (candidates,) part of each score that comes from the LLM; None without an LLM.
        mean_llm_weight: mean weight of the candidates that the LLM read; 0 without an LLM.
        llm_failure: why an LLM that was to read did not; empty if it read, or was not to.
    """

    proposals: CandidateScores
    scores: NDArray[np.float64]
    features: NDArray[np.float32]
    model: BlendModel
    logit_margins: NDArray[np.float32] | None = None
    llm_contributions: NDArray[np.float64] | None = None
    mean_llm_weight: float = 0.0
    llm_failure: str = ""

    def contributions_by_channel(self, index: int) -> dict[str, float]:
        """Contribution of each channel, the profile and the LLM to the score of one candidate, largest magnitude first."""
        total: dict[str, float] = {}
        if self.llm_contributions is not None and self.llm_contributions[index]:
            total[LLM_CHANNEL] = float(self.llm_contributions[index])
        contributions = self.model.contributions(self.features[index : index + 1])[0].tolist()
        for name, contribution in zip(self.model.feature_names, contributions, strict=True):
            channel = name.split(":")[0]
            total[channel] = total.get(channel, 0.0) + contribution
        return dict(sorted(total.items(), key=lambda pair: -abs(pair[1])))

    def positive_contributions(self, rows: Sequence[int]) -> dict[int, dict[str, float]]:
        """Shares of the channels in the positive contributions to some candidates' scores.

        Returns: item row to channel to its share, 0 to 1; channels with a negative contribution are absent.
        """
        index = {row: i for i, row in enumerate(self.proposals.rows.tolist())}
        shares = {}
        for row in rows:
            positive = {name: value for name, value in self.contributions_by_channel(index[row]).items() if value > 0}
            shares[row] = {name: value / sum(positive.values()) for name, value in positive.items()}
        return shares


def sigmoid(score: float) -> float:
    """A blend score mapped to the range 0 to 1: 1 / (1 + exp(-score))."""
    return float(1 / (1 + np.exp(-np.clip(score, -30, 30))))
