"""What the small judge learns of sentences: some that the facts bear out, and some that say another number, name or opinion, or more.

Both are made of the project's own parts: the wordings written by hand, the kinds of evidence, the items and reviews of the demo store. A
sentence is spoiled in one place, and the kind of its fault is kept. Categories of items, wordings and unsupported remarks are held out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np

from ..data import demo
from ..data.records import Item
from ..llm.slots import Figure, fill
from ..llm.wording import SPOKEN, Wording, evidence_slots, examples
from ..recommend.excerpts import critical, display_name, quotable
from .judging_pairs import Part

Fault = Literal["none", "number", "name", "quote", "polarity", "remark", "absent"]
SUPPORTED, UNSUPPORTED = range(2)
"""As `llm.judging.SUPPORTS` has them."""
VALIDATION, TEST = frozenset({"Travel & Luggage"}), frozenset({"Cycling", "Garden & DIY", "Pet Supplies"})
REMARKS: Mapping[Part, Sequence[str]] = {
    "learning": (
        "It is waterproof.", "It is the cheapest in the store.", "It has won a design award.", "It comes with a ten-year guarantee.",
        "Delivery is free this week.", "It is made of recycled steel.", "Doctors recommend it.", "It weighs less than a kilo.",
        "It is the bestseller of the year.", "It is back in stock after months.", "Most buyers gave it five stars.",
        "It fits every model.", "It is half price today.", "Nobody has returned it so far.", "It was made by hand in Norway.",
        "It is safe for children under three.",
    ),
    "validation": ("It is dishwasher safe.", "It lasts twice as long as others.", "A second one is free."),
    "test": (
        "It is windproof.", "It is the most expensive of its kind.", "It was tested by an independent lab.", "It saves energy.",
        "It can be returned within a year.", "It is made in Portugal.", "Experts rate it highest.", "Only three are left.",
    ),
}  # fmt: skip
"""What no fact says."""
OPPOSITES = (
    "always never", "easy difficult", "easily hardly", "quiet loud", "light heavy", "soft rough", "strong weak", "warm cold", "fast slow",
    "dry wet", "good bad", "best worst", "better worse", "love hate", "loves hates", "perfect useless", "fits pinches", "stays slips",
    "holds breaks", "sturdy flimsy", "stable shaky", "clean dirty", "more less", "works fails", "small huge", "sharp blunt", "great awful",
    "simple complicated", "bright dim", "comfortable painful", "well badly", "first last", "without with", "no every", "enough little",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sentences:
    """Facts, and sentences held against them. Attributes: answers: per sentence, its place in `SUPPORTS`. faults: and what is wrong with
    it. cluster: the number of the item that they are about."""

    facts: tuple[str, ...]
    sentences: tuple[str, ...]
    answers: tuple[int, ...]
    faults: tuple[Fault, ...]
    cluster: int


def sentences(part: Part, seed: int, count: int) -> list[Sentences]:
    """So many sets of facts of a part, with two sentences that they bear out and two that they do not."""
    draw = np.random.default_rng([seed, 12, ("learning", "validation", "test").index(part)])
    own = [one for number, one in enumerate(examples()) if one.length != "bullets" and _lot(number) == part]
    places = [number for number, item in enumerate(_items()) if _part(item) == part]
    found: list[Sentences] = []
    while len(found) < count:
        place = int(draw.choice(places))
        if made := _about(place, own[int(draw.integers(len(own)))], own, places, part, draw):
            found.append(made)
    return found


def _about(
    place: int, first: Wording, wordings: Sequence[Wording], places: Sequence[int], part: Part, draw: np.random.Generator
) -> Sentences | None:
    item = _items()[place]
    others = [_items()[int(number)] for number in draw.choice(places, 4, replace=False) if number != place]
    known = _Known.of(item, others[0], others[1:], draw)
    told = evidence_slots(first.slots) | {str(slot) for slot in draw.choice(sorted(known.facts), 2)}
    if not told <= known.facts.keys():
        return None  # no review of this item that could be quoted
    alike = [one for one in wordings if one.occasion == first.occasion]
    fitting = [one for one in alike if evidence_slots(one.slots) <= told]
    absent = [one for one in alike if evidence_slots(one.slots) - told and evidence_slots(one.slots) <= known.facts.keys()]
    second = fitting[int(draw.integers(len(fitting)))]
    right = [known.fill(one) for one in (first, second)]
    wrong: list[tuple[str, Fault]] = []
    kinds: list[Fault] = ["number", "name", "quote", "polarity", "remark", "absent"]
    for kind in draw.permutation(np.asarray(kinds)).tolist():
        base = absent if kind == "absent" else [first, second]
        spoiled = known.spoiled(base[int(draw.integers(len(base)))], kind, part, draw) if base else None
        if spoiled is not None and spoiled not in right:
            wrong.append((spoiled, kind))
        if len(wrong) == 2:
            break
    if len(wrong) < 2:
        return None
    facts = [known.facts[slot] for slot in sorted(told)]
    if first.occasion == "need":
        facts.append(f"the shopper said {known.values['need']}")
    else:
        facts.append(f"{'bought before' if first.occasion == 'owned' else 'in the history'}: {known.values['own']}")
    asked = [*((text, SUPPORTED, "none") for text in right), *((text, UNSUPPORTED, kind) for text, kind in wrong)]
    order, shuffled = draw.permutation(4).tolist(), [facts[i] for i in draw.permutation(len(facts)).tolist()]
    return Sentences(
        (f"the item is {known.values['item']}", *shuffled),
        tuple(asked[i][0] for i in order),
        tuple(asked[i][1] for i in order),
        tuple(asked[i][2] for i in order),
        place,
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of an item and what a shopper has: `values` fill the slots, `facts` say so as evidence does; `other` are names and
    quotations of other items."""

    values: Mapping[str, str | Figure]
    facts: Mapping[str, str]
    others: Sequence[Item]

    @classmethod
    def of(cls, item: Item, own: Item, others: Sequence[Item], draw: np.random.Generator) -> _Known:
        name, other = display_name(item), display_name(own)
        users = int(draw.integers(20, 400))
        support, lift = int(draw.integers(4, max(6, users // 2))), round(float(draw.uniform(1.3, 9.0)), 1)
        popular, total, lately = int(draw.integers(20, 300)), int(draw.integers(400, 3000)), int(draw.integers(5, 60))
        many, of, times = int(draw.integers(10, 90)), int(draw.integers(100, 900)), round(float(draw.uniform(1.2, 5.0)), 1)
        price = f"it costs {item.price or 10.0:.2f}, {draw.choice(['at', 'below'])} the price level that you usually choose"
        values: dict[str, str | Figure] = {
            "item": name,
            "own": other,
            "need": f"“{draw.choice(SPOKEN)}”",
            "figure": Figure(support, users, "bought", other, name),
            "usual": f"{lift} times the usual share",
            "aisles": f"{many} of {of} shoppers who bought from {own.category[0]} also bought from {item.category[0]}, {times} times the "
            "usual share",
            "close": "the two are close in description",
            "price": price,
            "brand": f"it is by {item.brand}, a brand in your history",
            "fits": f"it is made for the {other}",
            "fresh": f"it was bought by {lately} shoppers in the last 30 days of the store",
            "popular": f"{popular} of {total} shoppers bought it",
        }
        praise, complaints = _quotes()[0].get(item.item_id, ()), _quotes()[1].get(item.item_id, ())
        if praise:
            values["quote"] = f"“{draw.choice(praise)}”"
        if complaints:
            values["caution"] = f"“{draw.choice(complaints)}”"
        facts = {slot: f"{said[:1].lower()}{said[1:]}" for slot, said in values.items() if isinstance(said, str) and slot not in _NAMES}
        figure = f"{support} of {users} shoppers who bought {other} also bought {name}"
        facts |= {"figure": figure, "usual": f"{figure}, {values['usual']}", "fits": f"{name} is made for {other}"}
        facts |= {"popular": f"{popular} of {total} shoppers bought {name}", "close": f"{name} and {other} are close in description"}
        for slot, voice in (("quote", "a review praises it"), ("caution", "a review complains")):
            if slot in facts:
                facts[slot] = f"{voice}: {values[slot]}"
        return cls(values, facts, others)

    def fill(self, wording: Wording, values: Mapping[str, str | Figure] | None = None) -> str:
        return " ".join(fill(wording.text, values or self.values).text.split())

    def spoiled(self, wording: Wording, kind: str, part: Part, draw: np.random.Generator) -> str | None:
        """A wording that is wrong in one place; None where it has no such place."""
        if kind == "absent":
            return self.fill(wording)
        if kind == "remark":
            return f"{self.fill(wording)} {draw.choice(REMARKS[part])}"
        wrong = {"name": self._name, "number": self._number}.get(kind, self._quotation)(wording, kind, draw)
        return self.fill(wording, {**self.values, **wrong}) if wrong else None

    def _name(self, wording: Wording, _: str, draw: np.random.Generator) -> Mapping[str, str | Figure]:
        """The item or what is had is another thing, in the figure too."""
        slot = str(draw.choice([name for name in ("item", "own") if name in wording.slots]))
        other, figure = display_name(self.others[0]), self.values["figure"]
        assert isinstance(figure, Figure)
        return {slot: other, "figure": replace(figure, item=other) if slot == "item" else replace(figure, own=other)}

    def _number(self, wording: Wording, _: str, draw: np.random.Generator) -> Mapping[str, str | Figure]:
        """One number is another; nothing where there is none."""
        numbers = [slot for slot in ("figure", "usual", "aisles", "price", "fresh", "popular") if slot in wording.slots]
        if not numbers:
            return {}
        slot = str(draw.choice(numbers))
        said = self.values[slot]
        return {slot: _other_figure(said, draw) if isinstance(said, Figure) else _other_number(said, draw)}

    def _quotation(self, wording: Wording, kind: str, draw: np.random.Generator) -> Mapping[str, str | Figure]:
        """A quotation says the opposite (`polarity`), or is of another item; nothing where there is none that could."""
        quoted = [slot for slot in ("quote", "caution") if slot in wording.slots]
        if not quoted:
            return {}
        slot = quoted[0]
        if kind == "polarity":
            turned = _turned(str(self.values[slot]))
            return {slot: turned} if turned else {}
        quotes = [quote for one in self.others for quote in _quotes()[slot == "caution"].get(one.item_id, ())]
        return {slot: f"“{draw.choice(quotes)}”"} if quotes else {}


_NAMES = ("item", "own", "need")


def _other_figure(figure: Figure, draw: np.random.Generator) -> Figure:
    if draw.random() < 0.3:
        return replace(figure, users=_other(figure.users, draw))
    return replace(figure, support=_other(figure.support, draw))


def _other(number: int, draw: np.random.Generator) -> int:
    """Another number of about the same size."""
    while True:
        changed = max(1, round(number * float(draw.uniform(0.4, 1.9))))
        if changed != number:
            return changed


def _other_number(text: str, draw: np.random.Generator) -> str:
    found = list(re.finditer(r"\d+(?:\.\d+)?", text))
    one = found[int(draw.integers(len(found)))]
    whole, point, rest = one[0].partition(".")
    changed = f"{_other(int(whole) + 1, draw)}{point}{rest}"
    return text[: one.start()] + changed + text[one.end() :]


def _turned(quote: str) -> str | None:
    """The quotation with one word turned into its opposite; None where it has none that is known."""
    for pair in OPPOSITES:
        left, right = pair.split()
        for word, opposite in ((left, right), (right, left)):
            if re.search(rf"\b{word}\b", quote):
                return re.sub(rf"\b{word}\b", opposite, quote, count=1)
    return None


@cache
def _items() -> tuple[Item, ...]:
    kept = {"item_id", "title", "category", "description", "brand", "price"}
    lines = ({name: value for name, value in line.items() if name in kept} for line in demo.lines("items"))
    return tuple(Item(**{**line, "category": tuple(line["category"])}) for line in lines)


@cache
def _quotes() -> tuple[Mapping[str, tuple[str, ...]], Mapping[str, tuple[str, ...]]]:
    """Item to what reviews of it praise, and to what they complain about."""
    praise: dict[str, tuple[str, ...]] = {}
    complaints: dict[str, tuple[str, ...]] = {}
    for line in demo.lines("reviews"):
        kind, find = (praise, quotable) if line["rating"] >= 4 else (complaints, critical)
        if quote := find(line["text"]):
            kind[line["item_id"]] = (*kind.get(line["item_id"], ()), quote)
    return praise, complaints


def _part(item: Item) -> Part:
    return "validation" if item.category[0] in VALIDATION else "test" if item.category[0] in TEST else "learning"


def _lot(number: int) -> Part:
    """Which part a wording belongs to: of ten, one to stop by and two to test with."""
    return "validation" if number % 10 == 7 else "test" if number % 10 in (3, 8) else "learning"
