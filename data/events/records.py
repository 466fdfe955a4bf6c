"""What is kept of a moment in the shop, and of a list that was served, as plain records; and what of them can be stored at all."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from ..errors import QueryError
from ..records import Kind

EventKind = Literal["impression", "click", "cart", "purchase", "dismiss", "search"]
KINDS: tuple[EventKind, ...] = get_args(EventKind)
INTERACTIONS: Mapping[EventKind, Kind] = {"purchase": "purchase", "cart": "cart", "click": "click", "search": "search"}
"""Kinds of event that are interactions of a history, where they name an item."""
LONGEST_ID, LONGEST_TEXT, LONGEST_RECOMMENDATION = 256, 2000, 64
"""Characters of an id or a key; of what was searched; of a recommendation's id."""
MOST = 10_000
"""Events of one `append`."""
EARLIEST = 946_684_800_000
"""The year 2000 in milliseconds: what is earlier was meant in seconds."""
AHEAD = 86_400_000
"""Milliseconds that a shop's clock may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class Event:
    """One user, one moment, one thing done; only a `search` may be without an item.

    Attributes:
        timestamp: milliseconds since 1970, UTC; None is the moment of `append`.
        text: what was searched. idempotency_key: a user's event with a key that this user has used is the same event, sent again.
        recommendation_id: of the served list that it came from, as `EventLog.served` gave it.
    """

    user_id: str
    kind: EventKind
    item_id: str | None = None
    timestamp: int | None = None
    text: str | None = None
    idempotency_key: str | None = None
    recommendation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """One place of a served list.

    Attributes:
        channel: the one that led to the item. source, target: names of the categories of the history item behind it and of the item.
        explanation: the kind of evidence that its reason rests on, or `none` where it abstained; None where no reason was asked for.
        propensity: the chance that it was shown, where answers explore.
    """

    item_id: str
    channel: str | None = None
    source: str | None = None
    target: str | None = None
    explanation: str | None = None
    propensity: float | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of some events: taken, and left out because their key had been used."""

    accepted: int
    repeated: int


@dataclass(frozen=True, slots=True)
class Forgetting:
    """A user was removed.

    Attributes:
        mark: see `Pseudonyms.mark`. sequence: the last number given by then; what is later is of somebody new. timestamp: milliseconds
            since 1970.
    """

    number: int
    mark: str
    sequence: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a removal took out of the log: lines of events and served lists."""

    events: int
    served: int


def checked(event: Event, now: int) -> Event:
    """The event as it can be stored, with a moment.

    Args: now: milliseconds since 1970.
    Raises: QueryError: something is missing, too long, or no text; says what.
    """
    if event.kind not in KINDS:
        raise QueryError(f"an event is one of {', '.join(KINDS)}, not {event.kind!r}")
    if event.item_id is None and event.kind != "search":
        raise QueryError(f"a {event.kind} has no item_id; only a search may be without one")
    if event.kind == "search" and not (event.item_id or (event.text or "").strip()):
        raise QueryError("a search has neither a text nor an item_id; give what was searched")
    for name, most in (
        ("user_id", LONGEST_ID),
        ("item_id", LONGEST_ID),
        ("text", LONGEST_TEXT),
        ("idempotency_key", LONGEST_ID),
        ("recommendation_id", LONGEST_RECOMMENDATION),
    ):
        storable(name, getattr(event, name), most)
    moment = now if event.timestamp is None else event.timestamp
    if isinstance(moment, bool) or not isinstance(moment, int) or not EARLIEST <= moment <= now + AHEAD:
        raise QueryError(
            f"the timestamp is {event.timestamp!r}; wanted milliseconds since 1970 (UTC), not before the year 2000 and not after tomorrow"
        )
    return replace(event, timestamp=moment)


def storable(name: str, value: str | None, most: int) -> None:
    """Raises: QueryError: the value is blank, too long, or holds what no database stores as text."""
    if value is None:
        return
    if not isinstance(value, str) or not value.strip():
        raise QueryError(f"the {name} is {value!r}; wanted a text that is not blank, or none")
    if len(value) > most:
        raise QueryError(f"the {name} has {len(value):,} characters; at most {most:,} are kept")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise QueryError(f"the {name} holds a character that is no text (NUL, or half of a surrogate pair)")


def milliseconds() -> int:
    """The present moment, in milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """An id for a list that is served, which nobody can guess: 32 hexadecimal digits."""
    return secrets.token_hex(16)
