"""Models that write freely: the message that an endpoint gets, its key, endpoints that misbehave, and a local model."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from crossaisle.data import deadlines
from crossaisle.data.errors import EndpointError, SettingsError, TimedOutError, TooLongError
from crossaisle.llm.explain.writing.text_models import MAX_ANSWER_CHARS, LocalTextModel, RemoteTextModel
from crossaisle.llm.models.endpoint_connection import PAUSE_SECONDS
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.usage import measure_usage

from ....judge_server import Server
from ....rank_server import RankServer

TEXT = "Both are for camping [e1]."
MESSAGE = ("You are a shop assistant.", "Write one sentence.", 77)
MakeModel = Callable[..., RemoteTextModel]


@dataclass
class TextServer(RankServer):
    """A server that answers each message with the same content.

    Attributes:
        content: The content, which need not be a text.
        hangs: Whether answers wait until `released` is set.
        released: See above.
    """

    content: object = TEXT
    hangs: bool = False
    released: threading.Event = field(default_factory=threading.Event)

    def answer(self, route: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        """Return status and JSON of an answer."""
        if self.hangs:
            self.released.wait(30)
        return 200, {"choices": [{"message": {"content": self.content}}]}


@pytest.fixture
def make_model() -> Iterator[MakeModel]:
    """Make models at an address, closed at the end."""
    made: list[RemoteTextModel] = []

    def make(url: str, name: str = "writer", environment: Mapping[str, str] | None = None, **options: float) -> RemoteTextModel:
        made.append(RemoteTextModel(f"openai:{url}", name, environment=environment or {}, **options))
        return made[-1]

    yield make
    for model in made:
        model.close()


# ------------------------------------------------------------------ the message and the key


def test_the_message_arrives_and_the_text_comes_back(make_model: MakeModel) -> None:
    server = TextServer()
    with server.running(), measure_usage() as usage:
        assert make_model(server.url).write(*MESSAGE) == TEXT
    assert server.routes == ["/v1/chat/completions"]
    (body,) = server.bodies
    assert body["messages"] == [{"role": "system", "content": MESSAGE[0]}, {"role": "user", "content": MESSAGE[1]}]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("writer", 77, 0.0)
    assert usage.texts_generated == 1


def test_a_very_long_text_is_cut(make_model: MakeModel) -> None:
    server = TextServer(content="x" * (MAX_ANSWER_CHARS + 1))
    with server.running():
        assert make_model(server.url).write(*MESSAGE) == "x" * MAX_ANSWER_CHARS


@pytest.mark.parametrize("variable", ["CROSSAISLE_JUDGE_KEY", "OPENAI_API_KEY"])
def test_the_key_is_sent_as_a_bearer_token(variable: str, make_model: MakeModel) -> None:
    with Server(rule=lambda *_: TEXT, key="sk-right").running() as server:
        assert make_model(server.url, server.model, {variable: " sk-right "}).write(*MESSAGE) == TEXT
        with pytest.raises(EndpointError):
            make_model(server.url, server.model).write(*MESSAGE)


def test_the_key_is_in_no_error(make_model: MakeModel, caplog: pytest.LogCaptureFixture) -> None:
    """This server repeats the key in its error message, as some do."""
    caplog.set_level(logging.DEBUG)
    with Server(rule=lambda *_: TEXT, key="sk-right").running() as server:
        with pytest.raises(EndpointError) as raised:
            make_model(server.url, server.model, {"OPENAI_API_KEY": "sk-wrong-and-secret"}).write(*MESSAGE)
        assert len(server.received) == 1
    assert "sk-" not in str(raised.value) + repr(raised.value) + caplog.text
    assert raised.value.__cause__ is None, "the client's own error contains the request"


def test_an_address_with_credentials_is_rejected() -> None:
    with pytest.raises(SettingsError, match="without credentials") as raised:
        RemoteTextModel("openai:http://me:secret@host/v1", "writer", environment={})
    assert "secret" not in str(raised.value)


# ------------------------------------------------------------------ endpoints that misbehave


def assert_left_alone(server: TextServer, model: RemoteTextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that a failure ends in an error, that the endpoint is not called for a while then, and that it is called afterwards."""
    with pytest.raises(EndpointError, match="did not write a text"):
        model.write(*MESSAGE)
    server.fault, server.content = None, TEXT
    with pytest.raises(EndpointError, match="is not asked for"):
        model.write(*MESSAGE)
    assert len(server.bodies) == 1
    later = time.monotonic() + PAUSE_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert model.write(*MESSAGE) == TEXT
    assert len(server.bodies) == 2


