"""The weight of the LLM in the order: its z-scored logit margins, times a weight per candidate, are added to the blend scores.

The level of the margins depends on the model and the shopper, not on the candidate (4-bit quantization alone shifts it by whole nats).
Margins are therefore standardized over the candidates of one shopper. The weight of a candidate is a gate: a constant plus parts that grow
where behaviour knows little, because there a text tells more than a count. All parts are 0 or more. They are fitted out of fold by
`train.llm.weight`. Does not know prompts or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.settings import DEFAULT_RERANK_DEPTH
from .features import LEVEL_FEATURES, RARE_USERS, history_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

LLM_RERANK_DEPTH = DEFAULT_RERANK_DEPTH
"""Number of candidates that the LLM scores unless the settings say otherwise: those with the highest blend scores."""
MAX_WEIGHT = 5.0
"""Upper bound of each part of the weight."""
GATE_FEATURES = ("rarely bought item", "short history", "channels disagree")
"""What the weight of a candidate grows with, each from 0 to 1.

- `rarely bought item`: `RARE_USERS` / (`RARE_USERS` + users of the item).
- `short history`: the part of the history that counts as short (`features.history_parts`).
- `channels disagree`: 1 minus the mean level of the candidate over the blend's channels; 0 for blends of versions without levels.
"""


@dataclass(frozen=True, slots=True)
class LLMWeight:
    """Weight of the LLM score of a candidate, in blend-score units per standard deviation of the logit margins.

    Attributes:
        weight: the part that every candidate has, 0 or more.
        by_feature: (`GATE_FEATURES`) the parts per unit of each feature, 0 or more.
    """

    weight: float
    by_feature: tuple[float, ...] = (0.0,) * len(GATE_FEATURES)

    @property
    def is_zero(self) -> bool:
        """Whether no candidate has a weight, so that reading would change nothing."""
        return self.weight == 0 and not any(self.by_feature)

    def of_candidates(self, gate_features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (candidates,) weights. Args: gate_features: (candidates, `GATE_FEATURES`)."""
        return np.asarray(self.weight + gate_features @ np.asarray(self.by_feature), dtype=np.float64)

    def contributions(self, logit_margins: NDArray[np.floating], gate_features: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
        """Return (candidates,) what the LLM adds to each score.

        Args:
            logit_margins: (candidates,) of one shopper.
            gate_features: (candidates, `GATE_FEATURES`); None counts as zeros.
        """
        features = np.zeros((len(logit_margins), len(GATE_FEATURES))) if gate_features is None else gate_features
        return self.of_candidates(features) * z_scores(logit_margins)

    def to_dict(self) -> dict[str, Any]:
        """Return the weight as plain JSON types."""
        return {"weight": self.weight, "by_feature": dict(zip(GATE_FEATURES, self.by_feature, strict=True))}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> LLMWeight:
        """Restore a weight from the output of `to_dict`, of this or of a former version; features that it does not have count as 0.

        Raises: ValueError: a part is not a number of 0 or more.
        """
        parts = fields.get("by_feature", {})
        values = [float(value) for value in (fields["weight"], *(parts.get(name, 0.0) for name in GATE_FEATURES))]
        if not all(np.isfinite(value) and value >= 0 for value in values):
            raise ValueError(f"a weight of the LLM must be a number of 0 or more, not {min(values)}")
        return cls(values[0], tuple(values[1:]))


NO_LLM_WEIGHT = LLMWeight(0.0)


@dataclass(frozen=True)
class LLMScoredQuery:
    """Candidates of one shopper with the scores of the blend and of the LLM.

    Attributes:
        scores: (candidates,) of the blend alone.
        logit_margins: (candidates,) of the LLM, in nats.
        bought: (candidates,) bool.
        gate_features: (candidates, `GATE_FEATURES`); None counts as zeros.
    """

    scores: NDArray[np.floating]
    logit_margins: NDArray[np.floating]
    bought: NDArray[np.bool_]
    gate_features: NDArray[np.floating] | None = None


def gate_features(
    user_counts: NDArray[np.integer[Any]], history_length: int, disagreement: NDArray[np.floating] | None = None
) -> NDArray[np.float64]:
    """Return (candidates, `GATE_FEATURES`) for the candidates of one query.

    Args:
        user_counts: (candidates,) number of users of each item, without the query's own.
        history_length: number of items in the history.
        disagreement: (candidates,) as of `disagreement`; None counts as 0.
    """
    rare = RARE_USERS / (RARE_USERS + np.maximum(user_counts, 0))
    short = np.full(len(rare), history_parts(history_length)[0])
    return np.stack([rare, short, np.zeros(len(rare)) if disagreement is None else disagreement], axis=1)


def disagreement(feature_names: Sequence[str], values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (candidates,) how little the channels point to each candidate: 1 minus its mean level over them; 0 without levels.

    Args:
        feature_names: (features) of the blend.
        values: (candidates, features).
    """
    columns = [column for column, name in enumerate(feature_names) if name.partition(":")[2] in LEVEL_FEATURES]
    if not columns:
        return np.zeros(len(values))
    channels = {feature_names[column].partition(":")[0] for column in columns}
    return np.asarray(np.clip(1 - values[:, columns].sum(axis=1, dtype=np.float64) / len(channels), 0, 1))


def z_scores(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (candidates,) standard scores; all 0 where the values are equal."""
    values = np.asarray(values, dtype=np.float64)
    deviation = float(values.std()) if len(values) else 0.0
    return (values - values.mean()) / deviation if deviation > 1e-9 else np.zeros(len(values))


def fit_llm_weight(queries: Sequence[LLMScoredQuery], prior_scale: float = np.inf) -> LLMWeight:
    """Return the weight that minimizes the softmax loss of the purchases; 0 without a purchase to fit to, or where 0 is better.

    Args:
        queries: scored queries; those without a purchase take no part.
        prior_scale: standard deviation of a normal prior of each part around 0: the fewer the queries, the nearer to 0 the parts;
            infinite for none.
    """
    from scipy.optimize import minimize

    fitted = [query for query in queries if query.bought.any() and not query.bought.all()]
    if not fitted:
        return NO_LLM_WEIGHT
    starts = np.concatenate([[0], np.cumsum([len(query.scores) for query in fitted])])[:-1]
    query_of = np.repeat(np.arange(len(fitted)), [len(query.scores) for query in fitted])
    scores = np.concatenate([query.scores for query in fitted]).astype(np.float64)
    bought = np.concatenate([query.bought for query in fitted])
    share = bought / np.bincount(query_of, bought)[query_of]
    # (candidates, parts): what one unit of each part adds to a score
    parts = np.concatenate([_parts(query) for query in fitted])
    used = np.abs(parts).sum(axis=0) > 0  # a feature that never varies from 0 keeps a part of 0

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = scores + parts @ weights
        logits -= np.maximum.reduceat(logits, starts)[query_of]
        exponentials = np.exp(logits)
        total = np.add.reduceat(exponentials, starts)
        value = float((np.log(total)).sum() - (share * logits).sum())
        gradient = (exponentials / total[query_of] - share) @ parts
        return value + float((weights**2).sum()) / (2 * prior_scale**2), gradient + weights / prior_scale**2

    zeros = np.zeros(parts.shape[1])
    bounds = [(0.0, MAX_WEIGHT if is_used else 0.0) for is_used in used.tolist()]
    result = minimize(loss, zeros, jac=True, method="L-BFGS-B", bounds=bounds)
    if not loss(result.x)[0] < loss(zeros)[0]:
        return NO_LLM_WEIGHT
    rounded = [round(float(value), 4) for value in result.x]
    return LLMWeight(rounded[0], tuple(rounded[1:]))


def _parts(query: LLMScoredQuery) -> NDArray[np.float64]:
    """(candidates, 1 + `GATE_FEATURES`): the z-scored margins times 1 and times each feature."""
    features = np.zeros((len(query.scores), len(GATE_FEATURES))) if query.gate_features is None else query.gate_features
    return np.asarray(z_scores(query.logit_margins)[:, None] * np.concatenate([np.ones((len(features), 1)), features], axis=1))
