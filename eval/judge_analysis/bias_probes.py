"""Bias probes: questions about variants of a recommendation with padding, another brand, or another position.

Variants are made of randomly sampled recommendations: an explanation and the same with sentences without information; an item with an
invented and with a well-known brand; an item at the first, the middle and the last position of its list. Order bias and inconsistency need
no variants: every run measures them. The statistics are in `bias`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..judge import rubrics
from ..judge.question import Judgement, JudgeQuestion
from ..judge.question_plan import QuestionPlan
from ..judge.recommendation_lists import ListEntry, RecommendationList
from .bias import Bias, brand_bias, length_bias, position_bias

if TYPE_CHECKING:
    from numpy.typing import NDArray

PADDING = (
    "That is said here of this one thing, as it is said.",
    "It stands here as one of those that stand here.",
    "What is told above is told above.",
    "So much is to be said of it at this place.",
)
"""Sentences without information, shown to the judge; as many as double the text."""
UNKNOWN_BRANDS = ("Orvindo", "Kelmara", "Tarvolin", "Besquil", "Nandrel")
"""Invented names."""
KNOWN_BRANDS = ("Sony", "Samsung", "Adidas", "Bosch", "Philips")
POSITIONS = 3
"""Positions of an item in its list, evenly spaced."""


@dataclass
class BiasProbes:
    """Variants as questions.

    Attributes:
        plan: All questions.
        length: Pairs of the plain and the padded explanation.
        lengths: Characters of the explanations in `length`.
        brand: Pairs of the item with an unknown and with a known brand.
        place: For each item, pairs of position and question.
    """

    plan: QuestionPlan = field(default_factory=QuestionPlan)
    length: list[tuple[JudgeQuestion, JudgeQuestion]] = field(default_factory=list)
    lengths: list[tuple[int, int]] = field(default_factory=list)
    brand: list[tuple[JudgeQuestion, JudgeQuestion]] = field(default_factory=list)
    place: list[list[tuple[int, JudgeQuestion]]] = field(default_factory=list)


def build_probes(system: str, answers: Sequence[RecommendationList], max_probes: int, seed: int) -> BiasProbes:
    """Return at most `max_probes` variants of each kind, sampled at random."""
    probes = BiasProbes()
    candidates = [(answer, entry) for answer in answers if answer.history or answer.need for entry in answer.entries]

    def sampling_order(candidate: tuple[RecommendationList, ListEntry]) -> bytes:
        answer, entry = candidate
        return hashlib.sha256(f"{seed} {answer.user} {entry.key}".encode("utf-8", "replace")).digest()

    shuffled = sorted(candidates, key=sampling_order)
    for answer, entry in [(answer, entry) for answer, entry in shuffled if entry.explanation.strip()][:max_probes]:
        longer = replace(entry, explanation=padded(entry.explanation))
        pair = _question("persuasiveness", system, answer, entry), _question("persuasiveness", system, answer, longer)
        probes.length.append(pair)
        probes.lengths.append((len(entry.explanation), len(longer.explanation)))
        probes.plan.questions += pair
    for number, (answer, entry) in enumerate(shuffled[:max_probes]):
        branded = [replace(entry, title=f"{names[number % len(names)]} {entry.title}") for names in (UNKNOWN_BRANDS, KNOWN_BRANDS)]
        unknown, known = (_question("relevance", system, answer, variant) for variant in branded)
        probes.brand.append((unknown, known))
        probes.plan.questions += (unknown, known)
    for answer, entry in [(answer, entry) for answer, entry in shuffled if len(answer.entries) >= POSITIONS][:max_probes]:
        others = [other for other in answer.entries if other is not entry]
        positions = np.linspace(0, len(others), POSITIONS).astype(int).tolist()
        lists = [replace(answer, entries=(*others[:position], entry, *others[position:])) for position in positions]
        questions = [_question("listed", system, variant, entry) for variant in lists]
        probes.place.append(list(zip(positions, questions, strict=True)))
        probes.plan.questions += questions
    return probes


def padded(text: str) -> str:
    """Return the text followed by sentences without information, about twice as long."""
    parts, number = [text.rstrip()], 0
    while sum(map(len, parts)) < 2 * len(text):
        parts.append(PADDING[number % len(PADDING)])
        number += 1
    return " ".join(parts)


def measure_biases(probes: BiasProbes, judgements: Sequence[Judgement], seed: int) -> list[Bias]:
    """Return the biases of a judge on the probes; a kind without probes is omitted."""
    scores = _scores_by_question(judgements, repeat=0)
    repeated = _scores_by_question(judgements, repeat=1)
    users: dict[str, int] = {}
    for question in probes.plan.questions:
        users.setdefault(question.user, len(users))
    biases: list[Bias] = []
    if probes.length:
        lengths = np.array(probes.lengths, np.float64)  # (texts, 2)
        plain, longer, clusters = _pair_scores(probes.length, scores, users)
        biases.append(length_bias(plain, longer, lengths[:, 0], lengths[:, 1], clusters, seed=seed))
    if probes.brand:
        unknown, known, clusters = _pair_scores(probes.brand, scores, users)
        # The noise of repeated calls is subtracted only if all were repeated.
        second = np.array([repeated.get(id(question), math.nan) for question, _ in probes.brand])
        noise = second if not np.isnan(second).any() else None
        biases += brand_bias(unknown, known, clusters, noise, seed=seed)
    if probes.place:
        rows = [
            (scores.get(id(question), math.nan), position, item, users[question.user])
            for item, variants in enumerate(probes.place)
            for position, question in variants
        ]
        values, positions, items, clusters = (np.array(column) for column in zip(*rows, strict=True))
        biases.append(position_bias(values, positions.astype(np.float64), items, clusters, seed=seed))
    return biases


def _scores_by_question(judgements: Sequence[Judgement], *, repeat: int) -> dict[int, float]:
    """Return the score of each question by its object id, NaN if unscored."""
    return {
        id(judgement.question): math.nan if judgement.score is None else judgement.score
        for judgement in judgements
        if judgement.repeat == repeat
    }


def _question(name: str, system: str, answer: RecommendationList, entry: ListEntry) -> JudgeQuestion:
    rubric = rubrics.rubric(name)
    request = rubrics.pointwise(name, answer, entry)
    return JudgeQuestion(name, rubric.prompt, rubric.hash, request, system, answer.user, item=entry.key)


def _pair_scores(
    pairs: Sequence[tuple[JudgeQuestion, JudgeQuestion]], scores: Mapping[int, float], users: Mapping[str, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return, each (pairs,), the scores of the first and the second questions and the index of the user."""
    first, second = (np.array([scores.get(id(pair[side]), math.nan) for pair in pairs], np.float64) for side in (0, 1))
    return first, second, np.array([users[question.user] for question, _ in pairs], np.int64)
