"""What an evaluation keeps beside its report, so that a killed run goes on where it was: the baselines' rankings and the LLM's margins.

What was kept of other cases, options, data or models is forgotten. Knows nothing of how anything is ranked.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import __version__
from ...data.atomic_files import write_atomically
from ...data.errors import storing
from ...data.settings import Settings
from ...data.workspace import Workspace
from ...llm.models.language_model import settled
from ..splits.cases import Cases

if TYPE_CHECKING:
    from numpy.typing import NDArray

STATE_FOLDER = ".state"
"""Inside the folder of the report."""


@dataclass(frozen=True, slots=True)
class EvaluationCheckpoint:
    """The folder that holds what an evaluation has done so far."""

    folder: Path

    @classmethod
    def open(cls, out: Path, workspace: Workspace, settings: Settings, options: Mapping[str, Any], cases: Cases) -> EvaluationCheckpoint:
        """What is kept of this very evaluation; what is there of another one is forgotten.

        Args: out: folder of the report.
        Raises: StorageError: the folder cannot be written.
        """
        kept = cls(out / STATE_FOLDER)
        about = {
            "version": __version__,
            "snapshot": workspace.manifest.snapshot,
            "category_level": workspace.manifest.category_level,
            "index": (workspace.manifest.index or {}).get("generation"),
            "llm": settings.llm,
            "quantization": settled(settings).quantization,
            "options": options,
            "cases": hashlib.sha256(
                b"".join(part.tobytes() for runs in (cases.histories, cases.targets) for part in (runs.starts, runs.rows))
            ).hexdigest(),
        }
        content = json.dumps(about, sort_keys=True, indent=1).encode()
        with storing(f"the evaluation in {out}"):
            file = kept.folder / "about.json"
            if not file.exists() or file.read_bytes() != content:
                shutil.rmtree(kept.folder, ignore_errors=True)
                write_atomically(file, content)
        return kept

    def load_ranking(self, name: str) -> tuple[NDArray[np.int32], Any] | None:
        """The (cases, depth) rows of a system and what was told of it, or None if it is not kept."""
        file = self._file(name)
        if not file.with_suffix(".json").exists():  # written last
            return None
        return np.load(file.with_suffix(".npy"), allow_pickle=False), json.loads(file.with_suffix(".json").read_text())

    def save_ranking(self, name: str, top: NDArray[np.int32], about: Any) -> None:
        """Keeps the (cases, depth) rows of a system and what is told of it. Raises: StorageError: the folder cannot be written."""
        file = self._file(name)
        with storing(f"the evaluation in {self.folder.parent}"):
            np.save(file.with_suffix(".npy"), top, allow_pickle=False)
            write_atomically(file.with_suffix(".json"), json.dumps(about).encode())

    def _file(self, name: str) -> Path:
        return self.folder / "".join(c if c.isalnum() else "-" for c in name)


class LogitMarginLog:
    """An LLM's margins, a line a case, read back after a kill. A context: the file is closed at its end."""

    def __init__(self, kept: EvaluationCheckpoint, name: str) -> None:
        """Args: name: of the file, one for each model and prompt."""
        self.path = kept.folder / f"{name}.jsonl"
        self.kept = dict(_lines(self.path))

    def __enter__(self) -> LogitMarginLog:
        self.file = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def get(self, number: int, read: Callable[[], Mapping[int, float]]) -> dict[int, float]:
        """Row to margin, of every candidate of a case that was read. Args: read: asks the LLM, if that was not done yet."""
        if number not in self.kept:
            self.kept[number] = dict(read())
            self.file.write(json.dumps([number, list(self.kept[number].items())]) + "\n")
            self.file.flush()
        return self.kept[number]


def _lines(path: Path) -> Iterator[tuple[int, dict[int, float]]]:
    """The whole lines of a file that a kill may have cut."""
    text = path.read_text("utf-8") if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_atomically(path, whole.encode())
    for line in whole.splitlines():
        number, pairs = json.loads(line)
        yield number, dict(pairs)
