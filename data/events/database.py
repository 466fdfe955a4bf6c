"""Where events are kept: an SQLite file in the workspace, or a PostgreSQL database; connections, tables, errors in our words.

One writer at a time, in either: numbers are then given in the order in which transactions are committed, and who has read up to a number
never misses a smaller one that became visible later. Knows nothing of what an event means.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError, NewerFormatError, SettingsError, WorkspaceBusyError, WorkspaceError, storing

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, MetaData, Table

FILE = "events.db"
FORMAT = 1
WAIT = 30.0
"""Seconds to wait for another process's transaction before giving up."""
POSTGRES = "postgresql+psycopg"
_LOCK = 0x63726F7373  # of PostgreSQL's advisory locks: "cross"


@dataclass(frozen=True)
class Tables:
    """The tables of format 1.

    Attributes:
        about: name, value: format, identity of the log, the workspace that it belongs to.
        events: one line an event, numbered by `sequence`, never changed. served: one line a served list, and places: one a place of it.
        forgotten: one line a person who was removed: a keyed hash, and the last number that had been given by then.
    """

    metadata: MetaData
    about: Table
    events: Table
    served: Table
    places: Table
    forgotten: Table


@cache
def tables() -> Tables:
    """The tables, as SQLAlchemy describes them."""
    from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

    metadata = MetaData()
    number = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER numbers itself in SQLite
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
        sqlite_autoincrement=True,  # the number of a line that was forgotten is never given again
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
    return Tables(metadata, about, events, served, places, forgotten)


class Database:
    """A database of events; one object serves all threads of a process, and processes may share the database."""

    def __init__(self, folder: Path, owner: str, url: str | None = None) -> None:
        """Opens the database and makes its tables if there are none.

        Args: folder: the workspace's, for `events.db`. owner: id of the workspace. url: a PostgreSQL database instead.
        Raises:
            SettingsError: the URL is none, or of another kind of database. MissingExtraError: its driver is not installed.
            WorkspaceError: it cannot be reached, is damaged, or holds the events of another workspace.
            NewerFormatError: written by a later version. StorageError: it cannot be written.
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
        """A connection whose statements all see the same state.

        Raises: WorkspaceError: the database cannot be reached or is damaged.
        """
        level = {} if self.sqlite else {"isolation_level": "REPEATABLE READ"}  # SQLite's readers have it anyway
        with in_our_words(self.name), self.engine.connect().execution_options(**level) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection that alone may write, also among processes; committed to the disk at the end, rolled back on any error.

        Raises: WorkspaceBusyError: another process kept the lock. StorageError: it cannot be written. WorkspaceError: as `reading`.
        """
        from sqlalchemy import text

        with ExitStack() as stack:
            stack.enter_context(storing(f"the log of events in {self.name}"))
            stack.enter_context(in_our_words(self.name))
            connection = stack.enter_context(self.engine.connect().execution_options(crossaisle_writes=True))
            stack.enter_context(connection.begin())
            if not self.sqlite:
                connection.execute(text(f"SET LOCAL lock_timeout = '{int(WAIT)}s'"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            yield connection

    def tidy(self) -> None:
        """Leaves nothing of deleted lines in SQLite's write-ahead log; PostgreSQL's vacuum does so in its own time."""
        if self.sqlite:
            with in_our_words(self.name):
                raw = self.engine.raw_connection()
                try:
                    raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
                finally:
                    raw.close()

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()


def _engine(folder: Path, url: str | None) -> tuple[Engine, str]:
    """The engine, and what the database is called in messages, without its password."""
    from sqlalchemy import URL, create_engine, event

    if url is not None:
        address = _address(url)
        # hide_parameters: an error's text must not carry what a shopper did. pre_ping: a server that was restarted is found again.
        return create_engine(address, hide_parameters=True, pool_pre_ping=True, pool_size=8), address.render_as_string(hide_password=True)
    file = folder / FILE
    engine = create_engine(URL.create("sqlite", database=str(file)), hide_parameters=True, connect_args={"timeout": WAIT}, pool_size=8)

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below and not by the driver
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")  # who reads does not wait for who writes
        cursor.execute("PRAGMA synchronous = FULL")  # a commit outlives a power cut
        cursor.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten in the file
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A transaction that reads first and writes later cannot wait for another one, so writers say so at once.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("crossaisle_writes") else "BEGIN")

    return engine, str(file)


def _address(url: str) -> URL:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    wanted = f"{POSTGRES}://user:password@host:5432/database"
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError(f"the address of the events' database cannot be read; wanted {wanted}") from None
    if address.drivername in ("postgresql", "postgres"):
        address = address.set(drivername=POSTGRES)
    if address.drivername != POSTGRES:
        raise SettingsError(
            f"events go to SQLite in the workspace or to PostgreSQL, not to {address.drivername!r}; give no address, or {wanted}"
        )
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("events in PostgreSQL need psycopg; run `pip install 'crossaisle[postgres]'`") from error
    return address


def _prepare(connection: Connection, name: str, owner: str) -> str:
    """Makes the tables in a new database; returns the identity of the log."""
    from sqlalchemy import inspect, select

    known = tables()
    about: dict[str, str] = {}
    if inspect(connection).has_table("about"):
        about = {row.name: row.value for row in connection.execute(select(known.about))}
    if not about:
        known.metadata.create_all(connection)
        about = {"format": str(FORMAT), "identity": secrets.token_hex(8), "workspace": owner}
        connection.execute(known.about.insert(), [{"name": name, "value": value} for name, value in about.items()])
    if int(about["format"]) > FORMAT:
        raise NewerFormatError(f"{name} has format {about['format']}, this crossaisle reads up to {FORMAT}; upgrade crossaisle")
    if about["workspace"] != owner:
        raise WorkspaceError(f"{name} holds the events of another workspace ({about['workspace']}); name a database of this one's own")
    return about["identity"]


@contextmanager
def in_our_words(name: str) -> Iterator[None]:
    """Turns what a driver raises into our errors; a full or unwritable disk is left to `storing`."""
    from sqlalchemy.exc import DBAPIError, TimeoutError

    try:
        yield
    except TimeoutError as error:
        raise WorkspaceBusyError(f"no connection to {name} became free in time; ask again") from error
    except DBAPIError as error:
        said = " ".join(str(error.orig).split())
        words = said.lower()
        if "locked" in words or "lock timeout" in words:
            raise WorkspaceBusyError(f"another process has kept {name} locked for {WAIT:g} seconds; wait for it to end") from error
        if error.connection_invalidated or "connect" in words:
            raise WorkspaceError(f"{name} cannot be reached ({said}); check the address and that the server runs") from error
        if any(sign in words for sign in ("malformed", "not a database", "no such table", "no such column", "does not exist")):
            raise WorkspaceError(f"{name} is no log of events, or is damaged ({said}); restore it from a backup") from error
        raise
