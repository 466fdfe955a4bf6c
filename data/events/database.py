"""Storage of events in an SQLite file of the workspace or in PostgreSQL: connections, tables, translation of driver errors.

Both allow one writer at a time, so that sequence numbers follow the commit order: a reader that has read up to a number never misses a
smaller one that becomes visible later. Knows nothing of the meaning of events.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError, NewerFormatError, SettingsError, WorkspaceBusyError, WorkspaceError, storage_errors

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, MetaData, Table

FILE = "events.db"
FORMAT = 1
WAIT = 30.0
"""Seconds to wait for the transaction of another process."""
POSTGRES = "postgresql+psycopg"
_LOCK = 0x63726F7373  # key of the PostgreSQL advisory lock: "cross"


@dataclass(frozen=True)
class EventTables:
    """Tables of format 1.

    Attributes:
        metadata: SQLAlchemy's collection of the tables.
        about: Name and value: format, identity of the log, id of its workspace.
        events: One row per event, numbered by `sequence`, never changed.
        served: One row per served list.
        places: One row per item of a served list.
        forgotten: One row per erased user: a keyed hash, and the last event number at that time.
    """

    metadata: MetaData
    about: Table
    events: Table
    served: Table
    places: Table
    forgotten: Table


@cache
def event_tables() -> EventTables:
    """SQLAlchemy definitions of the tables."""
    from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

    metadata = MetaData()
    number = BigInteger().with_variant(Integer, "sqlite")  # SQLite autoincrements only INTEGER columns
    about = Table("about", metadata, Column("name", String(32), primary_key=True), Column("value", Text, nullable=False))
    events = Table(
        "events",
        metadata,
        Column("sequence", number, primary_key=True, autoincrement=True),
        Column("user_id", Text, nullable=False),
        Column("kind", String(16), nullable=False),
        Column("item_id", Text),
        Column("timestamp", BigInteger, nullable=False),
        Column("text", Text),
        Column("idempotency_key", Text),
        Column("recommendation_id", String(64)),
        UniqueConstraint("user_id", "idempotency_key"),
        sqlite_autoincrement=True,  # numbers of deleted rows are never reused
    )
    Index("events_by_user", events.c.user_id, events.c.sequence)
    Index("events_by_recommendation", events.c.recommendation_id)
    served = Table(
        "served",
        metadata,
        Column("recommendation_id", String(64), primary_key=True),
        Column("user_id", Text),
        Column("timestamp", BigInteger, nullable=False),
        Column("arm", Text),
    )
    Index("served_by_user", served.c.user_id)
    Index("served_by_time", served.c.timestamp)
    places = Table(
        "places",
        metadata,
        Column("recommendation_id", String(64), ForeignKey("served.recommendation_id"), primary_key=True),
        Column("position", Integer, primary_key=True),
        Column("item_id", Text, nullable=False),
        Column("channel", String(64)),
        Column("source", Text),
        Column("target", Text),
        Column("explanation", String(64)),
        Column("propensity", Float),
    )
    forgotten = Table(
        "forgotten",
        metadata,
        Column("number", number, primary_key=True, autoincrement=True),
        Column("mark", String(32), nullable=False),
        Column("sequence", BigInteger, nullable=False),
        Column("timestamp", BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    return EventTables(metadata, about, events, served, places, forgotten)


class Database:
    """Connections to a database of events. Thread-safe; several processes may share the database."""

    def __init__(self, folder: Path, owner: str, url: str | None = None) -> None:
        """Open the database; create its tables if there are none.

        Args:
            folder: Folder of the workspace, for `events.db`.
            owner: Id of the workspace.
            url: URL of a PostgreSQL database to use instead.

        Raises:
            SettingsError: The URL is invalid, or names another kind of database.
            MissingExtraError: The driver is not installed.
            WorkspaceError: The database is unreachable, damaged, or belongs to another workspace.
            NewerFormatError: It was written by a later version.
            StorageError: It is not writable.
        """
        self.engine, self.name = _engine(folder, url)
        self.sqlite = self.engine.dialect.name == "sqlite"
        try:
            with self.writing() as connection:
                self.identity = _prepare(connection, self.name, owner)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection with repeatable reads.

        Raises:
            WorkspaceError: The database is unreachable or damaged.
        """
        level = {} if self.sqlite else {"isolation_level": "REPEATABLE READ"}  # the default of SQLite
        with driver_errors(self.name), self.engine.connect().execution_options(**level) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection with the exclusive write lock; committed to disk at the end, rolled back on error.

        Raises:
            WorkspaceBusyError: Another process held the lock for `WAIT` seconds.
            StorageError: The database is not writable.
            WorkspaceError: As in `reading`.
        """
        from sqlalchemy import text

        with ExitStack() as stack:
            stack.enter_context(storage_errors(f"the log of events in {self.name}"))
            stack.enter_context(driver_errors(self.name))
            connection = stack.enter_context(self.engine.connect().execution_options(crossaisle_writes=True))
            stack.enter_context(connection.begin())
            if not self.sqlite:
                connection.execute(text(f"SET LOCAL lock_timeout = '{int(WAIT)}s'"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            yield connection

    def truncate_wal(self) -> None:
        """Truncate SQLite's write-ahead log, which may contain deleted rows; in PostgreSQL autovacuum removes them."""
        if self.sqlite:
            with driver_errors(self.name):
                raw = self.engine.raw_connection()
                try:
                    raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
                finally:
                    raw.close()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _engine(folder: Path, url: str | None) -> tuple[Engine, str]:
    """The engine, and the name of the database in messages, without the password."""
    from sqlalchemy import URL, create_engine, event

    if url is not None:
        address = _address(url)
        # hide_parameters keeps user data out of error messages; pre_ping reconnects after a server restart.
        return create_engine(address, hide_parameters=True, pool_pre_ping=True, pool_size=8), address.render_as_string(hide_password=True)
    file = folder / FILE
    engine = create_engine(URL.create("sqlite", database=str(file)), hide_parameters=True, connect_args={"timeout": WAIT}, pool_size=8)

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions are started in on_begin, not by the driver
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")  # readers do not wait for the writer
        cursor.execute("PRAGMA synchronous = FULL")  # commits survive a power cut
        cursor.execute("PRAGMA secure_delete = ON")  # deleted rows are overwritten in the file
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        # A transaction that upgrades from read to write fails instead of waiting, so writers take the lock at the start.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("crossaisle_writes") else "BEGIN")

    return engine, str(file)


