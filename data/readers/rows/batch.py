"""The common interface of row readers: batches of rows with line numbers, and rejected lines.

A batch returns its rows as columns (for millions of interactions) or as records (for items), and the text of any row for
`rejects.jsonl`. It knows nothing of file formats (`csv_reader` and its siblings) nor of the meaning of columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ...errors import FormatError

if TYPE_CHECKING:
    import polars as pl

SNIFFED_LINES = 1000
"""Number of lines used to check the format of a file."""
SUFFIXES = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet")
_MAX_NAMES = 20


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that is not used.

    Attributes:
        line: Line of the file (row, in parquet), from 1.
        problem: Kind of problem, the same text for many lines.
        cause: Error of this line.
        content: Text of the line.
        wrong_format: Whether it suggests that the file has another format; False for a valid line about an unknown item.
    """

    line: int
    problem: str
    cause: str
    content: str
    wrong_format: bool = True


class Batch(Protocol):
    """Consecutive rows of a file."""

    @property
    def lines(self) -> Sequence[int]:
        """First line of each row."""

    @property
    def unreadable(self) -> Sequence[RejectedLine]:
        """Lines of the batch that could not be parsed."""

    @property
    def done(self) -> int:
        """Number of bytes of the file read so far."""

    def fields(self) -> Sequence[str]:
        """Column names; in JSONL the union over the rows."""

    def column(self, names: Sequence[str]) -> pl.Series:
        """Values of the first existing column of the names, null if there is none; text or a primitive type."""

    def records(self) -> Iterator[dict[str, object]]:
        """Rows as dicts."""

    def content(self, index: int) -> str:
        """Text of a row of this batch, for `rejects.jsonl`."""


def suffix_of(path: Path) -> str | None:
    """File name suffix from `SUFFIXES`; None for any other."""
    name = path.name.lower()
    return next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(suffix)), None)


def check_header(path: Path, line: int | None, columns: Sequence[str], required: Sequence[Sequence[str]]) -> None:
    """Check that every required column exists.

    Args:
        path: The file, for messages.
        line: Line of the header; None if there is none.
        columns: Column names of the file.
        required: Possible names of each required column.

    Raises:
        FormatError: A column is missing (the message lists the existing ones) or a name occurs twice.
    """
    repeated = sorted({name for name in columns if name and columns.count(name) > 1})
    if repeated:
        raise FormatError(path, line, f"two columns are named {repeated[0]}")
    missing = [" or ".join(names) for names in required if not set(names) & set(columns)]
    if missing:
        separators = {";": "semicolons", "\t": "tabs", "|": "bars"}
        separator = next((mark for mark in separators if len(columns) == 1 and mark in columns[0]), "")
        hint = f"; the columns seem to be separated by {separators[separator]}, expected commas" if separator else ""
        raise FormatError(path, line, f"no column {' and no column '.join(missing)}; found {format_names(columns)}{hint}")


def format_names(names: Sequence[str]) -> str:
    """Comma-separated names for a message, truncated if there are many."""
    shown = ", ".join(name[:60] for name in names[:_MAX_NAMES]) or "none"
    return shown + (f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else "")
