"""`privacy.db`: what has been told of the people in a workspace, and what telling more would cost.

One SQLite file in the workspace's folder. `Ledger` keeps the noisy answers and the budget they were paid from; `releases` keeps the
exact ones. Every call is one transaction under SQLite's write lock, on the disk before it returns, so two processes cannot spend the
same rest twice, and an answer that was seen is an answer that was paid for, whenever the power fails.

The file is as confidential as the snapshot: it says who was in which group. Deleting it forgets what was told; that is right only
when nobody kept the answers.
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

from ..errors import BudgetSpentError, NewerFormatError, NoWorkspaceError, SettingsError, WorkspaceBusyError, WorkspaceError, storing
from .disclosure import check_epsilon

FILE = "privacy.db"
FORMAT = 1
WAIT = 60.0
"""Seconds to wait for another process's answer before giving up."""

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


class Ledger:
    """The noisy answers of a workspace, and the budget they are paid from."""

    def __init__(self, folder: Path, snapshot: str, budget: float) -> None:
        """Opens the ledger; nothing is written before the first answer.

        Args:
            folder: the workspace's. snapshot: id of the snapshot that answers are counted from.
            budget: the sum of all epsilons, over the workspace's whole life. A new snapshot does not refill it: it holds the same people,
                and mostly the same purchases.

        Raises: SettingsError: a budget that is no number of 0 or more.
        """
        if not math.isfinite(budget) or budget < 0:
            raise SettingsError(f"the privacy budget is {budget}; it must be a number of 0 or more, such as 10")
        self.folder, self.snapshot, self.budget = Path(folder), snapshot, budget

    def answer(self, question: str, epsilon: float, release: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The noisy answer to a question: the stored one when it was asked before with this epsilon, else a new one, paid for.

        The parts of a budget add up (sequential composition: Dwork & Roth 2014, theorem 3.16), counted in decimals as they were
        typed, so that ten times 0.1 is 1.

        Args:
            question: all that decides the true answer, in one text, always spelt alike.
            epsilon: what the answer costs.
            release: draws the answer, which must be `epsilon`-private and fit for JSON. Called at most once, under the lock; when it
                raises, nothing is spent.

        Raises:
            BudgetSpentError: the rest of the budget is smaller than `epsilon`. QueryError: see `check_epsilon`.
            WorkspaceBusyError: another process kept the lock for a minute. WorkspaceError: the file is damaged. StorageError: it cannot be
                written; the answer was not given and not paid for.
        """
        check_epsilon(epsilon)
        key = (self.snapshot, storable(question), repr(float(epsilon)))
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
        # Read back from the text in both cases: the first answer and its repetitions are the same to the last type.
        answer: dict[str, Any] = json.loads(text)
        return answer

    @property
    def spent(self) -> float:
        """The sum of the epsilons of all answers, of whichever snapshot."""
        if not (self.folder / FILE).exists():
            return 0.0
        with transaction(self.folder) as database:
            return float(_spent(database))

    @property
    def left(self) -> float:
        """What may still be spent, 0 or more."""
        return float(max(Decimal(0), Decimal(repr(float(self.budget))) - Decimal(repr(self.spent))))

    def _refusal(self, spent: float, epsilon: float) -> BudgetSpentError:
        left = max(0.0, self.budget - spent)
        smaller = "ask with a smaller epsilon, " if left > 0 else ""
        return BudgetSpentError(
            f"the privacy budget does not cover this question: it costs epsilon {epsilon:.6g}, and {spent:.6g} of {self.budget:.6g} "
            f"is spent; repeat an earlier question with its epsilon, which costs nothing, {smaller}or have the owner of the data "
            "raise the budget"
        )


def _spent(database: sqlite3.Connection) -> Decimal:
    return sum((Decimal(text) for (text,) in database.execute("SELECT epsilon FROM spending")), Decimal(0))


@contextmanager
def transaction(folder: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the workspace's `privacy.db` that holds the write lock; committed at the end, rolled back on any error.

    Raises:
        NoWorkspaceError: no such folder. NewerFormatError: written by a later version. WorkspaceBusyError: locked for `WAIT` seconds.
        WorkspaceError: the file is damaged. StorageError: it cannot be written.
    """
    file = folder / FILE
    if not folder.is_dir():
        raise NoWorkspaceError(f"{folder} is not there, so nothing can be recorded in it; name the folder of a workspace")
    with storing(f"the record of answers {file}"), _in_our_words(file), closing(_connect(file)) as database:
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
    # The rollback journal, not WAL: one file, which also works on network folders; EXTRA: a commit outlives a power cut.
    database.execute("PRAGMA synchronous = EXTRA")
    return database


def _prepare(database: sqlite3.Connection, file: Path) -> None:
    """Makes the tables in a new file."""
    found = database.execute("PRAGMA user_version").fetchone()[0]
    if found > FORMAT:
        raise NewerFormatError(f"{file} has format {found}, this crossaisle reads up to {FORMAT}; upgrade crossaisle")
    if found == 0:
        for statement in _TABLES.split(";")[:-1]:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {FORMAT}")


_DAMAGE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


@contextmanager
def _in_our_words(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the extended codes carry the plain one in their low byte
        if code in _BUSY:
            raise WorkspaceBusyError(
                f"another process has kept {file} locked for {WAIT:g} seconds; wait for it to end and ask again"
            ) from error
        if code in _DAMAGE:
            raise damaged(file, error) from error
        raise


def damaged(file: Path, cause: object) -> WorkspaceError:
    """The error for a record that cannot be read, which must never be taken for an empty one."""
    return WorkspaceError(
        f"{file} is damaged ({cause}), so what was told before is not known and nothing more is told; restore it from a backup, "
        "or delete it if nobody kept the earlier answers"
    )


def storable(text: str) -> str:
    """The text as SQLite can hold it: bytes that a shell passed on undecoded are spelt out."""
    return text.encode("utf-8", "backslashreplace").decode()


def now() -> str:
    """The present moment, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