def _address(url: str) -> URL:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    expected = f"{POSTGRES}://user:password@host:5432/database"
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError(f"invalid URL of the event database: use {expected}") from None
    if address.drivername in ("postgresql", "postgres"):
        address = address.set(drivername=POSTGRES)
    if address.drivername != POSTGRES:
        raise SettingsError(f"unsupported event database {address.drivername!r}: use {expected}, or no URL for SQLite in the workspace")
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("events in PostgreSQL need psycopg; run `pip install 'crossaisle[postgres]'`") from error
    return address


def _prepare(connection: Connection, name: str, owner: str) -> str:
    """Create the tables in a new database; return the identity of the log."""
    from sqlalchemy import inspect, select

    tables = event_tables()
    about: dict[str, str] = {}
    if inspect(connection).has_table("about"):
        about = {row.name: row.value for row in connection.execute(select(tables.about))}
    if not about:
        tables.metadata.create_all(connection)
        about = {"format": str(FORMAT), "identity": secrets.token_hex(8), "workspace": owner}
        connection.execute(tables.about.insert(), [{"name": name, "value": value} for name, value in about.items()])
    if int(about["format"]) > FORMAT:
        raise NewerFormatError(f"{name} has format {about['format']}, this crossaisle reads up to {FORMAT}; upgrade crossaisle")
    if about["workspace"] != owner:
        raise WorkspaceError(
            f"{name} contains the events of another workspace ({about['workspace']}); use a separate database for this one"
        )
    return about["identity"]


@contextmanager
def driver_errors(name: str) -> Iterator[None]:
    """Translate errors of the database driver; `storage_errors` handles full and read-only disks."""
    from sqlalchemy.exc import DBAPIError, TimeoutError

    try:
        yield
    except TimeoutError as error:
        raise WorkspaceBusyError(f"no free connection to {name}; try again") from error
    except DBAPIError as error:
        message = " ".join(str(error.orig).split())
        lowered = message.lower()
        if "locked" in lowered or "lock timeout" in lowered:
            raise WorkspaceBusyError(f"another process has held the lock of {name} for {WAIT:g} seconds; wait for it to end") from error
        if error.connection_invalidated or "connect" in lowered:
            raise WorkspaceError(f"{name} cannot be reached ({message}); check the URL and that the server runs") from error
        if any(sign in lowered for sign in ("malformed", "not a database", "no such table", "no such column", "does not exist")):
            raise WorkspaceError(f"{name} is not an event database, or is damaged ({message}); restore it from a backup") from error
        raise
