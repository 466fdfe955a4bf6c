"""The OpenAI-compatible endpoint over real HTTP on loopback: retries, unsupported parameters, errors, and redaction of the API key."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from crossaisle.data.errors import EndpointError, RefusedError, SettingsError, TooLongError
from crossaisle.llm.chat import openai_endpoint
from crossaisle.llm.chat.messages import ChatRequest, normalized_label_probabilities
from crossaisle.llm.chat.openai_endpoint import OpenAIEndpoint, validated_url
from crossaisle.llm.chat.rate_limit import RequestRateLimiter, StoppedError

from ...judge_server import Server, scored

REQUEST = ChatRequest("You judge.", "Does a stove go with a tent?", "score", ("1", "2", "3", "4", "5"))
PROBABILITIES = {"5": 0.6, " 5": 0.1, "4": 0.2, "1": 0.05, "maybe": 0.05}


CREATED: list[OpenAIEndpoint] = []


def endpoint(server: Server | str, **options: Any) -> OpenAIEndpoint:
    url = server if isinstance(server, str) else server.url
    CREATED.append(OpenAIEndpoint(url, **{"timeout": 5.0, "environment": {}, **options}))
    return CREATED[-1]


@pytest.fixture(autouse=True)
def _close_endpoints() -> Iterator[None]:
    yield
    while CREATED:
        CREATED.pop().close()


def test_response_with_token_counts() -> None:
    with Server(rule=lambda *_: scored(4)).running() as server:
        response = endpoint(server).ask(REQUEST)
    assert response.text == scored(4)
    assert (response.finish, response.calls, response.chosen, response.probabilities) == ("stop", 1, None, None)
    assert response.prompt_tokens == len(REQUEST.system + REQUEST.user) // 4
    assert response.completion_tokens is not None
    body = server.bodies[0]
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["model"] == "small-judge", "the only model that the server lists"
    assert body["temperature"] == 0


def test_probabilities_are_read_at_the_choice_only() -> None:
    """The reason contains digits too; only the position of the choice counts."""
    with Server(rule=lambda *_: scored(5, "3 of 4 say so"), probabilities=PROBABILITIES).running() as server:
        response = endpoint(server).ask(REQUEST)
    assert response.chosen == "5"
    assert response.probabilities is not None
    total = 0.6 + 0.1 + 0.2 + 0.05
    assert response.probabilities == pytest.approx({"5": 0.7 / total, "4": 0.2 / total, "1": 0.05 / total, "2": 0.0, "3": 0.0})


def test_labels_with_a_low_total_probability_have_no_probabilities() -> None:
    assert normalized_label_probabilities(("1", "2"), {"1": 0.3, " 2": 0.1, "the": 0.6}) is None
    assert normalized_label_probabilities(("1", "2"), {"1": 0.3, ' "2"': 0.3, "the": 0.4}) == pytest.approx({"1": 0.5, "2": 0.5})


@pytest.mark.parametrize(
    "rejected", [("seed",), ("logprobs", "response_format"), ("max_tokens", "temperature", "seed", "response_format", "logprobs")]
)
def test_rejected_parameters_are_omitted_from_then_on(rejected: tuple[str, ...]) -> None:
    with Server(rule=lambda *_: scored(2), refuses=rejected).running() as server:
        model = endpoint(server)
        assert model.ask(REQUEST).text == scored(2)
        calls = len(server.received)
        assert model.ask(REQUEST).text == scored(2)
    assert len(server.received) == calls + 1
    assert not set(rejected) & set(server.bodies[-1])
    assert {"logprobs", "top_logprobs"} & set(server.bodies[-1]) == (set() if "logprobs" in rejected else {"logprobs", "top_logprobs"})
    assert ("max_completion_tokens" in server.bodies[-1]) == ("max_tokens" in rejected)


@pytest.mark.parametrize("fault", ["busy", "broken", "cut", "garbled", "dropped", "slow"])
def test_temporary_failures_are_retried(fault: str) -> None:
    with Server(rule=lambda *_: scored(3), faults=[fault, fault]).running() as server:
        response = endpoint(server, timeout=0.6).ask(REQUEST)
    assert response.text == scored(3)
    assert response.calls == 3
    assert len(server.received) == 3
    if fault == "busy":
        assert min(b - a for a, b in itertools.pairwise(server.times)) >= 0.3, "Retry-After is respected"


def test_seconds_are_those_of_the_last_call() -> None:
    with Server(rule=lambda *_: scored(3), faults=["busy"], retry_after="0.5").running() as server:
        response = endpoint(server).ask(REQUEST)
    assert response.calls == 2
    assert 0 < response.seconds < 0.5, "waiting for Retry-After is not included"


@pytest.mark.parametrize("fault", ["broken", "garbled"])
def test_permanent_failures_are_reported(fault: str) -> None:
    cause = "500: Internal error" if fault == "broken" else "not a chat completion"
    with Server(faults=[fault] * 9).running() as server:
        with pytest.raises(EndpointError, match=rf"did not answer 2 times in a row.*{cause}") as raised:
            endpoint(server, max_attempts=2).ask(REQUEST)
        assert server.url in str(raised.value)
        assert len(server.received) == 2


def test_a_long_requested_pause_is_reported_at_once() -> None:
    with Server(faults=["busy"], retry_after="7200").running() as server:
        with pytest.raises(EndpointError, match=r"requests a pause \(Retry-After: 7200; 429: Too many requests\); run again afterwards"):
            endpoint(server).ask(REQUEST)
        assert len(server.received) == 1


def test_unreachable_endpoint() -> None:
    with pytest.raises(EndpointError, match="did not answer 1 times in a row"):
        endpoint("http://127.0.0.1:9/v1", model="m", max_attempts=1).ask(REQUEST)
    with pytest.raises(EndpointError, match="--model"):
        OpenAIEndpoint("http://127.0.0.1:9/v1", environment={})


@pytest.mark.parametrize("environment", [{"CROSSAISLE_JUDGE_KEY": "sk-wrong-and-secret"}, {"OPENAI_API_KEY": "sk-wrong-and-secret"}, {}])
def test_wrong_and_missing_api_key(environment: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """This server repeats the key in its error message, as some do."""
    caplog.set_level(logging.DEBUG)
    with Server(key="sk-right").running() as server:
        with pytest.raises(EndpointError) as raised:
            endpoint(server, model="small-judge", environment=environment).ask(REQUEST)
        assert next(iter(environment), "CROSSAISLE_JUDGE_KEY") in str(raised.value)
        assert len(server.received) == 1, "a rejected key is not retried"
        authorized = endpoint(server, model="small-judge", environment={"CROSSAISLE_JUDGE_KEY": "sk-right", "OPENAI_API_KEY": "sk-other"})
        assert authorized.ask(REQUEST).text
    assert "sk-" not in str(raised.value) + repr(raised.value) + caplog.text
    assert raised.value.__cause__ is None, "the client's own error contains the server's message"


def test_a_response_that_repeats_the_key_is_redacted() -> None:
    with Server(rule=lambda *_: scored(1, "your key is sk-right"), key="sk-right").running() as server:
        response = endpoint(server, environment={"OPENAI_API_KEY": "sk-right"}).ask(REQUEST)
    assert "sk-right" not in response.text


def test_unknown_model() -> None:
    with Server().running() as server, pytest.raises(EndpointError, match=r"'large-judge'.*it has small-judge"):
        endpoint(server, model="large-judge").ask(REQUEST)


def test_request_beyond_the_context() -> None:
    with Server(context=20).running() as server:
        with pytest.raises(TooLongError, match="does not fit"):
            endpoint(server).ask(REQUEST)
        assert len(server.received) == 1


def test_refused_request() -> None:
    """For example by a content filter: the endpoint knows the model and may answer other requests."""
    with Server(rule=lambda *_: scored(3)).running() as server:
        server.filtered = "stove"
        with pytest.raises(RefusedError, match="content policy"):
            endpoint(server).ask(REQUEST)
        assert endpoint(server).ask(ChatRequest("s", "a lamp", "score", REQUEST.labels)).text == scored(3)


@pytest.mark.parametrize(
    "address",
    [
        "openai:",
        "openai:ftp://host/v1",
        "openai:http://",
        "localhost:8000",
        "http://me:secret@host/v1",
        "http://host/v1?key=secret",
        "http://host:port/v1",
    ],
)
def test_invalid_addresses(address: str) -> None:
    with pytest.raises(SettingsError) as raised:
        validated_url(address)
    assert "secret" not in str(raised.value)


def test_valid_address() -> None:
    assert validated_url("openai:http://127.0.0.1:8000/v1/") == "http://127.0.0.1:8000/v1"


# ------------------------------------------------------------------ rate limit and stopping


def test_calls_per_minute_are_limited() -> None:
    with Server(rule=lambda *_: scored(3)).running() as server:
        model = endpoint(server, rate_limiter=RequestRateLimiter(per_minute=600))
        model.ask(REQUEST)
        for _ in range(4):
            model.ask(REQUEST)
    assert server.times[-1] - server.times[0] >= 4 * 0.1 - 0.03


def test_retries_are_limited_too() -> None:
    with Server(rule=lambda *_: scored(3), faults=["busy"] * 2, retry_after="0.01").running() as server:
        endpoint(server, rate_limiter=RequestRateLimiter(per_minute=120)).ask(REQUEST)
    assert len(server.times) == 3
    assert min(b - a for a, b in itertools.pairwise(server.times)) >= 0.5 - 0.03


def test_a_stopped_rate_limiter_raises_at_once() -> None:
    limiter = RequestRateLimiter(per_minute=1)
    limiter.wait()
    limiter.stop()
    start = time.monotonic()
    with pytest.raises(StoppedError):
        limiter.wait()
    assert time.monotonic() - start < 30, "half of the minute that a limiter in use would wait"


@pytest.mark.parametrize("fault", ["busy", "garbled"])
def test_no_calls_after_stop(fault: str) -> None:
    with Server(rule=lambda *_: scored(3), faults=[fault] * 9, retry_after="0.8").running() as server:
        model = endpoint(server)
        timer = threading.Timer(0.3, model.stop)
        timer.start()
        with pytest.raises(StoppedError):
            model.ask(REQUEST)
        timer.join()
        assert len(server.received) == 1, "the call before stop"
        with pytest.raises(StoppedError):
            model.ask(REQUEST)
        assert len(server.received) == 1


def test_the_key_comes_from_the_environment_only() -> None:
    assert openai_endpoint.API_KEY_VARIABLES == ("CROSSAISLE_JUDGE_KEY", "OPENAI_API_KEY")
    assert "key" not in OpenAIEndpoint("http://127.0.0.1:9/v1", "m", environment={"OPENAI_API_KEY": "sk-x"}).about()
