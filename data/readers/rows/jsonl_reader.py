"""JSONL files (one JSON object per line) as batches of rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ...errors import FormatError
from .batch import RejectedLine
from .line_reader import UNREADABLE, Block, LineReader
from .value_parsing import to_text

if TYPE_CHECKING:
    import polars as pl

# An unpaired surrogate escape such as \ud83d: valid JSON, but not a character, so that it cannot be stored.
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class JsonBatch:
    """Rows as JSON objects."""

    rows: list[dict[str, object]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    unreadable: list[RejectedLine] = field(default_factory=list)
    done: int = 0
    names: list[str] | None = None

    def fields(self) -> Sequence[str]:
        """See `Batch`."""
        if self.names is None:
            self.names = list(dict.fromkeys(chain.from_iterable(self.rows)))
        return self.names

    def column(self, names: Sequence[str]) -> pl.Series:
        """See `Batch`; Int64 or Float64 if all values are numbers of one type, else text."""
        import polars as pl

        if len(names) == 1:
            values = [row.get(names[0]) for row in self.rows]
        else:
            values = [next((row[name] for name in names if name in row), None) for row in self.rows]
        types = set(map(type, values)) - {type(None)}
        if types == {int} and all(-(2**63) <= value < 2**63 for value in cast(list[int], values) if value is not None):
            return pl.Series(names[0], values, dtype=pl.Int64)
        if types == {float}:
            return pl.Series(names[0], values, dtype=pl.Float64)
        return pl.Series(names[0], [to_text(value) for value in values], dtype=pl.String)

    def records(self) -> Iterator[dict[str, object]]:
        """See `Batch`."""
        return iter(self.rows)

    def content(self, index: int) -> str:
        """See `Batch`; the unchanged line."""
        return self.texts[index]


def read_jsonl(path: Path, chunk_rows: int) -> Iterator[JsonBatch]:
    """Yield the batches of a JSONL file; see `read_rows`.

    Raises:
        FormatError: The file is a single JSON list, or is not readable text.
    """
    lines = LineReader(path)
    batch = JsonBatch()
    blank = True
    for block in lines:
        for number, line in enumerate(block.lines, block.first):
            stripped = line.strip()
            if not stripped:
                continue
            if blank and stripped.startswith("["):
                raise FormatError(path, number, "starts with [ like a JSON list; expected one JSON object per line")
            blank = False
            _add_line(batch, block, number, stripped)
            if len(batch.rows) + len(batch.unreadable) >= chunk_rows:
                batch.done = lines.done
                yield batch
                batch = JsonBatch()
    if blank:
        raise FormatError(path, None, "the file is empty")
    batch.done = lines.done
    yield batch


def _add_line(batch: JsonBatch, block: Block, number: int, line: str) -> None:
    error = block.bad.get(number)
    if error is None:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as failure:
            message = failure.msg if isinstance(failure, json.JSONDecodeError) else str(failure)
            error = (UNREADABLE, f"not JSON: {message}")
        else:
            if isinstance(value, dict):
                if "\\ud" in line or "\\uD" in line:
                    value = _without_surrogates(value)
                batch.rows.append(value)
                batch.lines.append(number)
                batch.texts.append(line)
                return
            error = (UNREADABLE, f"a JSON {_NAMES.get(type(value), 'value')}, expected an object")
    batch.unreadable.append(RejectedLine(number, *error, content=line))


_NAMES = {list: "list", str: "text", int: "number", float: "number", bool: "boolean"}


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return _SURROGATE.sub("�", value)
    if isinstance(value, list):
        return [_without_surrogates(part) for part in value]
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(part) for name, part in value.items()}
    return value
