"""A model at an address: real HTTP on loopback, everything that can go wrong on the way, and a key that is told to nobody."""

from __future__ import annotations

import datetime
import itertools
import logging
import random
import time
from collections.abc import Iterator
from email.utils import format_datetime
from typing import Any

import pytest

from crossaisle.data.errors import EndpointError, RefusedError, SettingsError, TooLongError
from crossaisle.llm.chat import openai_endpoint
from crossaisle.llm.chat.backoff import LONGEST, Pace, StoppedError, pause, retry_after
from crossaisle.llm.chat.messages import Asked, among
from crossaisle.llm.chat.openai_endpoint import Endpoint, checked

from ...judge_server import Server, scored

ASKED = Asked("You judge.", "Does a stove go with a tent?", "score", ("1", "2", "3", "4", "5"))
LIKELY = {"5": 0.6, " 5": 0.1, "4": 0.2, "1": 0.05, "maybe": 0.05}


MADE: list[Endpoint] = []


def endpoint(server: Server | str, **given: Any) -> Endpoint:
    url = server if isinstance(server, str) else server.url
    MADE.append(Endpoint(url, **{"timeout": 5.0, "environment": {}, **given}))
    return MADE[-1]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().close()


def test_a_reply_with_its_tokens() -> None:
    with Server(rule=lambda *_: scored(4)).running() as server:
        reply = endpoint(server).ask(ASKED)
    assert reply.text == scored(4)
    assert (reply.finish, reply.calls, reply.chosen, reply.probabilities) == ("stop", 1, None, None)
    assert reply.prompt_tokens == len(ASKED.system + ASKED.user) // 4
    assert reply.completion_tokens is not None
    body = server.bodies[0]
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["model"] == "small-judge", "the only one that it has"
    assert body["temperature"] == 0


def test_probabilities_at_the_choice_and_nowhere_else() -> None:
    """The reason holds digits too: what counts is where the answer chooses."""
    with Server(rule=lambda *_: scored(5, "3 of 4 say so"), probabilities=LIKELY).running() as server:
        reply = endpoint(server).ask(ASKED)
    assert reply.chosen == "5"
    assert reply.probabilities is not None
    whole = 0.6 + 0.1 + 0.2 + 0.05
    assert reply.probabilities == pytest.approx({"5": 0.7 / whole, "4": 0.2 / whole, "1": 0.05 / whole, "2": 0.0, "3": 0.0})


def test_labels_that_are_unlikely_together_say_nothing() -> None:
    assert among(("1", "2"), {"1": 0.3, " 2": 0.1, "the": 0.6}) is None
    assert among(("1", "2"), {"1": 0.3, ' "2"': 0.3, "the": 0.4}) == pytest.approx({"1": 0.5, "2": 0.5})


@pytest.mark.parametrize(
    "refuses", [("seed",), ("logprobs", "response_format"), ("max_tokens", "temperature", "seed", "response_format", "logprobs")]
)
def test_options_that_an_endpoint_does_not_know_are_left_out_from_then_on(refuses: tuple[str, ...]) -> None:
    with Server(rule=lambda *_: scored(2), refuses=refuses).running() as server:
        there = endpoint(server)
        assert there.ask(ASKED).text == scored(2)
        tries = len(server.asked)
        assert there.ask(ASKED).text == scored(2)
    assert len(server.asked) == tries + 1
    assert not set(refuses) & set(server.bodies[-1])
    assert {"logprobs", "top_logprobs"} & set(server.bodies[-1]) == (set() if "logprobs" in refuses else {"logprobs", "top_logprobs"})
    assert ("max_completion_tokens" in server.bodies[-1]) == ("max_tokens" in refuses)


@pytest.mark.parametrize("fault", ["busy", "broken", "cut", "garbled", "dropped", "slow"])
def test_a_failure_that_passes_is_tried_again(fault: str) -> None:
    with Server(rule=lambda *_: scored(3), faults=[fault, fault]).running() as server:
        reply = endpoint(server, timeout=0.6).ask(ASKED)
    assert reply.text == scored(3)
    assert reply.calls == 3
    assert len(server.asked) == 3
    if fault == "busy":
        assert min(b - a for a, b in itertools.pairwise(server.times)) >= 0.3, "Retry-After is kept to"


def test_a_failure_that_stays_is_told() -> None:
    with Server(faults=["broken"] * 9).running() as server:
        with pytest.raises(EndpointError, match=r"did not answer 2 times in a row.*500: Internal error") as told:
            endpoint(server, tries=2).ask(ASKED)
        assert server.url in str(told.value)
        assert len(server.asked) == 2


