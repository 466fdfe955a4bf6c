"""The items table, built from item lines; of repeated ids the first line counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from ..records import ITEM_COLUMNS
from .formats.base import Record, Source
from .rejects import Rejects
from .rows.batch import Batch, RejectedLine
from .rows.value_parsing import parse_bool, parse_category, parse_identifier, parse_price, to_text

if TYPE_CHECKING:
    import polars as pl

_SEPARATOR = "\x1f"  # the ASCII unit separator, which texts hardly ever contain
UNTITLED = "items without a title"
REPEATED = "repeated item ids (the first line counts)"
BAD_PRICE = "prices that are negative or no number"


class ItemTableBuilder:
    """Collects the items of all batches in memory.

    Args:
        rejects: Receives the lines that are not valid items.
    """

    def __init__(self, rejects: Rejects) -> None:
        self._rejects = rejects
        self._rows: dict[str, tuple[object, ...]] = {}
        self._extras: list[Record] = []

    def add(self, source: Source, batch: Batch) -> None:
        """Add the items of a batch.

        Raises:
            FormatError: See `Rejects.take`.
        """
        rejected = list(batch.unreadable)
        for index, record in enumerate(batch.records()):
            try:
                self._take(source, record)
            except _InvalidItem as error:
                rejected.append(RejectedLine(batch.lines[index], error.problem, error.cause, batch.content(index)))
        self._rejects.take(source.path, rejected, batch.lines, batch.fields())

    def __len__(self) -> int:
        return len(self._rows)

    def frame(self) -> pl.DataFrame:
        """The table: `ITEM_COLUMNS` in order, then the extra columns in input order."""
        import polars as pl

        string = pl.String()
        types = (string, string, pl.List(string), string, string, pl.Float64(), string, pl.Boolean())
        columns = zip(*self._rows.values(), strict=True) if self._rows else ((),) * len(ITEM_COLUMNS)
        series = [
            _lists(name, values) if name == "category" else pl.Series(name, values, dtype=dtype)
            for name, values, dtype in zip(ITEM_COLUMNS, columns, types, strict=True)
        ]
        frame = pl.DataFrame(series)
        extras = dict.fromkeys(name for extra in self._extras for name in extra)
        return frame.with_columns([_column(name, [extra.get(name) for extra in self._extras]) for name in extras])

    def _take(self, source: Source, record: Record) -> None:
        fields = source.item(record) if source.item else _renamed(record, source.columns)
        item_id = parse_identifier(fields.get("item_id"))
        if item_id is None:
            raise _InvalidItem("lines without an item_id", "no item_id")
        try:
            path = parse_category(fields.get("category"))
        except ValueError as error:
            raise _InvalidItem("categories that are no path", f"category is {error}") from error
        try:
            in_stock = parse_bool(fields.get("in_stock"))
        except ValueError as error:
            raise _InvalidItem("in_stock that is no truth value", f"in_stock {_quoted(fields['in_stock'])} is {error}") from error
        amount = self._price(source, fields.get("price"))
        if item_id in self._rows:
            self._rejects.note(REPEATED)
            return
        title = _plain(fields.get("title"))
        if not title:
            self._rejects.note(UNTITLED)
        brand, image = _plain(fields.get("brand")) or None, _plain(fields.get("image")) or None
        self._rows[item_id] = (item_id, title, path, _plain(fields.get("description")), brand, amount, image, in_stock)
        self._extras.append(_extras(record, source.columns) if source.keeps_extras else {})

    def _price(self, source: Source, value: object) -> float | None:
        try:
            return parse_price(value)
        except ValueError as error:
            if source.drops_bad_prices:
                self._rejects.note(f"{BAD_PRICE} (left empty)")
                return None
            raise _InvalidItem(BAD_PRICE, f"price {_quoted(value)} is {error}") from error


class _InvalidItem(Exception):
    def __init__(self, problem: str, cause: str) -> None:
        super().__init__(cause)
        self.problem, self.cause = problem, cause


def _renamed(record: Record, columns: Mapping[str, tuple[str, ...]]) -> Record:
    return {ours: record[name] for ours, names in columns.items() if (name := _first(names, record)) is not None}


def _first(names: tuple[str, ...], record: Record) -> str | None:
    return next((name for name in names if name in record), None)


def _extras(record: Record, columns: Mapping[str, tuple[str, ...]]) -> Record:
    used = {_first(names, record) for names in columns.values()}
    # With `--map price=cost` an input column that is itself named price is an extra and must not take our name.
    return {f"source_{name}" if name in ITEM_COLUMNS else name: value for name, value in record.items() if name and name not in used}


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(text for part in value if (text := _plain(part)))
    return (to_text(value) or "").strip()


def _quoted(value: object) -> str:
    return f'"{(to_text(value) or "")[:60]}"'


def _column(name: str, values: list[object]) -> pl.Series:
    """An extra column in the simplest type that fits all values; mixed values become JSON text."""
    import polars as pl

    types = {type(value) for value in values if value is not None}
    if types == {int, float}:
        return pl.Series(name, values, dtype=pl.Float64, strict=False)
    if types == {list} and all(isinstance(part, str) for value in values if isinstance(value, list) for part in value):
        return _lists(name, values)
    if len(types) == 1 and not types & {list, dict, tuple, str}:
        try:
            return pl.Series(name, values)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            pass
    return pl.Series(name, [to_text(value) for value in values], dtype=pl.String)


def _lists(name: str, values: Sequence[object]) -> pl.Series:
    """Lists of text as a column; joined and split by polars, which is twenty times faster than passing lists one by one."""
    import polars as pl

    lists = cast(Sequence[list[str] | None], values)
    joined = [None if value is None else _SEPARATOR.join(value) for value in lists]
    if any(_SEPARATOR in part or not part for value in lists if value for part in value):  # not restored by a split
        return pl.Series(name, lists, dtype=pl.List(pl.String))
    column = pl.Series(name, joined, dtype=pl.String)
    no_parts = pl.lit([], dtype=pl.List(pl.String))
    return pl.select(pl.when(column == "").then(no_parts).otherwise(column.str.split(_SEPARATOR)).alias(name)).to_series()
