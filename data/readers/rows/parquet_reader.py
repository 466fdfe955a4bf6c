"""Parquet files as batches of rows; line numbers are row numbers, from 1."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import FormatError
from .batch import RejectedLine, check_header
from .line_reader import checked_size
from .value_parsing import to_text

if TYPE_CHECKING:
    import polars as pl


@dataclass(slots=True)
class ParquetBatch:
    """Rows as a data frame with the column types of the file."""

    frame: pl.DataFrame
    first: int
    done: int
    unreadable: tuple[RejectedLine, ...] = ()

    @property
    def lines(self) -> Sequence[int]:
        """See `Batch`."""
        return range(self.first, self.first + self.frame.height)

    def fields(self) -> Sequence[str]:
        """See `Batch`."""
        return self.frame.columns

    def column(self, names: Sequence[str]) -> pl.Series:
        """See `Batch`; the type of the file, nested values as JSON text."""
        import polars as pl

        name = next((name for name in names if name in self.frame.columns), None)
        if name is None:
            return pl.Series(names[0], [None] * self.frame.height, dtype=pl.String)
        column = self.frame[name]
        if column.dtype in (pl.Categorical, pl.Enum, pl.Boolean):
            return column.cast(pl.String)
        if column.dtype == pl.Binary:  # some writers store text as binary
            return pl.Series(name, [to_text(value) for value in column.to_list()], dtype=pl.String)
        if column.dtype.is_nested() or column.dtype == pl.Object:
            return pl.Series(name, [None if value is None else json.dumps(value, default=str) for value in column.to_list()])
        return column

    def records(self) -> Iterator[dict[str, object]]:
        """See `Batch`."""
        return self.frame.iter_rows(named=True)

    def content(self, index: int) -> str:
        """See `Batch`; the row as JSON."""
        return json.dumps(self.frame.row(index, named=True), default=str, ensure_ascii=False)


def read_parquet(path: Path, required: Sequence[Sequence[str]], chunk_rows: int) -> Iterator[ParquetBatch]:
    """Yield the batches of a parquet file; see `read_rows`."""
    import polars as pl

    size = checked_size(path)
    table = pl.scan_parquet(path, glob=False)
    try:
        names = table.collect_schema().names()
        rows = table.select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FormatError(path, None, "named .parquet but not a parquet file") from error
    check_header(path, None, names, required)
    for first in range(0, max(rows, 1), chunk_rows):
        try:
            frame = table.slice(first, chunk_rows).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise FormatError(path, first + 1, f"the parquet data is damaged ({str(error).splitlines()[0]})") from error
        yield ParquetBatch(frame, first + 1, size * (first + frame.height) // max(rows, 1))
