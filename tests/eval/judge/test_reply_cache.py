"""Kept replies: found by all that they hang on, shared by processes, and never taken for something else."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from crossaisle.data.errors import NewerFormatError, SettingsError
from crossaisle.eval.judge.reply_cache import Cache, key
from crossaisle.llm.chat.messages import Asked, Reply

ASKED = Asked("system", "user", "score", ("1", "2"))
ABOUT = {"endpoint": "http://host/v1", "model": "m", "temperature": 0.0, "max_tokens": 200}
REPLY = Reply('{"reason": "\ud83d half a character, 火", "score": 1}', "stop", "1", {"1": 0.75, "2": 0.25}, 10, 5, 0.5, 2)


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    with Cache(tmp_path / "new" / "replies.db") as cache:
        assert cache.get("k") is None
        assert cache.put("k", "m", "p.v1", REPLY) == REPLY
        assert cache.get("k") == REPLY
    with Cache(tmp_path / "new" / "replies.db") as cache:
        assert cache.get("k") == REPLY
        assert len(cache) == 1


def test_the_first_reply_stays(tmp_path: Path) -> None:
    """Of two processes that asked the same both go on with the same answer."""
    with Cache(tmp_path / "r.db") as one, Cache(tmp_path / "r.db") as other:
        one.put("k", "m", "p", Reply("first"))
        assert other.put("k", "m", "p", Reply("second")) == Reply("first")
        assert len(other) == 1


def test_a_key_hangs_on_everything_that_a_reply_does() -> None:
    base = key(ABOUT, "hash", ASKED, 0)
    assert base == key(dict(reversed(ABOUT.items())), "hash", ASKED, 0)
    others = [
        *(key({**ABOUT, name: value}, "hash", ASKED, 0) for name, value in (("endpoint", "http://b/v1"), ("model", "n"), ("temperature", 0.5), ("max_tokens", 9))),
        key({**ABOUT, "fingerprint": "x"}, "hash", ASKED, 0),
        key(ABOUT, "hash2", ASKED, 0),
        key(ABOUT, "hash", ASKED, 1),
        *(key(ABOUT, "hash", Asked(*parts), 0) for parts in (  # type: ignore[arg-type]
            ("systemu", "ser", "score", ("1", "2")), ("system", "User", "score", ("1", "2")), ("system", "user", "scores", ("1", "2")),
            ("system", "user", "score", ("1", "2", "3")), ("system", "user", "score", ("2", "1")),
        )),
    ]  # fmt: skip
    assert len({base, *others}) == 1 + len(others)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, " * 100)
    with pytest.raises(SettingsError, match=r"text\.db"):
        Cache(tmp_path / "text.db")
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("CREATE TABLE customers (name TEXT)")
    database.close()
    with pytest.raises(SettingsError, match="something else"):
        Cache(tmp_path / "other.db")
    with sqlite3.connect(tmp_path / "later.db") as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(NewerFormatError, match="format 9"):
        Cache(tmp_path / "later.db")


WRITER = """
import sys
from pathlib import Path
from crossaisle.eval.judge_cache import Cache
from crossaisle.llm.replies import Reply
with Cache(Path(sys.argv[1])) as cache:
    for number in range(150):
        cache.put(f"k{number}", "m", "p", Reply(sys.argv[2]))
"""


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    file = tmp_path / "r.db"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(file), name]) for name in ("one", "two")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    with Cache(file) as cache:
        assert len(cache) == 150
        assert {cache.get(f"k{number}").text for number in range(150)} <= {"one", "two"}  # type: ignore[union-attr]
    database = sqlite3.connect(file)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
