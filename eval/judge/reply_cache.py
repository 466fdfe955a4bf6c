"""SQLite cache of judge replies: an interrupted run resumes, and a repeated run costs nothing.

The key covers everything that determines a reply: judge, endpoint, model, sampling settings, prompt, messages, and repetition. Each row is
one transaction and on disk before it counts; several processes may share a file. Failed calls are not stored.
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

from ...data.errors import NewerFormatError, SettingsError, WorkspaceBusyError, storage_errors
from ...llm.chat.messages import ChatRequest, ChatResponse

FORMAT_VERSION = 1
LOCK_TIMEOUT = 60.0
"""Seconds to wait for another process's transaction."""

_TABLE = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, prompt TEXT NOT NULL, reply TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID
"""


def reply_key(about: Mapping[str, Any], prompt_hash: str, request: ChatRequest, repeat: int) -> str:
    """Return the SHA-256 of everything that determines a reply, as hex digits.

    Args:
        about: Description of the judge with its sampling settings, from `Judge.about`.
        prompt_hash: Hash of the prompt files.
        request: Messages and choices.
        repeat: 0 for the first call, 1 for the repetition.
    """
    content = {
        "judge": dict(about),
        "prompt": prompt_hash,
        "messages": [request.system, request.user],
        "choice": [request.key, *request.labels],
        "repeat": repeat,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


class ReplyCache:
    """Replies in one SQLite file, created if missing. Thread-safe; a context manager that closes the file.

    Args:
        path: The file.

    Raises:
        SettingsError: The file has another content.
        NewerFormatError: A later version wrote the file.
        StorageError: The file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with storage_errors(f"the replies in {path}"), self._translated_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            # The rollback journal, not WAL: one file, which also works on network folders.
            self._database = sqlite3.connect(path, timeout=LOCK_TIMEOUT, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def _prepare(self) -> None:
        """Check the format and create the table."""
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version > FORMAT_VERSION:
            raise NewerFormatError(f"{self.path} has format {version}, this crossaisle reads up to {FORMAT_VERSION}; upgrade crossaisle")
        tables = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables - {"replies"}:
            raise SettingsError(f"{self.path} is another database (tables {', '.join(sorted(tables))}); choose another --cache file")
        self._database.execute(_TABLE)
        self._database.execute(f"PRAGMA user_version = {FORMAT_VERSION}")

    def __enter__(self) -> ReplyCache:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._database.close()

    def get(self, key: str) -> ChatResponse | None:
        """Return the reply with a key, None if there is none."""
        with self._lock, self._translated_errors():
            row = self._database.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        return ChatResponse.from_dict(json.loads(row[0])) if row else None

    def put(self, key: str, model: str, prompt: str, reply: ChatResponse) -> ChatResponse:
        """Store a reply and return the stored one.

        If another process stored a reply first, that one is returned, so that both continue with the same.

        Raises:
            StorageError: The file cannot be written.
        """
        content = json.dumps(reply.to_dict(), ensure_ascii=True)  # a reply may contain a lone surrogate, which UTF-8 cannot encode
        with self._lock, storage_errors(f"the replies in {self.path}"), self._translated_errors():
            self._database.execute(
                "INSERT OR IGNORE INTO replies (key, model, prompt, reply) VALUES (?, ?, ?, ?)", (key, model, prompt, content)
            )
            row = self._database.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        return ChatResponse.from_dict(json.loads(row[0]))

    def __len__(self) -> int:
        with self._lock, self._translated_errors():
            count: int = self._database.execute("SELECT COUNT(*) FROM replies").fetchone()[0]
        return count

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Raise locks and damaged files as errors of this package."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # extended codes have the primary code in their low byte
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise WorkspaceBusyError(
                    f"{self.path} has been locked by another process for {LOCK_TIMEOUT:g} seconds; run again later"
                ) from error
            if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT):
                raise SettingsError(f"{self.path} is no reply cache ({error}); delete it or choose another --cache file") from error
            raise
