"""Additive decomposition of a candidate's blend score into labelled feature contributions.

The contribution in the weighted sum is weight times value; in the trees it is the SHAP value (Lundberg et al., NeurIPS 2017). Does not know
shoppers or rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.store_words import DEFAULT_WORDS, StoreWords
from ..ranking.features import CATEGORY_EPSILON, EPSILON, LLM_CHANNEL

if TYPE_CHECKING:
    from ..ranking.ranked_candidates import ScoredCandidates

MAX_FEATURES = 6
"""Number of features that are listed individually."""
ValueFormat = Callable[[float], str]


def _share(value: float) -> str:
    return f"{max(0.0, value):.0%}"


def _number(value: float) -> str:
    return f"{round(float(np.expm1(value))):,}"  # counts are features as log(1 + count)


CHANNEL_FEATURE_LABELS: Mapping[str, tuple[str, ValueFormat]] = {
    "share": ("{}: its score, of the best one's", _share),
    "log share": ("{}: its score, of the best one's, by the log", lambda value: _share(float(np.exp(value)) - EPSILON)),
    "by length": ("{}: the log of its score, the more the longer the history", lambda value: f"{value:+.2f}"),
    "category": ("{}: what it says for the category, in best scores", lambda value: f"{max(0.0, np.exp(value) - CATEGORY_EPSILON):.2g}"),
    "in category": ("{}: its score, of its category's best", lambda value: _share(float(np.exp(value)) - CATEGORY_EPSILON)),
    "level in short histories": ("{}: its score, as counted for a short history", _share),
    "level in medium histories": ("{}: its score, as counted for a medium history", _share),
    "level in long histories": ("{}: its score, as counted for a long history", _share),
    "level of rarely bought items": ("{}: its score, as counted for {{items}} that few have {{participle}}", _share),
}
"""Feature of a channel to its label, with a placeholder for the channel's name, and to the format of its value; logarithms are reversed."""
PROFILE_FEATURE_LABELS: Mapping[str, tuple[str, ValueFormat]] = {
    "log users": ("{users} who have it", _number),
    "price gap": ("its price level against the {user}'s", lambda value: f"{np.exp(value):.1f} times"),
    "brand": ("its brand's share of the history", _share),
    "crowd": ("candidates of its category", _number),
    "history length": ("{items} in the history", _number),
}
"""Feature of the item and the profile to its label, and to the format of its value."""


@dataclass(frozen=True, slots=True)
class FeatureContribution:
    """Contribution of one feature to the score of one candidate.

    Attributes:
        name: `channel:feature` or `profile:feature`.
        label: description of the feature.
        value: input of the blend.
        formatted_value: the value as text.
        contribution: to the score, relative to an average candidate.
    """

    name: str
    label: str
    value: float
    formatted_value: str
    contribution: float


@dataclass(frozen=True, slots=True)
class ScoreBreakdown:
    """Score of a candidate as a sum: `base`, the contributions of `strongest`, and `rest`.

    Attributes:
        base: score of an average candidate.
        strongest: features with the largest contributions, largest magnitude first.
        others: number of the other features with a contribution.
        rest: sum of their contributions.
        total: the score, before it is mapped to 0 to 1 by 1 / (1 + exp(-total)).
    """

    base: float
    strongest: tuple[FeatureContribution, ...]
    others: int
    rest: float
    total: float

    def to_dict(self) -> dict[str, Any]:
        """Return the breakdown as plain JSON types."""
        return {
            "base": round(self.base, 4),
            "strongest": [
                {
                    "feature": feature.name,
                    "words": feature.label,
                    "value": round(feature.value, 4),
                    "reads": feature.formatted_value,
                    "adds": round(feature.contribution, 4),
                }
                for feature in self.strongest
            ],
            "others": self.others,
            "rest": round(self.rest, 4),
            "total": round(self.total, 4),
        }


def score_breakdown(
    scored: ScoredCandidates, index: int, max_features: int = MAX_FEATURES, words: StoreWords = DEFAULT_WORDS
) -> ScoreBreakdown:
    """Return the contributions to the score of one candidate; the LLM's contribution is one of them, if it re-ranked.

    Args:
        scored: the candidates.
        index: of the candidate.
        max_features: number of features to list individually.
        words: the store's, for the labels.
    """
    values = scored.features[index : index + 1]
    contributions = scored.model.contributions(values)[0].tolist()
    features = [
        _feature_contribution(name, value, contribution, words)
        for name, value, contribution in zip(scored.model.feature_names, values[0].tolist(), contributions, strict=True)
    ]
    if scored.llm_contributions is not None and scored.logit_margins is not None and np.isfinite(scored.logit_margins[index]):
        margin, contribution = float(scored.logit_margins[index]), float(scored.llm_contributions[index])
        label = "the language model's leaning to yes, in nats"
        features.append(FeatureContribution(f"{LLM_CHANNEL}:margin", label, margin, f"{margin:+.2f}", contribution))
    features = [feature for feature in features if feature.contribution]
    features.sort(key=lambda feature: -abs(feature.contribution))
    rest = features[max_features:]
    return ScoreBreakdown(
        base=scored.model.base,
        strongest=tuple(features[:max_features]),
        others=len(rest),
        rest=sum(feature.contribution for feature in rest),
        total=float(scored.scores[index]),
    )


def _feature_contribution(name: str, value: float, contribution: float, words: StoreWords = DEFAULT_WORDS) -> FeatureContribution:
    channel, feature = name.split(":")
    label, value_format = (PROFILE_FEATURE_LABELS if channel == "profile" else CHANNEL_FEATURE_LABELS)[feature]
    if feature == "log users" and not words.means_owning:
        label = "{users} who {past} it"
    label = words.fill(label if channel == "profile" else label.format(channel))
    return FeatureContribution(name, label, value, value_format(value), contribution)
