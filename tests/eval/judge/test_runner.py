"""Runs of a judge against a real server on loopback: faults, limits, interruptions, and unscored questions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossaisle.data.errors import EndpointError, SettingsError, TooLongError
from crossaisle.eval.judge import panel as judging
from crossaisle.eval.judge import question_plan
from crossaisle.eval.judge.cost_budget import CostBudget, Prices
from crossaisle.eval.judge.question import Judge, JudgeQuestion
from crossaisle.eval.judge.question_plan import QuestionPlan
from crossaisle.eval.judge.recommendation_lists import ListEntry, RecommendationList
from crossaisle.eval.judge.reply_cache import ReplyCache
from crossaisle.eval.judge.runner import RunResult, judge_tasks, run_judge
from crossaisle.llm.chat.openai_endpoint import OpenAIEndpoint

from ...command_line import PROGRAM
from ...judge_server import Server, by_hash, scored


def plan_of(count: int, criterion: str = "relevance") -> QuestionPlan:
    plan = QuestionPlan()
    answers = [RecommendationList(f"u{i}", (ListEntry(f"i{i}", f"Gas stove {i}"),), ("Dome tent",)) for i in range(count)]
    question_plan.add_scoring_questions(plan, "ours", answers, [criterion])
    assert len(plan.questions) == count
    return plan


def expected_score(question: JudgeQuestion) -> float:
    """Return the score in the server's reply to a question."""
    return float(json.loads(by_hash("", question.request.user))["score"])


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ReplyCache]:
    with ReplyCache(tmp_path / "replies.db") as opened:
        yield opened


def run_against(
    server: Server,
    plan: QuestionPlan,
    cache: ReplyCache,
    *,
    repeat_share: float = 0.0,
    budget: CostBudget | None = None,
    concurrency: int = 4,
    timeout: float = 0.8,
    max_attempts: int = 6,
) -> RunResult:
    judge = OpenAIEndpoint(server.url, server.model, timeout=timeout, max_attempts=max_attempts, environment={})
    return run_judge(judge, "judge", judge_tasks(judge, plan.questions, repeat_share), cache, budget=budget, concurrency=concurrency)


def test_each_question_is_judged_once_and_in_order(cache: ReplyCache) -> None:
    plan = plan_of(40)
    with Server(delay=0.02).running() as server:
        result = run_against(server, plan, cache)
        assert [judgement.question for judgement in result.judgements] == plan.questions
        assert Counter(server.answered) == Counter(question.request.user for question in plan.questions)
        assert 2 <= server.max_in_flight <= 4
        assert [judgement.score for judgement in result.judgements] == [expected_score(question) for question in plan.questions]
        second = run_against(server, plan, cache)
        assert len(server.answered) == 40, "a repeated run costs nothing"
    assert (result.calls, result.kept, second.calls, second.kept) == (40, 0, 0, 40)
    assert [judgement.score for judgement in second.judgements] == [judgement.score for judgement in result.judgements]


def test_identical_questions_share_one_call(cache: ReplyCache) -> None:
    plan, twin = plan_of(5), plan_of(5)
    plan.questions += twin.questions
    with Server().running() as server:
        result = run_against(server, plan, cache)
    assert len(server.answered) == 5
    assert len(result.judgements) == 10


def test_scores_are_correct_despite_faults(cache: ReplyCache) -> None:
    plan = plan_of(14)
    faults = [None, "busy", "broken", "cut", "garbled", "slow", "dropped"]
    with Server(faults=[*faults]).running() as server:
        result = run_against(server, plan, cache)
    assert [judgement.score for judgement in result.judgements] == [expected_score(question) for question in plan.questions]
    assert result.calls == 14 + 6


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "empty"),
        ('{"reason": "it fits", "sc', "unreadable"),
        ("Das passt sehr gut zum Zelt: vier von fünf Punkten.", "unreadable"),
        ('{"razón": "encaja", "puntuación": 5}', "unreadable"),
        ("{'reason': 'single quotes', 'score': 5}", "unreadable"),
    ],
)
def test_unreadable_replies_are_unscored_and_counted(cache: ReplyCache, text: str, cause: str) -> None:
    plan = plan_of(4)
    bad = plan.questions[1].request.user
    with Server(rule=lambda _, user: text if user == bad else scored(5)).running() as server:
        result = run_against(server, plan, cache)
        assert run_against(server, plan, cache).to_dict()["unscored"] == {cause: 1}
        assert len(server.answered) == 4, "an unreadable reply is not requested second"
    assert [judgement.score for judgement in result.judgements] == [5, None, 5, 5]
    assert result.judgements[1].unscored == cause
    assert result.to_dict()["scored"] == 3


