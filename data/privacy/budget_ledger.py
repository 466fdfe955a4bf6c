"""The database `privacy.db` and the ledger of the differential-privacy budget.

One SQLite file in the workspace's folder. `PrivacyBudget` stores the noisy answers and the budget they were charged to; `query_audit`
stores the exact ones. Every call is one transaction under SQLite's write lock, on disk before it returns: two processes cannot spend the
same budget twice, and every published answer has been charged, even after a power failure.

The file is as confidential as the snapshot, because it records who was in which group. Deleting it discards the record of disclosed
answers, which is safe only if nobody kept them.
"""

from __future__ import annotations

import datetime
import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..errors import BudgetSpentError, NewerFormatError, NoWorkspaceError, SettingsError, WorkspaceBusyError, WorkspaceError, storage_errors
from .disclosure import check_epsilon

FILE = "privacy.db"
FORMAT = 1
WAIT = 60.0
"""Seconds to wait for the transaction of another process."""

_TABLES = """
CREATE TABLE identity (id TEXT NOT NULL);
INSERT INTO identity VALUES (hex(randomblob(8)));
CREATE TABLE spending (
    snapshot TEXT NOT NULL, question TEXT NOT NULL, epsilon TEXT NOT NULL, answer TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (snapshot, question, epsilon)
);
CREATE TABLE names (id INTEGER PRIMARY KEY, snapshot TEXT NOT NULL, name TEXT NOT NULL, base INTEGER NOT NULL, UNIQUE (snapshot, name));
CREATE TABLE cohorts (
    id INTEGER PRIMARY KEY, snapshot TEXT NOT NULL, digest BLOB NOT NULL, size INTEGER NOT NULL, question TEXT NOT NULL, at TEXT NOT NULL,
    head BLOB NOT NULL, bits BLOB NOT NULL, UNIQUE (snapshot, digest)
);
CREATE TABLE answers (id INTEGER PRIMARY KEY, cohort INTEGER NOT NULL REFERENCES cohorts, figures BLOB NOT NULL, at TEXT NOT NULL);
"""


