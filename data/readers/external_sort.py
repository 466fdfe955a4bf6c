"""External sort: tables larger than memory are written in parts while they are read, and merged into one sorted file.

Interactions are split into ranges of user ids with a few million rows each; every range is deduplicated and sorted on its own, and the
concatenated ranges are the sorted table. Only one range is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .interaction_tables import empty_table

if TYPE_CHECKING:
    import polars as pl

RANGE_ROWS = 2_000_000
_SAMPLED = 50
_GROUP_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class SortResult:
    """Number of interactions written, of distinct users in them, and of duplicates dropped."""

    rows: int
    users: int
    duplicates: int


class InteractionSorter:
    """Collects interactions on disk and sorts them.

    Args:
        folder: Existing folder for the parts.
        range_rows: Approximate number of rows sorted in memory at once.
    """

    def __init__(self, folder: Path, range_rows: int = RANGE_ROWS) -> None:
        self.rows = 0
        self._folder, self._range_rows = folder, range_rows
        self._files: list[Path] = []
        self._samples: list[pl.Series] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Add a table with the columns of `INTERACTION_COLUMNS`; the order of the calls is the input order."""
        if not frame.height:
            return
        frame = frame.with_row_index("_input", offset=self.rows).sort("user_id", maintain_order=True)
        self.rows += frame.height
        self._samples.append(frame["user_id"].gather_every(_SAMPLED))
        path = self._folder / f"interactions-{len(self._files):06}.parquet"
        # Sorted and in small row groups: reading one range of users skips the other groups by their statistics.
        frame.write_parquet(path, compression="lz4", row_group_size=_GROUP_ROWS)
        self._files.append(path)

    def finish(self, out: Path, progress: Callable[[int, int], None]) -> SortResult:
        """Write the table, sorted by user, time, position and input order; nulls first.

        Of interactions with the same user, item, kind and time (or position, if there is no time) the first is kept.

        Args:
            out: Parquet file to write.
            progress: Called with the number of finished ranges and of all ranges.
        """
        import polars as pl

        if not self._files:
            empty_table("interactions").write_parquet(out)
            return SortResult(0, 0, 0)
        sorted_files: list[Path] = []
        rows = users = 0
        ranges = self._ranges()
        for number, (low, high) in enumerate(ranges):
            table = pl.scan_parquet(self._files, glob=False)
            if low is not None:
                table = table.filter(pl.col("user_id") >= low)
            if high is not None:
                table = table.filter(pl.col("user_id") < high)
            frame = _cleaned(table.collect())
            rows, users = rows + frame.height, users + frame["user_id"].n_unique()
            sorted_files.append(self._folder / f"sorted-{number:06}.parquet")
            frame.write_parquet(sorted_files[-1])
            progress(number + 1, len(ranges))
        concatenate_parquet(sorted_files, out)
        return SortResult(rows, users, self.rows - rows)

    def _ranges(self) -> list[tuple[str | None, str | None]]:
        import polars as pl

        sample = pl.concat(self._samples).sort()
        count = -(-self.rows // self._range_rows)
        cuts = sorted({sample[len(sample) * part // count] for part in range(1, count)})
        return list(zip([None, *cuts], [*cuts, None], strict=True))


class ReviewDeduplicator:
    """Collects reviews on disk and drops exact duplicates.

    Args:
        folder: Existing folder for the parts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[Path] = []
        self._hashes: list[pl.Series] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Add a table with the columns of `REVIEW_COLUMNS`."""
        if not frame.height:
            return
        path = self._folder / f"reviews-{len(self._files):06}.parquet"
        frame.write_parquet(path)
        self._files.append(path)
        self._hashes.append(frame.hash_rows())

    def finish(self, out: Path) -> tuple[int, int]:
        """Write the table in input order; return the numbers of rows and of dropped exact duplicates."""
        import polars as pl

        if not self._files:
            empty_table("reviews").write_parquet(out)
            return 0, 0
        first = pl.concat(self._hashes).is_first_distinct()
        kept = int(first.sum())
        if kept < len(first):
            start = 0
            for path, hashes in zip(self._files, self._hashes, strict=True):
                pl.read_parquet(path, glob=False).filter(first.slice(start, len(hashes))).write_parquet(path)
                start += len(hashes)
        concatenate_parquet(self._files, out)
        return kept, len(first) - kept


def concatenate_parquet(files: list[Path], out: Path) -> None:
    """Concatenate tables with the same columns into one file, in order, without loading them."""
    import polars as pl

    pl.scan_parquet(files, glob=False).sink_parquet(out, maintain_order=True)


def _cleaned(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    position = pl.when(pl.col("timestamp").is_null()).then(pl.col("position")).alias("_position")
    return (
        frame.sort("user_id", "timestamp", "position", "_input", nulls_last=False)
        .with_columns(position)
        .unique(("user_id", "item_id", "kind", "timestamp", "_position"), keep="first", maintain_order=True)
        .drop("_position", "_input")
    )
