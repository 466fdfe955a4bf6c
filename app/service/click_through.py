"""Daily click-through rates, from the log of served lists and events (see `eval.online`)."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...data.events import EventLog

DAYS = 60


def daily_click_through(log: EventLog, now: int, days: int = DAYS) -> list[dict[str, Any]]:
    """Days with served lists, oldest first, each as `day` (UTC, such as 2026-01-31) and the outcomes of its positions.

    A click or purchase counts for the day on which its list was served, so the rates of the last days can still rise.

    Args:
        log: Log of served lists and events.
        now: Current time in milliseconds since 1970, UTC.
        days: Length of the period.

    Raises:
        WorkspaceError: The log cannot be read.
    """
    import polars as pl

    from ...data.events.served_lists import ServedLists
    from ...eval.online import DAY_MS, SlotOutcomes, slot_metrics

    served = ServedLists.read(log, since=(now // DAY_MS - days + 1) * DAY_MS)
    slots = SlotOutcomes.from_served(served).slots.with_columns((pl.col("served_at") // DAY_MS).alias("day"))
    by_day = slots.partition_by("day", as_dict=True)
    return [{"day": _day(day), **slot_metrics(by_day[(day,)])} for (day,) in sorted(by_day)]


def _day(number: int) -> str:
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=number)).isoformat()
