"""Handling of unusable lines: recorded in `rejects.jsonl`, or raised as a `FormatError` with `on_error="stop"`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import FormatError
from .rows.batch import SNIFFED_LINES, RejectedLine, check_header, format_names
from .rows.line_reader import NOT_UTF8

MAX_CONTENT_LENGTH = 2000
_MAX_WRONG_SHARE = 0.5
_MAX_NOT_UTF8_SHARE = 0.1


class Rejects:
    """Records and counts unusable lines.

    If most of the first 1,000 lines of a file are rejected, it does not have the format at all, and `take` or `close_file` raises.

    Args:
        path: JSONL file to write, one object per line: path, line, cause, content.
        stop: Raise at the first rejected line instead.

    Attributes:
        problems: Description of each problem to its count, over rejected lines and noted ones.
        count: Number of rejected lines.
    """

    def __init__(self, path: Path, *, stop: bool = False) -> None:
        self.problems: Counter[str] = Counter()
        self.count = 0
        self._stop = stop
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace")
        self._format_check = _FormatCheck()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def note(self, problem: str, times: int = 1) -> None:
        """Count a problem that rejects no line."""
        if times:
            self.problems[problem] += times

    def take(self, source: Path, rejected: Sequence[RejectedLine], lines: Sequence[int], fields: Sequence[str] = ()) -> None:
        """Record the rejected lines of one batch.

        Args:
            source: File of the batch.
            rejected: Rejected lines in any order.
            lines: Line numbers of all rows of the batch, used or not.
            fields: Column names in the batch.

        Raises:
            FormatError: A line was rejected and `stop` is set, or the file does not have the format.
        """
        rejected = sorted(rejected, key=lambda reject: reject.line)
        if rejected and self._stop:
            raise FormatError(source, rejected[0].line, rejected[0].cause)
        for reject in rejected:
            entry = {"path": str(source), "line": reject.line, "cause": reject.cause, "content": reject.content[:MAX_CONTENT_LENGTH]}
            self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self.problems[reject.problem] += 1
        self.count += len(rejected)
        self._format_check.add(rejected, lines, fields)
        if self._format_check.last > SNIFFED_LINES:
            self._format_check.run(source)

    def close_file(self, source: Path, required: Sequence[Sequence[str]] = ()) -> None:
        """Finish a file and check its format.

        Args:
            source: The file.
            required: Alternative names of each required column; JSONL files have no header for an earlier check.

        Raises:
            FormatError: The file does not have the format.
        """
        self._format_check.run(source)
        if self._format_check.fields:
            check_header(source, None, list(self._format_check.fields), required)
        self._format_check = _FormatCheck()


class _FormatCheck:
    """Share of rejected lines among the first lines of a file, checked once."""

    def __init__(self) -> None:
        self.last = 0
        self._rows = 0
        self._wrong_lines: list[RejectedLine] = []
        self.fields: dict[str, None] = {}
        self._done = False

    def add(self, rejected: Sequence[RejectedLine], lines: Sequence[int], fields: Sequence[str]) -> None:
        self.fields.update(dict.fromkeys(fields))
        if self._done:
            return
        # An unreadable line is not in `lines`, any other rejected line is: the union counts each line once.
        seen = {line for line in lines[:SNIFFED_LINES] if line <= SNIFFED_LINES}
        wrong_lines = [reject for reject in rejected if reject.line <= SNIFFED_LINES and reject.wrong_format]
        self._rows += len(seen | {reject.line for reject in wrong_lines})
        self._wrong_lines += wrong_lines
        self.last = max(self.last, lines[-1] if len(lines) else 0, rejected[-1].line if rejected else 0)

    def run(self, source: Path) -> None:
        if self._done or not self._rows:
            return
        self._done = True
        not_utf8 = [reject for reject in self._wrong_lines if reject.problem == NOT_UTF8]
        if len(not_utf8) > _MAX_NOT_UTF8_SHARE * self._rows:
            raise FormatError(source, not_utf8[0].line, f"{not_utf8[0].cause}, as are {len(not_utf8) - 1} more; save it as UTF-8")
        if len(self._wrong_lines) > _MAX_WRONG_SHARE * self._rows:
            commonest = Counter(reject.problem for reject in self._wrong_lines).most_common(1)[0][0]
            example = next(reject for reject in self._wrong_lines if reject.problem == commonest)
            fields = f"; the fields are {format_names(list(self.fields))}" if self.fields else ""
            raise FormatError(
                source,
                None,
                f"the file does not have the format: {len(self._wrong_lines)} of the first {self._rows} lines cannot be used, "
                f"mostly {commonest} (line {example.line}: {example.cause}){fields}",
            )
