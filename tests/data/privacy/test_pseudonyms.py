"""Pseudonyms: deterministic keyed hashes of user ids, and a key file that only its owner can read."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import sys
from pathlib import Path

import pytest

from crossaisle.data.errors import SettingsError, WorkspaceError
from crossaisle.data.privacy.pseudonyms import FILE, Pseudonyms, is_pseudonym
from crossaisle.data.settings import Settings

KEY = "a key of some length"


def test_pseudonym_is_hmac_sha256() -> None:
    expected = hmac.new(KEY.encode(), b"user\0ann", hashlib.sha256).hexdigest()[:32]
    assert Pseudonyms(KEY).of("ann") == f"p-{expected}"
    assert Pseudonyms(f" {KEY}\n").of("ann") == f"p-{expected}", "white space around a key is ignored"


def test_pseudonym_depends_on_the_key() -> None:
    one, other = Pseudonyms(KEY), Pseudonyms(KEY + "!")
    assert one.of("ann") == Pseudonyms(KEY).of("ann")
    assert len({one.of("ann"), one.of("bob"), other.of("ann"), one.mark("ann"), "p-" + one.mark("ann")}) == 5


def test_mapping_is_idempotent() -> None:
    names = Pseudonyms(KEY)
    assert is_pseudonym(names.of("ann"))
    assert not is_pseudonym("ann")
    assert names.of(names.of("ann")) == names.of("ann")
    assert names.mark(names.of("ann")) == names.mark("ann"), "an id and its pseudonym have the same mark"


def test_key_file_is_generated_once_and_private(tmp_path: Path) -> None:
    names = Pseudonyms.open(tmp_path)
    file = tmp_path / FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert Pseudonyms.open(tmp_path).of("ann") == names.of("ann")
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert file.read_text() not in repr(names)
    file.chmod(0o644)
    with pytest.raises(WorkspaceError, match=r"other accounts can read .*chmod 600"):
        Pseudonyms.open(tmp_path)


def test_concurrent_processes_get_the_same_key(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from crossaisle.data.privacy.pseudonyms import Pseudonyms as P; print(P.open(Path(sys.argv[1])).of('ann'))"
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(6)]
    outputs = {process.communicate(timeout=60)[0] for process in started}
    assert len(outputs) == 1
    assert is_pseudonym(outputs.pop().strip())


def test_configured_key_overrides_the_file_and_has_a_minimum_length(tmp_path: Path) -> None:
    assert Pseudonyms.open(tmp_path, KEY).of("ann") == Pseudonyms(KEY).of("ann")
    assert not (tmp_path / FILE).exists()
    with pytest.raises(SettingsError, match="has 5 characters; use at least 16"):
        Pseudonyms("short")


def test_settings_never_show_the_key() -> None:
    settings = Settings.read({"CROSSAISLE_PSEUDONYM_KEY": KEY, "CROSSAISLE_EVENTS": "postgresql://shop:hunter2@host/shop"})
    assert (settings.pseudonym_key, settings.events) == (KEY, "postgresql://shop:hunter2@host/shop")
    assert KEY not in repr(settings)
    assert "hunter2" not in repr(settings)
