"""What the LLM learns to word reasons from: wordings written by hand, each told of many things that a store sells.

A wording has slots for all that a store fills, so it is true of whatever stands there; told of other items it is another lesson. Wordings
for some categories are kept back to validate with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..data.records import Item
from ..llm.slots import lettered
from ..llm.wording import Brief, Briefing, Lesson, Wording, examples
from ..llm.writing import Task, alphabet, may_write
from ..recommend.excerpts import display_name

if TYPE_CHECKING:
    from ..llm.models import LanguageModel

ROUNDS = 4
"""How often a wording is told, each time of other items."""
HELD_OUT = ("Baby", "Garden")
"""Categories whose wordings are kept back: no lesson has them on either side."""
SPOKEN = (
    "a puppy moves in on Friday",
    "cycling to work in the rain",
    "moving into my first flat",
    "my daughter starts school next week",
    "a week in the mountains",
    "I want to bake my own bread",
    "working from home",
    "something for long winter evenings",
)
FAULTS = ("it does not say may, could or might", "not each letter once", "it says more than the facts")
FAULTED = 0.1
"""Share of the lessons that are told a fault of an earlier try: what is written then is no other."""


@dataclass(frozen=True)
class WritingLessons:
    """Lessons, and those of other categories to validate with."""

    learning: Sequence[Lesson]
    validation: Sequence[Lesson]


def writing_lessons(briefing: Briefing, items: Sequence[Item], seed: int, rounds: int = ROUNDS) -> WritingLessons:
    """The lessons over a store's items.

    Args: items: whose names are told, of any categories. seed: of what is drawn.
    """
    draw = np.random.default_rng([seed, 5])
    names = _names(items)
    possible = _possible(examples(), briefing.llm)
    kept_back = [one for one in possible if set(one.categories) & set(HELD_OUT)]
    others = [one for one in possible if not set(one.categories) & set(HELD_OUT)]
    learning = [briefing.lesson(_told(one, names, draw), one.text) for _ in range(rounds) for one in others]
    return WritingLessons(learning, [briefing.lesson(_told(one, names, draw), one.text) for one in kept_back])


def _possible(wordings: Sequence[Wording], llm: LanguageModel) -> list[Wording]:
    """Those that the model may write: without words that are not its own, and of somebody's words alone nothing that only a history item
    can bear out."""
    letters = alphabet(llm)
    return [
        one
        for one in wordings
        if (one.occasion != "need" or not one.slots & {"figure", "usual", "aisles", "fits"})
        and may_write(letters, Task(one.slots, one.firm, one.occasion == "seen", one.length), llm.encode(lettered(one.text)))
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


def _told(wording: Wording, names: Mapping[str, list[str]], draw: np.random.Generator) -> Brief:
    had, category = wording.categories
    item = str(draw.choice(names.get(category) or names[""]))
    own = str(draw.choice(names.get(had) or names[""])) if wording.occasion != "need" else None
    return Brief(
        item,
        own,
        f"“{draw.choice(SPOKEN)}”" if wording.occasion == "need" else None,
        wording.occasion,
        wording.slots,
        wording.firm,
        wording.tone,
        wording.length,
        str(draw.choice(FAULTS)) if draw.random() < FAULTED else None,
    )
