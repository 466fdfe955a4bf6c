"""Where names, quotations and figures stand in a text. Knows nothing of evidence or of whether anything is true.

A `Span` is (start, end). Text that has been dealt with is blotted out, never cut, so that places stay what they were.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

Span = tuple[int, int]
HIDDEN = "\0"
"""What stands for every letter that was blotted out."""
ALIKE = str.maketrans('“”"<>{}[]|`#', "'''‹›()()¦'＃")
"""For `str.translate`: makes a title and the name it is shown by alike, which is without the marks of prompts and quotations."""
_MARK = re.compile(r'["“”]')
_DIGITS = r"\d+(?:[.,]\d+)*"
_NUMBER = re.compile(rf"[€$£]?{_DIGITS}(?:\s?[%‰])?")
_SHARE = re.compile(rf"(?<![€$£\d.,])({_DIGITS}) of ({_DIGITS})(?![.,]?\d|\s?[%‰])")
# "of 46 shoppers who bought the first, 25 also bought the second"
_TURNED = re.compile(rf"(?<!\d )\bof ({_DIGITS}) [^.,;:]*, (?:about )?({_DIGITS})(?![.,]?\d|\s?[%‰]| times)")


def quotations(text: str, names: Sequence[str]) -> tuple[list[Span], bool]:
    """Where the quotations of a text stand, their marks included, and whether all of them close.

    A mark inside a name, or a straight one after a digit (7" tablet), opens nothing.
    """
    inside = spans(text, names)
    marks = [m.start() for m in _MARK.finditer(text) if not any(start <= m.start() < end for start, end in inside)]
    found: list[Span] = []
    closed, opened = True, -1
    for at in marks:
        if opened < 0:
            if text[at] == '"' and text[at - 1 : at].isdigit():
                continue
            closed &= text[at] != "”"
            opened = at if text[at] != "”" else -1
        elif text[at] == {"“": "”", '"': '"'}[text[opened]]:
            found.append((opened, at + 1))
            opened = -1
    return found, closed and opened < 0


def figures(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """The shares of a text as (part, whole), whichever comes first, and its numbers outside of them with their signs: `14%`, `€49.90`."""
    shares = [(m.span(), (m[1], m[2])) for m in _SHARE.finditer(text)]
    shares += [(m.span(), (m[2], m[1])) for m in _TURNED.finditer(text)]
    rest = hide(text, [span for span, _ in shares])
    return [share for _, share in shares], ["".join(number.split()) for number in _NUMBER.findall(rest)]


def stands(part: str, text: str) -> bool:
    """Whether a text holds the part letter by letter, and it neither begins nor ends inside a word there; never for a blank part."""
    return bool(part.strip()) and next(_places(part, text), None) is not None


def shown(title: str) -> str:
    """A title as names in a sentence have it: on one line, without invisible letters, and `ALIKE`."""
    kept = "".join(c for c in title if c.isspace() or unicodedata.category(c)[0] != "C")
    return " ".join(kept.split()).translate(ALIKE)


def spans(text: str, names: Sequence[str]) -> list[Span]:
    """Where names stand in a text, in whole words and in order; of names that overlap the longer."""
    alike = text.translate(ALIKE)
    found: list[Span] = []
    for name in sorted(names, key=len, reverse=True):
        for start in _places(name.translate(ALIKE), alike):
            end = start + len(name)
            if not any(start < other_end and other_start < end for other_start, other_end in found):
                found.append((start, end))
    return sorted(found)


def hide(text: str, stretches: Sequence[Span]) -> str:
    """The text with some stretches blotted out; its length stays."""
    for start, end in stretches:
        text = text[:start] + HIDDEN * (end - start) + text[end:]
    return text


def _places(part: str, text: str) -> Iterator[int]:
    at = text.find(part) if part else -1
    while at >= 0:
        if not any(c.isalnum() or c == "_" for c in text[max(at - 1, 0) : at] + text[at + len(part) : at + len(part) + 1]):
            yield at
        at = text.find(part, at + 1)
