"""Served lists and the users' responses to them, as tables for the online report.

All tables are read in one transaction, so that they are consistent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..former_names import CHANNELS
from .database import event_tables

if TYPE_CHECKING:
    import polars as pl
    from sqlalchemy import Connection, Select

    from . import EventLog

RESPONSE_KINDS = ("impression", "click", "cart", "purchase", "dismiss")
_BLOCK = 10_000


@dataclass(frozen=True)
class ServedLists:
    """Served lists, their items and the responses. Timestamps are in milliseconds since 1970.

    Attributes:
        lists: One row per list: recommendation_id, user_id (null if unknown), timestamp, arm.
        slots: One row per item of a list: recommendation_id, position (from 1), item_id, channel, source, target, explanation.
        responses: Events that refer to a list: recommendation_id, item_id, user_id, kind, timestamp.
    """

    lists: pl.DataFrame
    slots: pl.DataFrame
    responses: pl.DataFrame

    @classmethod
    def read(cls, log: EventLog, since: int = 0) -> ServedLists:
        """Read the lists served since a time, and all responses, also to earlier lists.

        Args:
            log: Event log to read.
            since: Milliseconds since 1970.

        Raises:
            WorkspaceError: The log cannot be read.
        """
        import polars as pl
        from sqlalchemy import select

        tables = event_tables()
        served, places, events = tables.served, tables.places, tables.events
        with log.database.reading() as connection:
            return cls(
                _frame(connection, select(served).where(served.c.timestamp >= since).order_by(served.c.timestamp), ("timestamp",)),
                _frame(
                    connection,
                    select(*(places.c[name] for name in SLOT_COLUMNS))
                    .join(served, served.c.recommendation_id == places.c.recommendation_id)
                    .where(served.c.timestamp >= since)
                    .order_by(places.c.recommendation_id, places.c.position),
                    ("position",),
                ).with_columns(pl.col("channel").replace(CHANNELS)),  # lists of version 0.1 have its names
                _frame(
                    connection,
                    select(*(events.c[name] for name in RESPONSE_COLUMNS))
                    .where(events.c.recommendation_id.is_not(None), events.c.kind.in_(RESPONSE_KINDS))
                    .order_by(events.c.sequence),
                    ("timestamp",),
                ),
            )


SLOT_COLUMNS = ("recommendation_id", "position", "item_id", "channel", "source", "target", "explanation")
RESPONSE_COLUMNS = ("recommendation_id", "item_id", "user_id", "kind", "timestamp")


def _frame(connection: Connection, query: Select[Any], integer_columns: Sequence[str]) -> pl.DataFrame:
    """The rows of a query as a table of text columns, except for the given integer columns."""
    import polars as pl

    schema = {column.name: pl.Int64 if column.name in integer_columns else pl.String for column in query.selected_columns}
    result = connection.execute(query.execution_options(yield_per=_BLOCK))
    blocks = [pl.DataFrame([tuple(row) for row in block], schema=schema, orient="row") for block in result.partitions()]
    return pl.concat([pl.DataFrame(schema=schema), *blocks])
