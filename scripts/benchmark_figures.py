"""Figures of benchmarks/results/*.json: lookup by path and formatting. Standard library only."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
FORMAT = re.compile(r"(?P<ci>ci:)?(?P<spec>[+,]*(?:\.\d+)?[fd%s])(?:(?P<operator>[*/])(?P<factor>\d+))?")


class UnknownFigureError(Exception):
    """A mark or a template names a file, path or format that does not exist."""


@cache
def content(name: str) -> dict[str, Any]:
    """The content of one results file, by its name without `.json`."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        raise UnknownFigureError(f"no file benchmarks/results/{name}.json")
    result: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return result


def figure(name: str, path: str) -> Any:
    """The value at a path of a results file.

    Args:
        name: File name without `.json`.
        path: Keys below `figures`, joined by `/`; `{key}` and `PATH over PATH` as in the module docstring.

    Raises:
        UnknownFigureError: There is no such file or key.
    """
    if " over " in path:
        over, under = (figure(name, part) for part in path.split(" over "))
        return over / under - 1
    top = value = content(name)["figures"]
    for key in path.split("/"):
        try:
            key = re.sub(r"\{(.+?)\}", lambda found: str(top[found[1]]), key)
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise UnknownFigureError(f"no {path!r} in benchmarks/results/{name}.json (at {key!r})") from None
    return value


def formatted(value: Any, spec: str) -> str:
    """A value as text; `n/a` for a value that the file leaves empty.

    Raises:
        UnknownFigureError: The format is not valid, or does not fit the value.
    """
    parts = FORMAT.fullmatch(spec)
    if parts is None:
        raise UnknownFigureError(f"no such format: {spec!r}")
    try:
        if parts["ci"]:
            value, low, high = (formatted(value[key], spec.removeprefix("ci:")) for key in ("value", "low", "high"))
            return value if "n/a" in (value, low, high) else f"{value} [{low}, {high}]"
        if value is None:
            return "n/a"
        if parts["operator"]:
            value = value * int(parts["factor"]) if parts["operator"] == "*" else value / int(parts["factor"])
        text = format(round(value) if parts["spec"].endswith("d") else value, parts["spec"])
    except (TypeError, KeyError, ValueError):
        raise UnknownFigureError(f"format {spec!r} does not fit {value!r}") from None
    text = re.sub(r"^[+-](0[.0]*%?)$", r"\1", text)  # no sign before a rounded zero
    return text.replace("%", " %")
