"""CSV files (RFC 4180: commas, double quotes, a header line) as batches of rows.

Python's csv reader handles quoted line breaks; this adds line numbers and error recovery: the first line of a broken row is rejected and
reading continues at the next line, so that an unclosed quote loses one line and not the rest of the file.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import FormatError
from .batch import RejectedLine, check_header
from .line_reader import NOT_UTF8, UNREADABLE, Block, LineReader

if TYPE_CHECKING:
    import polars as pl

# A row has at most a few fields of the csv module's limit (131,072 characters), so the last blocks always contain all of it.
_KEPT_BLOCKS = 8


@dataclass(slots=True)
class CsvBatch:
    """Rows as lists of text with the width of the header; an empty field is null."""

    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    unreadable: list[RejectedLine] = field(default_factory=list)
    done: int = 0

    def fields(self) -> Sequence[str]:
        """See `Batch`."""
        return self.header

    def column(self, names: Sequence[str]) -> pl.Series:
        """See `Batch`; always text."""
        import polars as pl

        name = next((name for name in names if name in self.header), None)
        if name is None:
            return pl.Series(names[0], [None] * len(self.rows), dtype=pl.String)
        index = self.header.index(name)
        return pl.Series(name, [row[index] or None for row in self.rows], dtype=pl.String)

    def records(self) -> Iterator[dict[str, object]]:
        """See `Batch`; columns without a name are skipped."""
        columns = [(index, name) for index, name in enumerate(self.header) if name]
        for row in self.rows:
            yield {name: row[index] or None for index, name in columns}

    def content(self, index: int) -> str:
        """See `Batch`; formatted as CSV."""
        return as_csv(self.rows[index])


def as_csv(row: Sequence[str]) -> str:
    """One row as a CSV line, without the line end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(row)
    return text.getvalue()


def read_csv(path: Path, required: Sequence[Sequence[str]], chunk_rows: int) -> Iterator[CsvBatch]:
    """Yield the batches of a CSV file; see `read_rows`."""
    reader = _RowReader(path)
    rows = reader.rows()
    header = _header(path, rows, required)
    batch = CsvBatch(header)
    width = len(header)
    for line, row, error in rows:
        if error is None and len(row) == width:
            batch.rows.append(row)
            batch.lines.append(line)
        elif error is not None:
            batch.unreadable.append(RejectedLine(line, *error, content=reader.text(line) if not row else as_csv(row)))
        elif any(cell.strip() for cell in row):  # blank lines are ignored
            cause = f"{len(row)} fields, expected {width} as in the header"
            batch.unreadable.append(RejectedLine(line, UNREADABLE, cause, as_csv(row)))
        if len(batch.rows) + len(batch.unreadable) >= chunk_rows:
            batch.done = reader.lines.done
            yield batch
            batch = CsvBatch(header)
    batch.done = reader.lines.done
    yield batch


def _header(path: Path, rows: Iterator[_Row], required: Sequence[Sequence[str]]) -> list[str]:
    for line, row, error in rows:
        if error is not None:
            hint = "; save it as UTF-8" if error[0] == NOT_UTF8 else ""
            raise FormatError(path, line, f"the header cannot be read: {error[1]}{hint}")
        if any(cell.strip() for cell in row):
            header = [cell.strip() for cell in row]
            check_header(path, line, header, required)
            return header
    raise FormatError(path, None, "the file is empty")


_Row = tuple[int, list[str], tuple[str, str] | None]


class _RowReader:
    """Rows of a CSV file: (first line, fields, (problem, cause) or None)."""

    def __init__(self, path: Path) -> None:
        self.lines = LineReader(path)
        self._blocks: deque[Block] = deque(maxlen=_KEPT_BLOCKS)
        self._bad_lines: dict[int, tuple[str, str]] = {}
        self._pushed_back: deque[str] = deque()

    def rows(self) -> Iterator[_Row]:
        new_lines = self._new_lines()
        before = 0  # lines consumed by earlier readers
        while True:
            reader = csv.reader(chain(self._drain_pushed_back(), new_lines), strict=True)
            start = before + 1
            try:
                for row in reader:
                    end = before + reader.line_num
                    yield start, row, self._line_error(start, end) if self._bad_lines else None
                    start = end + 1
                return
            except csv.Error as error:
                end = before + reader.line_num
                yield start, [], self._line_error(start, start) or (UNREADABLE, f"not csv: {_describe(error)}")
                self._pushed_back.extendleft(self.text(line) for line in range(end, start, -1))
                before = start

    def text(self, line: int) -> str:
        """Text of a recently read line; empty if it is no longer buffered."""
        for block in self._blocks:
            if block.first <= line < block.first + len(block.lines):
                return block.lines[line - block.first]
        return ""

    def _drain_pushed_back(self) -> Iterator[str]:
        while self._pushed_back:
            yield self._pushed_back.popleft()

    def _new_lines(self) -> Iterator[str]:
        for block in self.lines:
            self._blocks.append(block)
            self._bad_lines.update(block.bad)
            yield from block.lines

    def _line_error(self, start: int, end: int) -> tuple[str, str] | None:
        return next((self._bad_lines[line] for line in range(start, end + 1) if line in self._bad_lines), None)


def _describe(error: csv.Error) -> str:
    message = str(error)
    if "unexpected end of data" in message:
        return "a quote is opened and never closed"
    if "field larger than" in message:
        return "a field longer than 131,072 characters (is a quote left open?)"
    return f"{message} (is a quote left open, or not doubled inside quotes?)"
