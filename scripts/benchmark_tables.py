#!/usr/bin/env python3
"""Generates docs/benchmarks.md and fills the quoted figures of README.md and docs/*.md from benchmarks/results/*.json.

    python scripts/benchmark_tables.py            # write
    python scripts/benchmark_tables.py --check    # write nothing; list the differences, exit with 1 if there are any

A quoted figure is enclosed by two HTML comments; the first names its source:

    <!--fig serve: events/milliseconds/p95; .1f-->8.3<!--/fig-->

- `serve` is the file `benchmarks/results/serve.json`, `events/milliseconds/p95` the path below its key `figures`.
- `{key}` in a path is replaced by the value of a key at the top of `figures`: `systems/{best_baseline}/ndcg@10`.
- `PATH over PATH` is the relative difference of two values, `a / b - 1`.
- After the semicolon comes a Python format; `ci:` before it formats a value with its interval, `*1000` or `/60` after it converts a unit.

A figure that is quoted without a mark beside the name of a results file is a difference, too. Standard library only.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from benchmark_figures import UnknownFigureError, figure, formatted
from benchmark_page import page

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
MARK = re.compile(r"(<!--fig (?P<file>[\w.-]+): (?P<path>[^;>]+?); (?P<format>[^;>]+?)-->)(?P<quoted>.*?)(<!--/fig-->)", re.DOTALL)
OPENING = re.compile(r"<!--\s*/?fig\b")
QUANTITY = re.compile(r"(?<![\w.])[+-]?(?:\d*\.\d+|\d[\d,]*\s?(?:%|ms|s|min|h|MB|GB|seconds?|minutes?|hours?|times|a second)(?!\w))")
"""What looks like a measurement: a decimal fraction, or a number with a unit."""


def filled(text: str) -> str:
    """The text of a page with every marked figure taken from its file.

    Raises:
        UnknownFigureError: A mark is broken, or names what does not exist.
    """
    if 2 * len(MARK.findall(text)) != len(OPENING.findall(text)):
        raise UnknownFigureError("a figure's mark is incomplete: <!--fig FILE: PATH; FORMAT-->...<!--/fig-->")
    return MARK.sub(lambda mark: mark[1] + formatted(figure(mark["file"], mark["path"]), mark["format"]) + mark[6], text)


def unmarked(text: str) -> list[tuple[int, str]]:
    """Figures that are quoted beside the name of a results file and have no mark.

    Looks at each paragraph, list or table that names a file of benchmarks/results/, and at a table that follows such a paragraph.

    Returns: line number (from 1) and figure.
    """
    blank = MARK.sub(lambda mark: re.sub(r"[^\n]", " ", mark[0]), text)
    blank = re.sub(r"`[^`\n]*`|\]\([^)\n]*\)", lambda code: " " * len(code[0]) if "results/" not in code[0] else code[0], blank)
    result, line, named = [], 1, False
    for block in re.split(r"(\n\s*\n)", blank):
        table = block.lstrip().startswith("|")
        if block.strip():
            named = "benchmarks/results/" in block or "benchmarks.md" in block or (table and named)
            if named:
                bare = re.sub(r"`[^`\n]*`|\]\([^)\n]*\)", lambda code: " " * len(code[0]), block)
                result += [(line + bare[: found.start()].count("\n"), found[0]) for found in QUANTITY.finditer(bare)]
        line += block.count("\n")
    return result


def pages() -> list[Path]:
    """The pages that may quote figures."""
    return [ROOT / "README.md", *(path for path in sorted((ROOT / "docs").glob("*.md")) if path != PAGE)]


def differences(path: Path) -> list[str]:
    """What is wrong with the figures of one page, a line each."""
    text, name = path.read_text("utf-8"), path.relative_to(ROOT)
    result = [f"{name}:{line}: {found!r} is quoted beside a results file without a mark" for line, found in unmarked(text)]
    for mark in MARK.finditer(text):
        line = text[: mark.start()].count("\n") + 1
        try:
            current = formatted(figure(mark["file"], mark["path"]), mark["format"])
        except UnknownFigureError as error:
            result.append(f"{name}:{line}: {error}")
            continue
        if current != mark["quoted"]:
            result.append(f"{name}:{line}: {mark['file']}.json: {mark['path']} is {current}, quoted as {mark['quoted']}")
    for start in re.finditer(r"^ *<!--fig", text, re.MULTILINE):  # Markdown takes it for a block of HTML and ends the paragraph
        result.append(f"{name}:{text[: start.start()].count(chr(10)) + 1}: a mark begins a line; join it with the line before")
    if 2 * len(MARK.findall(text)) != len(OPENING.findall(text)):
        result.append(f"{name}: a figure's mark is incomplete: <!--fig FILE: PATH; FORMAT-->...<!--/fig-->")
    return result


def main() -> int:
    """Writes or checks; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page differs from its files")
    check = parser.parse_args().check
    try:
        text = page()
        if not check:
            PAGE.write_text(text, "utf-8")
            for path in pages():
                current = path.read_text("utf-8")
                if (new := filled(current)) != current:
                    path.write_text(new, "utf-8")
                    print(f"filled {path.relative_to(ROOT)}")
    except UnknownFigureError as error:
        print(error)
        return 1
    result = [line for path in pages() for line in differences(path)]
    written = PAGE.read_text("utf-8") if PAGE.exists() else ""
    if written != text:
        result.insert(0, "docs/benchmarks.md differs from benchmarks/results/: run python scripts/benchmark_tables.py")
    for line in result:
        print(line)
    print(f"{len(result)} difference{'' if len(result) == 1 else 's'}")
    return 1 if result else 0


if __name__ == "__main__":
    sys.exit(main())
