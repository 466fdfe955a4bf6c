"""Append-only log of shop events and served recommendation lists.

    append             ──> events (numbered) ──events_after──> recommend.profiles.live_events   updates of live profiles
    append_served_list ──> served, places    ──ServedLists───> eval.online                      click-through and conversion report

Sequence numbers are unique and follow the commit order; a committed event is on disk. Concurrent writers share one commit. Knows nothing
of recommenders, nor of the effect of an event on a profile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import QueryError
from ..privacy.pseudonyms import Pseudonyms
from .database import Database, event_tables
from .group_commit import GroupCommit
from .records import (
    MAX_BATCH,
    MAX_ID_LENGTH,
    AppendResult,
    ErasureCounts,
    ErasureRecord,
    Event,
    EventKind,
    ServedItem,
    check_text,
    new_id,
    now_ms,
    validated_event,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from ..workspace import Workspace

_CHUNK = 500
T = TypeVar("T")

__all__ = ["AppendResult", "ErasureCounts", "ErasureRecord", "Event", "EventKind", "EventLog", "ServedItem"]


class EventLog:
    """Event log of one workspace, opened by `EventLog.open(workspace)`. Thread-safe; several processes may share the database."""

    def __init__(self, database: Database, hashes: Callable[[], Pseudonyms], pseudonyms: Pseudonyms | None = None) -> None:
        """Wrap an open database.

        Args:
            database: Open database of events.
            hashes: Opens the workspace's pseudonym key on first use.
            pseudonyms: Replaces user ids in stored rows and in queries; None stores ids as they are.
        """
        self.database, self.pseudonyms = database, pseudonyms
        self._hashes = hashes
        self._group: GroupCommit[Callable[[Connection], Any]] = GroupCommit(self._commit)

    @classmethod
    def open(
        cls, workspace: Workspace, url: str | None = None, *, pseudonyms: Pseudonyms | None = None, key: str | None = None
    ) -> EventLog:
        """Open the log of a workspace; create it if there is none.

        Args:
            workspace: Workspace that the log belongs to.
            url: `postgresql+psycopg://...`; None for the file `events.db` in the workspace.
            pseudonyms: Replace user ids in new rows and in queries.
            key: Pseudonym key from the settings, used to record erased users; None for the workspace's own.

        Raises:
            SettingsError, MissingExtraError, WorkspaceError, NewerFormatError, StorageError: See `Database`.
        """
        folder = workspace.path
        return cls(Database(folder, workspace.manifest.id, url), lambda: Pseudonyms.open(folder, key), pseudonyms)

    @property
    def identity(self) -> str:
        """Random id of this log, generated when it was created."""
        return self.database.identity

    def stored_id(self, user_id: str) -> str:
        """The user's id in the log: the id itself, or its pseudonym."""
        return self.pseudonyms.of(user_id) if self.pseudonyms else user_id

    def known_ids(self, user_id: str) -> tuple[str, str]:
        """Both ids that the log or a snapshot may contain for a user: the id and its pseudonym."""
        return user_id, self.hashes.of(user_id)

    def mark(self, user_id: str) -> str:
        """Keyed hash of a user in the record of erasures."""
        return self.hashes.mark(user_id)

    @cached_property
    def hashes(self) -> Pseudonyms:
        """Pseudonyms under the key of this workspace."""
        return self.pseudonyms or self._hashes()

    # ------------------------------------------------------------------ writing

    def append(self, events: Iterable[Event]) -> AppendResult:
        """Append events in order, all or none; they are on disk when the method returns.

        Raises:
            QueryError: An event is invalid; none was stored.
            WorkspaceBusyError, WorkspaceError, StorageError: See `Database.writing`.
        """
        now = now_ms()
        rows = [self._row(validated_event(event, now)) for event in events]
        if len(rows) > MAX_BATCH:
            raise QueryError(f"too many events in one call ({len(rows):,}): send at most {MAX_BATCH:,}")
        return self._write(lambda connection: _append(connection, rows)) if rows else AppendResult(0, 0)

    def append_served_list(
        self,
        user_id: str | None,
        items: Sequence[ServedItem],
        *,
        arm: str | None = None,
        timestamp: int | None = None,
        key: str | None = None,
    ) -> str:
        """Record a served list; return its id, which later clicks and purchases refer to.

        Args:
            user_id: The user; None if unknown.
            items: Items in display order, position 1 first.
            arm: Arm of an A/B test.
            timestamp: Milliseconds since 1970; None for now.
            key: Id of the list if it was generated before (see `new_id`).

        Raises:
            QueryError, WorkspaceBusyError, WorkspaceError, StorageError: As in `append`.
        """
        check_text("user_id", user_id, MAX_ID_LENGTH)
        check_text("arm", arm, MAX_ID_LENGTH)
        key = key or new_id()
        user = None if user_id is None else self.stored_id(user_id)
        list_row = {"recommendation_id": key, "user_id": user, "timestamp": timestamp or now_ms(), "arm": arm}
        item_rows = [
            {"recommendation_id": key, "position": position, **{name: getattr(item, name) for name in ServedItem.__dataclass_fields__}}
            for position, item in enumerate(items, start=1)
        ]

        def write(connection: Connection) -> str:
            tables = event_tables()
            connection.execute(tables.served.insert(), [list_row])
            if item_rows:
                connection.execute(tables.places.insert(), item_rows)
            return key

        return self._write(write)

    def forget(self, user_id: str) -> ErasureCounts:
        """Delete a user's events and served lists, stored under the id or its pseudonym, and record the erasure under a keyed hash.

        Raises:
            WorkspaceBusyError, WorkspaceError, StorageError: As in `append`.
        """
        user_ids = self.known_ids(user_id)
        erasure_row = {"mark": self.mark(user_id), "timestamp": now_ms()}
        counts = self._write(lambda connection: _forget(connection, user_ids, erasure_row))
        self.database.truncate_wal()
        return counts

    def close(self) -> None:
        """Close all connections; appended rows are already on disk."""
        self.database.close()

    def _row(self, event: Event) -> dict[str, Any]:
        return {name: getattr(event, name) for name in Event.__dataclass_fields__} | {"user_id": self.stored_id(event.user_id)}

    def _write(self, task: Callable[[Connection], T]) -> T:
        """Run a task in one transaction with all waiting tasks; on failure nothing is written and every caller gets the error."""
        result: T = self._group.submit(task)
        return result

    def _commit(self, tasks: Sequence[Callable[[Connection], Any]]) -> list[Any]:
        with self.database.writing() as connection:
            return [task(connection) for task in tasks]

    # ------------------------------------------------------------------ reading

    def events_after(
        self, sequence: int, limit: int = MAX_BATCH, *, until: int | None = None, kinds: Sequence[EventKind] | None = None
    ) -> list[tuple[int, Event]]:
        """Events with a larger sequence number, in order, each with its number.

        Args:
            sequence: Number after which to start.
            limit: Maximum number of events.
            until: Largest number to return; None for no bound.
            kinds: Kinds of event to return; None for all.

        Raises:
            WorkspaceError: The database cannot be read.
        """
        from sqlalchemy import select

        events = event_tables().events
        query = select(events).where(events.c.sequence > sequence).order_by(events.c.sequence).limit(limit)
        if until is not None:
            query = query.where(events.c.sequence <= until)
        if kinds is not None:
            query = query.where(events.c.kind.in_(kinds))
        with self.database.reading() as connection:
            return [(row.sequence, _event(row)) for row in connection.execute(query)]

    def events_of(self, user_id: str) -> list[Event]:
        """A user's events in the order of their sequence numbers; empty for an unknown user."""
        from sqlalchemy import select

        events = event_tables().events
        query = select(events).where(events.c.user_id == self.stored_id(user_id)).order_by(events.c.sequence)
        with self.database.reading() as connection:
            return [_event(row) for row in connection.execute(query)]

    def last_sequence(self) -> int:
        """Sequence number of the last event; 0 if there is none."""
        from sqlalchemy import func, select

        with self.database.reading() as connection:
            return int(connection.execute(select(func.coalesce(func.max(event_tables().events.c.sequence), 0))).scalar_one())

    def erasures_after(self, number: int = 0) -> list[ErasureRecord]:
        """Erasures with a larger number, in order."""
        from sqlalchemy import select

        forgotten = event_tables().forgotten
        query = select(forgotten).where(forgotten.c.number > number).order_by(forgotten.c.number)
        with self.database.reading() as connection:
            return [ErasureRecord(row.number, row.mark, row.sequence, row.timestamp) for row in connection.execute(query)]

    def counts_for(self, user_id: str) -> ErasureCounts:
        """Number of events and served lists stored for a user, under the id or its pseudonym."""
        from sqlalchemy import func, select

        tables, user_ids = event_tables(), self.known_ids(user_id)
        with self.database.reading() as connection:
            events, served = (
                connection.execute(select(func.count()).select_from(table).where(table.c.user_id.in_(user_ids))).scalar_one()
                for table in (tables.events, tables.served)
            )
        return ErasureCounts(events, served)


