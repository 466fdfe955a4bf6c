"""Checkpoints of an evaluation, so that an interrupted run resumes: the baselines' rankings and the LLM's logit margins.

A checkpoint of other cases, options, data or models is deleted. This module does not know how anything is ranked.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import __version__
from ...data.atomic_files import write_atomically
from ...data.errors import storage_errors
from ...data.settings import Settings
from ...data.workspace import Workspace
from ...llm.models.model_source import resolve_quantization
from ..splits.cases import Cases

if TYPE_CHECKING:
    from numpy.typing import NDArray

STATE_FOLDER = ".state"
"""Folder of the checkpoint inside the report folder."""


@dataclass(frozen=True, slots=True)
class EvaluationCheckpoint:
    """The intermediate results of an evaluation.

    Attributes:
        folder: Folder of the checkpoint.
    """

    folder: Path

    @classmethod
    def open(cls, out: Path, workspace: Workspace, settings: Settings, options: Mapping[str, Any], cases: Cases) -> EvaluationCheckpoint:
        """Return the checkpoint of this evaluation; one of a different evaluation in the same folder is deleted.

        Args:
            out: Folder of the report.
            workspace: Workspace under evaluation.
            settings: Settings with the LLM and its quantization.
            options: Options of the evaluation, as JSON values.
            cases: Test cases.

        Raises:
            StorageError: The folder cannot be written.
        """
        checkpoint = cls(out / STATE_FOLDER)
        identity = {
            "version": __version__,
            "snapshot": workspace.manifest.snapshot,
            "category_level": workspace.manifest.category_level,
            "index": (workspace.manifest.index or {}).get("generation"),
            "llm": settings.llm,
            "llm_model": settings.llm_model,
            "quantization": resolve_quantization(settings).quantization,
            "options": options,
            "cases": hashlib.sha256(
                b"".join(part.tobytes() for rows in (cases.histories, cases.targets) for part in (rows.starts, rows.rows))
            ).hexdigest(),
        }
        content = json.dumps(identity, sort_keys=True, indent=1).encode()
        with storage_errors(f"the evaluation in {out}"):
            file = checkpoint.folder / "about.json"
            if not file.exists() or file.read_bytes() != content:
                shutil.rmtree(checkpoint.folder, ignore_errors=True)
                write_atomically(file, content)
        return checkpoint

    def load_ranking(self, name: str) -> tuple[NDArray[np.int32], Any] | None:
        """Return the (cases, depth) rows of a system and its tuning record, or None if they are not stored."""
        file = self._file(name)
        if not file.with_suffix(".json").exists():  # written last
            return None
        return np.load(file.with_suffix(".npy"), allow_pickle=False), json.loads(file.with_suffix(".json").read_text())

    def save_ranking(self, name: str, top: NDArray[np.int32], tuning: Any) -> None:
        """Store the (cases, depth) rows of a system and its tuning record.

        Raises:
            StorageError: The folder cannot be written.
        """
        file = self._file(name)
        with storage_errors(f"the evaluation in {self.folder.parent}"):
            np.save(file.with_suffix(".npy"), top, allow_pickle=False)
            write_atomically(file.with_suffix(".json"), json.dumps(tuning).encode())

    def _file(self, name: str) -> Path:
        return self.folder / "".join(c if c.isalnum() else "-" for c in name)


class LogitMarginLog:
    """Append-only log of an LLM's logit margins, one line per case; a context manager that closes the file."""

    def __init__(self, checkpoint: EvaluationCheckpoint, name: str) -> None:
        """Read the margins logged so far.

        Args:
            checkpoint: Checkpoint of the evaluation.
            name: Name of the file; use one per model and prompt.
        """
        self.path = checkpoint.folder / f"{name}.jsonl"
        self.margins = dict(_complete_lines(self.path))

    def __enter__(self) -> LogitMarginLog:
        self.file = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def get(self, case: int, rows: Sequence[int], compute: Callable[[], Mapping[int, float]]) -> dict[int, float]:
        """Return the logit margins of a case by item row, computed and logged if one of the rows is not in the log."""
        if case not in self.margins or not self.margins[case].keys() >= set(rows):
            self.margins[case] = dict(compute())
            self.file.write(json.dumps([case, list(self.margins[case].items())]) + "\n")
            self.file.flush()
        return self.margins[case]


def _complete_lines(path: Path) -> Iterator[tuple[int, dict[int, float]]]:
    """Case index and margins of each line; a last line cut by an interruption is removed from the file."""
    text = path.read_text("utf-8") if path.exists() else ""
    complete = text[: text.rfind("\n") + 1]
    if complete != text:
        write_atomically(path, complete.encode())
    for line in complete.splitlines():
        case, pairs = json.loads(line)
        yield case, dict(pairs)
