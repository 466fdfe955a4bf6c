"""What was built of a workspace and when, and how good its last evaluation found it: read from the cards and reports beside it."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...data.workspace import Workspace

logger = logging.getLogger(__name__)
PARTS = ("graph", "complements", "factors", "blend", "adapter", "explainer")
"""Folders of a workspace that training makes, each with its card."""


def reports(workspace: Workspace, folders: Sequence[Path] = ()) -> dict[str, Any]:
    """The latest `report.json` (as `evaluation`) and `judge.json` (as `judge`) with the folder and the time of each, None for none.

    Args: folders: that `evaluate` and `judge` wrote to; those inside the workspace are looked at besides.
    """
    inside = [path for path in sorted(workspace.path.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    return {
        "evaluation": _latest(folder / "report.json" for folder in (*folders, *inside)),
        "judge": _latest(folder / "judge.json" for folder in (*folders, *inside)),
    }


def built(workspace: Workspace) -> list[dict[str, Any]]:
    """What was made of the store's data, in the order of making: `what`, `at` (UTC), and a few words `of` it."""
    now = workspace.manifest
    index = now.index or {}
    made: list[dict[str, Any]] = [
        {"what": "snapshot", "at": now.snapshot_at, "of": f"{now.source.get('format', 'files')}, {now.snapshot}"},
        {"what": "index", "at": index.get("built_at"), "of": str(index.get("embedder", ""))},
    ]
    for part in PARTS:
        card = workspace.path / part / "card.json"
        if card.exists():
            made.append({"what": part, "at": _time(card), "of": str((_read(card) or {}).get("base") or "")})
    return made


def _latest(files: Iterable[Path]) -> dict[str, Any] | None:
    there = sorted((file for file in files if file.is_file()), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in there:
        content = _read(file)
        if content is not None:
            return {"folder": file.parent.name, "at": _time(file), "report": content}
    return None


def _read(file: Path) -> Any:
    """A file's JSON; None, and a line in the log, where it cannot be read: a damaged report must not take the console down."""
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read (%s)", file, type(error).__name__)
        return None


def _time(file: Path) -> str:
    return datetime.datetime.fromtimestamp(file.stat().st_mtime, datetime.UTC).isoformat(timespec="seconds")
