"""What an evaluation keeps beside its report, so that a killed run goes on where it was: the baselines' rankings and the LLM's margins.

What was kept of other cases, options, data or models is forgotten. Knows nothing of how anything is ranked.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..data.errors import LeakError, storing
from ..data.files import write_atomically
from ..data.settings import Settings
from ..data.workspace import Workspace
from . import leaks, systems
from .cases import Cases
from .known import Known

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = ".state"
"""Inside the folder of the report."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The folder that holds what an evaluation has done so far."""

    home: Path

    @classmethod
    def of(cls, out: Path, workspace: Workspace, settings: Settings, options: Mapping[str, Any], cases: Cases) -> Kept:
        """What is kept of this very evaluation; what is there of another one is forgotten.

        Args: out: folder of the report.
        Raises: StorageError: the folder cannot be written.
        """
        kept = cls(out / FOLDER)
        about = {
            "version": __version__,
            "snapshot": workspace.manifest.snapshot,
            "category_level": workspace.manifest.category_level,
            "index": (workspace.manifest.index or {}).get("generation"),
            "llm": settings.llm,
            "quantization": settings.quantization,
            "options": options,
            "cases": hashlib.sha256(
                b"".join(part.tobytes() for runs in (cases.histories, cases.targets) for part in (runs.starts, runs.rows))
            ).hexdigest(),
        }
        content = json.dumps(about, sort_keys=True, indent=1).encode()
        with storing(f"the evaluation in {out}"):
            file = kept.home / "about.json"
            if not file.exists() or file.read_bytes() != content:
                shutil.rmtree(kept.home, ignore_errors=True)
                write_atomically(file, content)
        return kept

    def ranking(self, name: str) -> tuple[NDArray[np.int32], Any] | None:
        """The (cases, depth) rows of a system and what was told of it, or None if it is not kept."""
        file = self._file(name)
        if not file.with_suffix(".json").exists():  # written last
            return None
        return np.load(file.with_suffix(".npy"), allow_pickle=False), json.loads(file.with_suffix(".json").read_text())

    def keep(self, name: str, top: NDArray[np.int32], about: Any) -> None:
        """Keeps the (cases, depth) rows of a system and what is told of it. Raises: StorageError: the folder cannot be written."""
        file = self._file(name)
        with storing(f"the evaluation in {self.home.parent}"):
            np.save(file.with_suffix(".npy"), top, allow_pickle=False)
            write_atomically(file.with_suffix(".json"), json.dumps(about).encode())

    def _file(self, name: str) -> Path:
        return self.home / "".join(c if c.isalnum() else "-" for c in name)


class Margins:
    """The LLM's margins, a line a case, read back after a kill."""

    def __init__(self, kept: Kept, settings: Settings, cases: Cases, known: Known, wanted: set[int]) -> None:
        """Loads the LLM if the margins of a wanted case are not kept.

        Raises: ModelMissingError: the LLM was not pulled.
        """
        from ..llm.models import LanguageModel
        from ..llm.ranker import Ranker

        self.known, self.cases = known, cases
        self.path = kept.home / "margins.jsonl"
        self.kept = dict(_lines(self.path))
        self.ranker = Ranker(LanguageModel.load(settings)) if wanted - self.kept.keys() else None
        self.file = self.path.open("a", encoding="utf-8")

    def of(self, number: int, found: systems.Found) -> dict[int, float]:
        """Row to margin, for every candidate of the case.

        Raises: LeakError: a target of the case stands in what the LLM reads.
        """
        if number not in self.kept:
            assert self.ranker is not None
            catalogue = self.known.catalogue
            prompt, _ = self.ranker.said(catalogue.records(found.history.tolist()), None)
            if leak := leaks.in_prompts(self.cases, {number: prompt}, catalogue):
                raise LeakError("the test leaks into what is known: " + "; ".join(map(str, leak)))
            self.kept[number] = systems.margins(found, self.ranker, self.known.retriever)
            self.file.write(json.dumps([number, list(self.kept[number].items())]) + "\n")
            self.file.flush()
        return self.kept[number]

    def close(self) -> None:
        """Closes the file."""
        self.file.close()


def _lines(path: Path) -> Iterator[tuple[int, dict[int, float]]]:
    """The whole lines of a file that a kill may have cut."""
    text = path.read_text("utf-8") if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_atomically(path, whole.encode())
    for line in whole.splitlines():
        number, pairs = json.loads(line)
        yield number, dict(pairs)
