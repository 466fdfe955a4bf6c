"""Privacy budget: a repeated query is charged once, the budget is never overspent, and no answer is uncharged after a kill."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from crossaisle.data.errors import (
    BudgetSpentError,
    NewerFormatError,
    NoWorkspaceError,
    PrivacyError,
    QueryError,
    SettingsError,
    WorkspaceBusyError,
    WorkspaceError,
)
from crossaisle.data.privacy import budget_ledger as module
from crossaisle.data.privacy.budget_ledger import PrivacyBudget, transaction
from crossaisle.data.privacy.disclosure import noisy_counts


def draw() -> dict[str, object]:
    return {"users": noisy_counts(np.array([10**6]), per_user=1, epsilon=0.1).tolist(), "note": "é", "share": 0.1}


def never() -> dict[str, object]:
    raise AssertionError("this answer must come from the ledger")


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True, cwd="/")


# ------------------------------------------------------------------ charging


def test_repeated_query_returns_the_same_noise_and_is_charged_once(tmp_path: Path) -> None:
    ledger = PrivacyBudget(tmp_path, "s", 1.0)
    assert (ledger.spent, ledger.remaining) == (0.0, 1.0)
    assert not (tmp_path / "privacy.db").exists()
    first = ledger.answer("phones", 0.1, draw)
    assert ledger.answer("phones", 0.1, never) == first
    assert PrivacyBudget(tmp_path, "s", 1.0).answer("phones", 0.1, never) == first
    assert (ledger.spent, ledger.remaining) == (0.1, 0.9)


def test_another_query_epsilon_or_snapshot_is_sampled_and_charged_again(tmp_path: Path) -> None:
    answers = [
        PrivacyBudget(tmp_path, snapshot, 5.0).answer(question, epsilon, draw)["users"][0]
        for snapshot, question, epsilon in (("s", "a", 0.1), ("s", "b", 0.1), ("s", "a", 0.25), ("t", "a", 0.1))
    ]
    assert len(set(answers)) > 1
    # A new snapshot contains the same people, so the budget is not reset.
    assert PrivacyBudget(tmp_path, "u", 5.0).spent == 0.55


def test_spent_budget_error_names_the_rest_and_the_remedy(tmp_path: Path) -> None:
    ledger = PrivacyBudget(tmp_path, "s", 0.5)
    first = ledger.answer("a", 0.4, draw)
    with pytest.raises(
        BudgetSpentError, match=r"costs epsilon 0.2, and 0.4 of 0.5 is spent; repeat .* costs nothing, use a smaller epsilon, or"
    ):
        ledger.answer("b", 0.2, never)
    assert ledger.spent == 0.4
    assert ledger.answer("a", 0.4, never) == first
    ledger.answer("b", 0.1, draw)
    with pytest.raises(BudgetSpentError) as caught:
        ledger.answer("c", 0.001, never)
    assert "smaller" not in str(caught.value)
    assert isinstance(caught.value, PrivacyError)
    assert isinstance(caught.value, QueryError)
    PrivacyBudget(tmp_path, "s", 1.0).answer("c", 0.5, draw)
    assert PrivacyBudget(tmp_path, "s", 0.2).remaining == 0.0


def test_ten_times_a_tenth_is_exactly_one(tmp_path: Path) -> None:
    ledger = PrivacyBudget(tmp_path, "s", 1.0)
    for i in range(10):
        ledger.answer(f"q{i}", 0.1, draw)
    assert (ledger.spent, ledger.remaining) == (1.0, 0.0)
    with pytest.raises(BudgetSpentError):
        ledger.answer("one more", 1e-6, never)
    with pytest.raises(BudgetSpentError):
        PrivacyBudget(tmp_path, "s", 0.0).answer("x", 1e-6, never)


def test_failed_answer_is_not_charged(tmp_path: Path) -> None:
    ledger = PrivacyBudget(tmp_path, "s", 1.0)
    for broken in (lambda: 1 / 0, lambda: {"x": math.nan}, lambda: {"x": np.int64(1)}):
        with pytest.raises((ZeroDivisionError, ValueError, TypeError)):
            ledger.answer("q", 0.5, broken)  # type: ignore[arg-type,return-value]
    assert ledger.spent == 0.0
    ledger.answer("q", 1.0, draw)


@pytest.mark.parametrize("epsilon", [0.0, -0.1, math.nan, math.inf])
def test_invalid_epsilon_is_rejected_before_any_charge(tmp_path: Path, epsilon: float) -> None:
    with pytest.raises(QueryError, match="epsilon is"):
        PrivacyBudget(tmp_path, "s", 1.0).answer("q", epsilon, never)
    assert not (tmp_path / "privacy.db").exists()


@pytest.mark.parametrize("budget", [-1.0, math.nan, math.inf])
def test_invalid_budget(tmp_path: Path, budget: float) -> None:
    with pytest.raises(SettingsError, match="the privacy budget is .*; it must be a number of 0 or more"):
        PrivacyBudget(tmp_path, "s", budget)


# ------------------------------------------------------------------ two processes and kills

SPEND = """
import json, sys
from pathlib import Path
from crossaisle.data.errors import BudgetSpentError
from crossaisle.data.privacy.budget_ledger import PrivacyBudget
ledger = PrivacyBudget(Path(sys.argv[1]), "s", float(sys.argv[3]))
for i in range(40):
    try:
        print(json.dumps([f"{sys.argv[2]}{i}", ledger.answer(f"{sys.argv[2]}{i}", 0.1, lambda: {"drawn": sys.argv[2]})]), flush=True)
    except BudgetSpentError:
        pass
