"""Response schemas of profiles, of changes to the store, and of the server itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import ResponseModel


class ShareSchema(ResponseModel):
    """A name and its share, 0 to 1."""

    name: str
    share: float


class ProfileResponse(ResponseModel):
    """Profile of a shopper."""

    user_id: str
    words: str
    categories: list[ShareSchema]
    brands: list[ShareSchema]
    price_level: float | None
    counts: dict[str, int]
    first: str | None
    last: str | None
    intent: list[str]
    searched: list[str]
    leans_to: list[str]


class EventsResponse(ResponseModel):
    """Number of new events, and of events that were sent before."""

    accepted: int
    repeated: int


class ItemsResponse(ResponseModel):
    """Number of new items, and of items that existed."""

    added: int
    changed: int


class ForgottenResponse(ResponseModel):
    """What was removed of a shopper; `in_snapshot` is true if the store's snapshot still contains the person."""

    events: int
    served: int
    in_snapshot: bool


class HealthResponse(ResponseModel):
    """Sign of life of the process."""

    status: Literal["ok"]


class ReadyResponse(ResponseModel):
    """What the server answers from."""

    status: Literal["ok"]
    version: str
    snapshot: str
    items: int
    users: int
    item_noun: str
    llm: str
    trained: bool
    uptime_seconds: int
    requests: int = Field(description="Requests that are running or waiting.")
