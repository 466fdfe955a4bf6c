"""JSON objects of a file of recommendation lists, from JSON lines, multi-line JSON, parquet or csv.

`recommend --json > file` writes one object over many lines, and `>>` appends more. A table has one row per list (column `recommendations`)
or one row per recommendation (`user_id` and `title` or `item_id`), ordered by `rank` if that column exists. Does not interpret the objects;
`recommendation_lists` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...data.errors import FormatError

MAX_OBJECT_CHARS = 2_000_000
"""Characters of a line; no list for one user is longer."""
TABLE_SUFFIXES = (".parquet", ".csv", ".tsv")
_LIST_FIELDS = ("user_id", "query", "text", "history")
"""Columns that belong to the whole list, not to one recommendation."""
_ARRAY_FIELDS = ("history", "recommendations", "evidence", "category")
_EXPECTED = 'output of `crossaisle recommend --json`, {"user_id": ..., "recommendations": [...]}, or a table with user_id and title'


def read_objects(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the JSON value of each list with the number of its first line or table row, from 1.

    Raises:
        FormatError: The file cannot be read or has another content.
    """
    if path.suffix.lower() in TABLE_SUFFIXES:
        yield from _read_table(path)
        return
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        cause = "a parquet file needs the suffix .parquet" if _starts_with(path, b"PAR1") else str(error)
        raise FormatError(path, None, f"cannot read recommendations ({cause}); expected {_EXPECTED}") from error
    yield from _read_json(path, text)


def _read_json(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Yield one value per line, the values of multi-line JSON, or the items of a single array."""
    # Not `splitlines`, which also splits at characters that may occur inside a JSON string.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(lines) > 1 and lines[0][1].lstrip()[0] in "{[" and not _is_json(lines[0][1]):
        yield from _read_multiline_json(path, text)
        return
    for number, line in lines:
        value = _parse_line(path, number, line)
        yield from ((number, item) for item in (value if isinstance(value, list) and len(lines) == 1 else [value]))


def _parse_line(path: Path, number: int, line: str) -> Any:
    if len(line) > MAX_OBJECT_CHARS:
        raise FormatError(path, number, f"line of {len(line):,} characters; the limit is {MAX_OBJECT_CHARS:,}")
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FormatError(path, number, f"no JSON object ({error}); expected {_EXPECTED}") from None


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _read_multiline_json(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    decoder, position = json.JSONDecoder(), 0
    while remainder := text[position:].lstrip():
        position = len(text) - len(remainder)
        number = text.count("\n", 0, position) + 1
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise FormatError(path, number, f"no JSON object ({error}); expected {_EXPECTED}") from None
        yield from ((number, item) for item in (value if isinstance(value, list) else [value]))


def _read_table(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the lists of a table."""
    import polars as pl

    try:
        if path.suffix.lower() == ".parquet":
            table = pl.read_parquet(path)
        else:
            # All columns as strings: a user id such as 007 must not become a number.
            table = pl.read_csv(path, separator="\t" if path.suffix.lower() == ".tsv" else ",", infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FormatError(path, None, f"cannot read a table of recommendations ({' '.join(str(error).split())[:200]})") from error
    columns = set(table.columns)
    rows = ({name: _parse_cell(name, value) for name, value in row.items()} for row in table.iter_rows(named=True))
    if "recommendations" in columns:
        yield from enumerate(rows, 1)
    elif columns >= {"user_id"} and columns & {"title", "item_id"}:
        yield from _group_by_user(path, rows)
    else:
        present = ", ".join(table.columns[:12]) or "none"
        raise FormatError(path, None, f"columns are {present}; expected user_id and title or item_id, or user_id and recommendations")


def _group_by_user(path: Path, rows: Iterator[dict[str, Any]]) -> Iterator[tuple[int, Any]]:
    """Group rows of one recommendation each into lists, users in the order of their first rows."""
    rows_by_user: dict[str, list[tuple[float, int, dict[str, Any]]]] = {}
    for number, row in enumerate(rows, 1):
        try:
            rank = float(row.get("rank") or number)
        except (TypeError, ValueError):
            raise FormatError(path, number, f"rank is not a number: {str(row['rank'])[:40]!r}") from None
        rows_by_user.setdefault(str(row["user_id"] if row["user_id"] is not None else ""), []).append((rank, number, row))
    for user, ranked_rows in rows_by_user.items():
        first = min(number for _, number, _ in ranked_rows)
        first_row = next(row for _, number, row in ranked_rows if number == first)
        entries = [row for _, _, row in sorted(ranked_rows, key=lambda ranked: ranked[:2])]
        list_fields = {name: first_row[name] for name in _LIST_FIELDS if name in first_row}
        yield first, {**list_fields, "user_id": user, "recommendations": entries}


def _parse_cell(name: str, value: Any) -> Any:
    """Return the value of a cell: a price as a number, arrays and objects from JSON text."""
    if not isinstance(value, str):
        return value
    if name == "price":
        try:
            return float(value)
        except ValueError:
            return None
    if (name in _ARRAY_FIELDS and value[:1] in "[") or (name in ("query", "explanation") and value[:1] == "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    # A single fact or history item needs no brackets.
    return ([value] if value else []) if name in ("history", "evidence") else value


def _starts_with(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False