"""


def test_two_processes_never_overspend_the_budget(tmp_path: Path) -> None:
    both = [child(SPEND, tmp_path, name, 3.0) for name in "ab"]
    output = [process.communicate(timeout=120)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert len(output[0]) + len(output[1]) == 30
    assert PrivacyBudget(tmp_path, "s", 3.0).remaining == 0.0


def test_two_processes_with_the_same_query_get_the_same_answer(tmp_path: Path) -> None:
    code = SPEND.replace('f"{sys.argv[2]}{i}"', 'f"q{i}"')
    both = [child(code, tmp_path, name, 4.0) for name in "ab"]
    output = [process.communicate(timeout=120)[0] for process in both]
    assert output[0] == output[1]
    assert len(output[0].splitlines()) == 40


def test_answer_printed_before_a_kill_was_charged(tmp_path: Path) -> None:
    for attempt in range(4):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        process = child(SPEND, folder, "k", 4.0)
        assert process.stdout is not None
        seen = [process.stdout.readline()]
        time.sleep(random.Random(attempt).random() * 0.2)
        process.send_signal(signal.SIGKILL)
        seen += [line for line in process.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]
        ledger = PrivacyBudget(folder, "s", 4.0)
        for line in seen:
            question, answer = json.loads(line)
            assert ledger.answer(question, 0.1, never) == answer
        assert ledger.spent >= len(seen) * 0.1 - 1e-9


def test_kill_before_the_commit_charges_and_discloses_nothing(tmp_path: Path) -> None:
    code = SPEND.replace('lambda: {"drawn": sys.argv[2]}', '(print("drawn", flush=True), __import__("time").sleep(60)) and dict')
    process = child(code.replace("0.1, (", "0.1, lambda: ("), tmp_path, "k", 4.0)
    assert process.stdout is not None
    assert process.stdout.readline() == "drawn\n"
    process.kill()
    assert process.communicate()[0] == ""
    ledger = PrivacyBudget(tmp_path, "s", 4.0)
    assert ledger.spent == 0.0
    ledger.answer("k0", 0.1, draw)


# ------------------------------------------------------------------ the file


def test_damaged_file_is_an_error_and_not_an_empty_ledger(tmp_path: Path) -> None:
    PrivacyBudget(tmp_path, "s", 1.0).answer("q", 1.0, draw)
    file = tmp_path / "privacy.db"
    whole = file.read_bytes()
    for content in (b"this is no database" * 100, whole[:5000], whole[:4096] + b"\xff" * (len(whole) - 4096)):
        file.write_bytes(content)
        with pytest.raises(WorkspaceError, match="privacy.db is damaged .* restore it from a backup"):
            PrivacyBudget(tmp_path, "s", 1.0).answer("r", 0.5, never)
        assert file.read_bytes() == content
    file.unlink()
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 1")
    database.close()
    with pytest.raises(WorkspaceError, match="is damaged"):
        assert PrivacyBudget(tmp_path, "s", 1.0).spent == 0


def test_later_format_and_missing_folder(tmp_path: Path) -> None:
    with transaction(tmp_path) as database:
        database.execute(f"PRAGMA user_version = {module.FORMAT + 1}")
    with pytest.raises(NewerFormatError, match="upgrade crossaisle"):
        PrivacyBudget(tmp_path, "s", 1.0).answer("q", 0.5, never)
    with pytest.raises(NoWorkspaceError, match="does not exist"):
        PrivacyBudget(tmp_path / "nowhere", "s", 1.0).answer("q", 0.5, never)


def test_lock_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT", 0.05)
    with transaction(tmp_path), pytest.raises(WorkspaceBusyError, match="another process has held the lock of"):
        PrivacyBudget(tmp_path, "s", 1.0).answer("q", 0.5, never)


LIMITED = """
import resource, signal, sys
from pathlib import Path
from crossaisle.data.errors import StorageError
from crossaisle.data.privacy.budget_ledger import PrivacyBudget
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
try:
    print("disclosed", PrivacyBudget(Path(sys.argv[1]), "s", 1.0).answer("big", 0.5, lambda: {"text": "x" * 100_000}))
except StorageError as error:
    print("StorageError", error)
"""


def test_full_disk_neither_discloses_nor_charges(tmp_path: Path) -> None:
    ledger = PrivacyBudget(tmp_path, "s", 1.0)
    first = ledger.answer("small", 0.25, draw)
    output = child(LIMITED, tmp_path).communicate(timeout=60)[0]
    assert output.startswith("StorageError"), output
    assert ledger.spent == 0.25
    assert ledger.answer("small", 0.25, never) == first


READ_ONLY = """
import os, sys
from pathlib import Path
from crossaisle.data.errors import StorageError
from crossaisle.data.privacy.budget_ledger import PrivacyBudget
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    print("disclosed", PrivacyBudget(Path(sys.argv[1]), "s", 1.0).answer("q", 0.5, lambda: {}))
except StorageError as error:
    print("StorageError", error)
"""


@pytest.mark.parametrize("begun", [True, False])
def test_read_only_folder(tmp_path: Path, begun: bool) -> None:
    folder = tmp_path / "ws"
    folder.mkdir()
    if begun:
        PrivacyBudget(folder, "s", 1.0).answer("first", 0.25, draw)
        (folder / "privacy.db").chmod(0o444)
    folder.chmod(0o555)
    path = folder
    while os.geteuid() == 0 and path != Path("/tmp") and path != path.parent:
        if path != folder:
            path.chmod(path.stat().st_mode | 0o011)
        path = path.parent
    try:
        output = child(READ_ONLY, folder).communicate(timeout=60)[0]
    finally:
        folder.chmod(0o755)
    assert output.startswith("StorageError the record of answers"), output
    assert "cannot be written" in output
