"""Opens a file of rows as what its name says it is: csv, jsonl or parquet."""

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
    """The batches of a file, in order.

    Args:
        required: columns that a header must have, each as the names that will do; jsonl has no header, there a line that lacks
            one is left to the caller.
        chunk_rows: the most rows of a batch; changes nothing but memory and speed.
    Raises: FormatError: the file is not readable as what its name says, or lacks a required column.
    """
    suffix = suffix_of(path)
    if suffix is None:
        raise FormatError(path, None, f"the name must end in one of {', '.join(SUFFIXES)}")
    if suffix.startswith(".csv"):
        return read_csv(path, required, chunk_rows)
    if suffix.startswith(".jsonl"):
        return read_jsonl(path, chunk_rows)
    return read_parquet(path, required, chunk_rows)
