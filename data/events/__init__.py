"""What happens in the shop, as it happens: an append-only log of events and of the lists that were served.

    append ──> events (numbered) ──since──> recommend.live   what the next recommendation knows
    served ──> served, places    ──────┐
                                       └──> eval.outcomes    what came of what was shown

A number is given once, in the order of the commits; what is committed is on the disk. Writers that come at the same time share one
commit. Knows nothing of recommenders, nor of what an event does to a profile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import QueryError
from ..privacy.pseudonyms import Pseudonyms
from .database import Database, tables
from .group_commit import GroupCommit
from .records import (
    LONGEST_ID,
    MOST,
    Appended,
    Event,
    EventKind,
    Forgetting,
    Forgotten,
    Shown,
    checked,
    milliseconds,
    new_id,
    storable,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from ..workspace import Workspace

_CHUNK = 500
T = TypeVar("T")

__all__ = ["Appended", "Event", "EventKind", "EventLog", "Forgetting", "Forgotten", "Shown"]


class EventLog:
    """The log of one workspace; `EventLog.open(workspace)` opens it. One object serves all threads; processes may share the database."""

    def __init__(self, database: Database, hashes: Callable[[], Pseudonyms], pseudonyms: Pseudonyms | None = None) -> None:
        """Args: hashes: opens the workspace's key when it is first needed. pseudonyms: replaces user ids in what is stored and asked."""
        self.database, self.pseudonyms = database, pseudonyms
        self._hashes = hashes
        self._group: GroupCommit[Callable[[Connection], Any]] = GroupCommit(self._commit)

    @classmethod
    def open(
        cls, workspace: Workspace, url: str | None = None, *, pseudonyms: Pseudonyms | None = None, key: str | None = None
    ) -> EventLog:
        """The log of a workspace, made if there is none.

        Args:
            url: `postgresql+psycopg://...`; None is the file `events.db` in the workspace. pseudonyms: replace user ids from here on.
            key: the pseudonym key of the settings, by which forgotten users are recorded; None is the workspace's own.
        Raises: SettingsError, MissingExtraError, WorkspaceError, NewerFormatError, StorageError: see `Database`.
        """
        folder = workspace.path
        return cls(Database(folder, workspace.manifest.id, url), lambda: Pseudonyms.open(folder, key), pseudonyms)

    @property
    def identity(self) -> str:
        """What tells this log from others, drawn when it was made."""
        return self.database.identity

    def name(self, user_id: str) -> str:
        """What the log calls a user: the id, or its pseudonym."""
        return self.pseudonyms.of(user_id) if self.pseudonyms else user_id

    def names(self, user_id: str) -> tuple[str, str]:
        """All that a user may be called in the log or a snapshot: the id, and its pseudonym."""
        return user_id, self.hashes.of(user_id)

    def mark(self, user_id: str) -> str:
        """What the record of who was forgotten calls a user."""
        return self.hashes.mark(user_id)

    @cached_property
    def hashes(self) -> Pseudonyms:
        """Keyed hashes of user ids, under the key of this workspace."""
        return self.pseudonyms or self._hashes()

    # ------------------------------------------------------------------ writing

    def append(self, events: Iterable[Event]) -> Appended:
        """Adds events in their order, all or none; when it returns they are on the disk.

        Raises: QueryError: an event is off; none was taken. WorkspaceBusyError, WorkspaceError, StorageError: see `Database.writing`.
        """
        now = milliseconds()
        lines = [self._line(checked(event, now)) for event in events]
        if len(lines) > MOST:
            raise QueryError(f"{len(lines):,} events at once are too many; send at most {MOST:,}")
        return self._write(lambda connection: _append(connection, lines)) if lines else Appended(0, 0)

    def served(
        self, user_id: str | None, shown: Sequence[Shown], *, arm: str | None = None, timestamp: int | None = None, key: str | None = None
    ) -> str:
        """Records a list that is shown, first place first; returns its id, which clicks and purchases then name.

        Args:
            user_id: None for somebody unknown. arm: of an A/B test. timestamp: milliseconds since 1970; None is now.
            key: the id, where it was told before (see `new_id`).
        Raises: as `append`.
        """
        storable("user_id", user_id, LONGEST_ID)
        storable("arm", arm, LONGEST_ID)
        key = key or new_id()
        user = None if user_id is None else self.name(user_id)
        line = {"recommendation_id": key, "user_id": user, "timestamp": timestamp or milliseconds(), "arm": arm}
        places = [
            {"recommendation_id": key, "position": position, **{name: getattr(one, name) for name in Shown.__dataclass_fields__}}
            for position, one in enumerate(shown, start=1)
        ]

        def write(connection: Connection) -> str:
            known = tables()
            connection.execute(known.served.insert(), [line])
            if places:
                connection.execute(known.places.insert(), places)
            return key

        return self._write(write)

    def forget(self, user_id: str) -> Forgotten:
        """Removes a user's events and served lists, and records that somebody was removed, under a keyed hash.

        Under their id and under their pseudonym, whichever the log holds. Raises: as `append`.
        """
        names = self.names(user_id)
        line = {"mark": self.mark(user_id), "timestamp": milliseconds()}
        done = self._write(lambda connection: _forget(connection, names, line))
        self.database.tidy()
        return done

    def close(self) -> None:
        """Closes the connections; what was appended is on the disk already."""
        self.database.close()

    def _line(self, event: Event) -> dict[str, Any]:
        return {name: getattr(event, name) for name in Event.__dataclass_fields__} | {"user_id": self.name(event.user_id)}

    def _write(self, task: Callable[[Connection], T]) -> T:
        """Runs a task in a transaction, together with those of all who wait. If it fails, nothing was written and each of them is told."""
        result: T = self._group.do(task)
        return result

    def _commit(self, tasks: Sequence[Callable[[Connection], Any]]) -> list[Any]:
        with self.database.writing() as connection:
            return [task(connection) for task in tasks]

    # ------------------------------------------------------------------ reading

    def since(
        self, sequence: int, limit: int = MOST, *, until: int | None = None, kinds: Sequence[EventKind] | None = None
    ) -> list[tuple[int, Event]]:
        """The events with a larger number, in their order, at most `limit`. Args: until: the last number; kinds: only these; None is all.

        Raises: WorkspaceError: the database cannot be read.
        """
        from sqlalchemy import select

        events = tables().events
        asked = select(events).where(events.c.sequence > sequence).order_by(events.c.sequence).limit(limit)
        if until is not None:
            asked = asked.where(events.c.sequence <= until)
        if kinds is not None:
            asked = asked.where(events.c.kind.in_(kinds))
        with self.database.reading() as connection:
            return [(row.sequence, _event(row)) for row in connection.execute(asked)]

    def of(self, user_id: str) -> list[Event]:
        """A user's events, in the order in which they were appended; none for a stranger."""
        from sqlalchemy import select

        events = tables().events
        asked = select(events).where(events.c.user_id == self.name(user_id)).order_by(events.c.sequence)
        with self.database.reading() as connection:
            return [_event(row) for row in connection.execute(asked)]

    def last(self) -> int:
        """The number of the last event, 0 when there is none."""
        from sqlalchemy import func, select

        with self.database.reading() as connection:
            return int(connection.execute(select(func.coalesce(func.max(tables().events.c.sequence), 0))).scalar_one())

    def forgettings(self, number: int = 0) -> list[Forgetting]:
        """Who was forgotten since the forgetting with a number, in order."""
        from sqlalchemy import select

        forgotten = tables().forgotten
        asked = select(forgotten).where(forgotten.c.number > number).order_by(forgotten.c.number)
        with self.database.reading() as connection:
            return [Forgetting(row.number, row.mark, row.sequence, row.timestamp) for row in connection.execute(asked)]

    def held(self, user_id: str) -> Forgotten:
        """How much the log holds of a user, under whichever name."""
        from sqlalchemy import func, select

        known, names = tables(), self.names(user_id)
        with self.database.reading() as connection:
            events, served = (
                connection.execute(select(func.count()).select_from(table).where(table.c.user_id.in_(names))).scalar_one()
                for table in (known.events, known.served)
            )
        return Forgotten(events, served)