def _append(connection: Connection, rows: Sequence[dict[str, Any]]) -> AppendResult:
    """Insert the rows with new idempotency keys. The connection holds the write lock, so the lookup cannot become stale."""
    known_keys = _known_keys(connection, [row["idempotency_key"] for row in rows if row["idempotency_key"] is not None])
    new_rows = []
    for row in rows:
        key = (row["user_id"], row["idempotency_key"])
        if key[1] is None or key not in known_keys:
            known_keys.add(key)
            new_rows.append(row)
    if new_rows:
        connection.execute(event_tables().events.insert(), new_rows)
    return AppendResult(len(new_rows), len(rows) - len(new_rows))


def _known_keys(connection: Connection, keys: Sequence[str]) -> set[tuple[str, str | None]]:
    """(user, key) of the stored events with one of the given keys."""
    from sqlalchemy import select

    events = event_tables().events
    known_keys: set[tuple[str, str | None]] = set()
    for start in range(0, len(keys), _CHUNK):
        query = select(events.c.user_id, events.c.idempotency_key).where(events.c.idempotency_key.in_(keys[start : start + _CHUNK]))
        known_keys.update((row.user_id, row.idempotency_key) for row in connection.execute(query))
    return known_keys


def _forget(connection: Connection, user_ids: Sequence[str], erasure_row: dict[str, Any]) -> ErasureCounts:
    from sqlalchemy import func, select

    tables = event_tables()
    last = connection.execute(select(func.coalesce(func.max(tables.events.c.sequence), 0))).scalar_one()
    lists = select(tables.served.c.recommendation_id).where(tables.served.c.user_id.in_(user_ids))
    connection.execute(tables.places.delete().where(tables.places.c.recommendation_id.in_(lists)))
    served = connection.execute(tables.served.delete().where(tables.served.c.user_id.in_(user_ids))).rowcount
    events = connection.execute(tables.events.delete().where(tables.events.c.user_id.in_(user_ids))).rowcount
    connection.execute(tables.forgotten.insert(), [{**erasure_row, "sequence": int(last)}])
    return ErasureCounts(events, served)


def _event(row: Row[Any]) -> Event:
    return Event(**{name: getattr(row, name) for name in Event.__dataclass_fields__})
