"""Atomic replacement of folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossaisle.data import atomic_files
from crossaisle.data.atomic_files import replace_folder


def folder(path: Path, **content: str) -> Path:
    path.mkdir()
    for name, text in content.items():
        (path / name).write_text(text)
    return path


def read(path: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in path.iterdir()}


@pytest.mark.parametrize("exchanges", [True, False], ids=["exchanged", "moved-away-first"])
@pytest.mark.parametrize("before", [None, {}, {"a": "old", "b": "old"}], ids=["nothing", "empty", "full"])
def test_folder_replaces_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool, before: dict[str, str] | None) -> None:
    if not exchanges:
        monkeypatch.setattr(atomic_files, "_exchange", lambda *_: False)
    if before is not None:
        folder(tmp_path / "target", **before)
    replace_folder(folder(tmp_path / "fresh", a="new", c="new"), tmp_path / "target")
    assert read(tmp_path / "target") == {"a": "new", "c": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_target_is_never_missing(tmp_path: Path) -> None:
    """On Linux two non-empty folders are exchanged atomically."""
    first, second = folder(tmp_path / "first", a="1"), folder(tmp_path / "second", a="2")
    assert atomic_files._exchange(first, second)
    assert (read(first), read(second)) == ({"a": "2"}, {"a": "1"})
    assert not atomic_files._exchange(first, tmp_path / "nowhere")
    assert read(first) == {"a": "2"}
