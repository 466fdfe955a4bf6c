"""Plan of the questions for a judge: each criterion of each recommendation, whole lists, and pairs in both orders.

A question whose inputs a recommendation lacks (no history, no evidence, no explanation) is skipped and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...data.errors import SettingsError
from ...llm.chat.messages import ChatRequest
from ..metrics.slices import HISTORY_LENGTHS
from . import injection_filter, rubrics
from .question import JudgeQuestion
from .recommendation_lists import ListEntry, RecommendationList

CRITERIA = (*rubrics.POINTWISE, *rubrics.LISTWISE)
NO_HISTORY = "none told"
"""Slice of users without a history; a value in `judge.json`."""


@dataclass
class QuestionPlan:
    """Questions to ask.

    Attributes:
        questions: Questions in the order of the judgements.
        missing: Number of skipped questions by (criterion, missing input).
        answers: Recommendation lists of each system that is judged.
    """

    questions: list[JudgeQuestion] = field(default_factory=list)
    missing: Counter[tuple[str, str]] = field(default_factory=Counter)
    answers: dict[str, Sequence[RecommendationList]] = field(default_factory=dict)

    def skipped(self) -> list[dict[str, str | int]]:
        """Return the counts of skipped questions as JSON objects, sorted by criterion."""
        return [{"criterion": name, "without": part, "times": count} for (name, part), count in sorted(self.missing.items())]


def parse_criteria(names: str | None) -> tuple[str, ...]:
    """Return the criteria of a comma-separated list; all for None or `all`, none for `none`.

    Raises:
        SettingsError: A name is not a criterion.
    """
    if names is None or names.strip() == "all":
        return CRITERIA
    if names.strip() == "none":
        return ()
    criteria = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if unknown := [name for name in criteria if name not in CRITERIA]:
        raise SettingsError(f"--criteria: unknown {', '.join(unknown)}; choose from {', '.join(CRITERIA)}, all, or none")
    return criteria


def add_scoring_questions(plan: QuestionPlan, system: str, answers: Sequence[RecommendationList], criteria: Sequence[str]) -> None:
    """Add the questions that score each recommendation and each list from 1 to 5."""
    plan.answers[system] = answers
    for answer in answers:
        for name in criteria:
            rubric = rubrics.rubric(name)
            listwise = name in rubrics.LISTWISE
            for rank, entry in [(0, None)] if listwise else list(enumerate(answer.entries, 1)):
                if part := rubrics.missing_part(name, answer, entry):
                    plan.missing[name, part] += 1
                    continue
                request = rubrics.listwise(name, answer) if entry is None else rubrics.pointwise(name, answer, entry)
                plan.questions.append(
                    JudgeQuestion(
                        name,
                        rubric.prompt,
                        rubric.hash,
                        request,
                        system,
                        answer.user,
                        item=entry.key if entry else "",
                        slices=_slices(answer, entry, rank),
                    )
                )


def add_pairwise_questions(plan: QuestionPlan, answers: Mapping[str, Sequence[RecommendationList]], users: Sequence[str]) -> None:
    """Add both orders of each pair of systems: of their lists, and of their explanations of an item that both recommend.

    Pairs with identical text are skipped and counted as missing: they are a tie without a judge.

    Args:
        plan: Plan to extend.
        answers: Recommendation lists of each system.
        users: Users that all systems have a list for.
    """
    plan.answers.update(answers)
    by_user = {system: {answer.user: answer for answer in system_answers} for system, system_answers in answers.items()}
    systems = list(by_user)
    for number, left in enumerate(systems):
        for right in systems[number + 1 :]:
            for user in users:
                first, second = by_user[left][user], by_user[right][user]
                _add_list_pair(plan, left, right, first, second)
                _add_explanation_pairs(plan, left, right, first, second)


def _add_list_pair(plan: QuestionPlan, left: str, right: str, first: RecommendationList, second: RecommendationList) -> None:
    if not (first.entries and second.entries):
        plan.missing["lists", "recommendations from both"] += 1
        return
    requests = [rubrics.pairwise_lists(first, second), rubrics.pairwise_lists(second, first)]
    if requests[0] == requests[1]:
        plan.missing["lists", "a difference"] += 1
        return
    _add_both_orders(plan, "lists", left, right, requests, first, None)


def _add_explanation_pairs(plan: QuestionPlan, left: str, right: str, first: RecommendationList, second: RecommendationList) -> None:
    second_entries = {entry.key: entry for entry in second.entries}
    for entry in first.entries:
        rival = second_entries.get(entry.key)
        if rival is None:
            continue
        if not (entry.explanation.strip() and rival.explanation.strip()):
            plan.missing["explanations", "explanations from both"] += 1
            continue
        requests = [rubrics.pairwise_explanations(first, entry, rival), rubrics.pairwise_explanations(first, rival, entry)]
        if requests[0] == requests[1]:
            plan.missing["explanations", "a difference"] += 1
            continue
        _add_both_orders(plan, "explanations", left, right, requests, first, entry)


def _add_both_orders(
    plan: QuestionPlan,
    criterion: str,
    left: str,
    right: str,
    requests: Sequence[ChatRequest],
    answer: RecommendationList,
    entry: ListEntry | None,
) -> None:
    prompt, prompt_hash = rubrics.pair_prompt()
    plan.questions += [
        JudgeQuestion(
            criterion,
            prompt,
            prompt_hash,
            request,
            left,
            answer.user,
            item=entry.key if entry else "",
            against=right,
            swapped=swapped,
            slices=_slices(answer, entry, 0),
        )
        for request, swapped in zip(requests, (False, True), strict=True)
    ]


def _slices(answer: RecommendationList, entry: ListEntry | None, rank: int) -> tuple[tuple[str, str], ...]:
    """Return the slices of a question: history length, injection, category, source of the explanation, rank."""
    length = len(answer.history)
    slices = [("history", next((name for name, start in reversed(HISTORY_LENGTHS) if length >= start), NO_HISTORY))]
    if injection_filter.contains_injection(answer, entry):
        slices.append(("words to the judge", "withheld"))
    if entry is not None:
        if entry.category:
            slices.append(("category", entry.category[0]))
        if entry.source:
            slices.append(("worded by", entry.source))
    if rank:
        slices.append(("rank", str(rank) if rank <= 5 else "6 and below"))
    return tuple(slices)
