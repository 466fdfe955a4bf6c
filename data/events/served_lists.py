"""The served lists of a log, and what shoppers answered to them, as tables for a report.

Reads in one go, so that lists and answers are of the same moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .database import tables

if TYPE_CHECKING:
    import polars as pl
    from sqlalchemy import Connection, Select

    from . import EventLog

ANSWERS = ("impression", "click", "cart", "purchase", "dismiss")
_BLOCK = 10_000


@dataclass(frozen=True)
class ServedLists:
    """What was shown and what came of it.

    Attributes:
        lists: recommendation_id, user_id (null for somebody unknown), timestamp, arm.
        places: recommendation_id, position (1 is the first), item_id, channel, source, target, explanation.
        answers: events that name a list: recommendation_id, item_id, user_id, kind, timestamp. Timestamps in milliseconds since 1970.
    """

    lists: pl.DataFrame
    places: pl.DataFrame
    answers: pl.DataFrame

    @classmethod
    def read(cls, log: EventLog, since: int = 0) -> ServedLists:
        """The lists of a log that were served at some moment or later, with all answers to whatever list.

        Raises: WorkspaceError: the log cannot be read.
        """
        from sqlalchemy import select

        known = tables()
        served, places, events = known.served, known.places, known.events
        with log.database.reading() as connection:
            return cls(
                _frame(connection, select(served).where(served.c.timestamp >= since).order_by(served.c.timestamp), ("timestamp",)),
                _frame(
                    connection,
                    select(*(places.c[name] for name in PLACE))
                    .join(served, served.c.recommendation_id == places.c.recommendation_id)
                    .where(served.c.timestamp >= since)
                    .order_by(places.c.recommendation_id, places.c.position),
                    ("position",),
                ),
                _frame(
                    connection,
                    select(*(events.c[name] for name in ANSWER))
                    .where(events.c.recommendation_id.is_not(None), events.c.kind.in_(ANSWERS))
                    .order_by(events.c.sequence),
                    ("timestamp",),
                ),
            )


PLACE = ("recommendation_id", "position", "item_id", "channel", "source", "target", "explanation")
ANSWER = ("recommendation_id", "item_id", "user_id", "kind", "timestamp")


def _frame(connection: Connection, asked: Select[Any], numbers: Sequence[str]) -> pl.DataFrame:
    """The lines of a question as a table: text, but for some columns of numbers."""
    import polars as pl

    schema = {column.name: pl.Int64 if column.name in numbers else pl.String for column in asked.selected_columns}
    result = connection.execute(asked.execution_options(yield_per=_BLOCK))
    blocks = [pl.DataFrame([tuple(row) for row in block], schema=schema, orient="row") for block in result.partitions()]
    return pl.concat([pl.DataFrame(schema=schema), *blocks])
