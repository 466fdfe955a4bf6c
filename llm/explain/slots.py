"""The places in a sentence that only the store fills: the names, figures and quotations that a model may put somewhere, not invent.

A model that words a reason writes one capital letter for each of them. What stands there in the end depends on what was named before: "of
46 shoppers who bought the first, 25 also bought the second" is only true after the first was named first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LETTERS: Mapping[str, str] = {
    "own": "X",
    "item": "Y",
    "need": "N",
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
    "popular": "S",
}
"""Slot to the letter that a model writes for it. None of them is an English word by itself."""
NAMES = ("own", "item", "need")
"""What names things; the other slots are evidence."""
QUOTED = ("quote", "caution")
_SLOT = re.compile(r"\{(\w+)\}")
_ARTICLE = re.compile(r"\bthe $", re.IGNORECASE)
_ENDS = re.compile(r"[.!?…][”\"']?$")


@dataclass(frozen=True, slots=True)
class Figure:
    """How many shoppers who had one thing had another, as clauses that fit what was named before.

    Attributes: support of users. did: what they did (bought, rated, looked at). own, item: the names.
    """

    support: int
    users: int
    did: str
    own: str
    item: str

    def clause(self, named: Sequence[str]) -> str:
        """The figure without a full stop. Args: named: of `own` and `item`, which were named before, in their order."""
        of = f"{self.support} of {self.users} shoppers who {self.did}"
        if list(named) == ["own", "item"]:
            return f"{of} the first also {self.did} the second"
        if "item" in named:
            return f"{of} {the(self.own)} also {self.did} it"
        if "own" in named:
            return f"{of} it also {self.did} {the(self.item)}"
        return f"{of} {the(self.own)} also {self.did} {the(self.item)}"


@dataclass(frozen=True, slots=True)
class Filled:
    """A finished text.

    Attributes: claims: slot to what stands in the text for it, of every slot that was filled.
    """

    text: str
    claims: Mapping[str, str]


def the(name: str, *, begins: bool = False) -> str:
    """A name with its article, which some bring along. Args: begins: it begins a sentence."""
    return name if name.casefold().startswith("the ") else f"{'The' if begins else 'the'} {name}"


def fill(wording: str, values: Mapping[str, str | Figure]) -> Filled:
    """A wording with its slots filled: sentences begin with a capital letter, and no full stop follows one.

    Args: wording: text with `{slot}`s. values: what each stands for.
    Raises: KeyError: a slot that has no value.
    """
    out, end = "", 0
    named: list[str] = []
    claims: dict[str, str] = {}
    for found in _SLOT.finditer(wording):
        slot = found[1]
        value = values[slot]
        said = value.clause(named) if isinstance(value, Figure) else value
        if slot in ("own", "item"):
            named.append(slot)
        out += wording[end : found.start()]
        if slot in ("own", "item") and (article := _ARTICLE.search(out)) and said.casefold().startswith("the "):
            out = out[: article.start()]  # the name brings its own
        if slot not in NAMES and _begins(out):
            said = said[:1].upper() + said[1:]
        out += said
        claims[slot] = said
        end = found.end()
        if _ENDS.search(said) and wording[end : end + 1] == ".":
            end += 1
        elif slot in QUOTED and not _ENDS.search(said) and wording[end : end + 1] in ("", "\n", " "):
            out += "."  # a quotation ends its sentence, but it need not bring the full stop
    return Filled(out + wording[end:], claims)


def lettered(wording: str) -> str:
    """A wording as a model writes it, with a letter for each slot."""
    return _SLOT.sub(lambda found: LETTERS[found[1]], wording)


def _begins(text: str) -> bool:
    return not text or re.search(r"[.!?]\s*[”\"']?\s*$", text) is not None
