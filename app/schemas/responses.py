"""The shapes of the API's answers, for its description: what a client may generate its types from, and what the tests hold answers to.

No answer passes through these on its way out. They are made of plain types already, and checking a large one again would take as long as
some answers do. A later version may add fields; none that is here goes away under `/v1`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

Interval = list[float | None]
"""Low and high; null where there is no end."""


class Answer(BaseModel):
    """What every answer has: fields that are always there, unless they have a default here."""


class ProblemAnswer(Answer):
    """What was wrong (RFC 9457)."""

    type: str = Field(description="urn:crossaisle:problem:KIND, or about:blank")
    title: str
    status: int
    detail: str = Field(description="One sentence: what was found, what is wanted.")
    request_id: str = ""
    errors: list[dict[str, Any]] = Field(default=[], description="Of a request that is not as described: `in`, `pointer`, `detail`.")


# ---------------------------------------------------------------------- recommend


class EvidenceAnswer(Answer):
    """A fact that a reason may rest on."""

    id: str = Field(default="", description="What a claim names it by.")
    kind: Literal["history", "association", "review", "attribute", "need"]
    text: str
    item_id: str = ""
    value: float = Field(default=0.0, description="The figure behind it, where there is one: a lift, a rating, a price.")
    against: bool = Field(default=False, description="It speaks against the item.")


class ClaimAnswer(Answer):
    """A stretch of a reason, and the id of the evidence that bears it out."""

    text: str
    evidence: str


class ExplanationAnswer(Answer):
    """Why an item is recommended; an empty text is no reason strong enough to state."""

    text: str
    source: Literal["llm", "evidence", "none"]
    verified: bool
    evidence: list[EvidenceAnswer]
    claims: list[ClaimAnswer]


class RecommendationAnswer(Answer):
    """A place of the list."""

    rank: int
    item_id: str
    title: str
    category: list[str]
    price: float | None
    score: float
    channels: dict[str, float]
    anchor: str | None = Field(description="The history item that stands behind it.")
    explanation: ExplanationAnswer | None
    propensity: float = Field(default=0.0, description="The chance that it was shown, where answers explore.")


class QueryAnswer(Answer):
    """What was asked, as it was understood."""

    user_id: str | None
    items: list[str]
    text: str | None
    scope: Literal["new", "other"]
    k: int


class RecommendAnswer(Answer):
    """A list, best first."""

    query: QueryAnswer
    recommendations: list[RecommendationAnswer]
    unsatisfied: list[str] = Field(description="What was asked for and could not be had, in sentences.")
    timings_ms: dict[str, float]
    recommendation_id: str = Field(description="What clicks and purchases then name.")


class ProblemInPlace(Answer):
    """What stands in an answer's place in a batch."""

    problem: ProblemAnswer


class BatchAnswer(Answer):
    """An answer, or a problem in its place, for each of `requests`, in their order."""

    answers: list[RecommendAnswer | ProblemInPlace]


class ReasonAnswer(Answer):
    """`event: explanation` of a stream."""

    rank: int
    item_id: str
    explanation: ExplanationAnswer | None


class DoneAnswer(Answer):
    """`event: done` of a stream."""

    unsatisfied: list[str]
    timings_ms: dict[str, float]
    recommendation_id: str


class StandingAnswer(Answer):
    """Where an item stands in a channel."""

    score: float
    rank: int | None
    adds: float | None


class FeatureAnswer(Answer):
    """What a feature adds to a score."""

    feature: str
    words: str
    value: float
    reads: str
    adds: float


class FeaturesAnswer(Answer):
    """A score as a sum: base, the strongest features, the rest."""

    base: float
    strongest: list[FeatureAnswer]
    others: int
    rest: float
    total: float


class CounterfactualAnswer(Answer):
    """What would be if something were different."""

    kind: str
    sentence: str
    options: Any
    rank: int | None
    of: int
    left_out: list[str]


class AttentionAnswer(Answer):
    """How much of the graph's attention a history item has."""

    item_id: str
    share: float


class WhyAnswer(Answer):
    """What decided about an item."""

    item_id: str
    title: str
    category: list[str]
    rank: int | None = Field(description="Among `of` candidates; null if it was none of them.")
    of: int
    score: float | None
    channels: dict[str, StandingAnswer]
    features: FeaturesAnswer | None
    behind: str | None
    left_out: str | None
    removed_by: list[str]
    blend: str
    attention: list[AttentionAnswer]
    counterfactuals: list[CounterfactualAnswer]
    notes: list[str]


