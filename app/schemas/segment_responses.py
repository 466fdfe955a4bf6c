"""Response schemas of segments and of the category map."""

from __future__ import annotations

from pydantic import Field

from ...recommend.segments.results import CategoryNeed, CohortDifference, ItemNeed, SegmentResult
from .base import Interval, ResponseModel, fields_of


class ChoiceSchema(ResponseModel):
    """Another meaning that a name could have. The name of a category is its path."""

    kind: str
    name: str | list[str]
    ask: str


class MeaningSchema(ResponseModel):
    """What a name was interpreted as. The name of a category is its path; `not` is present if it was excluded."""

    kind: str
    name: str | list[str]
    how: str
    items: int
    choices: list[ChoiceSchema] = Field(default=[])
    not_: bool = Field(default=False, alias="not")


@fields_of(ItemNeed)
class ItemNeedSchema(ResponseModel):
    """An item of a need. Without statistics it is only an example."""

    lift_interval: Interval | None


@fields_of(CategoryNeed)
class NeedSchema(ResponseModel):
    """A category that a group needs next, or whose shoppers need the named one. docs/probing.md explains the statistics."""

    share_interval: Interval | None
    lift_interval: Interval | None
    source: str
    items: list[ItemNeedSchema]


class CohortSchema(ResponseModel):
    """Number of users in the group, of how many."""

    users: int
    of: int


class PrivacySchema(ResponseModel):
    """The disclosure control of a response; `spent` and `left` of the privacy budget if it was used."""

    min_users: int
    epsilon: float | None = None
    spent: float = 0.0
    left: float = 0.0


@fields_of(SegmentResult, "order", "window", "level", "verb")
class CountingSchema(ResponseModel):
    """How users were counted."""


@fields_of(SegmentResult, "question", "direction", "filters", "suppressed", "notes")
class ProbeResponse(ResponseModel):
    """What a group of shoppers needs next, or who needs the named category."""

    understood: list[MeaningSchema]
    cohort: CohortSchema
    needs: list[NeedSchema]
    privacy: PrivacySchema
    counted: CountingSchema


@fields_of(CohortDifference, "category", "users", "fdr")
class DifferenceSchema(ResponseModel):
    """A category on which two groups differ; values of the first group come first."""

    share: list[float | None]
    ratio: float | None
    ratio_interval: Interval


class ComparisonResponse(ResponseModel):
    """Differences between two groups."""

    cohorts: list[ProbeResponse]
    differences: list[DifferenceSchema]


class CategoryUsersSchema(ResponseModel):
    """A category, by its path, and its number of users."""

    name: list[str]
    users: int


class CategoryPairSchema(ResponseModel):
    """A pair of categories, by their indices in `categories`."""

    source: int
    target: int
    users: int
    share: float | None
    base_rate: float | None
    lift: float | None
    lift_interval: Interval
    sure: bool


class AtlasResponse(ResponseModel):
    """Lift of every pair of categories that may be disclosed, strongest first."""

    categories: list[CategoryUsersSchema]
    pairs: list[CategoryPairSchema]
    order: str
    window: str
    verb: str
    suppressed: int
    privacy: PrivacySchema
