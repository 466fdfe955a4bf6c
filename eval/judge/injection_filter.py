"""Words to the judge in what it judges: taken out before it reads, and told in every report.

A recommender, or whoever writes its texts, can ask a judge for a good score. `prompts.judge_injection` finds such words; what is left of a text is
judged as if they had not been written, so that nothing is won by them, and nothing either by being left out: a text that is nothing
else is judged as `NOTHING`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ... import prompts
from ...prompts.judge_injection import parted
from .recommendation_lists import Answer, Entry

NOTHING = "(nothing is said)"
"""What a judge reads of a text that speaks to the judge only."""
SHOWN = 200
"""Cases that a report holds the words of."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Words to the judge. Attributes: part: where they stand: title, category, explanation, evidence, history or need."""

    system: str
    user: str
    item: str
    part: str
    words: str


def shown(text: str, limit: int) -> str:
    """A text under judgement as a judge reads it: without words to the judge, through the fence, at most `limit` characters."""
    told = prompts.fence(parted(text).kept, limit)
    return told or (NOTHING if prompts.fence(text, limit) else "")


def pleading(answer: Answer, entry: Entry | None) -> bool:
    """Whether something of an answer, or of one entry of it, speaks to the judge."""
    entries = answer.entries if entry is None else (entry,)
    return any(parted(text).taken for one in entries for _, text in _texts(one))


def withheld(system: str, answers: Sequence[Answer]) -> list[Withheld]:
    """All words to the judge in what a system said, in its order."""
    found = []
    for answer in answers:
        rest = [("need", answer.need), *(("history", line) for line in answer.history)]
        told = [("", part, text) for part, text in rest] + [(entry.key, *one) for entry in answer.entries for one in _texts(entry)]
        for item, part, text in told:
            if words := parted(text).taken:
                found.append(Withheld(system, answer.user, item, part, words))
    return found


def report(answers: Mapping[str, Sequence[Answer]]) -> dict[str, Any]:
    """How many texts each system has and how many of them speak to the judge, and the first cases with their words."""
    found = {system: withheld(system, of_one) for system, of_one in answers.items()}
    systems = {system: {"texts": sum(map(_count, answers[system])), "speak_to_the_judge": len(cases)} for system, cases in found.items()}
    cases = [one for of_one in found.values() for one in of_one]
    return {"systems": systems, "cases": [asdict(one) | {"words": prompts.fence(one.words, 400)} for one in cases[:SHOWN]]}


def _count(answer: Answer) -> int:
    return bool(answer.need) + len(answer.history) + sum(1 for entry in answer.entries for _ in _texts(entry))


def _texts(entry: Entry) -> Iterator[tuple[str, str]]:
    yield "title", entry.title
    if entry.category:
        yield "category", ", ".join(entry.category)
    if entry.explanation:
        yield "explanation", entry.explanation
    for fact in entry.evidence:
        yield "evidence", fact
