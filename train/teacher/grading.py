"""Questions to the teacher and its answers: a grade for every candidate, asked for in two orders.

    question -> two requests, the second with the candidates reversed -> two answers -> grades that agree

A grade that changes with the order says something about the order, so the candidate is dropped. A question is kept if at least two
candidates with different grades remain. An answer that is not exactly one grade per candidate is unreadable: nothing is guessed from it.
Does not know where questions come from or how requests are sent.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ... import prompts
from ...llm.chat.messages import ChatRequest
from ...llm.ranking.rank_prompt import MAX_HISTORY_ITEMS, describe

if TYPE_CHECKING:
    from ...data.records import Item

PROMPT = "teach"
GRADES = (0, 1, 2)
"""Grades of the prompt: does not go with it, may be useful, needed."""
SHARES = {0: 0.0, 1: 1.0, 2: 3.0}
"""Weight of a grade in the target distribution over the candidates, before normalization."""
_THINKING = re.compile(r"^.*</think>", re.DOTALL)
_FENCE = re.compile(r"^```(?:json)?\s*(.*?)\s*```$", re.DOTALL)
_MAX_REPLY_CHARS = 20_000


@dataclass(frozen=True)
class TeacherQuestion:
    """What the teacher is asked about one shopper.

    Attributes:
        history: Items that the shopper has, oldest first.
        candidates: Items to grade, in random order, at least two.
    """

    history: Sequence[Item]
    candidates: Sequence[Item]

    def requests(self) -> tuple[GradeRequest, GradeRequest]:
        """Return the request with the candidates in their order, and the one with the reversed order."""
        return _request(self.history, self.candidates), _request(self.history, self.candidates[::-1])


@dataclass(frozen=True, slots=True)
class GradeRequest(ChatRequest):
    """A request for one grade per candidate. Its labels are the numbers of the candidates, which are the keys of the answer."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the answer."""
        return {
            "type": "object",
            "properties": {number: {"type": "integer", "enum": list(GRADES)} for number in self.labels},
            "required": list(self.labels),
            "additionalProperties": False,
        }


def _request(history: Sequence[Item], candidates: Sequence[Item]) -> GradeRequest:
    prompt = prompts.load(PROMPT)
    lines = {"history": [describe(item) for item in history[-MAX_HISTORY_ITEMS:]], "candidates": [describe(item) for item in candidates]}
    numbers = tuple(str(number) for number in range(1, len(candidates) + 1))
    return GradeRequest(prompt.render("system"), prompt.render("user", **lines), "grades", numbers)


@cache
def prompt_hash() -> str:
    """Return the SHA-256 of the prompt's text."""
    return hashlib.sha256(json.dumps(prompts.load(PROMPT).sections, sort_keys=True).encode()).hexdigest()


def read_grades(text: str, count: int) -> list[int] | None:
    """Return the grade of each candidate in the order of the request, or None if the answer is not exactly that.

    Args:
        text: The answer; thoughts before it and a code fence around it are ignored.
        count: Number of candidates.
    """
    text = _THINKING.sub("", text[:_MAX_REPLY_CHARS]).strip()
    fenced = _FENCE.match(text)
    try:
        entries = json.loads(fenced[1] if fenced else text, object_pairs_hook=list)  # a list, so that a repeated key is seen
    except (ValueError, RecursionError):
        return None
    numbers = [str(number) for number in range(1, count + 1)]
    try:
        if sorted(key for key, _ in entries) != sorted(numbers) or any(
            type(grade) is not int or grade not in GRADES for _, grade in entries
        ):
            return None
    except (TypeError, ValueError):  # not an object
        return None
    grades = dict(entries)
    return [grades[number] for number in numbers]


@dataclass(frozen=True)
class GradedQuestion:
    """A question with the grades that both orders gave.

    Attributes:
        index: Index of the question.
        kept: Indices of the candidates with the same grade in both orders.
        grades: Grade of each of them, at least two different ones.
    """

    index: int
    kept: Sequence[int]
    grades: Sequence[int]

    @property
    def shares(self) -> list[float]:
        """Target distribution over the kept candidates: `SHARES` of the grades, with sum 1."""
        total = sum(SHARES[grade] for grade in self.grades)
        return [SHARES[grade] / total for grade in self.grades]

    @property
    def best(self) -> int:
        """Position among the kept candidates of the first one with the highest grade."""
        return self.grades.index(max(self.grades))


def agreed_grades(index: int, forward: Sequence[int], backward: Sequence[int]) -> GradedQuestion | None:
    """Return what two answers agree on; None if that are not two candidates with different grades.

    Args:
        index: Index of the question.
        forward: Grade of each candidate in the order of the question.
        backward: The grades of the request with the reversed order, as answered.
    """
    pairs = list(zip(forward, reversed(backward), strict=True))
    kept = [candidate for candidate, (first, second) in enumerate(pairs) if first == second]
    grades = [forward[candidate] for candidate in kept]
    return GradedQuestion(index, kept, grades) if len(set(grades)) >= 2 else None
