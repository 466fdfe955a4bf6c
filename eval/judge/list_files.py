"""The objects of a file of recommendations, whatever holds them: JSON lines, JSON over several lines, parquet, csv.

`recommend --json > file` writes one object over many lines, `>>` several of them behind each other; a table has a row an answer
(`recommendations` is a list) or a row a recommendation (`user_id` and `title` or `item_id`), in the order of `rank` where there is one.
What the objects say is for `judged` to make out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...data.errors import FormatError

LONGEST = 2_000_000
"""Characters of an object; a longer one is no answer to one person."""
TABLES = (".parquet", ".csv", ".tsv")
_OF_ANSWER = ("user_id", "query", "text", "history")
_LISTS = ("history", "recommendations", "evidence", "category")
_WANTED = 'an answer of `crossaisle recommend --json` each, {"user_id": ..., "recommendations": [...]}, or a table with user_id and title'


def objects(path: Path) -> Iterator[tuple[int, Any]]:
    """The JSON value of each answer with the line, or the row of a table, that it begins in.

    Raises: FormatError: the file cannot be read, or holds something else.
    """
    if path.suffix.lower() in TABLES:
        yield from _rows(path)
        return
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = "a parquet file is named .parquet" if _begins(path, b"PAR1") else str(error)
        raise FormatError(path, None, f"it cannot be read as a file of recommendations, {_WANTED} ({what})") from error
    yield from _values(path, text)


def _values(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """One value a line; where a line is none, values that go over lines; the items of a list."""
    # Not `splitlines`, which also ends a line at characters that may stand inside a JSON string.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(lines) > 1 and lines[0][1].lstrip()[0] in "{[" and not _whole(lines[0][1]):
        yield from _over_lines(path, text)
        return
    for number, line in lines:
        value = _value(path, number, line)
        yield from ((number, one) for one in (value if isinstance(value, list) and len(lines) == 1 else [value]))


def _value(path: Path, number: int, line: str) -> Any:
    if len(line) > LONGEST:
        raise FormatError(path, number, f"a line of {len(line):,} characters; {LONGEST:,} at most")
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FormatError(path, number, f"no JSON object ({error}); wanted is {_WANTED}") from None


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _over_lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    decoder, place = json.JSONDecoder(), 0
    while rest := text[place:].lstrip():
        place = len(text) - len(rest)
        number = text.count("\n", 0, place) + 1
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise FormatError(path, number, f"no JSON object ({error}); wanted is {_WANTED}") from None
        yield from ((number, one) for one in (value if isinstance(value, list) else [value]))


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    """The answers of a table."""
    import polars as pl

    try:
        if path.suffix.lower() == ".parquet":
            table = pl.read_parquet(path)
        else:
            # All as text: a user id such as 007 is no number.
            table = pl.read_csv(path, separator="\t" if path.suffix.lower() == ".tsv" else ",", infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FormatError(path, None, f"it cannot be read as a table of recommendations ({' '.join(str(error).split())[:200]})") from error
    names = set(table.columns)
    rows = ({name: _cell(name, value) for name, value in row.items()} for row in table.iter_rows(named=True))
    if "recommendations" in names:
        yield from enumerate(rows, 1)
    elif names >= {"user_id"} and names & {"title", "item_id"}:
        yield from _grouped(path, rows)
    else:
        found = ", ".join(table.columns[:12]) or "none"
        raise FormatError(path, None, f"its columns are {found}; wanted are user_id and title or item_id, or user_id and recommendations")


def _grouped(path: Path, rows: Iterator[dict[str, Any]]) -> Iterator[tuple[int, Any]]:
    """Rows of one recommendation each as answers, users in the order of their first rows."""
    of_user: dict[str, list[tuple[float, int, dict[str, Any]]]] = {}
    for number, row in enumerate(rows, 1):
        try:
            rank = float(row.get("rank") or number)
        except (TypeError, ValueError):
            raise FormatError(path, number, f"a rank that is no number: {str(row['rank'])[:40]!r}") from None
        of_user.setdefault(str(row["user_id"] if row["user_id"] is not None else ""), []).append((rank, number, row))
    for user, found in of_user.items():
        first = min(number for _, number, _ in found)
        told = next(row for _, number, row in found if number == first)
        entries = [row for _, _, row in sorted(found, key=lambda one: one[:2])]
        yield first, {**{name: told[name] for name in _OF_ANSWER if name in told}, "user_id": user, "recommendations": entries}


def _cell(name: str, value: Any) -> Any:
    """A cell, which may hold JSON as text: a list or an object where one is wanted, a number where it is a price."""
    if not isinstance(value, str):
        return value
    if name == "price":
        try:
            return float(value)
        except ValueError:
            return None
    if (name in _LISTS and value[:1] in "[") or (name in ("query", "explanation") and value[:1] == "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    # One fact, or one thing that somebody had, needs no brackets.
    return ([value] if value else []) if name in ("history", "evidence") else value


def _begins(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False
