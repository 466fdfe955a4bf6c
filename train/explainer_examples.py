"""What the LLM learns to word reasons from: wordings written by hand, each told of many things that a store sells.

A wording has slots for all that a store fills, so it is true of whatever stands there; told of other items it is another lesson. Some
items are kept back to validate with: what is wanted is that known words are found for things that were never spoken of. How likely
wordings are that were never read says nothing of that: it falls once the model has its own, while what it writes still gets better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..data.records import Item
from ..llm.explain.briefs import EXAMPLE_NEEDS, BriefRenderer, ExplanationBrief, HandwrittenWording, handwritten_wordings
from ..llm.explain.constrained_decoding import WordingConstraints, is_decodable, token_vocabulary
from ..llm.explain.slots import slots_to_letters
from ..recommend.evidence.review_excerpts import display_name
from .lora.wording_loss import WordingExample, wording_example

if TYPE_CHECKING:
    from ..llm.models.language_model import LanguageModel

ROUNDS = 4
"""How often a wording is told, each time of other items."""
HELD_OUT = "Baby"
"""The category that is kept back: no lesson has a wording for it, nor, in a store that has others, an item of it."""
VALIDATION = 60
"""Wordings that are told of what was kept back."""
FAULTS = ("it does not say may, could or might", "not each letter once", "it says more than the facts")
FAULTED = 0.1
"""Share of the lessons that are told a fault of an earlier try: what is written then is no other."""


@dataclass(frozen=True)
class WritingLessons:
    """Lessons, and those of other categories to validate with."""

    learning: Sequence[WordingExample]
    validation: Sequence[WordingExample]


def writing_lessons(briefing: BriefRenderer, items: Sequence[Item], seed: int, rounds: int = ROUNDS) -> WritingLessons:
    """The lessons over a store's items.

    Args: items: whose names are told, of any categories. seed: of what is drawn.
    """
    draw = np.random.default_rng([seed, 5])
    names = _names(items)
    own = [one for one in _possible(handwritten_wordings(), briefing.llm) if HELD_OUT not in one.categories]
    learning = [wording_example(briefing, _told(one, names, draw), one.text) for _ in range(rounds) for one in own]
    some = draw.permutation(len(own))[:VALIDATION].tolist()
    anew = [replace(own[number], categories=(own[number].categories[0], HELD_OUT)) for number in some]
    return WritingLessons(learning, [wording_example(briefing, _told(one, names, draw), one.text) for one in anew])


def _possible(wordings: Sequence[HandwrittenWording], llm: LanguageModel) -> list[HandwrittenWording]:
    """Those that the model may write: without words that are not its own, and of somebody's words alone nothing that only a history item
    can bear out."""
    letters = token_vocabulary(llm)
    return [
        one
        for one in wordings
        if (one.occasion != "need" or not one.slots & {"figure", "usual", "aisles", "fits"})
        and is_decodable(
            letters,
            WordingConstraints(one.slots, one.confident, one.occasion == "seen", one.length, relaxed=True),
            llm.encode(slots_to_letters(one.text)),
        )
    ]


def _names(items: Sequence[Item]) -> Mapping[str, list[str]]:
    """Names by the category that they are sold in; all under the empty one."""
    found: dict[str, list[str]] = {"": []}
    for item in items:
        name = display_name(item)
        found[""].append(name)
        if item.category:
            found.setdefault(item.category[0], []).append(name)
    return found


def _told(wording: HandwrittenWording, names: Mapping[str, list[str]], draw: np.random.Generator) -> ExplanationBrief:
    had, category = wording.categories
    item = str(draw.choice(names.get(category) or names[""]))
    own = str(draw.choice(names.get(had) or names[""])) if wording.occasion != "need" else None
    return ExplanationBrief(
        item,
        own,
        f"“{draw.choice(EXAMPLE_NEEDS)}”" if wording.occasion == "need" else None,
        wording.occasion,
        wording.slots,
        wording.confident,
        wording.tone,
        wording.length,
        str(draw.choice(FAULTS)) if draw.random() < FAULTED else None,
    )
