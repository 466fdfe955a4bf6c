"""Response schemas of recommendations, of their stream, and of the explanation of one item."""

from __future__ import annotations

from pydantic import Field

from ...data.records import Claim, CustomerCopy, Evidence, Explanation, Item, LLMUse, Query, Recommendation, Recommendations, Scope
from ...recommend.attribution.counterfactuals import Counterfactual
from ...recommend.attribution.feature_contributions import ScoreBreakdown
from ...recommend.attribution.why import Why
from .base import ProblemResponse, ResponseModel, fields_of


@fields_of(Evidence, "kind", "text")
class EvidenceSchema(ResponseModel):
    """A fact that an explanation rests on."""

    id: str = Field(default="", description="Id that claims refer to.")
    item_id: str = ""
    value: float = Field(default=0.0, description="The number behind it, if there is one: a lift, a rating, a price.")
    against: bool = Field(default=False, description="Whether it is a reservation about the item.")


@fields_of(Claim, "text")
class ClaimSchema(ResponseModel):
    """A part of an explanation, and the id of the evidence that supports it."""

    evidence: str


@fields_of(CustomerCopy)
class CustomerCopySchema(ResponseModel):
    """Texts of a recommendation for a mail to a customer."""


@fields_of(Explanation)
class ExplanationSchema(ResponseModel):
    """Why an item is recommended. The text is empty if no reason is strong enough to state."""

    evidence: list[EvidenceSchema]
    claims: list[ClaimSchema]
    customer_copy: CustomerCopySchema | None = Field(default=None, description="Texts for a mail; only for the audience customer.")


@fields_of(Item, "item_id", "title", "category", "price")
@fields_of(Recommendation, "rank", "score", "channels")
class RecommendationSchema(ResponseModel):
    """A ranked item."""

    anchor: str | None = Field(description="The history item that the recommendation is based on.")
    explanation: ExplanationSchema | None
    propensity: float = Field(default=0.0, description="Probability that the item was shown; only if the request explores.")


@fields_of(Query, "user_id", "items", "text", "k")
class QuerySchema(ResponseModel):
    """The query that was answered."""

    scope: Scope


@fields_of(LLMUse)
class LLMUseSchema(ResponseModel):
    """What the language model did for the answer. `summary` says it in one sentence; `adapter` is the id of one trained on this store."""


@fields_of(Recommendations, "unsatisfied", "timings_ms")
class DoneEvent(ResponseModel):
    """`event: done` of a stream. `unsatisfied` lists, in sentences, what of the query could not be met."""

    llm: LLMUseSchema
    recommendation_id: str = Field(description="Id that clicks and purchases of the items refer to.")


class RecommendResponse(DoneEvent):
    """A ranked list, best first. `unsatisfied` lists, in sentences, what of the query could not be met."""

    query: QuerySchema
    recommendations: list[RecommendationSchema]


class BatchProblem(ResponseModel):
    """The problem of one query of a batch."""

    problem: ProblemResponse


class BatchResponse(ResponseModel):
    """A response or a problem for each of `requests`, in their order."""

    answers: list[RecommendResponse | BatchProblem]


class ExplanationEvent(ResponseModel):
    """`event: explanation` of a stream."""

    rank: int
    item_id: str
    explanation: ExplanationSchema | None


STREAM_EVENTS: dict[str, type[ResponseModel]] = {
    "ranked": RecommendResponse, "explanation": ExplanationEvent, "done": DoneEvent, "problem": ProblemResponse,
}  # fmt: skip
"""Schemas of a stream's events, by name."""


class ChannelSchema(ResponseModel):
    """Score and rank of an item in one channel, and the channel's contribution to the score."""

    score: float
    rank: int | None
    adds: float | None


class FeatureSchema(ResponseModel):
    """Contribution of one feature to the score."""

    feature: str
    words: str
    value: float
    reads: str
    adds: float


@fields_of(ScoreBreakdown)
class ScoreBreakdownSchema(ResponseModel):
    """The score as a sum: the base, the strongest features, and the rest."""

    strongest: list[FeatureSchema]


@fields_of(Counterfactual, "kind", "options", "rank", "of", "left_out")
class CounterfactualSchema(ResponseModel):
    """The item's rank if a history item or a rule were different."""

    sentence: str


class AttentionSchema(ResponseModel):
    """Share of the graph model's attention on a history item."""

    item_id: str
    share: float


@fields_of(Item, "item_id", "title", "category")
@fields_of(Why, "of", "score", "left_out", "removed_by", "blend", "notes")
class WhyResponse(ResponseModel):
    """Why an item is recommended or not."""

    rank: int | None = Field(description="Rank among `of` candidates; null if the item is none of them.")
    channels: dict[str, ChannelSchema]
    features: ScoreBreakdownSchema | None
    behind: str | None = Field(description="The history item that the item's score is based on.")
    attention: list[AttentionSchema]
    counterfactuals: list[CounterfactualSchema]
