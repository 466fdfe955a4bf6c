"""What moves a judge besides quality, asked of it directly: the same thing with more words, with another brand, at another place.

Variants are made of what is judged anyway, some by lot: an explanation and the same with words that say nothing; an item under a name that
nobody knows and one that everybody does; an item at the first, the middle and the last place of its list. Order and unsteadiness need no
variants: every run shows them. The statistics are `audit`'s.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..judge import rubrics
from ..judge.question import Judgement, Question
from ..judge.question_plan import Plan
from ..judge.recommendation_lists import Answer, Entry
from . import bias
from .bias import Bias

if TYPE_CHECKING:
    from numpy.typing import NDArray

PADDING = (
    "That is said here of this one thing, as it is said.",
    "It stands here as one of those that stand here.",
    "What is told above is told above.",
    "So much is to be said of it at this place.",
)
"""Sentences that say nothing; as many as double the text."""
UNKNOWN = ("Orvindo", "Kelmara", "Tarvolin", "Besquil", "Nandrel")
"""Invented names."""
KNOWN = ("Sony", "Samsung", "Adidas", "Bosch", "Philips")
PLACES = 3
"""Of a list that an item is put at, in equal steps."""


@dataclass
class Audit:
    """The variants as questions.

    Attributes:
        plan: all of them. length, brand: the plain one and the longer one, the unknown brand and the known. lengths: characters of the
        explanations of `length`. place: of each item, where it stands and the question.
    """

    plan: Plan = field(default_factory=Plan)
    length: list[tuple[Question, Question]] = field(default_factory=list)
    lengths: list[tuple[int, int]] = field(default_factory=list)
    brand: list[tuple[Question, Question]] = field(default_factory=list)
    place: list[list[tuple[int, Question]]] = field(default_factory=list)


def variants(system: str, answers: Sequence[Answer], most: int, seed: int) -> Audit:
    """At most so many variants of each kind, by lot."""
    found = Audit()
    shown = [(answer, entry) for answer in answers if answer.history or answer.need for entry in answer.entries]
    lot = sorted(shown, key=lambda one: hashlib.sha256(f"{seed} {one[0].user} {one[1].key}".encode("utf-8", "replace")).digest())
    for answer, entry in [one for one in lot if one[1].explanation.strip()][:most]:
        longer = replace(entry, explanation=padded(entry.explanation))
        both = _asked("persuasiveness", system, answer, entry), _asked("persuasiveness", system, answer, longer)
        found.length.append(both)
        found.lengths.append((len(entry.explanation), len(longer.explanation)))
        found.plan.questions += both
    for number, (answer, entry) in enumerate(lot[:most]):
        branded = [replace(entry, title=f"{names[number % len(names)]} {entry.title}") for names in (UNKNOWN, KNOWN)]
        one, other = (_asked("relevance", system, answer, of) for of in branded)
        found.brand.append((one, other))
        found.plan.questions += (one, other)
    for answer, entry in [one for one in lot if len(one[0].entries) >= PLACES][:most]:
        others = [one for one in answer.entries if one is not entry]
        places = np.linspace(0, len(others), PLACES).astype(int).tolist()
        lists = [replace(answer, entries=(*others[:place], entry, *others[place:])) for place in places]
        asked = [_asked("listed", system, of, entry) for of in lists]
        found.place.append(list(zip(places, asked, strict=True)))
        found.plan.questions += asked
    return found


def padded(text: str) -> str:
    """The text with words that say nothing, about twice as long."""
    parts, number = [text.rstrip()], 0
    while sum(map(len, parts)) < 2 * len(text):
        parts.append(PADDING[number % len(PADDING)])
        number += 1
    return " ".join(parts)


def biases(asked: Audit, judgements: Sequence[Judgement], seed: int) -> list[Bias]:
    """What the variants show of a judge; a kind without variants is left out."""
    scores = {id(one.question): math.nan if one.score is None else one.score for one in judgements if one.repeat == 0}
    again = {id(one.question): math.nan if one.score is None else one.score for one in judgements if one.repeat == 1}
    users: dict[str, int] = {}
    for question in asked.plan.questions:
        users.setdefault(question.user, len(users))
    found: list[Bias] = []
    if asked.length:
        lengths = np.array(asked.lengths, np.float64)
        plain, longer, clusters = _both(asked.length, scores, users)
        found.append(bias.length(plain, longer, lengths[:, 0], lengths[:, 1], clusters, seed=seed))
    if asked.brand:
        unknown, known, clusters = _both(asked.brand, scores, users)
        # What asking again moves is taken from what the swap moves, where all of it is known.
        second = np.array([again.get(id(one), math.nan) for one, _ in asked.brand])
        noise = second if not np.isnan(second).any() else None
        found += bias.brand(unknown, known, clusters, noise, seed=seed)
    if asked.place:
        rows = [(scores.get(id(q), math.nan), place, item, users[q.user]) for item, of in enumerate(asked.place) for place, q in of]
        told, places, items, clusters = (np.array(column) for column in zip(*rows, strict=True))
        found.append(bias.place(told, places.astype(np.float64), items, clusters, seed=seed))
    return found


def _asked(name: str, system: str, answer: Answer, entry: Entry) -> Question:
    about = rubrics.rubric(name)
    return Question(name, about.prompt, about.hash, rubrics.pointwise(name, answer, entry), system, answer.user, item=entry.key)


def _both(
    pairs: Sequence[tuple[Question, Question]], scores: Mapping[int, float], users: Mapping[str, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    one, other = (np.array([scores.get(id(pair[side]), math.nan) for pair in pairs], np.float64) for side in (0, 1))
    return one, other, np.array([users[question.user] for question, _ in pairs], np.int64)
