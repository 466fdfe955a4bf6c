"""Parsing of cells: times, numbers and ids of whole columns; prices, categories and booleans of single values.

Functions on columns return the values and a mask of the invalid cells; functions on single values raise `ValueError` with the cause.
Empty cells are null, never an error.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# A number below 1e11 is seconds (until the year 5138), below 1e14 milliseconds, below 1e17 microseconds, else nanoseconds.
_SECONDS, _MILLIS, _MICROS, _MAX_NUMBER = 1e11, 1e14, 1e17, 9.2e18
_ISO = (
    r"^(?<date>\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](?<hour>[01]\d|2[0-3]):(?<minute>[0-5]\d)(?::(?<second>[0-5]\d|60)(?:[.,](?<part>\d{1,9}))?)?"
    r" ?(?<zone>[Zz]|UTC|(?<sign>[+-])(?<zh>[01]\d|2[0-3]):?(?<zm>[0-5]\d)?)?)?$"
)
_AMOUNT = re.compile(r"\d(?:[\d.,'\u00a0\u202f]| (?=\d{3}(?!\d)))*")
_CURRENCY_CODE = re.compile(r"\b[A-Z]{3}(?=\d)|(?<=\d)[A-Z]{3}\b")
_TRUE = frozenset(("true", "yes", "1", "y", "t", "in stock", "instock"))
_FALSE = frozenset(("false", "no", "0", "n", "f", "out of stock", "outofstock"))


def to_text(value: object) -> str | None:
    """A single value as text: whole numbers without a decimal point, booleans as true/false, lists and objects as JSON; null as None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, list | dict | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)


def parse_identifier(value: object) -> str | None:
    """A single id as stripped text; None if it is empty, not finite, a list or a boolean."""
    if isinstance(value, bool | list | dict | tuple) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return (to_text(value) or "").strip() or None


def parse_identifiers(column: pl.Series) -> pl.Series:
    """Ids as stripped text, null if empty. Whole floats lose the decimal point that pandas adds."""
    import polars as pl

    if column.dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)
        other = pl.select(pl.when(column.is_finite()).then(column)).to_series().cast(pl.String)
        column = pl.select(pl.when(whole == column).then(whole.cast(pl.String)).otherwise(other)).to_series()
    stripped = column.cast(pl.String).str.strip_chars()
    return pl.select(pl.when(stripped != "").then(stripped)).to_series()


