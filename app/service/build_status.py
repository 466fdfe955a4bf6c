"""Build steps of a workspace and the latest reports on it, read from its cards and report files."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.former_names import current_report

if TYPE_CHECKING:
    from ...data.workspace import Workspace

logger = logging.getLogger(__name__)
CARD_FOLDERS = ("graph", "complements", "factors", "blend", "adapter", "explainer")
"""Folders of a workspace that training writes, each with a card."""


def latest_reports(workspace: Workspace, folders: Sequence[Path] = ()) -> dict[str, Any]:
    """The latest `report.json` (as `evaluation`) and `judge.json` (as `judge`), each with its folder and time; None if there is none.

    Args:
        workspace: The workspace; reports in its folders are found too.
        folders: Output folders of `evaluate` and `judge`.
    """
    inside = [path for path in sorted(workspace.path.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    evaluation = _latest(folder / "report.json" for folder in (*folders, *inside))
    return {
        "evaluation": evaluation and {**evaluation, "report": current_report(evaluation["report"])},
        "judge": _latest(folder / "judge.json" for folder in (*folders, *inside)),
    }


def build_steps(workspace: Workspace) -> list[dict[str, Any]]:
    """The build steps in their order, each as `what` was built, `at` which time (UTC), and `of` which source or model."""
    manifest = workspace.manifest
    index = manifest.index or {}
    steps: list[dict[str, Any]] = [
        {"what": "snapshot", "at": manifest.snapshot_at, "of": f"{manifest.source.get('format', 'files')}, {manifest.snapshot}"},
        {"what": "index", "at": index.get("built_at"), "of": str(index.get("embedder", ""))},
    ]
    for part in CARD_FOLDERS:
        card = workspace.path / part / "card.json"
        if card.exists():
            steps.append({"what": part, "at": _time(card), "of": str((_read(card) or {}).get("base") or "")})
    return steps


def _latest(files: Iterable[Path]) -> dict[str, Any] | None:
    newest_first = sorted((file for file in files if file.is_file()), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in newest_first:
        content = _read(file)
        if content is not None:
            return {"folder": file.parent.name, "at": _time(file), "report": content}
    return None


def _read(file: Path) -> Any:
    """The JSON of a file. An unreadable file is logged and gives None: a damaged report must not break the console."""
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read (%s)", file, type(error).__name__)
        return None


def _time(file: Path) -> str:
    return datetime.datetime.fromtimestamp(file.stat().st_mtime, datetime.UTC).isoformat(timespec="seconds")