class PrivacyBudget:
    """Noisy answers of a workspace, and the privacy budget that they are charged to."""

    def __init__(self, folder: Path, snapshot: str, budget: float) -> None:
        """Open the ledger; nothing is written before the first answer.

        Args:
            folder: Folder of the workspace.
            snapshot: Id of the snapshot that answers are computed from.
            budget: Maximum sum of all epsilons over the workspace's lifetime. A new snapshot does not reset it, because it contains
                the same people and mostly the same purchases.

        Raises:
            SettingsError: The budget is negative or not finite.
        """
        if not math.isfinite(budget) or budget < 0:
            raise SettingsError(f"the privacy budget is {budget}; it must be a number of 0 or more, such as 10")
        self.folder, self.snapshot, self.budget = Path(folder), snapshot, budget

    def answer(self, question: str, epsilon: float, release: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The noisy answer to a query: the stored one if query and epsilon are known, else a new one, charged to the budget.

        Costs add up (sequential composition: Dwork & Roth 2014, theorem 3.16). They are summed as decimals, so that ten times 0.1 is 1.

        Args:
            question: Canonical text of everything that determines the true answer.
            epsilon: Cost of the answer.
            release: Samples the answer, which must be `epsilon`-private and JSON-serializable. Called at most once, under the lock; if
                it raises, nothing is charged.

        Raises:
            BudgetSpentError: The remaining budget is smaller than `epsilon`.
            QueryError: See `check_epsilon`.
            WorkspaceBusyError: Another process held the lock for `WAIT` seconds.
            WorkspaceError: The file is damaged.
            StorageError: The file is not writable; no answer was given or charged.
        """
        check_epsilon(epsilon)
        key = (self.snapshot, encodable_text(question), repr(float(epsilon)))
        with transaction(self.folder) as database:
            row = database.execute("SELECT answer FROM spending WHERE snapshot = ? AND question = ? AND epsilon = ?", key).fetchone()
            if row is None:
                spent = _spent(database)
                if spent + Decimal(key[2]) > Decimal(repr(float(self.budget))):
                    raise self._refusal(float(spent), epsilon)
                text = json.dumps(dict(release()), ensure_ascii=False, allow_nan=False)
                database.execute("INSERT INTO spending VALUES (?, ?, ?, ?, ?)", (*key, text, now()))
            else:
                text = row[0]
        # Parsed from the stored text in both cases, so that the first answer and its repetitions are identical, types included.
        answer: dict[str, Any] = json.loads(text)
        return answer

    @property
    def spent(self) -> float:
        """Sum of the epsilons of all answers, over all snapshots."""
        if not (self.folder / FILE).exists():
            return 0.0
        with transaction(self.folder) as database:
            return float(_spent(database))

    @property
    def remaining(self) -> float:
        """Unspent budget, 0 or more."""
        return float(max(Decimal(0), Decimal(repr(float(self.budget))) - Decimal(repr(self.spent))))

    def _refusal(self, spent: float, epsilon: float) -> BudgetSpentError:
        remaining = max(0.0, self.budget - spent)
        smaller = "use a smaller epsilon, " if remaining > 0 else ""
        return BudgetSpentError(
            f"the privacy budget does not cover this query: it costs epsilon {epsilon:.6g}, and {spent:.6g} of {self.budget:.6g} "
            f"is spent; repeat an earlier query with the same epsilon, which costs nothing, {smaller}or ask the owner of the data "
            "to raise the budget"
        )


def _spent(database: sqlite3.Connection) -> Decimal:
    return sum((Decimal(text) for (text,) in database.execute("SELECT epsilon FROM spending")), Decimal(0))


@contextmanager
def transaction(folder: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to the workspace's `privacy.db` with the write lock; committed at the end, rolled back on error.

    Raises:
        NoWorkspaceError: The folder does not exist.
        NewerFormatError: The file was written by a later version.
        WorkspaceBusyError: The lock was held by another process for `WAIT` seconds.
        WorkspaceError: The file is damaged.
        StorageError: The file is not writable.
    """
    file = folder / FILE
    if not folder.is_dir():
        raise NoWorkspaceError(f"the folder {folder} does not exist; pass the folder of a workspace")
    with storage_errors(f"the record of answers {file}"), _driver_errors(file), closing(_connect(file)) as database:
        database.execute("BEGIN IMMEDIATE")
        try:
            _prepare(database, file)
            yield database
            database.execute("COMMIT")
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")


def _connect(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=WAIT, isolation_level=None)
    # The rollback journal, not WAL: a single file, which also works on network folders; EXTRA: commits survive a power cut.
    database.execute("PRAGMA synchronous = EXTRA")
    return database


def _prepare(database: sqlite3.Connection, file: Path) -> None:
    """Create the tables in a new file."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version > FORMAT:
        raise NewerFormatError(f"{file} has format {version}, this crossaisle reads up to {FORMAT}; upgrade crossaisle")
    if version == 0:
        for statement in _TABLES.split(";")[:-1]:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {FORMAT}")


_DAMAGE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


@contextmanager
def _driver_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte of an extended code is the primary one
        if code in _BUSY:
            raise WorkspaceBusyError(
                f"another process has held the lock of {file} for {WAIT:g} seconds; wait for it to end and try again"
            ) from error
        if code in _DAMAGE:
            raise damaged(file, error) from error
        raise


def damaged(file: Path, cause: object) -> WorkspaceError:
    """The error for an unreadable file, which must not be treated as an empty one."""
    return WorkspaceError(
        f"{file} is damaged ({cause}): earlier answers are unknown, so no further ones are given; restore it from a backup, "
        "or delete it if nobody kept the earlier answers"
    )


def encodable_text(text: str) -> str:
    """The text with surrogates (undecodable bytes of a command line) escaped, as SQLite needs it."""
    return text.encode("utf-8", "backslashreplace").decode()


def now() -> str:
    """Current UTC time as ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
