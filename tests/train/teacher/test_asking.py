"""Questions to a teacher over real HTTP: budget, cache, concurrency, failures of the endpoint, interruptions."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from crossaisle.data.errors import EndpointError
from crossaisle.train.teacher.asking import CACHE, TeacherAnswers, ask_teacher
from crossaisle.train.teacher.config import TeacherConfig
from crossaisle.train.teacher.grading import TeacherQuestion

from ...judge_server import Server
from ...teacher_world import EQUIPMENT, SUPPLIES, by_rule, first_wins, in_json, items, parts
from .conftest import MODEL


def questions(count: int) -> list[TeacherQuestion]:
    """Pieces of equipment with one item of each supply."""
    rng, store = random.Random(1), items()
    equipment = [item for item in store if item.category == (EQUIPMENT,)]
    supplies = [item for item in store if item.category == (SUPPLIES,)]
    # One of every twelve: the store lists the items thing by thing.
    return [
        TeacherQuestion([rng.choice(equipment)], [rng.choice(supplies[start : start + 12]) for start in range(0, 72, 12)])
        for _ in range(count)
    ]


def ask(server: Server, asked: Sequence[TeacherQuestion], folder: Path, progress: Any = lambda *_: None, **options: Any) -> TeacherAnswers:
    values = {"budget": 1000, "timeout": 5.0, "max_attempts": 2, **options}
    return ask_teacher(TeacherConfig(f"openai:{server.url}", MODEL, **values), asked, folder, progress)


def counts(answers: TeacherAnswers, *names: str) -> tuple[Any, ...]:
    return tuple(answers.figures[name] for name in names)


def test_every_question_is_asked_in_both_orders_and_kept_where_they_agree(teacher: Server, tmp_path: Path) -> None:
    asked = questions(12)
    answers = ask(teacher, asked, tmp_path)
    assert counts(answers, "questions", "answered", "requests", "from_cache", "kept", "stopped") == (12, 12, 24, 0, 12, "")
    assert answers.figures["same_grade_in_both_orders"] == 1
    orders = [tuple(parts(user)[1]) for user in teacher.received]
    assert len(set(orders)) == 24
    assert {order[::-1] for order in orders} == set(orders)
    for graded in answers.graded:
        assert list(graded.kept) == list(range(6))
        assert sorted(graded.grades) == [0, 0, 0, 0, 0, 2]
    assert all(body["response_format"]["json_schema"]["schema"]["required"] == list("123456") for body in teacher.bodies)


def test_a_teacher_that_looks_at_the_position_is_dropped(teacher: Server, tmp_path: Path) -> None:
    teacher.rule = first_wins
    answers = ask(teacher, questions(10), tmp_path)
    assert counts(answers, "answered", "dropped_for_disagreement", "kept") == (10, 10, 0)
    assert answers.figures["same_grade_in_both_orders"] == pytest.approx(4 / 6, abs=1e-3)
    teacher.rule = lambda _, user: in_json([0] * len(parts(user)[1]))
    assert counts(ask(teacher, questions(10), tmp_path / "b"), "dropped_for_disagreement", "dropped_all_alike") == (0, 10)


@pytest.mark.parametrize("nonsense", ["", "I would take the first.", '{"1": 2}', '{"1": 9, "2": 0, "3": 0, "4": 0, "5": 0, "6": 0}'])
def test_nonsense_is_not_an_answer(teacher: Server, tmp_path: Path, nonsense: str) -> None:
    """Nonsense for half of the things: the questions about them are lost, and no label is made up."""
    teacher.rule = lambda system, user: nonsense if "tent" in user or "guitar" in user else by_rule(system, user)
    asked = questions(30)
    lost = sum(any(thing in question.history[0].title for thing in ("tent", "guitar")) for question in asked)
    assert 0 < lost < 30
    answers = ask(teacher, asked, tmp_path)
    assert counts(answers, "unreadable", "kept") == (lost, 30 - lost)
    assert counts(ask(teacher, asked, tmp_path), "unreadable", "kept", "requests") == (lost, 30 - lost, 0)


def test_the_budget_is_spent_and_not_exceeded(teacher: Server, tmp_path: Path) -> None:
    answers = ask(teacher, questions(20), tmp_path, budget=11)
    assert len(teacher.received) == answers.figures["requests"] == 10, "one order alone would tell nothing"
    assert counts(answers, "answered", "kept", "unanswered", "stopped") == (5, 5, 15, "the budget of 11 requests is used up")
    again = ask(teacher, questions(20), tmp_path, budget=12)
    assert counts(again, "answered", "from_cache", "requests") == (11, 10, 12)
    assert len(teacher.received) == 22


@pytest.mark.parametrize("budget", [8, 9, 14])
def test_retries_count(teacher: Server, tmp_path: Path, budget: int) -> None:
    teacher.faults, teacher.retry_after = [None, None, "busy", None, "busy", "busy", None, "busy"], "0.01"
    answers = ask(teacher, questions(20), tmp_path, budget=budget, max_attempts=5)
    assert len(teacher.received) == answers.figures["requests"] <= budget
    assert answers.figures["kept"] >= 1, "a retry may leave a question with one order"
    assert "budget" in answers.figures["stopped"]


def test_a_second_run_asks_nothing_also_at_another_address(teacher: Server, tmp_path: Path) -> None:
    first = ask(teacher, questions(8), tmp_path)
    with Server(rule=by_rule, model=MODEL).running() as other:
        second = ask(other, questions(8), tmp_path)
        assert other.received == []
        assert second.graded == first.graded
        assert counts(second, "requests", "from_cache", "kept") == (0, 16, 8)
        other.model = "another"
        assert ask_teacher(TeacherConfig(f"openai:{other.url}", "another"), questions(8), tmp_path).figures["requests"] == 16
    assert b"tent" not in (tmp_path / CACHE).read_bytes(), "the file holds no history"


def test_an_interrupted_run_keeps_its_answers(teacher: Server, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(_: str, done: int, __: int) -> None:
        if done >= 7:
            raise Killed

    with pytest.raises(Killed):
        ask(teacher, questions(12), tmp_path, kill)
    answered = len(teacher.answered)
    answers = ask(teacher, questions(12), tmp_path)
    cached, requests, kept = counts(answers, "from_cache", "requests", "kept")
    assert kept == 12
    assert cached >= 7
    assert cached + requests == 24
    assert answered - cached <= 5, "only calls in flight are lost"


@pytest.mark.parametrize("fault", ["busy", "broken", "dropped", "slow"])
def test_an_endpoint_that_fails_for_good_ends_the_questions_and_what_there_is_is_used(teacher: Server, tmp_path: Path, fault: str) -> None:
    teacher.faults, teacher.retry_after = [None] * 8 + [fault] * 1000, "0.01"
    start = time.monotonic()
    answers = ask(teacher, questions(100), tmp_path, timeout=0.4)
    assert time.monotonic() - start < 20
    assert answers.figures["kept"] >= 3
    assert "requests in a row had no answer; the last: " in answers.figures["stopped"]
    assert len(teacher.received) < 40, "no storm of requests"
    teacher.faults = []
    assert ask(teacher, questions(100), tmp_path).figures["kept"] == 100


@pytest.mark.parametrize(("fault", "cause"), [("busy", "429"), ("slow", "no answer within 0.3 seconds"), ("broken", "500")])
def test_an_endpoint_that_never_answers_is_an_error(teacher: Server, tmp_path: Path, fault: str, cause: str) -> None:
    teacher.faults, teacher.retry_after = [fault] * 100, "0.01"
    with pytest.raises(EndpointError, match=cause):
        ask(teacher, questions(20), tmp_path, timeout=0.3)
    assert len(teacher.received) == 2, "one question, two attempts"


def test_a_wrong_key_or_model_is_an_error_after_one_request(teacher: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher.key = "sk-right"
    with pytest.raises(EndpointError, match="CROSSAISLE_JUDGE_KEY"):
        ask(teacher, questions(5), tmp_path)
    assert len(teacher.received) == 1
    monkeypatch.setenv("CROSSAISLE_JUDGE_KEY", "sk-right")
    assert ask(teacher, questions(5), tmp_path).figures["kept"] == 5
    teacher.model = "other"
    with pytest.raises(EndpointError, match="does not know the model 'teacher'"):
        ask(teacher, questions(5), tmp_path / "b")


def test_refused_questions_are_left_out(teacher: Server, tmp_path: Path) -> None:
    teacher.filtered = "tent"
    asked = questions(30)
    refused = sum("tent" in question.history[0].title for question in asked)
    assert 0 < refused < 30
    assert counts(ask(teacher, asked, tmp_path), "unanswered", "kept", "failed", "stopped") == (refused, 30 - refused, 2 * refused, "")
    teacher.filtered = "Grade all"
    with pytest.raises(EndpointError, match="the teacher teacher answered nothing: .*content policy"):
        ask(teacher, asked, tmp_path / "b")


def test_requests_run_at_the_same_time_up_to_the_limit(teacher: Server, tmp_path: Path) -> None:
    teacher.delay = 0.03
    ask(teacher, questions(20), tmp_path, concurrency=3)
    assert teacher.max_in_flight == 3
