"""Parts of the cases that a mean hides: by length of the history, by how much the targets are had, by pair of categories, and by group
of users where a table tells it.
"""

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
    from ...retrieval.items.ragged import Runs
    from ..splits.cases import Cases

HISTORY_LENGTHS = (("1-3", 1), ("4-10", 4), ("11-30", 11), ("31+", 31))
COLD = "cold"
"""What nobody had in training."""
RARE = "at most two users"
"""A slice across the others: what behaviour can say next to nothing of."""
HEAD_SHARE, MID_SHARE = 0.5, 0.8
"""Shares of all training pairs: the most had items that make the first half are the head, up to four fifths the middle."""


def by_history_length(histories: Runs) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each slice's name and (cases,) which cases are in it."""
    ends = [start for _, start in HISTORY_LENGTHS[1:]] + [np.iinfo(np.int64).max]
    for (name, start), end in zip(HISTORY_LENGTHS, ends, strict=True):
        yield name, (histories.lengths >= start) & (histories.lengths < end)


def by_target_popularity(targets: Runs, users: NDArray[np.int64]) -> Iterator[tuple[str, Runs]]:
    """Each slice's name and the targets that are in it: a case with targets of two kinds counts in both, with those of that kind.

    Args: users: (items,) training users; an item of none is cold.
    """
    order = np.argsort(-users, kind="stable")
    # What of all pairs lies before an item, so that the item that crosses a border belongs to the part it begins in.
    before = np.empty(len(users))
    before[order] = (np.cumsum(users[order]) - users[order]) / max(users.sum(), 1)
    kind = np.where(users == 0, 3, np.searchsorted([HEAD_SHARE, MID_SHARE], before, side="right"))
    for code, name in enumerate(("head", "mid", "tail", COLD)):
        yield name, targets.where(kind[targets.rows] == code)
    yield RARE, targets.where(users[targets.rows] <= 2)


def by_category_pair(cases: Cases, catalogue: Catalogue, most: int = 20) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """The commonest pairs of (category of the newest history item, category of the first target), and which cases they are."""
    newest, first = (cases.histories.rows[cases.histories.starts[1:] - 1], cases.targets.rows[cases.targets.starts[:-1]])
    source, target = catalogue.category[newest].astype(np.int64), catalogue.category[first].astype(np.int64)
    key = source * len(catalogue.nodes) + target
    values, counts = np.unique(key, return_counts=True)
    for value in values[np.argsort(-counts, kind="stable")][:most].tolist():
        nodes = [int(catalogue.nodes[code]) for code in divmod(value, len(catalogue.nodes))]
        names = [catalogue.tree.words(node) if node >= 0 else "(none)" for node in nodes]  # whole paths: two may end alike
        yield " → ".join(names), key == value


def load_user_groups(path: Path, column: str, users: Sequence[str]) -> list[str | None]:
    """The group of each user, by a column of a table that has user_id as well; None where the table does not say.

    Raises: FormatError: the table cannot be read, or lacks a column.
    """
    import polars as pl

    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".parquet": pl.read_parquet,
        ".jsonl": pl.read_ndjson,
        ".csv": lambda file: pl.read_csv(file, infer_schema=False),
    }
    try:
        table = readers[path.suffix](path)
        told = table.select(pl.col("user_id").cast(pl.String), pl.col(column).cast(pl.String))
    except KeyError:
        raise FormatError(path, None, "a table of users is a .csv, .jsonl or .parquet file") from None
    except pl.exceptions.ColumnNotFoundError:
        raise FormatError(path, None, f"wanted the columns user_id and {column}, found {', '.join(table.columns)}") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FormatError(path, None, f"cannot be read ({type(error).__name__})") from error
    group = dict(told.iter_rows())
    return [group.get(user) for user in users]
