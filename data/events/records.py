"""Records of the event log (events, served items, erasures) and their validation."""

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
"""Event kinds that become interactions of a history if they have an item."""
MAX_ID_LENGTH, MAX_TEXT_LENGTH, MAX_RECOMMENDATION_ID_LENGTH = 256, 2000, 64
"""Maximum number of characters: ids and keys, search texts, recommendation ids."""
MAX_BATCH = 10_000
"""Maximum number of events in one `append`."""
MIN_TIMESTAMP_MS = 946_684_800_000
"""2000-01-01 in milliseconds since 1970; smaller values are probably seconds."""
MAX_CLOCK_SKEW_MS = 86_400_000
"""Milliseconds that the client's clock may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class Event:
    """One action of one user; only a `search` may have no item.

    Attributes:
        user_id: Who acted.
        kind: What was done.
        item_id: Item that it concerns.
        timestamp: Milliseconds since 1970, UTC; None for the time of `append`.
        text: Search text.
        idempotency_key: A second event of the same user with the same key is a repetition and is not stored.
        recommendation_id: Id of the served list that led to the event, as returned by `EventLog.append_served_list`.
    """

    user_id: str
    kind: EventKind
    item_id: str | None = None
    timestamp: int | None = None
    text: str | None = None
    idempotency_key: str | None = None
    recommendation_id: str | None = None


@dataclass(frozen=True, slots=True)
class ServedItem:
    """One item of a served list.

    Attributes:
        item_id: The item.
        channel: Channel that contributed most to it.
        source: Category name of the history item that it is based on.
        target: Category name of the item.
        explanation: Kind of evidence of its explanation, `none` if the explainer abstained; None if no explanation was requested.
        propensity: Probability that it was shown, if the list explores.
    """

    item_id: str
    channel: str | None = None
    source: str | None = None
    target: str | None = None
    explanation: str | None = None
    propensity: float | None = None


@dataclass(frozen=True, slots=True)
class AppendResult:
    """Number of events stored, and of events skipped because their idempotency key was known."""

    accepted: int
    repeated: int


@dataclass(frozen=True, slots=True)
class ErasureRecord:
    """Erasure of one user.

    Attributes:
        number: Running number of the erasure.
        mark: Keyed hash of the user, see `Pseudonyms.mark`.
        sequence: Last event number at that time; later events with the same id belong to a new user.
        timestamp: Milliseconds since 1970.
    """

    number: int
    mark: str
    sequence: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class ErasureCounts:
    """Number of events and served lists of one user, stored or erased."""

    events: int
    served: int


def validated_event(event: Event, now: int) -> Event:
    """The event with its timestamp filled in, after validation.

    Args:
        event: Event to check.
        now: Milliseconds since 1970.

    Raises:
        QueryError: A field is missing, too long or not valid text.
    """
    if event.kind not in KINDS:
        raise QueryError(f"unknown event kind {event.kind!r}: use one of {', '.join(KINDS)}")
    if event.item_id is None and event.kind != "search":
        raise QueryError(f"a {event.kind} event needs an item_id; only a search may have none")
    if event.kind == "search" and not (event.item_id or (event.text or "").strip()):
        raise QueryError("a search has neither a text nor an item_id; send the search text")
    for name, max_length in (
        ("user_id", MAX_ID_LENGTH),
        ("item_id", MAX_ID_LENGTH),
        ("text", MAX_TEXT_LENGTH),
        ("idempotency_key", MAX_ID_LENGTH),
        ("recommendation_id", MAX_RECOMMENDATION_ID_LENGTH),
    ):
        check_text(name, getattr(event, name), max_length)
    timestamp = now if event.timestamp is None else event.timestamp
    if isinstance(timestamp, bool) or not isinstance(timestamp, int) or not MIN_TIMESTAMP_MS <= timestamp <= now + MAX_CLOCK_SKEW_MS:
        raise QueryError(
            f"invalid timestamp {event.timestamp!r}: use milliseconds since 1970 (UTC), not before the year 2000 and not after tomorrow"
        )
    return replace(event, timestamp=timestamp)


def check_text(name: str, value: str | None, max_length: int) -> None:
    """Check that an optional text can be stored.

    Raises:
        QueryError: The value is blank, too long, or contains characters that databases do not store as text.
    """
    if value is None:
        return
    if not isinstance(value, str) or not value.strip():
        raise QueryError(f"the {name} is {value!r}: send a text that is not blank, or none")
    if len(value) > max_length:
        raise QueryError(f"the {name} has {len(value):,} characters: send at most {max_length:,}")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise QueryError(f"the {name} contains an invalid character (NUL or an unpaired surrogate)")


def now_ms() -> int:
    """Current time in milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """Random, unguessable id of a served list: 32 hexadecimal digits."""
    return secrets.token_hex(16)