def test_one_that_asks_for_too_much_patience() -> None:
    with Server(faults=["busy"], retry_after="7200").running() as server, pytest.raises(EndpointError, match=r"wait for 7,200 seconds"):
        endpoint(server).ask(ASKED)


def test_nobody_there() -> None:
    with pytest.raises(EndpointError, match="did not answer"):
        endpoint("http://127.0.0.1:9/v1", model="m", tries=1).ask(ASKED)
    with pytest.raises(EndpointError, match="--model"):
        Endpoint("http://127.0.0.1:9/v1", environment={})


@pytest.mark.parametrize("environment", [{"CROSSAISLE_JUDGE_KEY": "sk-wrong-and-secret"}, {"OPENAI_API_KEY": "sk-wrong-and-secret"}, {}])
def test_a_wrong_key_and_none(environment: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """This server tells the key that it was sent in its error, as some do."""
    caplog.set_level(logging.DEBUG)
    with Server(key="sk-right").running() as server:
        with pytest.raises(EndpointError) as told:
            endpoint(server, model="small-judge", environment=environment).ask(ASKED)
        assert next(iter(environment), "CROSSAISLE_JUDGE_KEY") in str(told.value)
        assert len(server.asked) == 1, "a refusal is not tried again"
        right = endpoint(server, model="small-judge", environment={"CROSSAISLE_JUDGE_KEY": "sk-right", "OPENAI_API_KEY": "sk-other"})
        assert right.ask(ASKED).text
    assert "sk-" not in str(told.value) + repr(told.value) + caplog.text
    assert told.value.__cause__ is None, "the client's own error holds what the server said"


def test_a_reply_that_repeats_the_key() -> None:
    with Server(rule=lambda *_: scored(1, "your key is sk-right"), key="sk-right").running() as server:
        reply = endpoint(server, environment={"OPENAI_API_KEY": "sk-right"}).ask(ASKED)
    assert "sk-right" not in reply.text


def test_a_model_that_it_does_not_have() -> None:
    with Server().running() as server, pytest.raises(EndpointError, match=r"'large-judge'.*it has small-judge"):
        endpoint(server, model="large-judge").ask(ASKED)


def test_a_question_that_does_not_fit() -> None:
    with Server(context=20).running() as server:
        with pytest.raises(TooLongError, match="does not fit"):
            endpoint(server).ask(ASKED)
        assert len(server.asked) == 1


def test_a_question_that_is_refused() -> None:
    """Such as one that a filter does not like; the endpoint knows the model, and others may be answered."""
    with Server(rule=lambda *_: scored(3)).running() as server:
        server.filtered = "stove"
        with pytest.raises(RefusedError, match="content policy"):
            endpoint(server).ask(ASKED)
        assert endpoint(server).ask(Asked("s", "a lamp", "score", ASKED.labels)).text == scored(3)


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
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(SettingsError) as told:
        checked(address)
    assert "secret" not in str(told.value)


def test_an_address_is_told_as_it_is() -> None:
    assert checked("openai:http://127.0.0.1:8000/v1/") == "http://127.0.0.1:8000/v1"


# ------------------------------------------------------------------ pace


def test_so_many_a_minute() -> None:
    with Server(rule=lambda *_: scored(3)).running() as server:
        there = endpoint(server, pace=Pace(per_minute=600))
        there.ask(ASKED)
        for _ in range(4):
            there.ask(ASKED)
    assert server.times[-1] - server.times[0] >= 4 * 0.1 - 0.03


def test_pauses_grow_and_are_bounded() -> None:
    random.seed(0)
    for failures in range(1, 12):
        longest = min(LONGEST, 0.5 * 2 ** (failures - 1))
        drawn = [pause(failures) for _ in range(200)]
        assert longest / 2 <= min(drawn) < max(drawn) <= longest


def test_retry_after_in_all_its_forms() -> None:
    assert retry_after({"retry-after": "3"}) == 3
    assert retry_after({"retry-after": "2.5", "retry-after-ms": "1500"}) == 1.5
    assert retry_after({}) is None
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after": "-4"}) is None
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    assert retry_after({"retry-after": format_datetime(later, usegmt=True)}) == pytest.approx(29.5, abs=1.5)
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


def test_a_stopped_pace_lets_nobody_through() -> None:
    pace = Pace(per_minute=1)
    pace.wait()
    pace.stop()
    start = time.monotonic()
    with pytest.raises(StoppedError):
        pace.wait()
    assert time.monotonic() - start < 1


def test_the_key_comes_from_nowhere_but_the_environment() -> None:
    assert openai_endpoint.KEYS == ("CROSSAISLE_JUDGE_KEY", "OPENAI_API_KEY")
    assert "key" not in Endpoint("http://127.0.0.1:9/v1", "m", environment={"OPENAI_API_KEY": "sk-x"}).about()
