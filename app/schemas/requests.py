"""What may be asked of a shop, as the API, its OpenAPI page and the console have it: checked before anything is computed.

Bounds here are on size and form; whether a user or a category exists is the store's business and is said by the errors of
`data.errors`. A field that is not known is refused, because a misspelt rule that silently does nothing sells the wrong thing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ...data.records import Rules
from ...recommend.segments.query.filters import Filters

LONGEST_ID, LONGEST_TEXT, LONGEST_DESCRIPTION = 200, 2000, 20_000
"""Characters of an id or a name, of what a shopper says, and of an item's description."""
MOST_ITEMS, MOST_REQUESTS, MOST_EVENTS, MOST_ADDED = 1000, 100, 1000, 500
"""Items of a basket, queries of a batch, events and items of one call."""

# Control characters in an id are a mistake at best; PostgreSQL refuses NUL outright.
Id = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_ID, pattern=r"^[^\x00-\x1f\x7f]+$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_ID)]
Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT)]
Price = Annotated[float, Field(ge=0, le=1e12)]


class Request(BaseModel):
    """What every request has: no unknown fields, no infinite numbers, no text read as a number."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class RulesRequest(Request):
    """What a recommendation must satisfy; the defaults exclude nothing but what the user has."""

    scope: Literal["new", "other"] = Field(
        default="new", description="new: categories absent from the history; other: not that of the item behind"
    )
    include_categories: list[Name] = Field(default=[], max_length=50, description="Only these categories, at any level.")
    exclude_categories: list[Name] = Field(default=[], max_length=50, description="Not these categories.")
    min_price: Price | None = None
    max_price: Price | None = None
    brands: list[Name] = Field(default=[], max_length=50, description="Only these brands.")
    in_stock: bool = Field(default=False, description="Only what is not known to be out of stock.")
    max_per_category: Annotated[int, Field(ge=1, le=100)] | None = None
    exclude_owned: bool = Field(default=True, description="Leave out what the user has.")

    def rules(self) -> Rules:
        """The rules as the recommender takes them."""
        given: dict[str, Any] = {name: getattr(self, name) for name in RulesRequest.model_fields}
        given |= {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
        return Rules(**given)


class RecommendRequest(Request):
    """One shopper: a user of the store, items of a basket or session (oldest first), words, or any mix of the three."""

    user: Id | None = None
    items: list[Id] = Field(default=[], max_length=MOST_ITEMS)
    text: Text | None = None
    rules: RulesRequest = RulesRequest()
    k: int = Field(default=5, ge=1, le=100)
    novelty: float = Field(default=0.0, ge=0, le=1, description="How strongly it counts against an item that many have it.")
    new_items: int = Field(default=0, ge=0, le=100, description="Places of the list kept for new items; at most k.")
    new_up_to: int = Field(default=0, ge=0, le=1000, description="Users that an item may have and still be new; 0: nobody had it yet.")
    without: list[Id] = Field(default=[], max_length=50, description="Items of the history that are taken as never had.")
    explain: bool = True
    tone: Literal["plain", "warm", "expert"] = "warm"
    length: Literal["line", "paragraph", "bullets"] = "line"


class BatchRequest(Request):
    """Several shoppers in one call."""

    requests: list[RecommendRequest] = Field(min_length=1, max_length=MOST_REQUESTS)


class WhyRequest(RulesRequest):
    """Why an item is recommended to a shopper, or why not; the rules stand beside the rest, since this one is a GET."""

    item: Id
    user: Id | None = None
    items: list[Id] = Field(default=[], max_length=MOST_ITEMS)
    k: int = Field(default=5, ge=1, le=100)
    without: list[Id] = Field(default=[], max_length=50)
    counterfactuals: bool = Field(default=True, description="Recompute what would be without a history item, or under other rules.")


class ProbeRequest(Request):
    """A question about a group of shoppers: "phones", "phones and not cases", "who would need a tripod?"."""

    question: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TEXT)]
    against: Text | None = Field(default=None, description="A second group to compare with.")
    since: Annotated[str, StringConstraints(max_length=20)] | None = Field(
        default=None, description="First day that counts, as 2024-01-31."
    )
    until: Annotated[str, StringConstraints(max_length=20)] | None = Field(default=None, description="Last day that counts.")
    min_price: Price | None = None
    max_price: Price | None = None
    at_least: int = Field(default=1, ge=1, le=1000)
    first_time: bool = False
    where: list[Name] = Field(default=[], max_length=20, description="COLUMN=VALUE of the items that make the group.")
    k: int = Field(default=10, ge=1, le=100)
    level: Annotated[int, Field(ge=1, le=20)] | None = None
    epsilon: Annotated[float, Field(gt=0, le=100)] | None = Field(
        default=None, description="Answer with noise, paid from the privacy budget."
    )
    words: bool = Field(default=True, description="Put each need in a sentence.")

    @model_validator(mode="after")
    def _exact(self) -> ProbeRequest:
        if self.against is not None and self.epsilon is not None:
            raise ValueError("against compares two exact questions; give no epsilon with it")
        return self

    def filters(self) -> Filters:
        """What narrows the group besides its names."""
        return Filters(self.since, self.until, self.min_price, self.max_price, self.at_least, self.first_time, tuple(self.where))


class AtlasRequest(Request):
    """Which categories' complements."""

    level: Annotated[int, Field(ge=1, le=20)] | None = None


class ItemRequest(Request):
    """An item that is new or changed, whole: a field that is left out is empty from now on."""

    item_id: Id
    title: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    category: list[Name] = Field(default=[], max_length=20, description="Broad to narrow.")
    description: Annotated[str, StringConstraints(max_length=LONGEST_DESCRIPTION)] = ""
    brand: Name | None = None
    price: Price | None = None
    image: Text | None = None
    in_stock: bool | None = None


class ItemsRequest(Request):
    """Items to be added or changed, all of them or none."""

    items: list[ItemRequest] = Field(min_length=1, max_length=MOST_ADDED)


class EventRequest(Request):
    """Something that a shopper did just now, or at `timestamp` (milliseconds since 1970, UTC)."""

    user_id: Id
    kind: Literal["impression", "click", "cart", "purchase", "dismiss", "search"]
    item_id: Id | None = Field(default=None, description="Only a search may have none.")
    timestamp: Annotated[int, Field(ge=0, le=32_503_680_000_000)] | None = None
    text: Text | None = Field(default=None, description="Of a search.")
    idempotency_key: Id | None = Field(default=None, description="The same key again is not counted again.")
    recommendation_id: Id | None = Field(default=None, description="Of the answer that showed the item.")

    @model_validator(mode="after")
    def _about_something(self) -> EventRequest:
        if self.item_id is None and self.kind != "search":
            raise ValueError(f"a {self.kind} needs an item_id")
        return self
