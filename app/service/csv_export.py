"""Answers as csv, for a spreadsheet: one line a need, and one for each of its items."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...recommend.segments.results import CohortComparison, SegmentResult

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = (
    "category", "item_id", "title", "users", "of", "share", "base_rate", "lift", "lift_low", "lift_high", "reach", "median_days", "source",
    "sentence",
)  # fmt: skip


def finding(found: SegmentResult) -> str:
    """A probe's answer; a line without an item_id is the category as a whole."""
    return segment_csv(found.to_dict())


def segment_csv(found: Mapping[str, Any]) -> str:
    """The same of an answer as JSON holds it, so that a table says what the JSON of the same answer says, to the last digit."""
    rows: list[list[object]] = []
    for need in found["needs"]:
        path, (low, high) = " > ".join(need["category"]), need["lift_interval"] or (None, None)
        figures = [need[name] for name in ("users", "of", "share", "base_rate", "lift")]
        rows.append(
            [path, None, None, *figures, low, high, need["reach"], need["median_days"], "+".join(need["sources"]), need["sentence"]]
        )
        for item in need["items"]:
            low, high = item["lift_interval"] or (None, None)
            told = [item["users"], None, None, None, item["lift"], low, high]
            rows.append([path, item["item_id"], item["title"], *told, None, None, None, None])
    return _csv(COLUMNS, rows)


def comparison(compared: CohortComparison) -> str:
    """The categories in which two groups differ."""
    return comparison_csv(compared.to_dict())


def comparison_csv(found: Mapping[str, Any]) -> str:
    """The same of a comparison as JSON holds it."""
    columns = ("category", "users_1", "users_2", "share_1", "share_2", "ratio", "ratio_low", "ratio_high", "fdr")
    rows = [
        [" > ".join(one["category"]), *one["users"], *one["share"], one["ratio"], *one["ratio_interval"], one["fdr"]]
        for one in found["differences"]
    ]
    return _csv(columns, rows)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: a stranger's text that begins like one gets an apostrophe before it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        marked = f"'{value}" if value.startswith(_FORMULA) else value
        return marked.replace("\r", "\n")  # Python's csv quotes only the line end it writes: a bare \r would begin a line
    return value
