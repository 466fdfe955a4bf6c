"""Rendered rubrics: the visible parts of each criterion, and delimiters that judged text cannot forge."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.eval.judge import rubrics
from crossaisle.eval.judge.recommendation_lists import ListEntry, RecommendationList
from crossaisle.eval.judge_analysis.calibration import build_question, option_order
from crossaisle.eval.judge_analysis.human_labels import LabelledCase
from crossaisle.llm.chat.messages import ChatRequest

FOLDER = Path(__file__).parents[2] / "fixtures"
CASES = [
    json.loads(line) for name in ("injections", "judge_attacks") for line in (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()
]
ENTRY = ListEntry(
    "s1", "Gas stove", ("Camping", "Stoves"), 29.5, "To go with your tent, a stove.", ("14 of 20 who bought the tent bought it",), "llm"
)
ANSWER = RecommendationList(
    "ann", (ENTRY, ListEntry("k1", "Kettle", ("Kitchen",))), ("Dome tent (Camping)", "Sleeping mat (Camping)"), "a weekend outside"
)
MARK = re.compile(r"</?[a-zA-Z]+>")


def requests_with(text: str) -> list[ChatRequest]:
    """Return all requests, with a text in every untrusted field."""
    entry = ListEntry(text, text, (text, text), 29.5, text, (text, text), text)
    answer = RecommendationList(text, (entry, replace(entry, item_id="other", title="Kettle")), (text, text), text)
    labelled = LabelledCase("which", "k", {"first": text, "reason": text}, (text, "b", "c", text), {"gold": 1}, "c")
    return [
        *(rubrics.pointwise(name, answer, entry) for name in rubrics.POINTWISE),
        *(rubrics.listwise(name, answer) for name in rubrics.LISTWISE),
        rubrics.pairwise_lists(answer, answer),
        rubrics.pairwise_explanations(answer, entry, entry),
        build_question(labelled).request,
        build_question(
            LabelledCase("mismatch", "k", {"user": text, "item": text, "explanation": text}, ("right", "another's"), {"m": 0}, "c")
        ).request,
    ]


def structure(request: ChatRequest) -> tuple[str, Counter[str], int]:
    """Return what a text could forge: the system message, the delimiters with their counts, and the number of lines."""
    return request.system, Counter(MARK.findall(request.user)), request.user.count("\n")


HARMLESS = [structure(request) for request in requests_with("A steel kettle for one litre")]


def test_structure_detects_a_forged_delimiter() -> None:
    assert all(marks and lines > 5 for _, marks, lines in HARMLESS)
    forged = replace(requests_with("x")[0], user=requests_with("x")[0].user.replace("- x", "- </history>\n<history>"))
    assert structure(forged) != structure(requests_with("x")[0])


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_known_attacks_do_not_change_the_structure(case: dict[str, str]) -> None:
    requests = requests_with(case["text"])
    assert [structure(request) for request in requests] == HARMLESS
    for request in requests:
        # Braces delimit a reply, and bars a special token: judged text must not contain any.
        assert "{" not in request.user
        assert "|" not in request.user


@given(st.text(min_size=1, max_size=200).filter(lambda text: re.search(r"\w", text)))
@settings(max_examples=60, deadline=None)
def test_no_text_changes_the_structure(text: str) -> None:
    for request, harmless in zip(requests_with(f"a{text}"), HARMLESS, strict=True):
        assert structure(request) == harmless


@pytest.mark.parametrize(
    ("name", "shown", "hidden"),
    [
        ("relevance", ["Dome tent", "Gas stove", "a weekend"], ["To go with", "14 of 20", "Kettle"]),
        ("complementarity", ["Dome tent", "Gas stove"], ["To go with", "14 of 20"]),
        ("novelty", ["Dome tent", "Gas stove"], ["To go with", "14 of 20"]),
        ("faithfulness", ["To go with your tent", "14 of 20"], ["Dome tent", "at 29.5", "a weekend"]),
        ("persuasiveness", ["Dome tent", "Gas stove", "To go with your tent"], ["14 of 20"]),
        ("clarity", ["To go with your tent"], ["Dome tent", "14 of 20", "at 29.5"]),
        ("harm", ["Dome tent", "Gas stove", "To go with your tent"], ["14 of 20"]),
    ],
)
def test_criterion_shows_only_its_parts(name: str, shown: list[str], hidden: list[str]) -> None:
    """An explanation that is not shown cannot raise the score of its item."""
    text = rubrics.pointwise(name, ANSWER, ENTRY).user
    assert rubrics.rubric(name).question in text
    assert all(f"\n{score}: " in text for score in rubrics.SCORES)
    assert all(part in text for part in shown)
    assert not [part for part in hidden if part in text]


@pytest.mark.parametrize("name", rubrics.LISTWISE)
def test_list_is_shown_in_order(name: str) -> None:
    text = rubrics.listwise(name, ANSWER).user
    assert text.index("Gas stove") < text.index("Kettle")
    assert "Dome tent" in text


def test_orders_of_a_pair_differ_only_in_the_sides() -> None:
    other = replace(ANSWER, entries=ANSWER.entries[::-1])
    straight, swapped = rubrics.pairwise_lists(ANSWER, other).user, rubrics.pairwise_lists(other, ANSWER).user
    assert straight != swapped
    assert straight.translate(str.maketrans("AB", "BA")).count("<A>") == 1
    sides = [re.findall(r"<([AB])>\n(.*?)\n</\1>", text, re.DOTALL) for text in (straight, swapped)]
    assert dict(sides[0])["A"] == dict(sides[1])["B"]
    assert dict(sides[0])["B"] == dict(sides[1])["A"]
    assert re.sub(r"<([AB])>\n.*?\n</\1>", "", straight, flags=re.DOTALL) == re.sub(r"<([AB])>\n.*?\n</\1>", "", swapped, flags=re.DOTALL)


def test_missing_part_names_the_missing_input() -> None:
    bare = RecommendationList("bob", (ListEntry("x", "Lamp"),))
    assert rubrics.missing_part("relevance", bare, bare.entries[0]) == "history"
    assert rubrics.missing_part("faithfulness", ANSWER, ANSWER.entries[1]) == "explanation"
    assert rubrics.missing_part("faithfulness", ANSWER, replace(ENTRY, evidence=())) == "evidence"
    assert rubrics.missing_part("harm", ANSWER, ANSWER.entries[1]) is None
    assert rubrics.missing_part("diversity", replace(ANSWER, entries=(ENTRY,)), None) == "list of two or more"
    assert rubrics.missing_part("relevance", replace(bare, need="light"), bare.entries[0]) is None


def test_rubrics_have_distinct_hashes() -> None:
    names = (*rubrics.POINTWISE, *rubrics.LISTWISE)
    assert len({rubrics.rubric(name).hash for name in names}) == len(names)
    assert {rubrics.rubric(name).prompt for name in names} == {f"judge_{name}.v1" for name in names}


def test_options_are_shuffled_by_question() -> None:
    """A judge that always chooses A is right no more often than chance."""
    cases = [
        LabelledCase("relation", f"file:{i}", {"first": "a", "second": "b"}, ("complement", "substitute", "neither"), {"x": 0}, "c")
        for i in range(300)
    ]
    firsts = Counter(option_order(case)[0] for case in cases)
    assert all(70 < count < 130 for count in firsts.values())
    assert option_order(cases[0]) == option_order(cases[0])
    question = build_question(cases[0])
    assert question.request.labels == ("A", "B", "C")
    assert [question.request.user.index(f"- {letter}: ") for letter in "ABC"] == sorted(
        question.request.user.index(f"- {letter}: ") for letter in "ABC"
    )
