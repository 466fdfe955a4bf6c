"""Parsing of replies: a score for one unambiguous verdict, unscored in every other case."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.eval.judge.question import EMPTY, TRUNCATED, UNREADABLE, JudgeQuestion, parse_judgement, parse_verdict
from crossaisle.llm.chat.messages import ChatRequest, ChatResponse

SCORE = ChatRequest("s", "u", "score", ("1", "2", "3", "4", "5"))
SIDE = ChatRequest("s", "u", "better", ("A", "B", "tie"))


def question(request: ChatRequest = SCORE, **fields: object) -> JudgeQuestion:
    return JudgeQuestion("relevance", "p.v1", "hash", request, "ours", "ann", **fields)  # type: ignore[arg-type]


def score_of(text: str, **fields: object) -> float | None:
    return parse_judgement(question(), "j", 0, ChatResponse(text, **fields)).score  # type: ignore[arg-type]


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
def test_unambiguous_reply_is_scored(text: str, score: float) -> None:
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
def test_unreadable_reply_is_unscored_and_never_low(text: str) -> None:
    judgement = parse_judgement(question(), "j", 0, ChatResponse(text))
    assert judgement.score is None
    assert judgement.chosen is None
    assert judgement.unscored == UNREADABLE


def test_cause_of_an_unscored_reply() -> None:
    assert parse_judgement(question(), "j", 0, ChatResponse("  \n")).unscored == EMPTY
    assert parse_judgement(question(), "j", 0, ChatResponse('{"reason": "it goes on and', finish="length")).unscored == TRUNCATED
    # A complete answer counts, whatever follows it.
    assert score_of('{"reason": "so", "score": 4} and then', finish="length") == 4


def test_score_is_the_mean_over_label_probabilities() -> None:
    probabilities = {"1": 0.0, "2": 0.0, "3": 0.25, "4": 0.5, "5": 0.25}
    judgement = parse_judgement(question(), "j", 0, ChatResponse('{"reason": "so", "score": 4}', chosen="4", probabilities=probabilities))
    assert judgement.score == pytest.approx(4.0)
    probabilities = {"1": 0.3, "2": 0.0, "3": 0.0, "4": 0.7, "5": 0.0}
    judgement = parse_judgement(question(), "j", 0, ChatResponse('{"reason": "so", "score": 4}', chosen="4", probabilities=probabilities))
    assert judgement.score == pytest.approx(0.3 + 2.8)
    assert judgement.chosen == "4"
    assert judgement.probabilities == probabilities


@pytest.mark.parametrize("probabilities", [{"1": 0.5, "2": 0.1}, {"1": float("nan"), "5": 1.0}, {"6": 1.0}])
def test_invalid_probabilities_are_ignored(probabilities: dict[str, float]) -> None:
    assert score_of('{"reason": "so", "score": 4}', chosen="4", probabilities=probabilities) == 4


def test_probabilities_of_another_token_are_ignored() -> None:
    probabilities = {"1": 1.0, "2": 0.0, "3": 0.0, "4": 0.0, "5": 0.0}
    assert score_of('{"reason": "so", "score": 4}', chosen="1", probabilities=probabilities) == 4


@pytest.mark.parametrize(
    ("chosen", "swapped", "score"), [("A", False, 1), ("B", False, 0), ("A", True, 0), ("B", True, 1), ("tie", True, 0.5)]
)
def test_pairwise_choice_is_a_score_of_the_system(chosen: str, swapped: bool, score: float) -> None:
    pair = question(SIDE, against="theirs", swapped=swapped)
    assert parse_judgement(pair, "j", 0, ChatResponse(json.dumps({"reason": "so", "better": chosen}))).score == score


def test_pairwise_score_by_probabilities() -> None:
    pair = question(SIDE, against="theirs", swapped=True)
    probabilities = {"A": 0.2, "B": 0.6, "tie": 0.2}
    judgement = parse_judgement(pair, "j", 0, ChatResponse('{"reason": "so", "better": "B"}', chosen="B", probabilities=probabilities))
    assert judgement.score == pytest.approx(0.7)


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_text_parses_without_error(text: str) -> None:
    verdict = parse_verdict(text, SCORE)
    assert verdict is None or verdict[1] in SCORE.labels


def test_reason_is_one_short_line() -> None:
    judgement = parse_judgement(question(), "j", 0, ChatResponse(json.dumps({"reason": "a\nb " * 2000, "score": 3})))
    assert "\n" not in judgement.reason
    assert len(judgement.reason) == 1000
