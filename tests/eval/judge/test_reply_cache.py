"""Reply cache: keys, concurrent processes, and files with another content."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from crossaisle.data.errors import NewerFormatError, SettingsError
from crossaisle.eval.judge.reply_cache import ReplyCache, reply_key
from crossaisle.llm.chat.messages import ChatRequest, ChatResponse

REQUEST = ChatRequest("system", "user", "score", ("1", "2"))
ABOUT = {"endpoint": "http://host/v1", "model": "m", "temperature": 0.0, "max_tokens": 200}
REPLY = ChatResponse('{"reason": "\ud83d half a character, 火", "score": 1}', "stop", "1", {"1": 0.75, "2": 0.25}, 10, 5, 0.5, 2)


def test_stored_reply_is_returned(tmp_path: Path) -> None:
    with ReplyCache(tmp_path / "new" / "replies.db") as cache:
        assert cache.get("k") is None
        assert cache.put("k", "m", "p.v1", REPLY) == REPLY
        assert cache.get("k") == REPLY
    with ReplyCache(tmp_path / "new" / "replies.db") as cache:
        assert cache.get("k") == REPLY
        assert len(cache) == 1


def test_first_reply_wins(tmp_path: Path) -> None:
    """Two processes with the same question continue with the same answer."""
    with ReplyCache(tmp_path / "r.db") as one, ReplyCache(tmp_path / "r.db") as other:
        one.put("k", "m", "p", ChatResponse("first"))
        assert other.put("k", "m", "p", ChatResponse("second")) == ChatResponse("first")
        assert len(other) == 1


def test_key_depends_on_everything_that_determines_a_reply() -> None:
    base = reply_key(ABOUT, "hash", REQUEST, 0)
    assert base == reply_key(dict(reversed(ABOUT.items())), "hash", REQUEST, 0)
    others = [
        *(reply_key({**ABOUT, name: value}, "hash", REQUEST, 0) for name, value in (("endpoint", "http://b/v1"), ("model", "n"), ("temperature", 0.5), ("max_tokens", 9))),
        reply_key({**ABOUT, "fingerprint": "x"}, "hash", REQUEST, 0),
        reply_key(ABOUT, "hash2", REQUEST, 0),
        reply_key(ABOUT, "hash", REQUEST, 1),
        *(reply_key(ABOUT, "hash", ChatRequest(*parts), 0) for parts in (  # type: ignore[arg-type]
            ("systemu", "ser", "score", ("1", "2")), ("system", "User", "score", ("1", "2")), ("system", "user", "scores", ("1", "2")),
            ("system", "user", "score", ("1", "2", "3")), ("system", "user", "score", ("2", "1")),
        )),
    ]  # fmt: skip
    assert len({base, *others}) == 1 + len(others)


def test_files_with_another_content(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, " * 100)
    with pytest.raises(SettingsError, match=r"text\.db"):
        ReplyCache(tmp_path / "text.db")
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("CREATE TABLE customers (name TEXT)")
    database.close()
    with pytest.raises(SettingsError, match=r"another database \(tables customers\)"):
        ReplyCache(tmp_path / "other.db")
    with sqlite3.connect(tmp_path / "later.db") as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(NewerFormatError, match="format 9"):
        ReplyCache(tmp_path / "later.db")


WRITER = """
import sys
from pathlib import Path
from crossaisle.eval.judge.reply_cache import ReplyCache
from crossaisle.llm.chat.messages import ChatResponse
with ReplyCache(Path(sys.argv[1])) as cache:
    for number in range(150):
        cache.put(f"k{number}", "m", "p", ChatResponse(sys.argv[2]))
"""


def test_two_processes_write_concurrently(tmp_path: Path) -> None:
    file = tmp_path / "r.db"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(file), name]) for name in ("one", "two")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    with ReplyCache(file) as cache:
        assert len(cache) == 150
        assert {cache.get(f"k{number}").text for number in range(150)} <= {"one", "two"}  # type: ignore[union-attr]
    database = sqlite3.connect(file)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
