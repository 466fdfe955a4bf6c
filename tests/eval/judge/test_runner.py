"""Runs of a judge against a real server on loopback: faults, limits, kills, and what is left unscored."""

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
from crossaisle.eval.judge.question import Judge
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


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ReplyCache]:
    with ReplyCache(tmp_path / "replies.db") as kept:
        yield kept


def go(
    server: Server,
    plan: QuestionPlan,
    cache: ReplyCache,
    *,
    repeated: float = 0.0,
    budget: CostBudget | None = None,
    concurrency: int = 4,
    timeout: float = 0.8,
    tries: int = 6,
) -> RunResult:
    judge = OpenAIEndpoint(server.url, server.model, timeout=timeout, max_attempts=tries, environment={})
    return run_judge(judge, "judge", judge_tasks(judge, plan.questions, repeated), cache, budget=budget, concurrency=concurrency)


def test_all_is_judged_once_and_in_order(cache: ReplyCache) -> None:
    plan = plan_of(40)
    with Server(delay=0.02).running() as server:
        ran = go(server, plan, cache)
        assert [one.question for one in ran.judgements] == plan.questions
        assert Counter(server.answered) == Counter(question.request.user for question in plan.questions)
        assert 2 <= server.most_at_once <= 4
        assert [one.score for one in ran.judgements] == [float(json.loads(by_hash("", q.request.user))["score"]) for q in plan.questions]
        again = go(server, plan, cache)
        assert len(server.answered) == 40, "a repeated run costs nothing"
    assert (ran.calls, ran.kept, again.calls, again.kept) == (40, 0, 0, 40)
    assert [one.score for one in again.judgements] == [one.score for one in ran.judgements]


def test_questions_that_are_alike_are_one_call(cache: ReplyCache) -> None:
    plan, twin = plan_of(5), plan_of(5)
    plan.questions += twin.questions
    with Server().running() as server:
        ran = go(server, plan, cache)
    assert len(server.answered) == 5
    assert len(ran.judgements) == 10


def test_faults_end_in_the_right_score(cache: ReplyCache) -> None:
    plan = plan_of(14)
    faults = [None, "busy", "broken", "cut", "garbled", "slow", "dropped"]
    with Server(faults=[*faults]).running() as server:
        ran = go(server, plan, cache)
    assert [one.score for one in ran.judgements] == [float(json.loads(by_hash("", q.request.user))["score"]) for q in plan.questions]
    assert ran.calls == 14 + 6


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
def test_replies_that_cannot_be_read_are_unscored_and_counted(cache: ReplyCache, text: str, cause: str) -> None:
    plan = plan_of(4)
    bad = plan.questions[1].request.user
    with Server(rule=lambda _, user: text if user == bad else scored(5)).running() as server:
        ran = go(server, plan, cache)
        assert go(server, plan, cache).to_dict()["unscored"] == {cause: 1}
        assert len(server.answered) == 4, "and not asked again"
    assert [one.score for one in ran.judgements] == [5, None, 5, 5]
    assert ran.judgements[1].unscored == cause
    assert ran.to_dict()["scored"] == 3


def test_a_question_that_is_too_long_is_named_and_the_others_are_judged(cache: ReplyCache) -> None:
    plan = plan_of(5)
    long = QuestionPlan()
    question_plan.add_scoring_questions(
        long, "ours", [RecommendationList("talker", (ListEntry("i", "Gas stove"),), tuple("word " * 30 for _ in range(20)))], ["relevance"]
    )
    plan.questions.insert(2, long.questions[0])
    with Server(context=2500).running() as server:
        ran = go(server, plan, cache)
        assert [one.unscored for one in ran.judgements] == [None, None, "too long", None, None, None]
        assert ran.too_long == ["relevance of user talker, item i (ours)"]
    with Server(context=100).running() as server, pytest.raises(TooLongError, match="user u0, item i0"):
        go(server, plan_of(2, "novelty"), cache)


def test_an_endpoint_that_goes_away_ends_the_run_with_what_there_is(cache: ReplyCache) -> None:
    plan = plan_of(30)
    with Server(faults=[None] * 10 + ["broken"] * 100).running() as server:
        ran = go(server, plan, cache, concurrency=1, tries=1)
        assert "5 questions in a row" in ran.stopped
        assert ran.to_dict()["scored"] == 10
        assert ran.to_dict()["unscored"] == {"no answer": 5}
        assert ran.to_dict()["not_asked"] == 15
        server.faults.clear()
        again = go(server, plan, cache)
    assert (again.kept, again.calls, again.stopped) == (10, 20, "")


def test_a_useless_endpoint_is_asked_once(cache: ReplyCache) -> None:
    with Server(key="sk-right").running() as server:
        with pytest.raises(EndpointError, match="without a key"):
            go(server, plan_of(30), cache)
        assert len(server.asked) == 1
    assert len(cache) == 0


# ------------------------------------------------------------------ money


