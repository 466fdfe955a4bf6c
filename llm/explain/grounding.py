"""Whether a sentence says only what its evidence says.

Every quotation must stand verbatim, in whole words, in a review or in the shopper's own words; every number and every sign
(%, €, ★) in the evidence; every name and every other word in the evidence or in the closed list of joining words
(`vocabulary`). The check reads the finished sentence
and the evidence alone; it does not know who wrote the sentence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from ...data.records import Evidence
from .vocabulary import DOUBTING, JOINING, RESERVING, STORE, WORDING

_QUOTED = re.compile(r"[\"“]([^\"“”]*)[\"”]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SENTENCE = re.compile(r"[.!?]\s|\n")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def faults(text: str, names: Sequence[str], evidence: Sequence[Evidence], *, lines: bool = False) -> list[str]:
    """What in a sentence the evidence does not bear out, in words; an empty list means that it may be shown.

    Args:
        text: the sentence. names: the product names it may use, the recommended item's first.
        evidence: the facts. lines: whether it may have several lines, as a list has.
    """
    found: list[str] = []
    if not text.strip():
        return ["it is empty"]
    if any(c in text for c in "{}[]<>") or ("\n" in text and not lines):
        found.append("it holds a slot, a tag or a line break")
    if names and names[0] not in text:
        found.append("it does not name the item")
    spoken = [fact.text for fact in evidence if fact.kind in ("review", "need")]
    # Names go first: a product name may hold quotation marks (7" tablet) and numbers of its own.
    rest = text
    for name in sorted(names, key=len, reverse=True):
        rest = rest.replace(name, " ")
    against = [fact.text for fact in evidence if fact.kind == "review" and fact.against]
    for quoted in _QUOTED.finditer(rest):
        quote = quoted[1]
        if not any(_verbatim(quote, words) for words in spoken):
            found.append(f"the quotation “{quote}” is nobody's")
        # Praise told as a complaint, or a complaint as praise, is false though every word of it is there.
        before = set(_WORD.findall(_SENTENCE.split(rest[: quoted.start()])[-1].casefold()))
        reserved = bool(before & RESERVING)
        critical = any(_verbatim(quote, words) for words in against)
        if critical and not reserved:
            found.append(f"the reservation “{quote}” is not told as one")
        if reserved and not critical and before & DOUBTING:
            found.append(f"the praise “{quote}” is told as a reservation")
    rest = _QUOTED.sub(" ", rest)
    if '"' in rest or "“" in rest or "”" in rest:
        found.append("a quotation does not close")
    facts = " ".join(fact.text for fact in evidence if fact.kind not in ("review", "need"))
    numbers = set(_NUMBER.findall(facts))
    found += [f"the number {number} is not in the evidence" for number in _NUMBER.findall(rest) if number not in numbers]
    # "14 of 120" must not become "14 %".
    signs = sorted({c for c in rest if c in "%‰" or unicodedata.category(c) in ("Sc", "Sm", "So")} - set(facts))
    found += [f"the sign {sign} is not in the evidence" for sign in signs]
    known = {word.casefold() for word in _WORD.findall(facts)} | JOINING | STORE | WORDING
    found += [f"“{word}” is not in the evidence" for word in _WORD.findall(rest) if word.casefold() not in known]
    return found


def _verbatim(quote: str, words: str) -> bool:
    """Whether a quotation stands in what was said, and neither begins nor ends inside a word."""
    return bool(quote.strip()) and re.search(rf"(?<!\w){re.escape(quote)}(?!\w)", words) is not None
