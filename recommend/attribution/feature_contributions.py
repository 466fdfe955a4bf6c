"""What each feature adds to a candidate's score in the learned blend, in words: parts that add up to the score.

A weighted sum is its parts; of trees they are SHAP values (Lundberg et al., NeurIPS 2017). Knows nothing of shoppers and rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ranking.features import CATEGORY_EPSILON, EPSILON, LLM_CHANNEL

if TYPE_CHECKING:
    from ..ranking.ranked_candidates import ScoredCandidates

MAX_FEATURES = 6
"""Features that are told one by one."""
Reads = Callable[[float], str]


def _share(value: float) -> str:
    return f"{max(0.0, value):.0%}"


def _number(value: float) -> str:
    return f"{round(float(np.expm1(value))):,}"  # features tell counts as log(1 + count)


OF_CHANNEL: Mapping[str, tuple[str, Reads]] = {
    "share": ("{}: its score, of the best one's", _share),
    "log share": ("{}: its score, of the best one's, by the log", lambda value: _share(float(np.exp(value)) - EPSILON)),
    "by length": ("{}: the log of its score, the more the longer the history", lambda value: f"{value:+.2f}"),
    "category": ("{}: what it says for the category, in best scores", lambda value: f"{max(0.0, np.exp(value) - CATEGORY_EPSILON):.2g}"),
    "in category": ("{}: its score, of its category's best", lambda value: _share(float(np.exp(value)) - CATEGORY_EPSILON)),
}
"""Feature of a channel to what it is, with a place for the channel's name, and how its value reads: as what it was before its logarithm."""
OF_FIT: Mapping[str, tuple[str, Reads]] = {
    "log users": ("shoppers who have it", _number),
    "price gap": ("its price level against the shopper's", lambda value: f"{np.exp(value):.1f} times"),
    "brand": ("its brand's share of the history", _share),
    "crowd": ("candidates of its category", _number),
    "history length": ("items in the history", _number),
}
"""The same of what fits the shopper."""


@dataclass(frozen=True, slots=True)
class FeatureContribution:
    """One feature of one candidate.

    Attributes:
        name: as the blend knows it, `channel:what`. words: what it is. value: as the blend was given it. reads: the value, for a person.
        adds: to the score, against an average candidate.
    """

    name: str
    label: str
    value: float
    formatted_value: str
    contribution: float


@dataclass(frozen=True, slots=True)
class ScoreBreakdown:
    """A candidate's score as a sum: `base`, what each of `strongest` adds, and what the `others` left add together.

    Attributes: base: what an average candidate scores. strongest: the largest part first. others: how many more there are, and `rest`, what
        they add. total: the score before it is brought between 0 and 1 by 1 / (1 + exp(-total)).
    """

    base: float
    strongest: tuple[FeatureContribution, ...]
    others: int
    rest: float
    total: float

    def to_dict(self) -> dict[str, Any]:
        """The sum as JSON holds it."""
        return {
            "base": round(self.base, 4),
            "strongest": [
                {"feature": one.name, "words": one.label, "value": round(one.value, 4), "reads": one.formatted_value, "adds": round(one.contribution, 4)}
                for one in self.strongest
            ],
            "others": self.others,
            "rest": round(self.rest, 4),
            "total": round(self.total, 4),
        }


def score_breakdown(ranked: ScoredCandidates, place: int, strongest: int = MAX_FEATURES) -> ScoreBreakdown:
    """What the features add to the score of the candidate at a place; the LLM's vote is one of them where it has one."""
    values = ranked.features[place : place + 1]
    parts = ranked.model.contributions(values)[0].tolist()
    told = [_told(name, value, adds) for name, value, adds in zip(ranked.model.feature_names, values[0].tolist(), parts, strict=True)]
    if ranked.llm_contributions is not None and ranked.logit_margins is not None and np.isfinite(ranked.logit_margins[place]):
        margin = float(ranked.logit_margins[place])
        vote = float(ranked.llm_contributions[place])
        told.append(FeatureContribution(f"{LLM_CHANNEL}:margin", "the language model's leaning to yes, in nats", margin, f"{margin:+.2f}", vote))
    told = [one for one in told if one.contribution]
    told.sort(key=lambda one: -abs(one.adds))
    rest = told[strongest:]
    return ScoreBreakdown(ranked.model.base, tuple(told[:strongest]), len(rest), sum(one.contribution for one in rest), float(ranked.scores[place]))


def _told(name: str, value: float, adds: float) -> FeatureContribution:
    group, what = name.split(":")
    words, reads = (OF_FIT if group == "profile" else OF_CHANNEL)[what]
    return FeatureContribution(name, words.format(group), value, reads(value), adds)
