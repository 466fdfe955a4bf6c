"""Parsing of interactions, reviews and relations: from batches of raw columns to validated tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..records import INTERACTION_COLUMNS, KIND_WEIGHTS, RELATION_COLUMNS, REVIEW_COLUMNS
from .formats.base import Role, Source
from .rows.batch import Batch, RejectedLine
from .rows.value_parsing import parse_identifiers, parse_integers, parse_numbers, parse_timestamps

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class ParsedBatch:
    """Result of parsing one batch.

    Attributes:
        frames: One table per role of the source, rows in line order.
        rejected: The lines that are not used.
    """

    frames: dict[Role, pl.DataFrame]
    rejected: list[RejectedLine]


def parse_batch(source: Source, batch: Batch, known: pl.Series) -> ParsedBatch:
    """Parse the interactions, reviews or relations of a batch.

    Args:
        source: File that the batch comes from.
        batch: Raw rows.
        known: All item ids; lines about other items are rejected.
    """
    return _relations(source, batch) if "relations" in source.holds else _events(source, batch, known)


def empty_table(role: Role) -> pl.DataFrame:
    """Empty table of a role, with its column types."""
    import polars as pl

    types = {"rating": pl.Float64, "value": pl.Float64, "timestamp": pl.Int64, "position": pl.Int64}
    names = {"interactions": INTERACTION_COLUMNS, "reviews": REVIEW_COLUMNS, "relations": RELATION_COLUMNS}[role]
    return pl.DataFrame(schema={name: types.get(name, pl.String) for name in names})


def _events(source: Source, batch: Batch, known: pl.Series) -> ParsedBatch:
    import polars as pl

    columns = _ColumnParser(source, batch)
    item_id, user_id = columns.identifier("item_id"), columns.identifier("user_id")
    timestamp = columns.time("timestamp")
    frames: dict[Role, pl.DataFrame] = {}
    if "reviews" in source.holds:
        rating, title, text = columns.number("rating"), columns.text("title"), columns.text("text")
        frames["reviews"] = pl.DataFrame([item_id, user_id, rating, title, text, timestamp])
    if "interactions" in source.holds:
        kind, value, position = columns.kind(source.kind), columns.number("value"), columns.integer("position")
        frames["interactions"] = pl.DataFrame([user_id, item_id, kind, timestamp, value, position])
    role = source.holds[0]
    unknown = item_id.is_not_null() & ~item_id.is_in(known.implode())
    columns.reject(unknown, f"{role} of unknown items", "item {} is not among the items", item_id, wrong_format=False)
    return columns.without_rejected(frames)


def _relations(source: Source, batch: Batch) -> ParsedBatch:
    import polars as pl

    columns = _ColumnParser(source, batch)
    return columns.without_rejected({"relations": pl.DataFrame([columns.identifier(name) for name in RELATION_COLUMNS])})


class _ColumnParser:
    """Parses columns of a batch by our names and collects invalid rows; only the first error of a row is reported."""

    def __init__(self, source: Source, batch: Batch) -> None:
        self._source, self._batch = source, batch
        self._rejected: dict[int, RejectedLine] = {}

    def identifier(self, name: str) -> pl.Series:
        values = parse_identifiers(self._raw(name))
        self.reject(values.is_null(), f"lines without {'an' if name == 'item_id' else 'a'} {name}", f"no {name}")
        return values.alias(name)

    def time(self, name: str) -> pl.Series:
        raw = self._raw(name)
        values, bad = parse_timestamps(raw)
        cause = f"{name} {{}} is not a time (use seconds or milliseconds since 1970, or ISO 8601 such as 2024-01-31T18:00:00Z)"
        self.reject(bad, f"{name}s that are no time", cause, raw)
        return values.alias(name)

    def number(self, name: str) -> pl.Series:
        raw = self._raw(name)
        values, bad = parse_numbers(raw)
        self.reject(bad, f"{name}s that are no finite number", f"{name} {{}} is not a finite number", raw)
        return values.alias(name)

    def integer(self, name: str) -> pl.Series:
        raw = self._raw(name)
        values, bad = parse_integers(raw)
        self.reject(bad, f"{name}s that are no whole number", f"{name} {{}} is not a whole number", raw)
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
        self.reject(unknown, "unknown kinds", f"unknown kind {{}}, expected one of {', '.join(KIND_WEIGHTS)}", raw)
        return values.alias("kind")

    def reject(self, mask: pl.Series, problem: str, cause: str, values: pl.Series | None = None, *, wrong_format: bool = True) -> None:
        """Mark rows as rejected; `{}` in the cause is replaced by the value."""
        for row in mask.arg_true().to_list():
            if row not in self._rejected:
                text = cause if values is None else cause.replace("{}", f'"{str(values[row])[:60]}"', 1)
                self._rejected[row] = RejectedLine(self._batch.lines[row], problem, text, self._batch.content(row), wrong_format)

    def without_rejected(self, frames: dict[Role, pl.DataFrame]) -> ParsedBatch:
        """The tables without the rejected rows."""
        import polars as pl

        if self._rejected:
            rows = pl.Series(list(self._rejected), dtype=pl.Int64)
            keep = ~pl.int_range(len(self._batch.lines), eager=True).is_in(rows.implode())
            frames = {role: frame.filter(keep) for role, frame in frames.items()}
        return ParsedBatch(frames, [*self._batch.unreadable, *self._rejected.values()])

    def _raw(self, name: str) -> pl.Series:
        return self._batch.column(self._source.columns.get(name, (name,)))
