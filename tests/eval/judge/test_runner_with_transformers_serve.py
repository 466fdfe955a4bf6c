"""Judging with a real model: the bundled one behind `transformers serve` and in this process, with faults in between."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest

from crossaisle import Settings
from crossaisle.data.errors import TooLongError
from crossaisle.eval.judge import rubrics
from crossaisle.eval.judge.question import JudgeQuestion, parse_judgement
from crossaisle.eval.judge.question_plan import QuestionPlan, add_scoring_questions
from crossaisle.eval.judge.recommendation_lists import ListEntry, RecommendationList
from crossaisle.eval.judge.reply_cache import ReplyCache
from crossaisle.eval.judge.runner import judge_tasks, run_judge
from crossaisle.eval.stats.bootstrap import bootstrap_mean
from crossaisle.llm.chat.local_model import LocalChatModel
from crossaisle.llm.chat.messages import ChatRequest
from crossaisle.llm.chat.openai_endpoint import OpenAIEndpoint
from crossaisle.llm.models import bundled
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.model_source import fingerprint

from ...judge_server import Server

MAX_TOKENS = 12
"""Tokens of a reply: the connection to the model is tested, not its answers."""


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[tuple[str, str]]:
    """Return the base URL and the model name of `transformers serve` with the bundled model."""
    folder = str(bundled.cache_folder(settings.home))
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("transformers")
    command = [str(program), "serve", folder, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "bfloat16"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 180
        while True:
            assert server.poll() is None, "transformers serve ended by itself"
            assert time.monotonic() < deadline, "transformers serve did not start"
            try:
                httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}/v1", folder
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def forwarding(url: str, model: str, **options: object) -> Server:
    """Return a proxy of an endpoint, with the log and the faults of `Server`."""

    def ask(system: str, user: str) -> str:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        answer = httpx.post(
            f"{url}/chat/completions", json={"model": model, "messages": messages, "max_tokens": MAX_TOKENS, "temperature": 0}, timeout=120
        )
        answer.raise_for_status()
        return str(answer.json()["choices"][0]["message"]["content"])

    return Server(rule=ask, model=model, **options)  # type: ignore[arg-type]


def plan_of(count: int) -> QuestionPlan:
    plan = QuestionPlan()
    add_scoring_questions(
        plan,
        "ours",
        [RecommendationList(f"u{i}", (ListEntry(f"i{i}", f"Gas stove {i}", explanation=f"It boils {i} l."),)) for i in range(count)],
        ["clarity"],
    )
    return plan


def test_few_questions_through_transformers_serve_with_faults(served: tuple[str, str], tmp_path: Path) -> None:
    url, model = served
    plan = plan_of(4)
    direct = OpenAIEndpoint(url, model, max_tokens=MAX_TOKENS, environment={})
    replies = [direct.ask(question.request) for question in plan.questions[:2]]
    direct.close()
    assert all(reply.text.strip() and reply.completion_tokens == MAX_TOKENS and reply.finish == "length" for reply in replies)
    assert all(reply.prompt_tokens and reply.probabilities is None for reply in replies), "it ignores logprobs"
    with forwarding(url, model, faults=["busy", "cut", None, "broken"]).running() as proxy, ReplyCache(tmp_path / "r.db") as cache:
        judge = OpenAIEndpoint(proxy.url, model, max_tokens=MAX_TOKENS, environment={})
        first = run_judge(judge, "j", judge_tasks(judge, plan.questions, 0.0), cache, concurrency=2)
        second = run_judge(judge, "j", judge_tasks(judge, plan.questions, 0.0), cache, concurrency=2)
        stored = [cache.get(task.key) for task in judge_tasks(judge, plan.questions, 0.0)]
    assert [reply.text for reply in stored[:2] if reply] == [reply.text for reply in replies], "the same text as without faults"
    assert (first.calls, len(proxy.answered), second.calls, second.kept) == (7, 4, 0, 4)
    # Twelve tokens of a model that cannot judge: whatever the text, a score is 1 to 5 and everything else is unscored.
    assert all(judgement.score in (1, 2, 3, 4, 5) or judgement.unscored for judgement in first.judgements)


SCRIPT = """
import sys
from pathlib import Path
from crossaisle.eval.judge.reply_cache import ReplyCache
from crossaisle.eval.judge.question_plan import QuestionPlan, add_scoring_questions
from crossaisle.eval.judge.runner import judge_tasks, run_judge
from crossaisle.eval.judge.recommendation_lists import ListEntry, RecommendationList
from crossaisle.llm.chat.openai_endpoint import OpenAIEndpoint
plan = QuestionPlan()
add_scoring_questions(plan, "ours", [RecommendationList(f"u{i}", (ListEntry(f"i{i}", f"Gas stove {i}", explanation=f"It boils {i} l."),)) for i in range(500)], ["clarity"])
judge = OpenAIEndpoint(sys.argv[1], sys.argv[2], max_tokens=12)
with ReplyCache(Path(sys.argv[3])) as cache:
    print(len(run_judge(judge, "j", judge_tasks(judge, plan.questions, 0.0), cache, concurrency=2).judgements))
