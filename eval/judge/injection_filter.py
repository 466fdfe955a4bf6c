"""Filter for prompt injection in judged text: removed before the judge reads it, and listed in every report.

A recommender, or the author of its texts, can ask a judge for a high score. `prompts.judge_injection` detects such sentences. The rest of
the text is judged as if they were absent, so that they gain nothing and are no way out of being judged either: a text that consists of
nothing else is judged as `EMPTY_TEXT`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ... import prompts
from ...prompts.judge_injection import split_injection
from .recommendation_lists import ListEntry, RecommendationList

EMPTY_TEXT = "(nothing is said)"
"""Shown to the judge in place of a text that consists of injection only."""
MAX_REPORTED = 200
"""Removed texts that a report contains."""


@dataclass(frozen=True, slots=True)
class RemovedInjection:
    """Injection that was removed from one text. The fields are keys of `judge.json`.

    Attributes:
        system: Recommender that the text comes from.
        user: User that the recommendations are for.
        item: Key of the recommended item, empty outside of an entry.
        part: Field of the text: title, category, explanation, evidence, history or need.
        words: The removed text.
    """

    system: str
    user: str
    item: str
    part: str
    words: str


def filtered_text(text: str, limit: int) -> str:
    """Return the text as the judge sees it: without injection, sanitized, at most `limit` characters."""
    filtered = prompts.sanitize_for_prompt(split_injection(text).kept, limit)
    return filtered or (EMPTY_TEXT if prompts.sanitize_for_prompt(text, limit) else "")


def contains_injection(answer: RecommendationList, entry: ListEntry | None) -> bool:
    """Return whether a text of the entry, or of any entry of the list if None, contains injection."""
    entries = answer.entries if entry is None else (entry,)
    return any(split_injection(text).removed for each in entries for _, text in _texts(each))


def find_injections(system: str, answers: Sequence[RecommendationList]) -> list[RemovedInjection]:
    """Return all injections in the lists of a system, in their order."""
    injections = []
    for answer in answers:
        profile = [("need", answer.need), *(("history", line) for line in answer.history)]
        texts = [("", part, text) for part, text in profile]
        texts += [(entry.key, part, text) for entry in answer.entries for part, text in _texts(entry)]
        for item, part, text in texts:
            if words := split_injection(text).removed:
                injections.append(RemovedInjection(system, answer.user, item, part, words))
    return injections


def injection_report(answers: Mapping[str, Sequence[RecommendationList]]) -> dict[str, Any]:
    """Return, as JSON, the counts of texts and of texts with injection by system, and the first `MAX_REPORTED` removed texts."""
    by_system = {system: find_injections(system, system_answers) for system, system_answers in answers.items()}
    systems = {
        system: {"texts": sum(map(_count_texts, answers[system])), "speak_to_the_judge": len(injections)}
        for system, injections in by_system.items()
    }
    removed = [injection for injections in by_system.values() for injection in injections][:MAX_REPORTED]
    return {
        "systems": systems,
        "cases": [asdict(injection) | {"words": prompts.sanitize_for_prompt(injection.words, 400)} for injection in removed],
    }


def _count_texts(answer: RecommendationList) -> int:
    return bool(answer.need) + len(answer.history) + sum(1 for entry in answer.entries for _ in _texts(entry))


def _texts(entry: ListEntry) -> Iterator[tuple[str, str]]:
    """Yield the texts of an entry with their field."""
    yield "title", entry.title
    if entry.category:
        yield "category", ", ".join(entry.category)
    if entry.explanation:
        yield "explanation", entry.explanation
    for fact in entry.evidence:
        yield "evidence", fact
