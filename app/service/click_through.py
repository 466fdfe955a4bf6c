"""Click-through by day, from the log of what was shown and what came of it (see `eval.online`)."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...data.events import EventLog

DAYS = 60


def by_day(log: EventLog, now: int, days: int = DAYS) -> list[dict[str, Any]]:
    """The days of the last `days` on which something was shown, oldest first: `day` (UTC, as 2026-01-31) and the figures of its places.

    An answer belongs to the day on which its list was served, so the last days may still rise.

    Args: now: milliseconds since 1970, UTC.
    Raises: WorkspaceError: the log cannot be read.
    """
    import polars as pl

    from ...data.events.served_lists import ServedLists
    from ...eval.online import DAY_MS, SlotOutcomes, slot_metrics

    served = ServedLists.read(log, since=(now // DAY_MS - days + 1) * DAY_MS)
    places = SlotOutcomes.from_served(served).slots.with_columns((pl.col("served_at") // DAY_MS).alias("day"))
    parts = places.partition_by("day", as_dict=True)
    return [{"day": _day(day), **slot_metrics(parts[(day,)])} for (day,) in sorted(parts)]


def _day(number: int) -> str:
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=number)).isoformat()
