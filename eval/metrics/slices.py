"""Slices of evaluation cases: by history length, target popularity, category pair, and user group from a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import FormatError

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from ...retrieval.items.catalogue import Catalogue
    from ...retrieval.items.ragged import RaggedArray
    from ..splits.cases import Cases

HISTORY_LENGTHS = (("1-3", 1), ("4-10", 4), ("11-30", 11), ("31+", 31))
"""Name and shortest length of each slice by history length."""
COLD = "cold"
"""Slice of items without training users."""
RARE = "at most two users"
"""Slice of items with at most two training users, for which behaviour carries almost no signal; it overlaps the others."""
HEAD_SHARE, MID_SHARE = 0.5, 0.8
"""Cumulative shares of the training interactions: the most popular items up to the first are the head, up to the second the middle."""


def by_history_length(histories: RaggedArray) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each slice's name and (cases,) which cases are in it."""
    ends = [start for _, start in HISTORY_LENGTHS[1:]] + [np.iinfo(np.int64).max]
    for (name, start), end in zip(HISTORY_LENGTHS, ends, strict=True):
        yield name, (histories.lengths >= start) & (histories.lengths < end)


def by_target_popularity(targets: RaggedArray, user_counts: NDArray[np.int64]) -> Iterator[tuple[str, RaggedArray]]:
    """Yield each slice's name and its targets; a case with targets in two slices counts in both, with the targets of each.

    Args:
        targets: Target rows of each case.
        user_counts: (items,) number of training users; 0 is cold.
    """
    order = np.argsort(-user_counts, kind="stable")
    # Share of all interactions before an item, so an item that crosses a boundary belongs to the slice in which it starts.
    share_before = np.empty(len(user_counts))
    share_before[order] = (np.cumsum(user_counts[order]) - user_counts[order]) / max(user_counts.sum(), 1)
    slice_codes = np.where(user_counts == 0, 3, np.searchsorted([HEAD_SHARE, MID_SHARE], share_before, side="right"))
    for code, name in enumerate(("head", "mid", "tail", COLD)):
        yield name, targets.where(slice_codes[targets.rows] == code)
    yield RARE, targets.where(user_counts[targets.rows] <= 2)


def by_category_pair(cases: Cases, catalogue: Catalogue, max_pairs: int = 20) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the most frequent pairs of (category of the newest history item, category of the first target), and (cases,) their cases."""
    newest, first = (cases.histories.rows[cases.histories.starts[1:] - 1], cases.targets.rows[cases.targets.starts[:-1]])
    source, target = catalogue.category[newest].astype(np.int64), catalogue.category[first].astype(np.int64)
    key = source * len(catalogue.nodes) + target
    values, counts = np.unique(key, return_counts=True)
    for value in values[np.argsort(-counts, kind="stable")][:max_pairs].tolist():
        nodes = [int(catalogue.nodes[code]) for code in divmod(value, len(catalogue.nodes))]
        # Full paths, because two categories may share their last name.
        names = [catalogue.tree.words(node) if node >= 0 else "(none)" for node in nodes]
        yield " → ".join(names), key == value


def load_user_groups(path: Path, column: str, users: Sequence[str]) -> list[str | None]:
    """Return the group of each user from a column of a table with user_id; None for users without a row.

    Raises:
        FormatError: The table cannot be read or lacks a column.
    """
    import polars as pl

    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".parquet": pl.read_parquet,
        ".jsonl": pl.read_ndjson,
        ".csv": lambda file: pl.read_csv(file, infer_schema=False),
    }
    try:
        table = readers[path.suffix](path)
        groups = table.select(pl.col("user_id").cast(pl.String), pl.col(column).cast(pl.String))
    except KeyError:
        raise FormatError(path, None, "unsupported table of users; use a .csv, .jsonl or .parquet file") from None
    except pl.exceptions.ColumnNotFoundError:
        raise FormatError(path, None, f"expected the columns user_id and {column}, found {', '.join(table.columns)}") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FormatError(path, None, f"cannot be read ({type(error).__name__})") from error
    group_of_user = dict(groups.iter_rows())
    return [group_of_user.get(user) for user in users]