def test_too_long_question_is_named_and_the_others_are_judged(cache: ReplyCache) -> None:
    plan = plan_of(5)
    long = QuestionPlan()
    question_plan.add_scoring_questions(
        long, "ours", [RecommendationList("talker", (ListEntry("i", "Gas stove"),), tuple("word " * 30 for _ in range(20)))], ["relevance"]
    )
    plan.questions.insert(2, long.questions[0])
    with Server(context=2500).running() as server:
        result = run_against(server, plan, cache)
        assert [judgement.unscored for judgement in result.judgements] == [None, None, "too long", None, None, None]
        assert result.too_long == ["relevance of user talker, item i (ours)"]
    with Server(context=100).running() as server, pytest.raises(TooLongError, match="user u0, item i0"):
        run_against(server, plan_of(2, "novelty"), cache)


def test_run_ends_early_if_the_endpoint_stops_answering(cache: ReplyCache) -> None:
    plan = plan_of(30)
    with Server(faults=[None] * 10 + ["broken"] * 100).running() as server:
        result = run_against(server, plan, cache, concurrency=1, max_attempts=1)
        assert "5 questions in a row" in result.stopped
        assert result.to_dict()["scored"] == 10
        assert result.to_dict()["unscored"] == {"no answer": 5}
        assert result.to_dict()["not_asked"] == 15
        server.faults.clear()
        second = run_against(server, plan, cache)
    assert (second.kept, second.calls, second.stopped) == (10, 20, "")


def test_broken_endpoint_is_called_once(cache: ReplyCache) -> None:
    with Server(key="sk-right").running() as server:
        with pytest.raises(EndpointError, match="without a key"):
            run_against(server, plan_of(30), cache)
        assert len(server.received) == 1
    assert len(cache) == 0


# ------------------------------------------------------------------ cost


def test_spend_limit_stops_the_run(cache: ReplyCache) -> None:
    plan = plan_of(40)
    prices = Prices(1000, 2000)
    with Server(delay=0.01).running() as server:
        budget = CostBudget(prices, 3.0)
        result = run_against(server, plan, cache, budget=budget)
        assert "spend limit of 3" in result.stopped
        assert 0 < result.spent <= 3.0
        assert 0 < len(result.judgements) < 40
        assert result.spent == pytest.approx(result.cost)
        assert result.cost == pytest.approx(prices.cost(result.prompt_tokens, result.completion_tokens))
        rest = run_against(server, plan, cache, budget=CostBudget(prices, 1000.0))
    assert len(rest.judgements) == 40
    assert rest.kept == len(result.judgements)
    assert rest.spent < rest.cost, "cached replies are free"


def test_invalid_limits_and_prices() -> None:
    for prices, limit in ((Prices(), 5.0), (Prices(1, 1), 0.0), (Prices(1, 1), -3.0), (Prices(1, 1), float("nan"))):
        with pytest.raises(SettingsError):
            CostBudget(prices, limit)
    with pytest.raises(SettingsError):
        Prices(-1, 2)


