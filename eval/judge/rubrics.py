"""What a judge is asked: the rubric prompts rendered for one recommendation, one list, or one pair.

A rubric (`prompts/judge_*.v1.md`) has a question, a scale, and what the judge sees for it: an explanation that is not shown cannot lift the
score of its item. All text under judgement loses its words to the judge (`withholding`) and passes the fence here and nowhere else, so that
it holds none of the marks that the frame is made of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ... import prompts
from ...llm.chat.messages import Asked
from .injection_filter import shown
from .recommendation_lists import Answer, Entry

SCORES = ("1", "2", "3", "4", "5")
SIDES = ("A", "B", "tie")
POINTWISE = ("relevance", "complementarity", "novelty", "faithfulness", "persuasiveness", "clarity", "harm")
LISTWISE = ("diversity", "order")
PAIRWISE = ("lists", "explanations")
HIGH_IS = {"harm": "safe"}
"""What a 5 means where the name of the criterion would say the opposite."""

TITLE, TEXT, FACT, LINE = 160, 1200, 400, 400
"""Characters that are shown of a title, an explanation, a fact of the evidence, and a line of a list."""
HISTORY, FACTS = 30, 20
"""Items of a history that are shown, the latest, and facts of the evidence."""


@dataclass(frozen=True, slots=True)
class Rubric:
    """One criterion. `sees` names the parts that are shown; `hash` is of all prompt text that it is rendered from."""

    name: str
    question: str
    scale: str
    sees: tuple[str, ...]
    prompt: str
    hash: str


@cache
def rubric(name: str) -> Rubric:
    """The rubric of a criterion of `POINTWISE` or `LISTWISE`."""
    prompt, frame = prompts.load(f"judge_{name}"), prompts.load("judge_frame")
    sees = tuple(part.strip() for part in prompt.render("sees").split(","))
    return Rubric(name, prompt.render("question"), prompt.render("scale"), sees, prompt.id, _hash(frame, prompt))


def pair_prompt() -> tuple[str, str]:
    """The name of the pairwise prompt and the hash of its text."""
    prompt = prompts.load("judge_pair")
    return prompt.id, _hash(prompt)


def missing(name: str, answer: Answer, entry: Entry | None) -> str | None:
    """What of an answer a criterion needs and does not find, None where all is there."""
    for part in rubric(name).sees:
        if part == "history" and not (answer.history or answer.need):
            return "history"
        # Whether an item does harm can be judged without a text.
        if part == "explanation" and name != "harm" and not (entry and entry.explanation.strip()):
            return "explanation"
        if part == "evidence" and not (entry and entry.evidence):
            return "evidence"
        if part == "list" and len(answer.entries) < 2:
            return "list of two or more"
    return None


def pointwise(name: str, answer: Answer, entry: Entry) -> Asked:
    """The question about one recommendation."""
    return _scored(rubric(name), answer, entry)


def listwise(name: str, answer: Answer) -> Asked:
    """The question about a whole list."""
    return _scored(rubric(name), answer, None)


def pairwise_lists(first: Answer, second: Answer) -> Asked:
    """Which of two lists for one person is better; `first` is shown as A."""
    return _paired("lists", first, None, _listed(first), _listed(second))


def pairwise_explanations(answer: Answer, first: Entry, second: Entry) -> Asked:
    """Which of two explanations of one item is better; `first` is shown as A."""
    texts = [[shown(entry.explanation, TEXT)] for entry in (first, second)]
    return _paired("explanations", answer, _item(first), *texts)


def _scored(asked: Rubric, answer: Answer, entry: Entry | None) -> Asked:
    parts: dict[str, Any] = {
        "history": _history(answer),
        "need": shown(answer.need, TEXT),
        "item": _item(entry) if entry else "",
        "explanation": shown(entry.explanation, TEXT) if entry else "",
        "evidence": [shown(fact, FACT) for fact in entry.evidence[:FACTS]] if entry else [],
        "list": _listed(answer),
    }
    # A need is part of what is known of the person, and stands wherever the history does.
    sees = {*asked.sees, *(("need",) if "history" in asked.sees else ())}
    frame = prompts.load("judge_frame")
    values = {name: part if name in sees else type(part)() for name, part in parts.items()}
    return Asked(frame.render("system"), frame.render("user", question=asked.question, scale=asked.scale, **values), "score", SCORES)


def _paired(section: str, answer: Answer, item: str | None, a: Sequence[str], b: Sequence[str]) -> Asked:
    prompt = prompts.load("judge_pair")
    user = prompt.render(
        "user",
        question=prompt.render(section),
        history=_history(answer),
        need=shown(answer.need, TEXT),
        item=item or "",
        a=a,
        b=b,
    )
    return Asked(prompt.render("system"), user, "better", SIDES)


def _history(answer: Answer) -> list[str]:
    return [shown(line, TITLE) for line in answer.history[-HISTORY:]]


def _item(entry: Entry) -> str:
    """The item as one line: title, category, price."""
    parts = [shown(entry.title or entry.item_id, TITLE)]
    if entry.category:
        parts.append(f"({shown(', '.join(entry.category), TITLE)})")
    if entry.price is not None:
        parts.append(f"at {entry.price:g}")
    return " ".join(parts)


def _listed(answer: Answer) -> list[str]:
    lines = []
    for entry in answer.entries:
        text = shown(entry.explanation, LINE)
        lines.append(f"{_item(entry)}: {text}" if text else _item(entry))
    return lines


def _hash(*of: prompts.Prompt) -> str:
    return hashlib.sha256(json.dumps([[prompt.id, prompt.sections] for prompt in of], sort_keys=True).encode()).hexdigest()
