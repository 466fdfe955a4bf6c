"""Which questions a judge is asked about recommendations: every criterion of every recommendation, whole lists, and pairs in both orders.

What a criterion needs and an answer does not have (no history, no evidence, no explanation) is not asked, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...data.errors import SettingsError
from ...llm.chat.messages import Asked
from ..metrics.slices import HISTORY_LENGTHS
from . import injection_filter, rubrics
from .question import Question
from .recommendation_lists import Answer, Entry

CRITERIA = (*rubrics.POINTWISE, *rubrics.LISTWISE)
NO_HISTORY = "none told"


@dataclass
class Plan:
    """What is to be asked.

    Attributes:
        missing: how often something was: (criterion, what was missing) to how many. answers: of each system that is asked about.
    """

    questions: list[Question] = field(default_factory=list)
    missing: Counter[tuple[str, str]] = field(default_factory=Counter)
    answers: dict[str, Sequence[Answer]] = field(default_factory=dict)

    def told(self) -> list[dict[str, str | int]]:
        """What was not asked for want of something, as JSON holds it."""
        return [{"criterion": name, "without": what, "times": n} for (name, what), n in sorted(self.missing.items())]


def chosen(names: str | None) -> tuple[str, ...]:
    """The criteria that a comma-separated list names; None or `all` for all of them, `none` for none.

    Raises: SettingsError: a name that is no criterion.
    """
    if names is None or names.strip() == "all":
        return CRITERIA
    if names.strip() == "none":
        return ()
    found = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if unknown := [name for name in found if name not in CRITERIA]:
        raise SettingsError(f"--criteria are among {', '.join(CRITERIA)}, or all, or none; not {', '.join(unknown)}")
    return found


def scores(plan: Plan, system: str, answers: Sequence[Answer], criteria: Sequence[str]) -> None:
    """Adds the questions that give every recommendation, and every list, a score from 1 to 5."""
    plan.answers[system] = answers
    for answer in answers:
        for name in criteria:
            about = rubrics.rubric(name)
            listed = name in rubrics.LISTWISE
            for rank, entry in [(0, None)] if listed else list(enumerate(answer.entries, 1)):
                if what := rubrics.missing(name, answer, entry):
                    plan.missing[name, what] += 1
                    continue
                asked = rubrics.listwise(name, answer) if entry is None else rubrics.pointwise(name, answer, entry)
                plan.questions.append(
                    Question(
                        name,
                        about.prompt,
                        about.hash,
                        asked,
                        system,
                        answer.user,
                        item=entry.key if entry else "",
                        slices=_slices(answer, entry, rank),
                    )
                )


def pairs(plan: Plan, answers: Mapping[str, Sequence[Answer]], users: Sequence[str]) -> None:
    """Adds both orders of every pair of systems: of their lists, and of their explanations of an item that both recommend.

    Args: answers: of each system, of all users. users: that all are about.
    Two lists that read alike, and two equal explanations, are not asked about: they are a tie by themselves, and counted as missing.
    """
    plan.answers.update(answers)
    by_user = {system: {answer.user: answer for answer in of_one} for system, of_one in answers.items()}
    systems = list(by_user)
    for number, one in enumerate(systems):
        for other in systems[number + 1 :]:
            for user in users:
                first, second = by_user[one][user], by_user[other][user]
                _pair_of_lists(plan, one, other, first, second)
                _pairs_of_explanations(plan, one, other, first, second)


def _pair_of_lists(plan: Plan, one: str, other: str, first: Answer, second: Answer) -> None:
    if not (first.entries and second.entries):
        plan.missing["lists", "recommendations from both"] += 1
        return
    asked = [rubrics.pairwise_lists(first, second), rubrics.pairwise_lists(second, first)]
    if asked[0] == asked[1]:
        plan.missing["lists", "a difference"] += 1
        return
    _both(plan, "lists", one, other, asked, first, None)


def _pairs_of_explanations(plan: Plan, one: str, other: str, first: Answer, second: Answer) -> None:
    others = {entry.key: entry for entry in second.entries}
    for entry in first.entries:
        rival = others.get(entry.key)
        if rival is None:
            continue
        if not (entry.explanation.strip() and rival.explanation.strip()):
            plan.missing["explanations", "explanations from both"] += 1
            continue
        asked = [rubrics.pairwise_explanations(first, entry, rival), rubrics.pairwise_explanations(first, rival, entry)]
        if asked[0] == asked[1]:
            plan.missing["explanations", "a difference"] += 1
            continue
        _both(plan, "explanations", one, other, asked, first, entry)


def _both(plan: Plan, criterion: str, one: str, other: str, asked: Sequence[Asked], answer: Answer, entry: Entry | None) -> None:
    prompt, digest = rubrics.pair_prompt()
    plan.questions += [
        Question(
            criterion,
            prompt,
            digest,
            question,
            one,
            answer.user,
            item=entry.key if entry else "",
            against=other,
            swapped=swapped,
            slices=_slices(answer, entry, 0),
        )
        for question, swapped in zip(asked, (False, True), strict=True)
    ]


def _slices(answer: Answer, entry: Entry | None, rank: int) -> tuple[tuple[str, str], ...]:
    """The parts of the whole that a question is in: by history, category, rank, wording, words to the judge."""
    length = len(answer.history)
    found = [("history", next((name for name, start in reversed(HISTORY_LENGTHS) if length >= start), NO_HISTORY))]
    if injection_filter.pleading(answer, entry):
        found.append(("words to the judge", "withheld"))
    if entry is not None:
        if entry.category:
            found.append(("category", entry.category[0]))
        if entry.source:
            found.append(("worded by", entry.source))
    if rank:
        found.append(("rank", str(rank) if rank <= 5 else "6 and below"))
    return tuple(found)