def test_dry_run_makes_no_call_and_is_an_upper_estimate(cache: ReplyCache) -> None:
    plan, terms = plan_of(60), judging.JudgeOptions(prices=Prices(2, 8), repeat_share=0.25)
    with Server().running() as server:
        panel: dict[str, Judge] = {"judge": OpenAIEndpoint(server.url, server.model, environment={})}
        before = judging.dry_run(plan, panel, terms, cache)
        assert not server.received
        ((_, _, result),) = judging.run_panel(plan, panel, terms, cache)
        after = judging.dry_run(plan, panel, terms, cache)
    estimate = before["judges"]["judge"]
    assert estimate["calls"] == result.calls == len(server.answered)
    assert 60 < estimate["calls"] < 90, "a quarter of 60 is repeated"
    assert estimate["prompt_tokens"] >= result.prompt_tokens
    assert before["cost_at_most"] >= result.cost > 0
    assert after["calls"] == 0
    assert after["judges"]["judge"]["kept"] == estimate["calls"]


def test_repetitions_are_deterministic() -> None:
    judge = OpenAIEndpoint("http://127.0.0.1:9/v1", "m", environment={})
    plan = plan_of(400)
    repeated = [{task.key for task in judge_tasks(judge, plan.questions, share) if task.repeat} for share in (0.05, 0.2)]
    assert 8 <= len(repeated[0]) <= 36
    assert len(repeated[0]) < len(repeated[1]) < 130
    reordered = {task.key for task in judge_tasks(judge, plan.questions[::-1], 0.05) if task.repeat}
    assert reordered == repeated[0]


# ------------------------------------------------------------------ interruptions


def write_lists(path: Path, count: int) -> Path:
    lines = [
        {"user_id": f"u{i}", "history": ["Dome tent"], "recommendations": [{"item_id": f"i{i}", "title": f"Gas stove {i}"}]}
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return path


def command(server: Server, file: Path, out: Path) -> list[str]:
    arguments = [
        "judge",
        "--recommendations",
        file,
        "--out",
        out,
        "--judge",
        f"openai:{server.url}",
        "--criteria",
        "relevance",
        "--users",
        "500",
        "--repeat",
        "0",
    ]
    return [str(PROGRAM), *map(str, arguments)]


def test_five_hundred_judgements_survive_a_kill(tmp_path: Path) -> None:
    """Stored replies survive a kill -9, none of them is requested second, and no question lacks a judgement in the end."""
    file, out = write_lists(tmp_path / "recs.jsonl", 500), tmp_path / "out"
    environment = {name: value for name, value in os.environ.items() if name not in ("OPENAI_API_KEY", "CROSSAISLE_JUDGE_KEY")}
    with Server(delay=0.005).running() as server:
        first = subprocess.Popen(command(server, file, out), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(server.answered) < 200 and time.monotonic() < deadline and first.poll() is None:
            time.sleep(0.005)
        first.send_signal(signal.SIGKILL)
        assert first.wait(30) == -signal.SIGKILL, "the run was killed before its end"
        time.sleep(0.1)  # the server answers the calls in flight, without a client
        with ReplyCache(out / "replies.db") as cache:
            stored = len(cache)
        before = len(server.answered)
        assert 150 < stored < 500
        assert before - stored <= 4, "at most the calls in flight are lost"
        assert not (out / "judge.json").exists(), "no partial report"
        done = subprocess.run(command(server, file, out), env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert len(server.answered) - before == 500 - stored, "no stored reply is requested second"
        assert len(set(server.answered)) == 500
    report = json.loads((out / "judge.json").read_text("utf-8"))
    (run,) = (judge["run"] for judge in report["judges"].values())
    assert (run["scored"], run["kept"], run["calls"]) == (500, stored, 500 - stored)
    expected = [float(json.loads(by_hash("", user))["score"]) for user in set(server.answered)]
    assert report["criteria"]["relevance"]["systems"][str(file)]["value"] == pytest.approx(sum(expected) / 500, abs=1e-5)


def test_ctrl_c_keeps_replies_and_prints_no_traceback(tmp_path: Path) -> None:
    file, out = write_lists(tmp_path / "recs.jsonl", 300), tmp_path / "out"
    with Server(delay=0.05).running() as server:
        process = subprocess.Popen(command(server, file, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while len(server.answered) < 8 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 130, stderr
        assert "Traceback" not in stderr
    with ReplyCache(out / "replies.db") as cache:
        assert len(cache) >= 4
