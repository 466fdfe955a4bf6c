"""Opens a file of rows by its suffix: CSV, JSONL or parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import FormatError
from .batch import SUFFIXES, Batch, suffix_of
from .csv_reader import read_csv
from .jsonl_reader import read_jsonl
from .parquet_reader import read_parquet

CHUNK_ROWS = 200_000


def read_rows(path: Path, required: Sequence[Sequence[str]] = (), chunk_rows: int = CHUNK_ROWS) -> Iterator[Batch]:
    """Iterate over the batches of a file in order.

    Args:
        path: File with a suffix of `SUFFIXES`.
        required: Possible names of each column that a header must have; JSONL has no header, so the caller checks its rows.
        chunk_rows: Maximum number of rows per batch; affects only memory and speed.

    Raises:
        FormatError: The file does not have the format of its suffix, or lacks a required column.
    """
    suffix = suffix_of(path)
    if suffix is None:
        raise FormatError(path, None, f"the name must end in one of {', '.join(SUFFIXES)}")
    if suffix.startswith(".csv"):
        return read_csv(path, required, chunk_rows)
    if suffix.startswith(".jsonl"):
        return read_jsonl(path, chunk_rows)
    return read_parquet(path, required, chunk_rows)