def test_a_spend_limit_is_kept_to_and_said(cache: ReplyCache) -> None:
    plan = plan_of(40)
    prices = Prices(1000, 2000)
    with Server(delay=0.01).running() as server:
        budget = CostBudget(prices, 3.0)
        ran = go(server, plan, cache, budget=budget)
        assert "spend limit of 3" in ran.stopped
        assert 0 < ran.spent <= 3.0
        assert 0 < len(ran.judgements) < 40
        assert ran.spent == pytest.approx(ran.cost)
        assert ran.cost == pytest.approx(prices.cost(ran.prompt_tokens, ran.completion_tokens))
        rest = go(server, plan, cache, budget=CostBudget(prices, 1000.0))
    assert len(rest.judgements) == 40
    assert rest.kept == len(ran.judgements)
    assert rest.spent < rest.cost, "what was paid before is not paid again"


def test_limits_that_mean_nothing() -> None:
    for prices, limit in ((Prices(), 5.0), (Prices(1, 1), 0.0), (Prices(1, 1), -3.0), (Prices(1, 1), float("nan"))):
        with pytest.raises(SettingsError):
            CostBudget(prices, limit)
    with pytest.raises(SettingsError):
        Prices(-1, 2)


def test_a_dry_run_asks_nothing_and_is_no_lower_than_the_run(cache: ReplyCache) -> None:
    plan, terms = plan_of(60), judging.JudgeOptions(prices=Prices(2, 8), repeat_share=0.25)
    with Server().running() as server:
        panel: dict[str, Judge] = {"judge": OpenAIEndpoint(server.url, server.model, environment={})}
        before = judging.dry_run(plan, panel, terms, cache)
        assert not server.asked
        ((_, _, ran),) = judging.run_panel(plan, panel, terms, cache)
        after = judging.dry_run(plan, panel, terms, cache)
    told = before["judges"]["judge"]
    assert told["calls"] == ran.calls == len(server.answered)
    assert 60 < told["calls"] < 90, "a quarter of 60 is asked twice"
    assert told["prompt_tokens"] >= ran.prompt_tokens
    assert before["cost_at_most"] >= ran.cost > 0
    assert after["calls"] == 0
    assert after["judges"]["judge"]["kept"] == told["calls"]


def test_repeats_are_the_same_ones_every_time() -> None:
    judge = OpenAIEndpoint("http://127.0.0.1:9/v1", "m", environment={})
    plan = plan_of(400)
    drawn = [{task.key for task in judge_tasks(judge, plan.questions, share) if task.repeat} for share in (0.05, 0.2)]
    assert 8 <= len(drawn[0]) <= 36
    assert len(drawn[0]) < len(drawn[1]) < 130
    again = {task.key for task in judge_tasks(judge, plan.questions[::-1], 0.05) if task.repeat}
    assert again == drawn[0]


# ------------------------------------------------------------------ kills


def write(path: Path, count: int) -> Path:
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
    """Every reply that was kept is there after a kill -9, none of them is asked for again, and none is lacking in the end."""
    file, out = write(tmp_path / "recs.jsonl", 500), tmp_path / "out"
    environment = {name: value for name, value in os.environ.items() if name not in ("OPENAI_API_KEY", "CROSSAISLE_JUDGE_KEY")}
    with Server(delay=0.005).running() as server:
        first = subprocess.Popen(command(server, file, out), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(server.answered) < 200 and time.monotonic() < deadline and first.poll() is None:
            time.sleep(0.005)
        first.send_signal(signal.SIGKILL)
        assert first.wait(30) == -signal.SIGKILL, "it was killed in the middle"
        time.sleep(0.1)  # what was under way is answered, to nobody
        with ReplyCache(out / "replies.db") as cache:
            kept = len(cache)
        before = len(server.answered)
        assert 150 < kept < 500
        assert before - kept <= 4, "no more is lost than was under way, unkept"
        assert not (out / "judge.json").exists(), "nothing half-written"
        done = subprocess.run(command(server, file, out), env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert len(server.answered) - before == 500 - kept, "none of the kept is asked for again"
        assert len(set(server.answered)) == 500
    told = json.loads((out / "judge.json").read_text("utf-8"))
    (run_,) = (about["run"] for about in told["judges"].values())
    assert (run_["scored"], run_["kept"], run_["calls"]) == (500, kept, 500 - kept)
    right = [float(json.loads(by_hash("", user))["score"]) for user in set(server.answered)]
    assert told["criteria"]["relevance"]["systems"][str(file)]["value"] == pytest.approx(sum(right) / 500, abs=1e-5)


def test_ctrl_c_loses_nothing_and_is_no_traceback(tmp_path: Path) -> None:
    file, out = write(tmp_path / "recs.jsonl", 300), tmp_path / "out"
    with Server(delay=0.05).running() as server:
        process = subprocess.Popen(command(server, file, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while len(server.answered) < 8 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=30)
        assert process.returncode == 130, complaint
        assert "Traceback" not in complaint
    with ReplyCache(out / "replies.db") as cache:
        assert len(cache) >= 4
