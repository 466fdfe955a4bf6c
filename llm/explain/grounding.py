"""Grounding check: whether a sentence contains only what its evidence supports.

Quotes must be verbatim, in whole words, from a review or the shopper's own words. Numbers and signs (%, €, ★) must be in the evidence.
Names and other words must be in the evidence or in the closed vocabulary (`vocabulary`). The check reads only the finished sentence and
the evidence; it does not depend on how the sentence was made.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

from ...data.records import Evidence
from .vocabulary import COMMENTING_WORDS, COMPLAINT_WORDS, CONCESSION_WORDS, COUNT_WORDS, JOINING_WORDS, STORE_WORDS

_QUOTE = re.compile(r"[\"“]([^\"“”]*)[\"”]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_ROLES = re.compile(r"(?<![\w.,])(?:\d+ (?:out )?of (?:the |all )?\d+|\d+(?:\.\d+)? times)")
_MOST = re.compile(r"\bmost\b", re.IGNORECASE)
_SHARE = re.compile(r"(\d+) of (\d+)")
_SENTENCE_END = re.compile(r"[.!?]\s|\n")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def grounding_faults(
    text: str, names: Sequence[str], evidence: Sequence[Evidence], *, allow_lines: bool = False, store_words: Collection[str] = ()
) -> list[str]:
    """Return what the evidence does not support, in words; an empty list means that the sentence may be shown.

    The messages are inserted into the prompt `word` when a sentence is generated again, so they are worded as the model was trained.

    Args:
        text: The sentence.
        names: Product names that it may use, the recommended item's first.
        evidence: The facts.
        allow_lines: Whether the text may have several lines, as a list has.
        store_words: Further words that it may use: forms of the store's verb.
    """
    faults: list[str] = []
    if not text.strip():
        return ["it is empty"]
    if any(c in text for c in "{}[]<>") or ("\n" in text and not allow_lines):
        faults.append("it holds a slot, a tag or a line break")
    if names and names[0] not in text:
        faults.append("it does not name the item")
    quotable = [fact.text for fact in evidence if fact.kind in ("review", "need")]
    # Names are removed first: a product name may contain quotation marks (7" tablet) and numbers.
    rest = text
    for name in sorted(names, key=len, reverse=True):
        rest = rest.replace(name, " ")
    complaints = [fact.text for fact in evidence if fact.kind == "review" and fact.against]
    for match in _QUOTE.finditer(rest):
        quote = match[1]
        if not any(_is_verbatim(quote, source) for source in quotable):
            faults.append(f"the quotation “{quote}” is nobody's")
        # Praise introduced as a complaint, or a complaint as praise, is misleading although every word of it is genuine.
        before = set(_WORD.findall(_SENTENCE_END.split(rest[: match.start()])[-1].casefold()))
        concession = bool(before & CONCESSION_WORDS)
        complaint = any(_is_verbatim(quote, source) for source in complaints)
        if complaint and not concession:
            faults.append(f"the reservation “{quote}” is not told as one")
        if concession and not complaint and before & COMPLAINT_WORDS:
            faults.append(f"the praise “{quote}” is told as a reservation")
    rest = _QUOTE.sub(" ", rest)
    if '"' in rest or "“" in rest or "”" in rest:
        faults.append("a quotation does not close")
    stated = [_QUOTE.sub(" ", fact.text) if fact.kind == "use" else fact.text for fact in evidence if fact.kind not in ("review", "need")]
    facts = " ".join(stated)
    numbers = set(_NUMBER.findall(facts))
    faults += [f"the number {number} is not in the evidence" for number in _NUMBER.findall(rest) if number not in numbers]
    # The parts of a share, and how often it is the usual one, must not change places.
    roles = set(_ROLES.findall(facts))
    faults += [f"“{role}” is not in the evidence" for role in _ROLES.findall(rest) if role not in roles]
    counts = " ".join(fact.text for fact in evidence if fact.kind == "association")
    is_most = _MOST.search(counts) or any(2 * int(part) > int(whole) for part, whole in _SHARE.findall(counts))
    if _MOST.search(rest) and not is_most:
        faults.append("“most” is not in the evidence")
    # "14 of 120" must not become "14 %".
    signs = sorted({c for c in rest if c in "%‰" or unicodedata.category(c) in ("Sc", "Sm", "So")} - set(facts))
    faults += [f"the sign {sign} is not in the evidence" for sign in signs]
    known = {part.casefold() for word in store_words for part in _WORD.findall(word)}
    known |= {word.casefold() for word in _WORD.findall(facts)} | JOINING_WORDS | STORE_WORDS | COMMENTING_WORDS | COUNT_WORDS
    faults += [f"“{word}” is not in the evidence" for word in _WORD.findall(rest) if word.casefold() not in known]
    return faults


def _is_verbatim(quote: str, source: str) -> bool:
    """Whether the source contains the quote in whole words."""
    return bool(quote.strip()) and re.search(rf"(?<!\w){re.escape(quote)}(?!\w)", source) is not None
