"""Prompts of the explanation generator: a brief of the facts to state, and the handwritten wordings that it is trained on.

    reason -> brief -> prompt -> wording with slot letters (`constrained_decoding`) -> filled text (`slots`)

Training and serving render the same prompt. Knows neither how wordings are checked nor how the model is trained.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, get_args

from ... import prompts
from .constrained_decoding import Length
from .reasons import Occasion
from .slots import NAME_SLOTS, SLOT_LETTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..models.language_model import LanguageModel

Tone = Literal["plain", "warm", "expert"]
TONES, LENGTHS = get_args(Tone), get_args(Length)
EXAMPLE_NEEDS = (
    "a puppy moves in on Friday",
    "cycling to work in the rain",
    "moving into my first flat",
    "my daughter starts school next week",
    "a week in the mountains",
    "I want to bake my own bread",
    "working from home",
    "something for long winter evenings",
)
"""Text queries of shoppers, for training examples and for wordings that do not depend on the query."""


@dataclass(frozen=True, slots=True)
class ExplanationBrief:
    """The part of a reason that is in the prompt.

    Attributes:
        item: Name of the item.
        anchor: Name of the history item, or None.
        need: The shopper's text query in quotes, or None.
        occasion: How the text begins.
        slots: All slots that the text must contain.
        confident: Whether the facts support a judgement without "may".
        tone: Tone of the text.
        length: Length of the text.
        previous_fault: What was wrong with an earlier wording, None for the first.
    """

    item: str
    anchor: str | None
    need: str | None
    occasion: Occasion
    slots: frozenset[str]
    confident: bool
    tone: Tone = "warm"
    length: Length = "line"
    previous_fault: str | None = None


@dataclass(frozen=True, slots=True)
class HandwrittenWording:
    """A wording written by hand.

    Attributes:
        tone: Its tone.
        length: Its length.
        confident: Whether it judges without "may".
        occasion: How it begins.
        categories: Categories of the anchor and of the item that it was written for.
        text: Text with `{slot}` placeholders.
        slots: The slots.
    """

    tone: Tone
    length: Length
    confident: bool
    occasion: Occasion
    categories: tuple[str, str]
    text: str
    slots: frozenset[str]


class BriefRenderer:
    """Renders briefs as prompts of one model, for training and serving.

    Args:
        llm: The model.
        version: Version of the prompt `word`.
    """

    def __init__(self, llm: LanguageModel, version: int = 1) -> None:
        self.llm, self.prompt = llm, prompts.load("word", version)
        self._slot_meanings = dict(line.split(": ", 1) for line in self.prompt.lines("facts"))

    @cached_property
    def _frame(self) -> tuple[str, str]:
        return self.llm.split_chat_prompt(self.prompt.render("system"))

    def render(self, brief: ExplanationBrief) -> tuple[str, str]:
        """Return the common prefix of all prompts, and the brief up to the start of the answer."""
        before, after = self._frame
        facts = [f"{SLOT_LETTERS[slot]} = {meaning}" for slot, meaning in self._slot_meanings.items() if slot in brief.slots]
        user = self.prompt.render(
            "user",
            tone=brief.tone,
            length=brief.length,
            firm=brief.confident,
            item=brief.item,
            own=brief.anchor,
            owned=brief.occasion == "owned",
            need=brief.need,
            facts=facts,
            fault=brief.previous_fault,
        )
        return before, user + after


@cache
def handwritten_wordings() -> tuple[HandwrittenWording, ...]:
    """Return the wordings that ship with the package.

    Raises:
        ValueError: A line is not a valid wording.
    """
    source = files(prompts.__package__ or "").joinpath("data", "wordings.jsonl").read_text("utf-8")
    return tuple(parse_wording(json.loads(line)) for line in source.splitlines() if line.strip())


@cache
def fact_combinations(length: Length) -> tuple[frozenset[str], ...]:
    """Return the combinations of facts that occur together in handwritten wordings of a length."""
    combinations = {frozenset(evidence_slots(wording.slots)) for wording in handwritten_wordings() if wording.length == length}
    return tuple(sorted(combinations, key=sorted))


def parse_wording(record: Mapping[str, object]) -> HandwrittenWording:
    """Create a wording from a line of the file.

    Raises:
        ValueError: A slot is unknown, or another field is invalid.
    """
    text, slots = str(record["text"]), frozenset(_strings(record["slots"]))
    anchor_category, item_category = _strings(record["categories"])
    tone, length, occasion = (
        _choice(record[name], options) for name, options in (("tone", TONES), ("length", LENGTHS), ("occasion", get_args(Occasion)))
    )
    if unknown := slots - SLOT_LETTERS.keys():
        raise ValueError(f"unknown slots: {', '.join(sorted(unknown))}")
    if any(text.count(f"{{{slot}}}") != 1 for slot in slots) or text.count("{") != len(slots):
        raise ValueError(f"each slot must occur exactly once: {text}")
    return HandwrittenWording(
        tone,  # type: ignore[arg-type]
        length,  # type: ignore[arg-type]
        record["strength"] == "firm",
        occasion,  # type: ignore[arg-type]
        (anchor_category, item_category),
        text,
        slots,
    )


def _strings(value: object) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else []


def _choice(value: object, options: Collection[str]) -> str:
    if value not in options:
        raise ValueError(f"{value!r} is not one of {', '.join(options)}")
    return str(value)


def evidence_slots(slots: Collection[str]) -> set[str]:
    """Return the slots that hold evidence, not names."""
    return set(slots) - set(NAME_SLOTS)
