"""Replies of judges, kept in one SQLite file: a killed run goes on, and a repeated one costs nothing.

A reply is found again by everything that it hangs on: judge, endpoint, model, sampling settings, prompt, the very messages, and the number
of the repetition. One row is one transaction, on the disk before it counts; several processes may share a file. What failed is not kept.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...data.errors import NewerFormatError, SettingsError, WorkspaceBusyError, storing
from ...llm.chat.messages import Asked, Reply

FORMAT = 1
WAIT = 60.0
"""Seconds to wait for another process's row before giving up."""

_TABLE = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, prompt TEXT NOT NULL, reply TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID
"""


def key(about: Mapping[str, Any], prompt_hash: str, asked: Asked, repeat: int) -> str:
    """What a reply is found by: a SHA-256 of all that it hangs on.

    Args: about: the judge as it says it is, with its sampling settings. prompt_hash: of the prompt files. repeat: 0 for the first time.
    """
    told = {
        "judge": dict(about),
        "prompt": prompt_hash,
        "messages": [asked.system, asked.user],
        "choice": [asked.key, *asked.labels],
        "repeat": repeat,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


class Cache:
    """The replies in a file, which is made when there is none. Threads may share it; a context, closed at its end.

    Raises: SettingsError: the file is something else. NewerFormatError: a later version wrote it. StorageError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with storing(f"the replies in {path}"), self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            # The rollback journal, not WAL: one file, which also works on network folders.
            self._database = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def _prepare(self) -> None:
        found = self._database.execute("PRAGMA user_version").fetchone()[0]
        if found > FORMAT:
            raise NewerFormatError(f"{self.path} has format {found}, this crossaisle reads up to {FORMAT}; upgrade crossaisle")
        tables = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables - {"replies"}:
            raise SettingsError(f"{self.path} is a database of something else ({', '.join(sorted(tables))}); name another --cache")
        self._database.execute(_TABLE)
        self._database.execute(f"PRAGMA user_version = {FORMAT}")

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._database.close()

    def get(self, key: str) -> Reply | None:
        """The reply that is kept under a key, None where there is none."""
        with self._lock, self._told():
            row = self._database.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        return Reply.from_dict(json.loads(row[0])) if row else None

    def put(self, key: str, model: str, prompt: str, reply: Reply) -> Reply:
        """Keeps a reply and returns the one that is kept: that of another process where it was faster, so that both go on with the same.

        Raises: StorageError: it cannot be written.
        """
        content = json.dumps(reply.to_dict(), ensure_ascii=True)  # a reply may hold half a character, which UTF-8 cannot
        with self._lock, storing(f"the replies in {self.path}"), self._told():
            self._database.execute(
                "INSERT OR IGNORE INTO replies (key, model, prompt, reply) VALUES (?, ?, ?, ?)", (key, model, prompt, content)
            )
            row = self._database.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        return Reply.from_dict(json.loads(row[0]))

    def __len__(self) -> int:
        with self._lock, self._told():
            found: int = self._database.execute("SELECT COUNT(*) FROM replies").fetchone()[0]
        return found

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's complaints that have no other home, in our words."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the extended codes carry the plain one in their low byte
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise WorkspaceBusyError(f"another process has kept {self.path} locked for {WAIT:g} seconds; run again later") from error
            if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT):
                raise SettingsError(f"{self.path} holds no replies of judges ({error}); name another --cache, or delete it") from error
            raise
