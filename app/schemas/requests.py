"""Request models of the API and the console, validated before anything is computed.

The models check size and form only. Whether a user or a category exists is checked by the store, which raises the errors of `data.errors`.
Unknown fields are rejected, because a misspelt rule that is silently ignored recommends the wrong items.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ...data.records import Rules
from ...recommend.segments.query.filters import Filters

MAX_ID_CHARS, MAX_TEXT_CHARS, MAX_DESCRIPTION_CHARS = 200, 2000, 20_000
"""Longest id or name, text query, and description of an item."""
MAX_ITEMS, MAX_BATCH_REQUESTS, MAX_EVENTS, MAX_ADDED_ITEMS = 1000, 100, 1000, 500
"""Most items in a basket, queries in a batch, events in a request, and items in a request."""

# Control characters in an id are most likely a mistake, and PostgreSQL rejects NUL.
Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS, pattern=r"^[^\x00-\x1f\x7f]+$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS)]
Price = Annotated[float, Field(ge=0, le=1e12)]


class RequestModel(BaseModel):
    """Base of all request models: no unknown fields, and no infinite numbers."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class RulesRequest(RequestModel):
    """Rules that recommendations must satisfy. The defaults exclude only items that the user has."""

    scope: Literal["new", "other"] = Field(
        default="new", description="new: categories absent from the history; other: any category except that of the anchor item."
    )
    include_categories: list[Name] = Field(default=[], max_length=50, description="Recommend these categories only, at any level.")
    exclude_categories: list[Name] = Field(default=[], max_length=50, description="Exclude these categories.")
    min_price: Price | None = None
    max_price: Price | None = None
    brands: list[Name] = Field(default=[], max_length=50, description="Recommend these brands only.")
    in_stock: bool = Field(default=False, description="Exclude items that are known to be out of stock.")
    max_per_category: Annotated[int, Field(ge=1, le=100)] | None = None
    exclude_owned: bool = Field(default=True, description="Exclude items that the user has.")

    def rules(self) -> Rules:
        """The rules as the recommender expects them."""
        values: dict[str, Any] = {name: getattr(self, name) for name in RulesRequest.model_fields}
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return Rules(**values)


class RecommendRequest(RequestModel):
    """A query for one shopper: a user of the store, items of a basket or session (oldest first), a text, or any combination."""

    user: Id | None = None
    items: list[Id] = Field(default=[], max_length=MAX_ITEMS)
    text: Text | None = None
    rules: RulesRequest = RulesRequest()
    k: int = Field(default=5, ge=1, le=100)
    novelty: float = Field(default=0.0, ge=0, le=1, description="Popularity penalty, from 0 (none) to 1.")
    new_items: int = Field(default=0, ge=0, le=100, description="Positions of the list reserved for new items; at most k.")
    new_up_to: int = Field(default=0, ge=0, le=1000, description="Most users that a new item may have; 0: none yet.")
    without: list[Id] = Field(default=[], max_length=50, description="Items to ignore in the history.")
    explain: bool = True
    tone: Literal["plain", "warm", "expert"] = "warm"
    length: Literal["line", "paragraph", "bullets"] = "line"
    audience: Literal["customer", "marketer", "analyst"] = Field(
        default="marketer",
        description="Reader of the explanations: customer (no counts; texts for a mail), marketer, or analyst.",
    )


class BatchRequest(RequestModel):
    """Queries for several shoppers."""

    requests: list[RecommendRequest] = Field(min_length=1, max_length=MAX_BATCH_REQUESTS)


class WhyRequest(RulesRequest):
    """A request to explain why an item is recommended to a shopper or not. It is a GET, so the rules are top-level parameters."""

    item: Id
    user: Id | None = None
    items: list[Id] = Field(default=[], max_length=MAX_ITEMS)
    k: int = Field(default=5, ge=1, le=100)
    without: list[Id] = Field(default=[], max_length=50)
    counterfactuals: bool = Field(default=True, description="Recompute the rank without single history items and under other rules.")


class ProbeRequest(RequestModel):
    """A question about a group of shoppers, such as "phones", "phones and not cases", "who would need a tripod?"."""

    question: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT_CHARS)]
    against: Text | None = Field(default=None, description="A second group, to compare the first with.")
    since: Annotated[str, StringConstraints(max_length=20)] | None = Field(
        default=None, description="First day to count, such as 2024-01-31."
    )
    until: Annotated[str, StringConstraints(max_length=20)] | None = Field(default=None, description="Last day to count.")
    min_price: Price | None = None
    max_price: Price | None = None
    at_least: int = Field(default=1, ge=1, le=1000)
    first_time: bool = False
    where: list[Name] = Field(default=[], max_length=20, description="COLUMN=VALUE conditions on the items that define the group.")
    k: int = Field(default=10, ge=1, le=100)
    level: Annotated[int, Field(ge=1, le=20)] | None = None
    epsilon: Annotated[float, Field(gt=0, le=100)] | None = Field(
        default=None, description="Answer with differential privacy, charged to the privacy budget."
    )
    words: bool = Field(default=True, description="Describe each need in a sentence.")

    @model_validator(mode="after")
    def _check_comparison_is_exact(self) -> ProbeRequest:
        if self.against is not None and self.epsilon is not None:
            raise ValueError("`against` compares exact counts; remove epsilon")
        return self

    def filters(self) -> Filters:
        """The filters that narrow the group."""
        return Filters(self.since, self.until, self.min_price, self.max_price, self.at_least, self.first_time, tuple(self.where))


class AtlasRequest(RequestModel):
    """Level of the categories to compare."""

    level: Annotated[int, Field(ge=1, le=20)] | None = None


class ItemRequest(RequestModel):
    """A new or changed item. It replaces the stored item: omitted fields become empty."""

    item_id: Id
    title: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    category: list[Name] = Field(default=[], max_length=20, description="Path, broad to narrow.")
    description: Annotated[str, StringConstraints(max_length=MAX_DESCRIPTION_CHARS)] = ""
    brand: Name | None = None
    price: Price | None = None
    image: Text | None = None
    in_stock: bool | None = None


class ItemsRequest(RequestModel):
    """Items to add or change; all are stored or none."""

    items: list[ItemRequest] = Field(min_length=1, max_length=MAX_ADDED_ITEMS)


class EventRequest(RequestModel):
    """An event: something that a shopper did now, or at `timestamp` (milliseconds since 1970, UTC)."""

    user_id: Id
    kind: Literal["impression", "click", "cart", "purchase", "dismiss", "search"]
    item_id: Id | None = Field(default=None, description="Required for every kind except search.")
    timestamp: Annotated[int, Field(ge=0, le=32_503_680_000_000)] | None = None
    text: Text | None = Field(default=None, description="Text of a search.")
    idempotency_key: Id | None = Field(default=None, description="Events with a key that was sent before are not counted again.")
    recommendation_id: Id | None = Field(default=None, description="Id of the response that showed the item.")

    @model_validator(mode="after")
    def _check_item_id(self) -> EventRequest:
        if self.item_id is None and self.kind != "search":
            raise ValueError(f"events of kind {self.kind} require an item_id")
        return self