def parse_numbers(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """(Float64 values, mask of the cells that are not a finite number)."""
    import polars as pl

    if column.dtype == pl.String:
        column = column.str.strip_chars()
        given = column.is_not_null() & (column != "")
        values = column.cast(pl.Float64, strict=False)
    else:
        given = column.is_not_null()
        values = column.cast(pl.Float64, strict=False)
    bad = given & ~values.is_finite().fill_null(False)
    return pl.select(pl.when(~bad).then(values)).to_series(), bad.fill_null(False)


def parse_integers(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """(Int64 values, mask of the cells that are not a whole number)."""
    import polars as pl

    values, bad = parse_numbers(column)
    whole = values.cast(pl.Int64, strict=False)
    bad = bad | (values.is_not_null() & ~(whole == values).fill_null(False))
    return pl.select(pl.when(~bad).then(whole)).to_series(), bad


def parse_timestamps(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """(Int64 milliseconds since 1970 UTC, mask of the cells that are not a time).

    Numbers are seconds below 1e11 (either sign), milliseconds below 1e14, microseconds below 1e17, else nanoseconds; a number that looks
    like a date without dashes (20240131) is invalid, not a time in 1970. Text is a number or ISO 8601; the default time zone is UTC.
    """
    import polars as pl

    if column.dtype in (pl.Datetime, pl.Date):
        moments = column.cast(pl.Datetime("ms")) if column.dtype == pl.Date else column
        return moments.dt.epoch("ms"), pl.repeat(False, len(column), eager=True)
    if column.dtype != pl.String:
        values, bad = parse_numbers(column)
        return _scaled(values, bad)
    column = column.str.strip_chars()
    given = (column.is_not_null() & (column != "")).fill_null(False)
    values = column.cast(pl.Float64, strict=False)
    numeric, bad = _scaled(values, given & values.is_not_null() & ~values.is_finite().fill_null(True))
    is_text = given & values.is_null()
    if not is_text.any():
        return numeric, bad
    parsed = _iso(pl.select(pl.when(is_text).then(column)).to_series())
    return numeric.fill_null(parsed), bad | (is_text & parsed.is_null())


def _scaled(values: pl.Series, bad: pl.Series) -> tuple[pl.Series, pl.Series]:
    import polars as pl

    frame = pl.DataFrame({"v": values, "bad": bad})
    v, size = pl.col("v"), pl.col("v").abs()
    day, month = v % 100, (v // 100) % 100
    dashless = v.is_between(19000101, 20991231) & (v == v.floor()) & month.is_between(1, 12) & day.is_between(1, 31)
    factor = pl.when(size < _SECONDS).then(1e3).when(size < _MILLIS).then(1.0).when(size < _MICROS).then(1e-3).otherwise(1e-6)
    invalid = pl.col("bad") | dashless.fill_null(False) | (size > _MAX_NUMBER).fill_null(False)
    frame = frame.select(invalid.alias("bad"), pl.when(~invalid).then((v * factor).round(0)).cast(pl.Int64).alias("ms"))
    return frame["ms"], frame["bad"]


def _iso(column: pl.Series) -> pl.Series:
    """Int64 milliseconds of ISO 8601 text, null for other text."""
    import polars as pl

    parts = pl.DataFrame({"text": column}).select(pl.col("text").str.extract_groups(_ISO).alias("parts")).unnest("parts")

    def whole(name: str) -> pl.Expr:
        return pl.col(name).cast(pl.Int64, strict=False).fill_null(0)

    day = pl.col("date").str.to_date("%Y-%m-%d", strict=False).cast(pl.Int64) * 86_400_000
    clock = (whole("hour") * 60 + whole("minute")) * 60_000 + whole("second") * 1000
    part = (pl.concat_str(pl.lit("0."), pl.col("part").fill_null("0")).cast(pl.Float64) * 1000).round(0).cast(pl.Int64)
    offset = (whole("zh") * 60 + whole("zm")) * 60_000 * pl.when(pl.col("sign") == "-").then(-1).otherwise(1)
    return parts.select((day + clock + part - offset).alias("ms"))["ms"]


def parse_price(value: object) -> float | None:
    """A price; None if empty. Accepts numbers and text such as `$1,299.00`, `12,99 €`, `from 12.99`, `10 - 20` (the lower).

    Raises:
        ValueError: Not a finite number, or negative.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        amount = _amount(value.strip())
    else:
        try:
            amount = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            amount = math.nan
    if not math.isfinite(amount):
        raise ValueError("not a finite number")
    if amount < 0:
        raise ValueError("negative")
    return amount


def _amount(text: str) -> float:
    try:
        return float(text) if "_" not in text else math.nan
    except ValueError:
        pass
    text = _CURRENCY_CODE.sub(" ", text)
    match = _AMOUNT.search(text)
    if match is None or re.search(r"[A-Za-z]\d|\d[A-Za-z]", text):
        return math.nan
    digits = re.sub(r"['\u00a0\u202f ]", "", match[0]).rstrip(".,")
    # The last of two separators is the decimal one; a single comma is a thousands separator only before exactly three digits.
    if "," in digits and "." in digits:
        thousands, decimal = (",", ".") if digits.rfind(".") > digits.rfind(",") else (".", ",")
        digits = digits.replace(thousands, "").replace(decimal, ".")
    elif "," in digits:
        whole, _, rest = digits.rpartition(",")
        digits = digits.replace(",", "") if len(rest) == 3 and whole != "0" else f"{whole}.{rest}"
    sign = -1 if re.match(r"[^\d]*[-−]\s*[^\d]*$", text[: match.start()]) else 1
    try:
        return sign * float(digits)
    except ValueError:
        return math.nan


def parse_bool(value: object) -> bool | None:
    """A boolean; None if empty.

    Raises:
        ValueError: Neither true nor false.
    """
    text = (to_text(value) or "").strip().lower()
    if not text:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError("neither true nor false")


def parse_category(value: object) -> list[str]:
    """A category path, broad to narrow, from a list or a text `A > B > C`; empty parts are dropped.

    Raises:
        ValueError: Neither a list nor text.
    """
    if value is None:
        return []
    if isinstance(value, str):
        parts: list[object] = list(value.split(">"))
    elif isinstance(value, list | tuple):
        parts = list(value)
    else:
        raise ValueError("neither a list nor text")
    if any(isinstance(part, list | dict | tuple) for part in parts):
        raise ValueError("a list within a list")
    return [name for part in parts if (name := (to_text(part) or "").strip())]
