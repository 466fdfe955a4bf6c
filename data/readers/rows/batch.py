"""What a file of rows is read as: batches that know their line numbers, and lines that are no rows.

A batch gives its rows as columns (for the millions of interactions) or as records (for items), and the text of any row for the
rejects. It knows nothing of file formats (`csv_rows` and its siblings) nor of what the columns mean.
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
"""How many lines of a file tell whether it is of its format."""
SUFFIXES = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet")
_MOST_NAMES = 20


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that is not used.

    Attributes:
        line: 1-based line of the file (row, in parquet). problem: what is wrong, in words that many lines share.
        cause: what is wrong with this one. content: its text. misfit: it speaks against the file being of its format; a line
            that is fine in itself but names an unknown item does not.
    """

    line: int
    problem: str
    cause: str
    content: str
    wrong_format: bool = True


class Batch(Protocol):
    """Some rows of a file, in its order."""

    @property
    def lines(self) -> Sequence[int]:
        """The line at which each row begins."""

    @property
    def unreadable(self) -> Sequence[RejectedLine]:
        """The lines met on the way that are no rows."""

    @property
    def done(self) -> int:
        """Bytes of the file read so far."""

    def fields(self) -> Sequence[str]:
        """The names of the columns, in jsonl of any of the rows."""

    def column(self, names: Sequence[str]) -> pl.Series:
        """One value a row, of the first of the names that is there; null where none is. Text or a plain type."""

    def records(self) -> Iterator[dict[str, object]]:
        """The rows as dicts."""

    def content(self, index: int) -> str:
        """The text of a row of this batch, for the rejects."""


def suffix_of(path: Path) -> str | None:
    """The ending that says how a file is read (one of `SUFFIXES`), None if it is none of them."""
    name = path.name.lower()
    return next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(suffix)), None)


def check_header(path: Path, line: int | None, found: Sequence[str], required: Sequence[Sequence[str]]) -> None:
    """Returns if every required column is among those found.

    Args: line: where the header stands, None where there is none.
    Raises: FormatError: one is missing (the message lists the columns that are there) or a name is there twice.
    """
    twice = sorted({name for name in found if name and found.count(name) > 1})
    if twice:
        raise FormatError(path, line, f"two columns are named {twice[0]}")
    missing = [" or ".join(names) for names in required if not set(names) & set(found)]
    if missing:
        marks = {";": "semicolons", "\t": "tabs", "|": "bars"}
        mark = next((mark for mark in marks if len(found) == 1 and mark in found[0]), "")
        hint = f"; the columns seem to be separated by {marks[mark]}, wanted commas" if mark else ""
        raise FormatError(path, line, f"no column {' and no column '.join(missing)}; found {format_names(found)}{hint}")


def format_names(names: Sequence[str]) -> str:
    """The names as a message lists them, cut where there are very many."""
    shown = ", ".join(name[:60] for name in names[:_MOST_NAMES]) or "none"
    return shown + (f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else "")