@pytest.mark.parametrize("fault", ["broken", "busy", "forbidden", "garbled", "slow"])
def test_an_endpoint_that_fails_is_left_alone_for_a_while(fault: str, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    server = TextServer(fault=fault)
    with server.running():
        assert_left_alone(server, make_model(server.url, seconds=0.5), monkeypatch)


@pytest.mark.parametrize("content", [None, 5, ["Both", "are"], {"text": TEXT}])
def test_an_endpoint_that_writes_no_text_is_left_alone_for_a_while(
    content: object, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = TextServer(content=content)
    with server.running():
        assert_left_alone(server, make_model(server.url), monkeypatch)


def test_an_endpoint_that_cannot_be_reached(make_model: MakeModel) -> None:
    server = TextServer()
    with server.running():
        pass  # it has ended
    with pytest.raises(EndpointError, match="did not write a text"):
        make_model(server.url).write(*MESSAGE)


def test_one_endpoint_that_fails_says_nothing_of_another(make_model: MakeModel) -> None:
    broken, working = TextServer(fault="broken"), TextServer()
    with broken.running(), working.running():
        with pytest.raises(EndpointError):
            make_model(broken.url).write(*MESSAGE)
        assert make_model(working.url).write(*MESSAGE) == TEXT


def test_a_deadline_before_the_time_limit_ends_the_call(make_model: MakeModel) -> None:
    server = TextServer(hangs=True)
    start = time.monotonic()
    with server.running():
        try:
            with deadlines.within(deadlines.Deadline(0.3)), pytest.raises((EndpointError, TimedOutError)):
                make_model(server.url, seconds=60).write(*MESSAGE)
        finally:
            server.released.set()
    assert time.monotonic() - start < 20, "it would have hung for 30 seconds"


def test_after_the_deadline_the_endpoint_is_not_called(make_model: MakeModel) -> None:
    server = TextServer()
    with server.running():
        model = make_model(server.url)
        with deadlines.within(deadlines.Deadline(0)), pytest.raises(TimedOutError):
            model.write(*MESSAGE)
        assert server.bodies == []
        assert model.write(*MESSAGE) == TEXT, "a deadline that has passed is no failure of the endpoint"


def test_a_closed_model_opens_new_connections(make_model: MakeModel) -> None:
    server = TextServer()
    with server.running():
        model = make_model(server.url)
        model.close()
        assert model.write(*MESSAGE) == TEXT
        client = model.connection.client()
        model.close()
        assert client.is_closed
        assert model.write(*MESSAGE) == TEXT
        model.close()
        model.close()
    assert len(server.bodies) == 2


# ------------------------------------------------------------------ a local model


def test_a_local_model_writes_the_same_text_again(llm: LanguageModel) -> None:
    model = LocalTextModel(llm)
    with measure_usage() as usage:
        text = model.write(MESSAGE[0], "Write one sentence about tents.", 16)
    assert text
    assert "<|" not in text
    assert usage.texts_generated == 1
    assert model.write(MESSAGE[0], "Write one sentence about tents.", 16) == text
    assert model.write(MESSAGE[0], "Name three colours.", 16) != text


def test_a_message_beyond_the_context_is_rejected(llm: LanguageModel) -> None:
    with pytest.raises(TooLongError, match=r"does not fit the context of smollm2"):
        LocalTextModel(llm).write(MESSAGE[0], "tent " * llm.context, 16)
