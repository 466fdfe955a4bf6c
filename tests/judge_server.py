"""OpenAI-compatible test server on loopback: real HTTP, a rule instead of a model, scheduled faults, and a log of requests and replies.

The rule maps the messages to a reply, as a model does, and does not know the client. Faults, one per call: `slow` (longer than the client's
timeout), `busy` (429 with Retry-After), `broken` (500), `cut` (the body ends early), `garbled` (the body is not JSON), `dropped` (the
connection closes).
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from .http_server import running_handler

Rule = Callable[[str, str], str]
"""Maps the system and the user message to the text of the reply."""


def scored(score: int | str, reason: str = "It fits.", key: str = "score") -> str:
    """Return a reply with a reason and a score."""
    return json.dumps({"reason": reason, key: score})


def by_hash(system: str, user: str) -> str:
    """Return a reply with a score or a side that is a hash of the user message, so that repeated calls agree."""
    number = int(hashlib.sha256(user.encode()).hexdigest(), 16)
    if '"better"' in system:
        return scored(("A", "B", "tie")[number % 3], key="better")
    return scored(number % 5 + 1)


@dataclass
class Server:
    """Configuration and log of the server.

    Attributes:
        rule: Writes the replies.
        model: The only model.
        key: Required API key, None for no authentication.
        context: Characters of the longest accepted request, None for no limit.
        refuses: Names of request parameters that are rejected.
        filtered: Text that the content filter rejects.
        probabilities: Probability of each label, returned as logprobs if requested.
        delay: Seconds before a reply.
        faults: Fault of each call in order, None for no fault; later calls have none.
        retry_after: Value of the Retry-After header.
        received: User messages of all requests.
        answered: User messages with a complete reply.
        bodies: Bodies of all requests.
        times: Arrival time of each request, monotonic seconds.
        in_flight: Requests being processed.
        max_in_flight: Largest number of concurrent requests.
        url: Base URL while running.
        lock: Guards the log.
    """

    rule: Rule = by_hash
    model: str = "small-judge"
    key: str | None = None
    context: int | None = None
    refuses: tuple[str, ...] = ()
    filtered: str | None = None
    probabilities: Mapping[str, float] | None = None
    delay: float = 0.0
    faults: list[str | None] = field(default_factory=list)
    retry_after: str = "0.3"
    received: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    in_flight: int = 0
    max_in_flight: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def running(self) -> Iterator[Server]:
        """Serve on a free loopback port until the block ends."""
        with running_handler(type("Handler", (_Handler,), {"of": self})) as self.url:
            yield self


class _Handler(BaseHTTPRequestHandler):
    of: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send(200, {"object": "list", "data": [{"id": self.of.model, "object": "model", "created": 0, "owned_by": "test"}]})

    def do_POST(self) -> None:
        of = self.of
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        system, user = (message["content"] for message in body["messages"])
        with of.lock:
            of.received.append(user)
            of.bodies.append(body)
            of.times.append(time.monotonic())
            fault = of.faults.pop(0) if of.faults else None
            of.in_flight += 1
            of.max_in_flight = max(of.max_in_flight, of.in_flight)
        try:
            self.reply(body, system, user, fault)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client disconnected
        finally:
            with of.lock:
                of.in_flight -= 1

    def reply(self, body: dict[str, Any], system: str, user: str, fault: str | None) -> None:
        of = self.of
        if of.key is not None and self.headers["Authorization"] != f"Bearer {of.key}":
            # Some real endpoints echo the API key in the error message.
            self.send(401, {"error": {"message": f"Incorrect API key: {self.headers['Authorization']}", "code": "invalid_api_key"}})
        elif body["model"] != of.model:
            self.send(404, {"error": {"message": f"The model `{body['model']}` does not exist", "code": "model_not_found"}})
        elif unknown := [name for name in of.refuses if name in body]:
            self.send(400, {"error": {"message": f"Unsupported parameter: '{unknown[0]}' with the model '{of.model}'", "code": None}})
        elif of.context is not None and len(system + user) > of.context:
            self.send(
                400,
                {
                    "error": {
                        "message": f"This model's maximum context length is {of.context} characters",
                        "code": "context_length_exceeded",
                    }
                },
            )
        elif of.filtered is not None and of.filtered in user:
            self.send(400, {"error": {"message": "The response was filtered by our content policy", "code": "content_filter"}})
        elif fault == "busy":
            self.send(429, {"error": {"message": "Too many requests"}}, {"Retry-After": of.retry_after})
        elif fault == "broken":
            self.send(500, {"error": {"message": "Internal error"}})
        elif fault == "dropped":
            self.close_connection = True
        else:
            time.sleep(1.5 if fault == "slow" else of.delay)
            text = of.rule(system, user)
            content = json.dumps(self.completion(text, body, len(system + user))).encode()
            if fault == "cut":
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return
            if fault == "garbled":
                self.write(200, content[: len(content) // 2], {})
                return
            with of.lock:
                of.answered.append(user)
            self.write(200, content, {})

    def completion(self, text: str, body: dict[str, Any], characters: int) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        if self.of.probabilities and body.get("logprobs"):
            choice["logprobs"] = {"content": [*token_logprobs(text, self.of.probabilities)], "refusal": None}
        usage = {
            "prompt_tokens": characters // 4,
            "completion_tokens": len(text) // 4 + 1,
            "total_tokens": characters // 4 + len(text) // 4 + 1,
        }
        return {"id": "c", "object": "chat.completion", "created": 0, "model": self.of.model, "choices": [choice], "usage": usage}

    def send(self, status: int, content: Any, headers: Mapping[str, str] | None = None) -> None:
        self.write(status, json.dumps(content).encode(), headers or {})

    def write(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def token_logprobs(text: str, probabilities: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """Yield each character as a token; digits and sides with the probabilities of all labels."""
    alternatives = [{"token": label, "logprob": math.log(p), "bytes": None} for label, p in probabilities.items()]
    for character in text:
        others = alternatives if character in "12345AB" else []
        yield {"token": character, "logprob": -0.1, "bytes": None, "top_logprobs": others}
