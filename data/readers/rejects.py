"""Where lines go that cannot be used: into `rejects.jsonl`, or, when the first is to stop all, into a `FormatError`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import FormatError
from .rows.batch import LOOKED_AT, Rejected, check_header, named
from .rows.line_reader import NOT_UTF8

LONGEST_CONTENT = 2000
_FOREIGN_SHARE = 0.5
_OTHER_ENCODING_SHARE = 0.1


class Rejects:
    """Writes and counts the lines that are not used.

    A file most of whose first 1,000 lines are rejected is not of its format at all: `take` and `close_file` then raise.

    Args: path: the jsonl file to write; one object a line: path, line, cause, content. stop: raise at the first line instead.
    Attributes: problems: problem in words -> count, rejected lines and what is merely counted. count: rejected lines.
    """

    def __init__(self, path: Path, *, stop: bool = False) -> None:
        self.problems: Counter[str] = Counter()
        self.count = 0
        self._stop = stop
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace")
        self._tally = _Tally()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def note(self, problem: str, times: int = 1) -> None:
        """Counts something that is worth knowing but costs no line."""
        if times:
            self.problems[problem] += times

    def take(self, source: Path, rejected: Sequence[Rejected], lines: Sequence[int], fields: Sequence[str] = ()) -> None:
        """Takes the rejects of one batch of a file.

        Args: rejected: in any order. lines: of the rows of the batch, used or not. fields: the names seen in it.
        Raises: FormatError: a line was rejected and that is to stop all, or the file is not of its format.
        """
        rejected = sorted(rejected, key=lambda one: one.line)
        if rejected and self._stop:
            raise FormatError(source, rejected[0].line, rejected[0].cause)
        for one in rejected:
            entry = {"path": str(source), "line": one.line, "cause": one.cause, "content": one.content[:LONGEST_CONTENT]}
            self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self.problems[one.problem] += 1
        self.count += len(rejected)
        self._tally.add(rejected, lines, fields)
        if self._tally.last > LOOKED_AT:
            self._tally.judge(source)

    def close_file(self, source: Path, required: Sequence[Sequence[str]] = ()) -> None:
        """Says that a file has been read to its end.

        Args: required: columns one of whose names some line must have had (jsonl has no header to tell sooner).
        Raises: FormatError: it is not of its format.
        """
        self._tally.judge(source)
        if self._tally.fields:
            check_header(source, None, list(self._tally.fields), required)
        self._tally = _Tally()


class _Tally:
    """What became of the first lines of a file."""

    def __init__(self) -> None:
        self.last = 0
        self._rows = 0
        self._misfits: list[Rejected] = []
        self.fields: dict[str, None] = {}
        self._judged = False

    def add(self, rejected: Sequence[Rejected], lines: Sequence[int], fields: Sequence[str]) -> None:
        self.fields.update(dict.fromkeys(fields))
        if self._judged:
            return
        # An unreadable line is not among `lines`, any other rejected one is: both sides of the share count each line once.
        looked = {line for line in lines[:LOOKED_AT] if line <= LOOKED_AT}
        misfits = [one for one in rejected if one.line <= LOOKED_AT and one.misfit]
        self._rows += len(looked | {one.line for one in misfits})
        self._misfits += misfits
        self.last = max(self.last, lines[-1] if len(lines) else 0, rejected[-1].line if rejected else 0)

    def judge(self, source: Path) -> None:
        if self._judged or not self._rows:
            return
        self._judged = True
        foreign = [one for one in self._misfits if one.problem == NOT_UTF8]
        if len(foreign) > _OTHER_ENCODING_SHARE * self._rows:
            raise FormatError(source, foreign[0].line, f"{foreign[0].cause}, as are {len(foreign) - 1} more; save it as UTF-8")
        if len(self._misfits) > _FOREIGN_SHARE * self._rows:
            commonest = Counter(one.problem for one in self._misfits).most_common(1)[0][0]
            example = next(one for one in self._misfits if one.problem == commonest)
            found = f"; the fields found are {named(list(self.fields))}" if self.fields else ""
            raise FormatError(
                source,
                None,
                f"does not look like the format: {len(self._misfits)} of the first {self._rows} lines cannot be used, "
                f"mostly {commonest} (line {example.line}: {example.cause}){found}",
            )