# ---------------------------------------------------------------------- groups


class ChoiceAnswer(Answer):
    """Something else that a name could have meant. A category's name is its path."""

    kind: str
    name: str | list[str]
    ask: str


class MeaningAnswer(Answer):
    """What a name was taken for. A category's name is its path; `not` is there where it was ruled out."""

    kind: str
    name: str | list[str]
    how: str
    items: int
    choices: list[ChoiceAnswer] = []
    not_: bool = Field(default=False, alias="not")


class NeedItem(Answer):
    """An item of a need; without figures it is an example."""

    item_id: str
    title: str
    users: int | None
    lift: float | None
    lift_interval: Interval | None


class NeedAnswer(Answer):
    """A category that a group needs next, or whose shoppers need what was named. docs/probing.md says what the figures mean."""

    category: list[str]
    users: int | None
    of: int | None
    share: float | None
    share_interval: Interval | None
    base_rate: float | None
    lift: float | None
    lift_interval: Interval | None
    llr: float | None
    fdr: float | None
    reach: int | None
    median_days: float | None
    source: str
    sources: list[str]
    sentence: str
    items: list[NeedItem]


class CohortAnswer(Answer):
    """How many users were meant, of how many."""

    users: int
    of: int


class PrivacyAnswer(Answer):
    """What an answer keeps back; `spent` and `left` of the budget, where it was paid."""

    min_users: int
    epsilon: float | None = None
    spent: float = 0.0
    left: float = 0.0


class CountedAnswer(Answer):
    """How was counted."""

    order: str
    window: int
    level: int
    verb: str


class ProbeAnswer(Answer):
    """What a group needs next, or who needs what was named."""

    question: str
    direction: Literal["next", "reverse"]
    understood: list[MeaningAnswer]
    filters: dict[str, Any]
    cohort: CohortAnswer
    needs: list[NeedAnswer]
    suppressed: int
    privacy: PrivacyAnswer
    counted: CountedAnswer
    notes: list[str]


class DifferenceAnswer(Answer):
    """A category on which two groups differ, first group first."""

    category: list[str]
    users: list[int]
    share: list[float | None]
    ratio: float | None
    ratio_interval: Interval
    fdr: float


class ComparisonAnswer(Answer):
    """Where two groups differ."""

    cohorts: list[ProbeAnswer]
    differences: list[DifferenceAnswer]


class CategoryUsers(Answer):
    """A category of the atlas, by its path."""

    name: list[str]
    users: int


class PairAnswer(Answer):
    """A pair of categories, by their places in `categories`."""

    source: int
    target: int
    users: int
    share: float | None
    base_rate: float | None
    lift: float | None
    lift_interval: Interval
    sure: bool


class AtlasAnswer(Answer):
    """What every category does for every other, of what may be told; strongest pairs first."""

    categories: list[CategoryUsers]
    pairs: list[PairAnswer]
    order: str
    window: str
    verb: str
    suppressed: int
    privacy: PrivacyAnswer


# ---------------------------------------------------------------------- shoppers, items, the service itself


class ShareAnswer(Answer):
    """A name and its share, of 1 in all."""

    name: str
    share: float


class ProfileAnswer(Answer):
    """What is known of a shopper."""

    user_id: str
    words: str
    categories: list[ShareAnswer]
    brands: list[ShareAnswer]
    price_level: float | None
    counts: dict[str, int]
    first: str | None
    last: str | None
    intent: list[str]
    searched: list[str]
    leans_to: list[str]


class EventsAnswer(Answer):
    """How many events are new, and how many were sent before."""

    accepted: int
    repeated: int


class ItemsAnswer(Answer):
    """How many items are new, and how many were there."""

    added: int
    changed: int


class ForgottenAnswer(Answer):
    """What was removed of a shopper; `in_snapshot` says whether the store's files still hold the person."""

    events: int
    served: int
    in_snapshot: bool


class HealthAnswer(Answer):
    """That the process is alive."""

    status: Literal["ok"]


class ReadyAnswer(Answer):
    """What it answers from."""

    status: Literal["ok"]
    version: str
    snapshot: str
    items: int
    users: int
    item_noun: str
    llm: str
    trained: bool
    uptime_seconds: int
    requests: int = Field(description="That are being answered, or wait.")


STREAMED: dict[str, type[Answer]] = {
    "ranked": RecommendAnswer, "explanation": ReasonAnswer, "done": DoneAnswer, "problem": ProblemAnswer,
}  # fmt: skip
"""The events of a stream by name."""
