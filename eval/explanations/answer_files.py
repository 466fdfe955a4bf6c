"""Files of answers: what `crossaisle recommend --json` printed, one answer a line or one after another as the command prints them.

Checks what the measures of explanations read, and nothing else of an answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...data.errors import FormatError

_PARTS = {"text": str, "source": str, "verified": bool, "evidence": list}
_NAMES = {str: "text", bool: "truth value", list: "list"}
_GAP = re.compile(r"\s*")


def entries(path: Path) -> list[dict[str, Any]]:
    """The recommendations of all answers of a file, in order, as the JSON has them.

    Raises: FormatError: the file cannot be read, holds no answer, or holds something else; names the line where that begins.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(path, None, f"cannot be read ({type(error).__name__}); answers are JSON in UTF-8, one a line") from error
    found = [entry for line, answer in _values(path, text) for entry in _entries(path, line, answer)]
    if not text.strip():
        raise FormatError(path, None, "holds no answer; wanted what `crossaisle recommend --json` prints, one answer a line")
    return found


def _values(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """The JSON values that stand in a text one after another, each with the line where it begins."""
    decoder, at, line = json.JSONDecoder(), 0, 1
    while True:
        gap = _GAP.match(text, at)
        start = gap.end() if gap else at
        line += text.count("\n", at, start)
        if start == len(text):
            return
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            words = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            where = error.lineno if isinstance(error, json.JSONDecodeError) else line
            raise FormatError(path, where, f"not JSON: {words}") from error
        yield line, value
        line += text.count("\n", start, end)
        at = end


def _entries(path: Path, line: int, answer: Any) -> list[dict[str, Any]]:
    if not isinstance(answer, dict) or not isinstance(answer.get("recommendations"), list):
        raise FormatError(
            path, line, 'no answer: wanted an object with a list "recommendations", as `crossaisle recommend --json` prints it'
        )
    for number, entry in enumerate(answer["recommendations"], 1):
        if fault := _fault(entry):
            raise FormatError(path, line, f"recommendation {number}: {fault}")
    return list(answer["recommendations"])


def _fault(entry: Any) -> str | None:
    """What an entry lacks, in words."""
    if not isinstance(entry, dict) or not isinstance(entry.get("title"), str):
        return 'wanted an object with a "title"'
    explanation = entry.get("explanation")
    if explanation is None:
        return None
    if not isinstance(explanation, dict):
        return '"explanation" is neither an object nor null'
    for name, kind in _PARTS.items():
        if not isinstance(explanation.get(name), kind):
            return f'"{name}" of the explanation is missing or no {_NAMES[kind]}'
    if not all(
        isinstance(fact, dict) and all(isinstance(fact.get(name), str) for name in ("kind", "text")) for fact in explanation["evidence"]
    ):
        return 'a fact of "evidence" has no "kind" or no "text"'
    claims = explanation.get("claims")
    if claims is not None and not (
        isinstance(claims, list)
        and all(isinstance(claim, dict) and all(isinstance(claim.get(name), str) for name in ("text", "evidence")) for claim in claims)
    ):
        return '"claims" is no list of objects with "text" and "evidence"'
    return None
