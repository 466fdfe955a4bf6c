"""Rubric prompts rendered for one recommendation, one list, or one pair.

A rubric (`prompts/templates/judge_*.v1.md`) has a question, a scale, and the parts that the judge sees: an explanation that is not shown
cannot raise the score of its item. All judged text is filtered (`injection_filter`) and sanitized here and nowhere else, so that it cannot
forge the delimiters of the prompt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ... import prompts
from ...llm.chat.messages import ChatRequest
from .injection_filter import filtered_text
from .recommendation_lists import ListEntry, RecommendationList

SCORES = ("1", "2", "3", "4", "5")
SIDES = ("A", "B", "tie")
POINTWISE = ("relevance", "complementarity", "novelty", "faithfulness", "persuasiveness", "clarity", "harm")
LISTWISE = ("diversity", "order")
HIGH_IS = {"harm": "safe"}
"""Meaning of a score of 5 where the name of the criterion suggests the opposite."""

MAX_TITLE_CHARS, MAX_TEXT_CHARS, MAX_FACT_CHARS, MAX_LINE_CHARS = 160, 1200, 400, 400
"""Characters shown of a title, an explanation, a fact of the evidence, and an explanation in a list."""
MAX_HISTORY_ITEMS, MAX_FACTS = 30, 20
"""Latest history items and facts of the evidence that are shown."""


@dataclass(frozen=True, slots=True)
class Rubric:
    """One criterion.

    Attributes:
        name: Name of the criterion.
        question: Question to the judge.
        scale: Meaning of each score.
        visible_parts: Parts of a recommendation that the judge sees.
        prompt: Id of the prompt.
        hash: Hash of all prompt text that the question is rendered from.
    """

    name: str
    question: str
    scale: str
    visible_parts: tuple[str, ...]
    prompt: str
    hash: str


@cache
def rubric(name: str) -> Rubric:
    """Return the rubric of a criterion of `POINTWISE` or `LISTWISE`."""
    prompt, frame = prompts.load(f"judge_{name}"), prompts.load("judge_frame")
    visible_parts = tuple(part.strip() for part in prompt.render("sees").split(","))
    return Rubric(name, prompt.render("question"), prompt.render("scale"), visible_parts, prompt.id, _hash(frame, prompt))


def pair_prompt() -> tuple[str, str]:
    """Return the id of the pairwise prompt and the hash of its text."""
    prompt = prompts.load("judge_pair")
    return prompt.id, _hash(prompt)


def missing_part(name: str, answer: RecommendationList, entry: ListEntry | None) -> str | None:
    """Return the first input that a criterion needs and the recommendation lacks, None if it has all."""
    for part in rubric(name).visible_parts:
        if part == "history" and not (answer.history or answer.need):
            return "history"
        # The harm of an item can be judged without an explanation.
        if part == "explanation" and name != "harm" and not (entry and entry.explanation.strip()):
            return "explanation"
        if part == "evidence" and not (entry and entry.evidence):
            return "evidence"
        if part == "list" and len(answer.entries) < 2:
            return "list of two or more"
    return None


def pointwise(name: str, answer: RecommendationList, entry: ListEntry) -> ChatRequest:
    """Return the request that scores one recommendation."""
    return _score_request(rubric(name), answer, entry)


def listwise(name: str, answer: RecommendationList) -> ChatRequest:
    """Return the request that scores a whole list."""
    return _score_request(rubric(name), answer, None)


def pairwise_lists(first: RecommendationList, second: RecommendationList) -> ChatRequest:
    """Return the request that compares two lists for one user; `first` is shown as A."""
    return _pair_request("lists", first, None, _list_lines(first), _list_lines(second))


def pairwise_explanations(answer: RecommendationList, first: ListEntry, second: ListEntry) -> ChatRequest:
    """Return the request that compares two explanations of one item; `first` is shown as A."""
    texts = [[filtered_text(entry.explanation, MAX_TEXT_CHARS)] for entry in (first, second)]
    return _pair_request("explanations", answer, _item_line(first), *texts)


def _score_request(criterion: Rubric, answer: RecommendationList, entry: ListEntry | None) -> ChatRequest:
    parts: dict[str, Any] = {
        "history": _history_lines(answer),
        "need": filtered_text(answer.need, MAX_TEXT_CHARS),
        "item": _item_line(entry) if entry else "",
        "explanation": filtered_text(entry.explanation, MAX_TEXT_CHARS) if entry else "",
        "evidence": [filtered_text(fact, MAX_FACT_CHARS) for fact in entry.evidence[:MAX_FACTS]] if entry else [],
        "list": _list_lines(answer),
    }
    # The text query is part of the user's profile and shown with the history.
    visible = {*criterion.visible_parts, *(("need",) if "history" in criterion.visible_parts else ())}
    frame = prompts.load("judge_frame")
    values = {name: part if name in visible else type(part)() for name, part in parts.items()}
    user = frame.render("user", question=criterion.question, scale=criterion.scale, **values)
    return ChatRequest(frame.render("system"), user, "score", SCORES)


def _pair_request(section: str, answer: RecommendationList, item: str | None, a: Sequence[str], b: Sequence[str]) -> ChatRequest:
    prompt = prompts.load("judge_pair")
    user = prompt.render(
        "user",
        question=prompt.render(section),
        history=_history_lines(answer),
        need=filtered_text(answer.need, MAX_TEXT_CHARS),
        item=item or "",
        a=a,
        b=b,
    )
    return ChatRequest(prompt.render("system"), user, "better", SIDES)


def _history_lines(answer: RecommendationList) -> list[str]:
    return [filtered_text(line, MAX_TITLE_CHARS) for line in answer.history[-MAX_HISTORY_ITEMS:]]


def _item_line(entry: ListEntry) -> str:
    """Return the item as one line: title, category, price."""
    parts = [filtered_text(entry.title or entry.item_id, MAX_TITLE_CHARS)]
    if entry.category:
        parts.append(f"({filtered_text(', '.join(entry.category), MAX_TITLE_CHARS)})")
    if entry.price is not None:
        parts.append(f"at {entry.price:g}")
    return " ".join(parts)


def _list_lines(answer: RecommendationList) -> list[str]:
    lines = []
    for entry in answer.entries:
        text = filtered_text(entry.explanation, MAX_LINE_CHARS)
        lines.append(f"{_item_line(entry)}: {text}" if text else _item_line(entry))
    return lines


def _hash(*files: prompts.Prompt) -> str:
    return hashlib.sha256(json.dumps([[prompt.id, prompt.sections] for prompt in files], sort_keys=True).encode()).hexdigest()
