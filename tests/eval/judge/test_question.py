"""What is made of a reply: a score where it says one thing clearly, unscored in every other case."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.eval.judge.question import EMPTY, TRUNCATED, UNREADABLE, JudgeQuestion, parse_judgement, parse_verdict
from crossaisle.llm.chat.messages import ChatRequest, ChatResponse

SCORE = ChatRequest("s", "u", "score", ("1", "2", "3", "4", "5"))
SIDE = ChatRequest("s", "u", "better", ("A", "B", "tie"))


def question(asked: ChatRequest = SCORE, **about: object) -> JudgeQuestion:
    return JudgeQuestion("relevance", "p.v1", "hash", asked, "ours", "ann", **about)  # type: ignore[arg-type]


def score_of(text: str, **reply: object) -> float | None:
    return parse_judgement(question(), "j", 0, ChatResponse(text, **reply)).score  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"reason": "It fits.", "score": 4}', 4),
        ('{"score": 2, "reason": "The other way round."}', 2),
        ('```json\n{"reason": "It fits.", "score": 5}\n```', 5),
        ('Here it is: {"reason": "so", "score": "3"} Good day.', 3),
        ('{"reason": "so", "score": 1.0}', 1),
        ('{"reason": "よく合う。", "score": 5}', 5),
        ('{"reason": "braces { in a text }", "score": 4}', 4),
        ('<think>perhaps {"reason": "x", "score": 1}</think>{"reason": "so", "score": 4}', 4),
        ('{"reason": "so", "score": 4, "confidence": "high"}', 4),
        ('{"reason": "so", "score": 4} {"reason": "so it is", "score": 4}', 4),
    ],
)
def test_a_reply_that_says_one_thing(text: str, score: float) -> None:
    assert score_of(text) == score


@pytest.mark.parametrize(
    "text",
    [
        "4",
        "I would give it a 4 of 5.",
        '{"reason": "so", "score": 6}',
        '{"reason": "so", "score": 0}',
        '{"reason": "so", "score": 4.5}',
        '{"reason": "so", "score": true}',
        '{"reason": "so", "score": null}',
        '{"reason": "so", "score": [4]}',
        '{"reason": "so", "score": "four"}',
        '{"reason": 7, "score": 4}',
        '{"score": 4}',
        '{"reason": "so"}',
        '{"razón": "encaja", "puntuación": 4}',
        '{"reason": "so", "score": 4',
        '{"reason": "so", "score": 2} no, {"reason": "so", "score": 4}',
        '[{"reason": "so"}, 4]',
        "{" * 5000,
        "Es passt gut zum Zelt, also eine Vier.",
        "<think>four",
    ],
)
def test_one_that_does_not_is_unscored_and_never_low(text: str) -> None:
    found = parse_judgement(question(), "j", 0, ChatResponse(text))
    assert found.score is None
    assert found.chosen is None
    assert found.unscored == UNREADABLE


def test_why_it_is_unscored() -> None:
    assert parse_judgement(question(), "j", 0, ChatResponse("  \n")).unscored == EMPTY
    assert parse_judgement(question(), "j", 0, ChatResponse('{"reason": "it goes on and', finish="length")).unscored == TRUNCATED
    # A whole answer counts, whatever came after it.
    assert score_of('{"reason": "so", "score": 4} and then', finish="length") == 4


def test_the_mean_by_probabilities() -> None:
    likely = {"1": 0.0, "2": 0.0, "3": 0.25, "4": 0.5, "5": 0.25}
    found = parse_judgement(question(), "j", 0, ChatResponse('{"reason": "so", "score": 4}', chosen="4", probabilities=likely))
    assert found.score == pytest.approx(4.0)
    likely = {"1": 0.3, "2": 0.0, "3": 0.0, "4": 0.7, "5": 0.0}
    found = parse_judgement(question(), "j", 0, ChatResponse('{"reason": "so", "score": 4}', chosen="4", probabilities=likely))
    assert found.score == pytest.approx(0.3 + 2.8)
    assert found.chosen == "4"
    assert found.probabilities == likely


@pytest.mark.parametrize("likely", [{"1": 0.5, "2": 0.1}, {"1": float("nan"), "5": 1.0}, {"6": 1.0}])
def test_probabilities_that_cannot_be_are_left_aside(likely: dict[str, float]) -> None:
    assert score_of('{"reason": "so", "score": 4}', chosen="4", probabilities=likely) == 4


def test_probabilities_of_another_place_are_left_aside() -> None:
    likely = {"1": 1.0, "2": 0.0, "3": 0.0, "4": 0.0, "5": 0.0}
    assert score_of('{"reason": "so", "score": 4}', chosen="1", probabilities=likely) == 4


@pytest.mark.parametrize(
    ("chosen", "swapped", "score"), [("A", False, 1), ("B", False, 0), ("A", True, 0), ("B", True, 1), ("tie", True, 0.5)]
)
def test_a_side_is_read_for_the_system(chosen: str, swapped: bool, score: float) -> None:
    asked = question(SIDE, against="theirs", swapped=swapped)
    assert parse_judgement(asked, "j", 0, ChatResponse(json.dumps({"reason": "so", "better": chosen}))).score == score


def test_a_side_by_probabilities() -> None:
    asked = question(SIDE, against="theirs", swapped=True)
    likely = {"A": 0.2, "B": 0.6, "tie": 0.2}
    found = parse_judgement(asked, "j", 0, ChatResponse('{"reason": "so", "better": "B"}', chosen="B", probabilities=likely))
    assert found.score == pytest.approx(0.7)


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_text_is_a_fault(text: str) -> None:
    found = parse_verdict(text, SCORE)
    assert found is None or found[1] in SCORE.labels


def test_a_reason_is_on_one_line_and_short() -> None:
    found = parse_judgement(question(), "j", 0, ChatResponse(json.dumps({"reason": "a\nb " * 2000, "score": 3})))
    assert "\n" not in found.reason
    assert len(found.reason) == 1000
