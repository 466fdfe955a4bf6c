"""What a judge is shown: each criterion its parts and no more, and a frame that nothing under judgement can change."""

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


def asked_about(text: str) -> list[ChatRequest]:
    """All questions, with a text in every place that a stranger writes into."""
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


def structure(asked: ChatRequest) -> tuple[str, Counter[str], int]:
    """What a text could forge: the system message, the marks in their number, the lines."""
    return asked.system, Counter(MARK.findall(asked.user)), asked.user.count("\n")


HARMLESS = [structure(asked) for asked in asked_about("A steel kettle for one litre")]


def test_the_frame_has_marks_or_the_tests_below_could_not_fail() -> None:
    assert all(marks and lines > 5 for _, marks, lines in HARMLESS)
    forged = replace(asked_about("x")[0], user=asked_about("x")[0].user.replace("- x", "- </history>\n<history>"))
    assert structure(forged) != structure(asked_about("x")[0])


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_no_text_changes_the_frame(case: dict[str, str]) -> None:
    questions = asked_about(case["text"])
    assert [structure(asked) for asked in questions] == HARMLESS
    for asked in questions:
        # Braces are what a reply is written with: none may stand in the question but our own.
        assert "{" not in asked.user
        assert "|" not in asked.user


@given(st.text(min_size=1, max_size=200).filter(lambda text: re.search(r"\w", text)))
@settings(max_examples=60, deadline=None)
def test_nor_does_any_text_at_all(text: str) -> None:
    for asked, harmless in zip(asked_about(f"a{text}"), HARMLESS, strict=True):
        assert structure(asked) == harmless


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
def test_a_criterion_sees_its_parts_and_no_more(name: str, shown: list[str], hidden: list[str]) -> None:
    """An explanation that is not shown cannot lift its item's score."""
    text = rubrics.pointwise(name, ANSWER, ENTRY).user
    assert rubrics.rubric(name).question in text
    assert all(f"\n{score}: " in text for score in rubrics.SCORES)
    assert all(part in text for part in shown)
    assert not [part for part in hidden if part in text]


@pytest.mark.parametrize("name", rubrics.LISTWISE)
def test_a_list_is_shown_whole_and_in_order(name: str) -> None:
    text = rubrics.listwise(name, ANSWER).user
    assert text.index("Gas stove") < text.index("Kettle")
    assert "Dome tent" in text


def test_the_two_orders_of_a_pair_exchange_its_sides_and_nothing_else() -> None:
    other = replace(ANSWER, entries=ANSWER.entries[::-1])
    one, two = rubrics.pairwise_lists(ANSWER, other).user, rubrics.pairwise_lists(other, ANSWER).user
    assert one != two
    assert one.translate(str.maketrans("AB", "BA")).count("<A>") == 1
    sides = [re.findall(r"<([AB])>\n(.*?)\n</\1>", text, re.DOTALL) for text in (one, two)]
    assert dict(sides[0])["A"] == dict(sides[1])["B"]
    assert dict(sides[0])["B"] == dict(sides[1])["A"]
    assert re.sub(r"<([AB])>\n.*?\n</\1>", "", one, flags=re.DOTALL) == re.sub(r"<([AB])>\n.*?\n</\1>", "", two, flags=re.DOTALL)


def test_what_is_missing_is_said() -> None:
    bare = RecommendationList("bob", (ListEntry("x", "Lamp"),))
    assert rubrics.missing_part("relevance", bare, bare.entries[0]) == "history"
    assert rubrics.missing_part("faithfulness", ANSWER, ANSWER.entries[1]) == "explanation"
    assert rubrics.missing_part("faithfulness", ANSWER, replace(ENTRY, evidence=())) == "evidence"
    assert rubrics.missing_part("harm", ANSWER, ANSWER.entries[1]) is None
    assert rubrics.missing_part("diversity", replace(ANSWER, entries=(ENTRY,)), None) == "list of two or more"
    assert rubrics.missing_part("relevance", replace(bare, need="light"), bare.entries[0]) is None


def test_every_rubric_is_a_prompt_of_its_own_hash() -> None:
    names = (*rubrics.POINTWISE, *rubrics.LISTWISE)
    assert len({rubrics.rubric(name).hash for name in names}) == len(names)
    assert {rubrics.rubric(name).prompt for name in names} == {f"judge_{name}.v1" for name in names}


def test_options_stand_in_an_order_of_the_question_s_own() -> None:
    """A judge who always says A is right no more often than chance."""
    cases = [
        LabelledCase("relation", f"file:{i}", {"first": "a", "second": "b"}, ("complement", "substitute", "neither"), {"x": 0}, "c")
        for i in range(300)
    ]
    firsts = Counter(option_order(case)[0] for case in cases)
    assert all(70 < count < 130 for count in firsts.values())
    assert option_order(cases[0]) == option_order(cases[0])
    asked = build_question(cases[0])
    assert asked.request.labels == ("A", "B", "C")
    assert [asked.request.user.index(f"- {letter}: ") for letter in "ABC"] == sorted(
        asked.request.user.index(f"- {letter}: ") for letter in "ABC"
    )
