"""Slots of a wording: the names, statistics and quotes that a model may place in a sentence but not invent.

A model writes one capital letter for each slot. The value of a statistic depends on which names precede it: "25 of 46 shoppers who bought
it also bought the Dome Tent" is true only behind the name of the anchor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...data.store_words import DEFAULT_WORDS

SLOT_LETTERS: Mapping[str, str] = {
    "own": "X",
    "item": "Y",
    "need": "N",
    "use": "W",
    "purpose": "V",
    "figure": "F",
    "usual": "U",
    "aisles": "K",
    "quote": "Q",
    "caution": "R",
    "close": "D",
    "price": "P",
    "brand": "B",
    "fits": "G",
    "fresh": "E",
}
"""Letter that a model writes for each slot. None of them is an English word by itself."""
NAME_SLOTS = ("own", "item", "need")
"""Slots that hold names; the others hold evidence."""
QUOTE_SLOTS = ("quote", "caution")
_SLOT = re.compile(r"\{(\w+)\}")
_ARTICLE = re.compile(r"\bthe $", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?…][”\"']?$")


@dataclass(frozen=True, slots=True)
class SupportStatistic:
    """How many users of one thing also used another, as clauses that fit the names before them.

    Attributes:
        support: Users of both.
        users: Users of the anchor.
        verb: What they did, in the store's words: bought, took, looked at.
        anchor: Name of the first thing.
        item: Name of the second thing.
        people: Plural noun for the users.
        counted: Whether the clause states the numbers; otherwise "most" of the users, if more than half, or "some".
    """

    support: int
    users: int
    verb: str
    anchor: str
    item: str
    people: str = DEFAULT_WORDS.users
    counted: bool = True

    def clause(self, named: Sequence[str]) -> str:
        """Return the statistic without a full stop.

        Args:
            named: Which of the slots `own` and `item` precede it, in their order.
        """
        share = f"{self.support} of {self.users}" if self.counted else readable_share(self.support, self.users)
        of = f"{share} {self.people} who {self.verb}"
        if {"own", "item"} <= set(named):  # names are long: a sentence that repeats both reads like a form
            return f"{of} the same one also {self.verb} this one"
        if list(named) == ["own"]:
            return f"{of} it also {self.verb} {with_article(self.item)}"
        other = "it" if "item" in named else with_article(self.item)
        return f"{of} {with_article(self.anchor)} also {self.verb} {other}"


@dataclass(frozen=True, slots=True)
class FilledText:
    """A wording with its slots filled.

    Attributes:
        text: The text.
        claims: The text of each filled slot.
    """

    text: str
    claims: Mapping[str, str]


def with_article(name: str, *, sentence_start: bool = False) -> str:
    """Return a name with its article, unless the name has one. Args: sentence_start: whether the name begins a sentence."""
    return name if name.casefold().startswith("the ") else f"{'The' if sentence_start else 'the'} {name}"


def readable_share(part: int, whole: int) -> str:
    """Return a share as a word: "most" for more than half, else "some"."""
    return "most" if 2 * part > whole else "some"


def fill_slots(wording: str, values: Mapping[str, str | SupportStatistic]) -> FilledText:
    """Fill the slots of a wording; sentences begin with a capital letter and end with one full stop.

    Args:
        wording: Text with `{slot}` placeholders.
        values: Value of each slot.

    Raises:
        KeyError: A slot has no value.
    """
    out, end = "", 0
    named: list[str] = []
    claims: dict[str, str] = {}
    for match in _SLOT.finditer(wording):
        slot = match[1]
        value = values[slot]
        text = value.clause(named) if isinstance(value, SupportStatistic) else value
        if slot in ("own", "item"):
            named.append(slot)
        out += wording[end : match.start()]
        if slot in ("own", "item") and (article := _ARTICLE.search(out)) and text.casefold().startswith("the "):
            out = out[: article.start()]  # the name has its own article
        if slot not in NAME_SLOTS and _begins_sentence(out):
            text = text[:1].upper() + text[1:]
        out += text
        claims[slot] = text
        end = match.end()
        if _SENTENCE_END.search(text) and wording[end : end + 1] == ".":
            end += 1
        elif slot in QUOTE_SLOTS and not _SENTENCE_END.search(text) and wording[end : end + 1] in ("", "\n", " "):
            out += "."  # a quote ends its sentence, but may lack the full stop
    return FilledText(out + wording[end:], claims)


def slots_to_letters(wording: str) -> str:
    """Return a wording as a model writes it, with a letter for each slot."""
    return _SLOT.sub(lambda match: SLOT_LETTERS[match[1]], wording)


def _begins_sentence(preceding: str) -> bool:
    """Whether the text after `preceding` begins a sentence."""
    return not preceding or re.search(r"[.!?]\s*[”\"']?\s*$", preceding) is not None
