"""Segment results as CSV for a spreadsheet: one line for each need, and one for each of its items.

The functions take the JSON of a result, so that the CSV has the same figures as the JSON, to the last digit.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")
SEGMENT_COLUMNS = (
    "category", "item_id", "title", "users", "of", "share", "base_rate", "lift", "lift_low", "lift_high", "reach", "median_days", "source",
    "sentence",
)  # fmt: skip
COMPARISON_COLUMNS = ("category", "users_1", "users_2", "share_1", "share_2", "ratio", "ratio_low", "ratio_high", "fdr")


def segment_csv(result: Mapping[str, Any]) -> str:
    """The CSV of a `SegmentResult` as JSON; a line without an item_id is the category as a whole."""
    rows: list[list[object]] = []
    for need in result["needs"]:
        path, (low, high) = " > ".join(need["category"]), need["lift_interval"] or (None, None)
        statistics = [need[name] for name in ("users", "of", "share", "base_rate", "lift")]
        rows.append(
            [path, None, None, *statistics, low, high, need["reach"], need["median_days"], "+".join(need["sources"]), need["sentence"]]
        )
        for item in need["items"]:
            low, high = item["lift_interval"] or (None, None)
            statistics = [item["users"], None, None, None, item["lift"]]
            rows.append([path, item["item_id"], item["title"], *statistics, low, high, None, None, None, None])
    return _csv(SEGMENT_COLUMNS, rows)


def comparison_csv(comparison: Mapping[str, Any]) -> str:
    """The CSV of a `CohortComparison` as JSON: the categories in which two groups differ."""
    rows = [
        [
            " > ".join(difference["category"]),
            *difference["users"],
            *difference["share"],
            difference["ratio"],
            *difference["ratio_interval"],
            difference["fdr"],
        ]
        for difference in comparison["differences"]
    ]
    return _csv(COMPARISON_COLUMNS, rows)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: untrusted text that begins like a formula is prefixed with an apostrophe."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        escaped = f"'{value}" if value.startswith(_FORMULA_PREFIXES) else value
        return escaped.replace("\r", "\n")  # Python's csv quotes only the line end that it writes: a bare \r would begin a line
    return value