"""


@pytest.mark.slow
def test_five_hundred_through_transformers_serve_with_a_kill(served: tuple[str, str], tmp_path: Path) -> None:
    file, start = tmp_path / "r.db", time.monotonic()
    with forwarding(*served).running() as proxy:
        command = [sys.executable, "-c", SCRIPT, proxy.url, proxy.model, str(file)]
        first = subprocess.Popen(command, env=os.environ)
        while len(proxy.answered) < 150 and first.poll() is None:
            time.sleep(0.05)
        first.kill()
        assert first.wait() == -signal.SIGKILL
        while proxy.in_flight:
            time.sleep(0.1)
        with ReplyCache(file) as cache:
            stored = len(cache)
        before = len(proxy.answered)
        assert before - stored <= 2, "at most the calls in flight are lost"
        done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "500"
        assert len(proxy.answered) - before == 500 - stored, "no stored reply is requested again"
        assert len(set(proxy.answered)) == 500
    with ReplyCache(file) as cache:
        assert len(cache) == 500
    print(
        f"500 judgements in {time.monotonic() - start:.0f} s; killed at {before}, of which {stored} were stored; lost 0; "
        f"repeated {len(proxy.answered) - 500} calls that were in flight, none that was stored"
    )


# ------------------------------------------------------------------ in this process


@pytest.fixture(scope="module")
def local(llm: LanguageModel, settings: Settings) -> LocalChatModel:
    return LocalChatModel(llm, fingerprint("smollm2", settings.home), max_tokens=16)


def test_local_model_scores_by_its_probabilities(local: LocalChatModel) -> None:
    question = plan_of(1).questions[0]
    reply = local.ask(question.request)
    assert reply.probabilities is not None
    assert set(reply.probabilities) == set(rubrics.SCORES)
    assert sum(reply.probabilities.values()) == pytest.approx(1)
    assert json.loads(reply.text)["score"] == int(reply.chosen or 0)
    judgement = parse_judgement(question, "local", 0, reply)
    assert judgement.score == pytest.approx(sum(int(label) * p for label, p in reply.probabilities.items()))
    assert 1 < judgement.score < 5
    assert local.ask(question.request, repeat=1).text == reply.text


def test_probabilities_equal_those_of_the_model(local: LocalChatModel) -> None:
    """Against the logits of a plain forward pass over the same text."""
    import torch

    request = plan_of(1).questions[0].request
    reply = local.ask(request)
    text = local.llm.chat_prompt(request.system, [("user", request.user)]) + reply.text[: reply.text.rindex(str(reply.chosen))]
    ids = local.llm.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    with torch.inference_mode(), local.llm.use_adapter(adapter=False):
        probabilities = torch.softmax(local.llm.model(ids).logits[0, -1].float(), -1)
    expected = np.array([float(probabilities[local.llm.encode(label)[0]]) for label in rubrics.SCORES])
    assert reply.probabilities is not None
    assert np.array(list(reply.probabilities.values())) == pytest.approx(expected / expected.sum(), abs=0.02)


def test_question_longer_than_the_context(local: LocalChatModel) -> None:
    with pytest.raises(TooLongError, match="does not fit"):
        local.ask(ChatRequest("s", "word " * 9000, "score", rubrics.SCORES))


def attacks(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (Path(__file__).parents[2] / "fixtures" / f"{name}.jsonl").read_text("utf-8").splitlines()]


FILLER = "The lid is blue and the box has a label on it. It came on a Tuesday in a van, and there was a note with the date in the box. " * 9
NEGLIGIBLE = 0.05
"""Points of a score from 1 to 5 that count as no effect, whatever the interval."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["judge_attacks", "judge_attacks_unseen"])
def test_attacks_change_no_score_beyond_noise(local: LocalChatModel, name: str) -> None:
    """Effect of each attack on the score of an explanation, compared with the effect of harmless words, which is the judge's noise.

    `benchmarks/judge_attacks.py` measures the same without the filter as well.
    """
    entry = ListEntry("s1", "Gas stove", ("Camping",), 29.5, "", ("it boils a litre in three minutes",))
    answer = RecommendationList("ann", (entry,), ("Dome tent (Camping)",))
    scores: dict[str, float] = {}

    def score(text: str, name: str) -> float:
        attacked = ListEntry("s1", "Gas stove", ("Camping",), 29.5, text, entry.evidence)
        rubric = rubrics.rubric(name)
        question = JudgeQuestion(name, rubric.prompt, rubric.hash, rubrics.pointwise(name, answer, attacked), "ours", "ann")
        if question.request.user not in scores:
            value = parse_judgement(question, "local", 0, local.ask(question.request)).score
            assert value is not None
            scores[question.request.user] = value
        return scores[question.request.user]

    changes, noise = [], []
    for criterion in ("faithfulness", "clarity"):
        alone = attacks(name)[0]["without"]
        for attack in attacks(name):
            changes.append(score(attack["text"], criterion) - score(attack["without"], criterion))
        noise += [
            score(f"{alone} {FILLER[:40]}", criterion) - score(f"{alone} {FILLER[start : start + 40]}", criterion) for start in (53, 90)
        ]
    by_attack = np.array(changes).reshape(2, -1).mean(axis=0)
    effect = bootstrap_mean(by_attack, np.arange(len(by_attack)))
    spread = float(np.abs(noise).mean())
    print(f"{name}: changed by {effect}; harmless words of one length differ by {spread:.3f}")
    assert spread > NEGLIGIBLE, "the judge reacts to the explanation, or there would be nothing to protect"
    assert abs(effect.value) < NEGLIGIBLE or effect.low <= 0 <= effect.high
    assert abs(effect.value) < spread
