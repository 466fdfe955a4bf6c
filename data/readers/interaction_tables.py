"""Lines of interactions, reviews and relations as tables, a whole batch of columns at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..records import INTERACTION_COLUMNS, KIND_WEIGHTS, RELATION_COLUMNS, REVIEW_COLUMNS
from .formats.base import Role, Source
from .rows.batch import Batch, Rejected
from .rows.value_parsing import identifiers, milliseconds, numbers, whole_numbers

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Tables:
    """What one batch gave.

    Attributes: frames: a table for each role that the source holds, rows in the order of the lines. rejected: the other lines.
    """

    frames: dict[Role, pl.DataFrame]
    rejected: list[Rejected]


def tables(source: Source, batch: Batch, known: pl.Series) -> Tables:
    """The interactions, reviews or relations of a batch.

    Args: known: the item ids there are; a line about another item is rejected.
    """
    return _relations(source, batch) if "relations" in source.holds else _events(source, batch, known)


def empty(role: Role) -> pl.DataFrame:
    """A table of a role without rows, with its column types."""
    import polars as pl

    kinds = {"rating": pl.Float64, "value": pl.Float64, "timestamp": pl.Int64, "position": pl.Int64}
    names = {"interactions": INTERACTION_COLUMNS, "reviews": REVIEW_COLUMNS, "relations": RELATION_COLUMNS}[role]
    return pl.DataFrame(schema={name: kinds.get(name, pl.String) for name in names})


def _events(source: Source, batch: Batch, known: pl.Series) -> Tables:
    import polars as pl

    cells = _Cells(source, batch)
    item_id, user_id = cells.identifier("item_id"), cells.identifier("user_id")
    timestamp = cells.time("timestamp")
    frames: dict[Role, pl.DataFrame] = {}
    if "reviews" in source.holds:
        rating, title, words = cells.number("rating"), cells.text("title"), cells.text("text")
        frames["reviews"] = pl.DataFrame([item_id, user_id, rating, title, words, timestamp])
    if "interactions" in source.holds:
        kind, value, position = cells.kind(source.kind), cells.number("value"), cells.whole("position")
        frames["interactions"] = pl.DataFrame([user_id, item_id, kind, timestamp, value, position])
    what = source.holds[0]
    unknown = item_id.is_not_null() & ~item_id.is_in(known.implode())
    cells.refuse(unknown, f"{what} of unknown items", "item {} is not among the items", item_id, misfit=False)
    return cells.tables(frames)


def _relations(source: Source, batch: Batch) -> Tables:
    import polars as pl

    cells = _Cells(source, batch)
    return cells.tables({"relations": pl.DataFrame([cells.identifier(name) for name in RELATION_COLUMNS])})


class _Cells:
    """The columns of a batch under our names, and what is wrong with its rows; the first fault of a row is the one told."""

    def __init__(self, source: Source, batch: Batch) -> None:
        self._source, self._batch = source, batch
        self._faults: dict[int, Rejected] = {}

    def identifier(self, name: str) -> pl.Series:
        values = identifiers(self._raw(name))
        self.refuse(values.is_null(), f"lines without {'an' if name == 'item_id' else 'a'} {name}", f"no {name}")
        return values.alias(name)

    def time(self, name: str) -> pl.Series:
        raw = self._raw(name)
        values, bad = milliseconds(raw)
        wanted = "{} is no time (wanted seconds or milliseconds since 1970, or ISO 8601 such as 2024-01-31T18:00:00Z)"
        self.refuse(bad, f"{name}s that are no time", f"{name} {wanted}", raw)
        return values.alias(name)

    def number(self, name: str) -> pl.Series:
        raw = self._raw(name)
        values, bad = numbers(raw)
        self.refuse(bad, f"{name}s that are no finite number", f"{name} {{}} is not a finite number", raw)
        return values.alias(name)

    def whole(self, name: str) -> pl.Series:
        raw = self._raw(name)
        values, bad = whole_numbers(raw)
        self.refuse(bad, f"{name}s that are no whole number", f"{name} {{}} is not a whole number", raw)
        return values.alias(name)

    def text(self, name: str) -> pl.Series:
        import polars as pl

        return self._raw(name).cast(pl.String).fill_null("").alias(name)

    def kind(self, fixed: str | None) -> pl.Series:
        import polars as pl

        if fixed is not None:
            return pl.repeat(fixed, len(self._batch.lines), dtype=pl.String, eager=True).alias("kind")
        raw = self._raw("kind").cast(pl.String)
        values = raw.str.strip_chars().str.to_lowercase().replace("", None).fill_null("purchase")
        unknown = ~values.is_in(list(KIND_WEIGHTS))
        self.refuse(unknown, "unknown kinds", f"unknown kind {{}}, wanted one of {', '.join(KIND_WEIGHTS)}", raw)
        return values.alias("kind")

    def refuse(self, mask: pl.Series, problem: str, cause: str, shown: pl.Series | None = None, *, misfit: bool = True) -> None:
        """Marks rows as rejected; `{}` in the cause is the cell's value."""
        for row in mask.arg_true().to_list():
            if row not in self._faults:
                words = cause if shown is None else cause.replace("{}", f'"{str(shown[row])[:60]}"', 1)
                self._faults[row] = Rejected(self._batch.lines[row], problem, words, self._batch.content(row), misfit)

    def tables(self, frames: dict[Role, pl.DataFrame]) -> Tables:
        """The frames without the rejected rows."""
        import polars as pl

        if self._faults:
            rows = pl.Series(list(self._faults), dtype=pl.Int64)
            keep = ~pl.int_range(len(self._batch.lines), eager=True).is_in(rows.implode())
            frames = {role: frame.filter(keep) for role, frame in frames.items()}
        return Tables(frames, [*self._batch.unreadable, *self._faults.values()])

    def _raw(self, name: str) -> pl.Series:
        return self._batch.column(self._source.columns.get(name, (name,)))
