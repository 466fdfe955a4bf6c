"""csv files (RFC 4180: commas, double quotes, a header line) as batches of rows.

Python's own csv reader keeps quoted line breaks right; this adds line numbers and a way on after a broken row: the row's first line
is rejected and reading goes on at the very next one, so that a quote left open costs one line and not the rest of the file.
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

# A row is at most a few fields of the csv module's limit (131,072 characters), so the last blocks always hold all of it.
_KEPT_BLOCKS = 8


@dataclass(slots=True)
class CsvBatch:
    """Rows as lists of text, all as wide as the header; an empty field is null."""

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
        place = self.header.index(name)
        return pl.Series(name, [row[place] or None for row in self.rows], dtype=pl.String)

    def records(self) -> Iterator[dict[str, object]]:
        """See `Batch`; a column without a name is left out."""
        named = [(place, name) for place, name in enumerate(self.header) if name]
        for row in self.rows:
            yield {name: row[place] or None for place, name in named}

    def content(self, index: int) -> str:
        """See `Batch`; written as csv again."""
        return as_csv(self.rows[index])


def as_csv(row: Sequence[str]) -> str:
    """One row as a line of csv, without the line end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(row)
    return text.getvalue()


def read_csv(path: Path, required: Sequence[Sequence[str]], chunk_rows: int) -> Iterator[CsvBatch]:
    """The batches of a csv file; see `read_rows`."""
    feed = _Feed(path)
    rows = feed.rows()
    header = _header(path, rows, required)
    batch = CsvBatch(header)
    width = len(header)
    for line, row, fault in rows:
        if fault is None and len(row) == width:
            batch.rows.append(row)
            batch.lines.append(line)
        elif fault is not None:
            batch.unreadable.append(RejectedLine(line, *fault, content=feed.text(line) if not row else as_csv(row)))
        elif any(cell.strip() for cell in row):  # a blank line is no row
            cause = f"{len(row)} fields, wanted {width} as in the header"
            batch.unreadable.append(RejectedLine(line, UNREADABLE, cause, as_csv(row)))
        if len(batch.rows) + len(batch.unreadable) >= chunk_rows:
            batch.done = feed.lines.done
            yield batch
            batch = CsvBatch(header)
    batch.done = feed.lines.done
    yield batch


def _header(path: Path, rows: Iterator[_Row], required: Sequence[Sequence[str]]) -> list[str]:
    for line, row, fault in rows:
        if fault is not None:
            words = "; save it as UTF-8" if fault[0] == NOT_UTF8 else ""
            raise FormatError(path, line, f"the header cannot be read: {fault[1]}{words}")
        if any(cell.strip() for cell in row):
            header = [cell.strip() for cell in row]
            check_header(path, line, header, required)
            return header
    raise FormatError(path, None, "the file is empty")


_Row = tuple[int, list[str], tuple[str, str] | None]


class _Feed:
    """The rows of a csv file: (first line, fields, (problem, cause) or None)."""

    def __init__(self, path: Path) -> None:
        self.lines = LineReader(path)
        self._blocks: deque[Block] = deque(maxlen=_KEPT_BLOCKS)
        self._bad: dict[int, tuple[str, str]] = {}
        self._again: deque[str] = deque()

    def rows(self) -> Iterator[_Row]:
        fresh = self._fresh()
        before = 0  # lines consumed by earlier readers
        while True:
            reader = csv.reader(chain(self._put_back(), fresh), strict=True)
            start = before + 1
            try:
                for row in reader:
                    end = before + reader.line_num
                    yield start, row, self._fault(start, end) if self._bad else None
                    start = end + 1
                return
            except csv.Error as error:
                end = before + reader.line_num
                yield start, [], self._fault(start, start) or (UNREADABLE, f"not csv: {_plain(error)}")
                self._again.extendleft(self.text(line) for line in range(end, start, -1))
                before = start

    def text(self, line: int) -> str:
        """A line that was read lately."""
        for block in self._blocks:
            if block.first <= line < block.first + len(block.lines):
                return block.lines[line - block.first]
        return ""

    def _put_back(self) -> Iterator[str]:
        while self._again:
            yield self._again.popleft()

    def _fresh(self) -> Iterator[str]:
        for block in self.lines:
            self._blocks.append(block)
            self._bad.update(block.bad)
            yield from block.lines

    def _fault(self, start: int, end: int) -> tuple[str, str] | None:
        return next((self._bad[line] for line in range(start, end + 1) if line in self._bad), None)


def _plain(error: csv.Error) -> str:
    words = str(error)
    if "unexpected end of data" in words:
        return "a quote is opened and never closed"
    if "field larger than" in words:
        return "a field longer than 131,072 characters (is a quote left open?)"
    return f"{words} (is a quote left open, or not doubled inside quotes?)"
