"""Item lines as the items table; the first line of an id wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from ..records import ITEM_COLUMNS
from .formats.base import Record, Source
from .rejects import Rejects
from .rows.batch import Batch, Rejected
from .rows.value_parsing import category, identifier, price, text, truth

if TYPE_CHECKING:
    import polars as pl

_MARK = "\x1f"  # the unit separator of ASCII, which text hardly ever holds
UNTITLED = "items without a title"
REPEATED = "repeated item ids (the first line counts)"
BAD_PRICE = "prices that are negative or no number"


class Items:
    """The items read so far, all in memory.

    Args: rejects: where lines go that are no items.
    """

    def __init__(self, rejects: Rejects) -> None:
        self._rejects = rejects
        self._rows: dict[str, tuple[object, ...]] = {}
        self._extras: list[Record] = []

    def add(self, source: Source, batch: Batch) -> None:
        """Takes the items of a batch. Raises: FormatError: see `Rejects.take`."""
        rejected = list(batch.unreadable)
        for index, record in enumerate(batch.records()):
            try:
                self._take(source, record)
            except _Unusable as fault:
                rejected.append(Rejected(batch.lines[index], fault.problem, fault.cause, batch.content(index)))
        self._rejects.take(source.path, rejected, batch.lines, batch.fields())

    def __len__(self) -> int:
        return len(self._rows)

    def frame(self) -> pl.DataFrame:
        """The table: `ITEM_COLUMNS` in order, then the extra columns as they came."""
        import polars as pl

        words = pl.String()
        types = (words, words, pl.List(words), words, words, pl.Float64(), words, pl.Boolean())
        columns = zip(*self._rows.values(), strict=True) if self._rows else ((),) * len(ITEM_COLUMNS)
        made = [
            _lists(name, values) if name == "category" else pl.Series(name, values, dtype=dtype)
            for name, values, dtype in zip(ITEM_COLUMNS, columns, types, strict=True)
        ]
        frame = pl.DataFrame(made)
        extras = dict.fromkeys(name for extra in self._extras for name in extra)
        return frame.with_columns([_column(name, [extra.get(name) for extra in self._extras]) for name in extras])

    def _take(self, source: Source, record: Record) -> None:
        ours = source.item(record) if source.item else _renamed(record, source.columns)
        item_id = identifier(ours.get("item_id"))
        if item_id is None:
            raise _Unusable("lines without an item_id", "no item_id")
        try:
            path = category(ours.get("category"))
        except ValueError as error:
            raise _Unusable("categories that are no path", f"category is {error}") from error
        try:
            in_stock = truth(ours.get("in_stock"))
        except ValueError as error:
            raise _Unusable("in_stock that is no truth value", f"in_stock {_shown(ours['in_stock'])} is {error}") from error
        amount = self._price(source, ours.get("price"))
        if item_id in self._rows:
            self._rejects.note(REPEATED)
            return
        title = _plain(ours.get("title"))
        if not title:
            self._rejects.note(UNTITLED)
        brand, image = _plain(ours.get("brand")) or None, _plain(ours.get("image")) or None
        self._rows[item_id] = (item_id, title, path, _plain(ours.get("description")), brand, amount, image, in_stock)
        self._extras.append(_extras(record, source.columns) if source.keeps_extras else {})

    def _price(self, source: Source, value: object) -> float | None:
        try:
            return price(value)
        except ValueError as error:
            if source.drops_bad_prices:
                self._rejects.note(f"{BAD_PRICE} (left empty)")
                return None
            raise _Unusable(BAD_PRICE, f"price {_shown(value)} is {error}") from error


class _Unusable(Exception):
    def __init__(self, problem: str, cause: str) -> None:
        super().__init__(cause)
        self.problem, self.cause = problem, cause


def _renamed(record: Record, columns: Mapping[str, tuple[str, ...]]) -> Record:
    return {ours: record[name] for ours, names in columns.items() if (name := _first(names, record)) is not None}


def _first(names: tuple[str, ...], record: Record) -> str | None:
    return next((name for name in names if name in record), None)


def _extras(record: Record, columns: Mapping[str, tuple[str, ...]]) -> Record:
    used = {_first(names, record) for names in columns.values()}
    # With `--map price=cost` a column of theirs that is itself called price is an extra, and must not take our name.
    return {f"source_{name}" if name in ITEM_COLUMNS else name: value for name, value in record.items() if name and name not in used}


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(part for one in value if (part := _plain(one)))
    return (text(value) or "").strip()


def _shown(value: object) -> str:
    return f'"{(text(value) or "")[:60]}"'


def _column(name: str, values: list[object]) -> pl.Series:
    """An extra column in the plainest type that holds all of it; what fits none is kept as JSON text."""
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
    return pl.Series(name, [text(value) for value in values], dtype=pl.String)


def _lists(name: str, values: Sequence[object]) -> pl.Series:
    """Lists of text as a column. polars takes them one by one, twenty times slower than a text that it splits itself."""
    import polars as pl

    lists = cast(Sequence[list[str] | None], values)
    joined = [None if value is None else _MARK.join(value) for value in lists]
    if any(_MARK in part or not part for value in lists if value for part in value):  # these a split would not give back
        return pl.Series(name, lists, dtype=pl.List(pl.String))
    column = pl.Series(name, joined, dtype=pl.String)
    nothing = pl.lit([], dtype=pl.List(pl.String))
    return pl.select(pl.when(column == "").then(nothing).otherwise(column.str.split(_MARK)).alias(name)).to_series()
