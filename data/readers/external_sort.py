"""Tables larger than memory: written in parts as they are read, joined into one sorted file at the end.

Interactions are cut into ranges of user ids of a few million rows each; a range is cleaned of duplicates and sorted by itself,
and the ranges in a row are the whole table in order. Only one range is ever in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .interaction_tables import empty

if TYPE_CHECKING:
    import polars as pl

RANGE_ROWS = 2_000_000
_SAMPLED = 50
_GROUP_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Sorted:
    """What became of the interactions: rows written, users among them, duplicates left out."""

    rows: int
    users: int
    duplicates: int


class InteractionParts:
    """The interactions read so far, on disk.

    Args: folder: an existing folder for the parts. range_rows: about how many rows are sorted in memory at once.
    """

    def __init__(self, folder: Path, range_rows: int = RANGE_ROWS) -> None:
        self.rows = 0
        self._folder, self._range_rows = folder, range_rows
        self._files: list[Path] = []
        self._samples: list[pl.Series] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Takes a table with the columns of `INTERACTION_COLUMNS`; the order of the calls is the order of the input."""
        if not frame.height:
            return
        frame = frame.with_row_index("_input", offset=self.rows).sort("user_id", maintain_order=True)
        self.rows += frame.height
        self._samples.append(frame["user_id"].gather_every(_SAMPLED))
        path = self._folder / f"interactions-{len(self._files):06}.parquet"
        # Sorted and in small groups: a later reader of one range of users skips the groups outside it by their statistics.
        frame.write_parquet(path, compression="lz4", row_group_size=_GROUP_ROWS)
        self._files.append(path)

    def finish(self, out: Path, progress: Callable[[int, int], None]) -> Sorted:
        """Writes the whole table, sorted by user, time, position, order of input; nothing known comes first.

        Of interactions alike in user, item, kind and time (in position, where there is no time) the first stays.
        """
        import polars as pl

        if not self._files:
            empty("interactions").write_parquet(out)
            return Sorted(0, 0, 0)
        done: list[Path] = []
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
            done.append(self._folder / f"sorted-{number:06}.parquet")
            frame.write_parquet(done[-1])
            progress(number + 1, len(ranges))
        joined(done, out)
        return Sorted(rows, users, self.rows - rows)

    def _ranges(self) -> list[tuple[str | None, str | None]]:
        import polars as pl

        sample = pl.concat(self._samples).sort()
        count = -(-self.rows // self._range_rows)
        cuts = sorted({sample[len(sample) * part // count] for part in range(1, count)})
        return list(zip([None, *cuts], [*cuts, None], strict=True))


class ReviewParts:
    """The reviews read so far, on disk. Args: folder: an existing folder for the parts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[Path] = []
        self._marks: list[pl.Series] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Takes a table with the columns of `REVIEW_COLUMNS`."""
        if not frame.height:
            return
        path = self._folder / f"reviews-{len(self._files):06}.parquet"
        frame.write_parquet(path)
        self._files.append(path)
        self._marks.append(frame.hash_rows())

    def finish(self, out: Path) -> tuple[int, int]:
        """Writes the whole table in the order of the input; returns (rows, exact duplicates left out)."""
        import polars as pl

        if not self._files:
            empty("reviews").write_parquet(out)
            return 0, 0
        first = pl.concat(self._marks).is_first_distinct()
        kept = int(first.sum())
        if kept < len(first):
            start = 0
            for path, marks in zip(self._files, self._marks, strict=True):
                pl.read_parquet(path, glob=False).filter(first.slice(start, len(marks))).write_parquet(path)
                start += len(marks)
        joined(self._files, out)
        return kept, len(first) - kept


def joined(files: list[Path], out: Path) -> None:
    """Writes several tables of the same columns as one, in their order, without holding it in memory."""
    import polars as pl

    pl.scan_parquet(files, glob=False).sink_parquet(out, maintain_order=True)


def _cleaned(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    place = pl.when(pl.col("timestamp").is_null()).then(pl.col("position")).alias("_place")
    return (
        frame.sort("user_id", "timestamp", "position", "_input", nulls_last=False)
        .with_columns(place)
        .unique(("user_id", "item_id", "kind", "timestamp", "_place"), keep="first", maintain_order=True)
        .drop("_place", "_input")
    )
