"""Cells and tables in Markdown whose figures are read from the result files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from benchmark_figures import figure, formatted

PLACEHOLDER = re.compile(r"\[\[(?P<path>[^;\]]+); (?P<format>[^\]]+)\]\]")
"""A figure in a template, as `[[PATH; FORMAT]]`."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def fill(template: str, name: str) -> str:
    """A template with its figures."""
    return PLACEHOLDER.sub(lambda found: formatted(figure(name, found["path"]), found["format"]), template)


def values(name: str, *cells: str) -> list[str]:
    return [fill(cell, name) for cell in cells]