def _append(connection: Connection, lines: Sequence[dict[str, Any]]) -> Appended:
    """Adds what was not there. Nobody else writes meanwhile, so what is looked up first stays true."""
    known = _known_keys(connection, [line["idempotency_key"] for line in lines if line["idempotency_key"] is not None])
    new = []
    for line in lines:
        key = (line["user_id"], line["idempotency_key"])
        if key[1] is None or key not in known:
            known.add(key)
            new.append(line)
    if new:
        connection.execute(tables().events.insert(), new)
    return Appended(len(new), len(lines) - len(new))


def _known_keys(connection: Connection, keys: Sequence[str]) -> set[tuple[str, str | None]]:
    """(user, key) of the events that have one of some keys."""
    from sqlalchemy import select

    events = tables().events
    found: set[tuple[str, str | None]] = set()
    for start in range(0, len(keys), _CHUNK):
        asked = select(events.c.user_id, events.c.idempotency_key).where(events.c.idempotency_key.in_(keys[start : start + _CHUNK]))
        found.update((row.user_id, row.idempotency_key) for row in connection.execute(asked))
    return found


def _forget(connection: Connection, names: Sequence[str], line: dict[str, Any]) -> Forgotten:
    from sqlalchemy import func, select

    known = tables()
    last = connection.execute(select(func.coalesce(func.max(known.events.c.sequence), 0))).scalar_one()
    lists = select(known.served.c.recommendation_id).where(known.served.c.user_id.in_(names))
    connection.execute(known.places.delete().where(known.places.c.recommendation_id.in_(lists)))
    served = connection.execute(known.served.delete().where(known.served.c.user_id.in_(names))).rowcount
    events = connection.execute(known.events.delete().where(known.events.c.user_id.in_(names))).rowcount
    connection.execute(known.forgotten.insert(), [{**line, "sequence": int(last)}])
    return Forgotten(events, served)


def _event(row: Row[Any]) -> Event:
    return Event(**{name: getattr(row, name) for name in Event.__dataclass_fields__})
