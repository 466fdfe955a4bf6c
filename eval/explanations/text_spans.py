"""Positions of names, quotations and figures in a text. This module does not know the evidence or whether a statement is true.

A `Span` is (start, end). Processed text is masked, never removed, so positions stay valid.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

Span = tuple[int, int]
MASK = "\0"
"""Character that replaces masked text."""
DISPLAY_TABLE = str.maketrans('“”"<>{}[]|`#', "'''‹›()()¦'＃")
"""For `str.translate`: maps a title to the form in which it is displayed, without characters that delimit prompts and quotations."""
_QUOTE = re.compile(r'["“”]')
_DIGITS = r"\d+(?:[.,]\d+)*"
_NUMBER = re.compile(rf"[€$£]?{_DIGITS}(?:\s?[%‰])?")
_SHARE = re.compile(rf"(?<![€$£\d.,])({_DIGITS}) of ({_DIGITS})(?![.,]?\d|\s?[%‰])")
# "of 46 shoppers who bought the first, 25 also bought the second"
_INVERTED_SHARE = re.compile(rf"(?<!\d )\bof ({_DIGITS}) [^.,;:]*, (?:about )?({_DIGITS})(?![.,]?\d|\s?[%‰]| times)")


def find_quotations(text: str, names: Sequence[str]) -> tuple[list[Span], bool]:
    """Return the spans of all quotations, quotation marks included, and whether all of them are closed.

    A mark inside a name, or a straight one after a digit (7" tablet), does not open a quotation.
    """
    name_spans = find_names(text, names)
    marks = [m.start() for m in _QUOTE.finditer(text) if not any(start <= m.start() < end for start, end in name_spans)]
    quotations: list[Span] = []
    balanced, opened = True, -1
    for at in marks:
        if opened < 0:
            if text[at] == '"' and text[at - 1 : at].isdigit():
                continue
            balanced &= text[at] != "”"
            opened = at if text[at] != "”" else -1
        elif text[at] == {"“": "”", '"': '"'}[text[opened]]:
            quotations.append((opened, at + 1))
            opened = -1
    return quotations, balanced and opened < 0


def find_figures(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the shares of a text as (part, whole), and its other numbers with their signs, such as `14%` or `€49.90`."""
    shares = [(m.span(), (m[1], m[2])) for m in _SHARE.finditer(text)]
    shares += [(m.span(), (m[2], m[1])) for m in _INVERTED_SHARE.finditer(text)]
    rest = mask_spans(text, [span for span, _ in shares])
    return [share for _, share in shares], ["".join(number.split()) for number in _NUMBER.findall(rest)]


def contains_phrase(phrase: str, text: str) -> bool:
    """Return whether a text contains a phrase literally and in whole words; False for a blank phrase."""
    return bool(phrase.strip()) and next(_occurrences(phrase, text), None) is not None


def displayed_title(title: str) -> str:
    """Return a title as displayed in a sentence: on one line, without invisible characters, and translated by `DISPLAY_TABLE`."""
    visible = "".join(c for c in title if c.isspace() or unicodedata.category(c)[0] != "C")
    return " ".join(visible.split()).translate(DISPLAY_TABLE)


def find_names(text: str, names: Sequence[str]) -> list[Span]:
    """Return the spans of names in a text, in whole words and in order; of overlapping names, the longer one."""
    displayed = text.translate(DISPLAY_TABLE)
    name_spans: list[Span] = []
    for name in sorted(names, key=len, reverse=True):
        for start in _occurrences(name.translate(DISPLAY_TABLE), displayed):
            end = start + len(name)
            if not any(start < other_end and other_start < end for other_start, other_end in name_spans):
                name_spans.append((start, end))
    return sorted(name_spans)


def mask_spans(text: str, spans: Sequence[Span]) -> str:
    """Return the text with some spans masked; its length is unchanged."""
    for start, end in spans:
        text = text[:start] + MASK * (end - start) + text[end:]
    return text


def _occurrences(phrase: str, text: str) -> Iterator[int]:
    """Start of each occurrence of a phrase in whole words."""
    at = text.find(phrase) if phrase else -1
    while at >= 0:
        if not any(c.isalnum() or c == "_" for c in text[max(at - 1, 0) : at] + text[at + len(phrase) : at + len(phrase) + 1]):
            yield at
        at = text.find(phrase, at + 1)
