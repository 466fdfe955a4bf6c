"""A small OpenAI-compatible server on loopback: real HTTP, a rule instead of a model, faults on order, and a log of what it answered.

The rule knows nothing of the client: it reads the messages as a model would and writes a reply. `Faults` says what goes wrong with which
call: `slow` (longer than the client waits), `busy` (429 with Retry-After), `broken` (500), `cut` (a body that ends early), `garbled` (a body
that is no JSON), `dropped` (the connection closes).
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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Rule = Callable[[str, str], str]
"""From the system and the user message to the reply's text."""


def scored(score: int | str, reason: str = "It fits.", key: str = "score") -> str:
    return json.dumps({"reason": reason, key: score})


def by_hash(system: str, user: str) -> str:
    """A score, or a side, that hangs on the question alone, so that a second answer to it is the same."""
    number = int(hashlib.sha256(user.encode()).hexdigest(), 16)
    if '"better"' in system:
        return scored(("A", "B", "tie")[number % 3], key="better")
    return scored(number % 5 + 1)


@dataclass
class Server:
    """What the server does and what it did. `asked` are all user messages that came, `answered` those that had a whole reply."""

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
    asked: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    under_way: int = 0
    most_at_once: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def running(self) -> Iterator[Server]:
        """The server, listening on a free port of loopback until the block ends."""
        httpd = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"of": self}))
        httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{httpd.server_address[1]}/v1"
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            httpd.shutdown()
            httpd.server_close()
            thread.join()


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
            of.asked.append(user)
            of.bodies.append(body)
            of.times.append(time.monotonic())
            fault = of.faults.pop(0) if of.faults else None
            of.under_way += 1
            of.most_at_once = max(of.most_at_once, of.under_way)
        try:
            self.reply(body, system, user, fault)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client gave up
        finally:
            with of.lock:
                of.under_way -= 1

    def reply(self, body: dict[str, Any], system: str, user: str, fault: str | None) -> None:
        of = self.of
        if of.key is not None and self.headers["Authorization"] != f"Bearer {of.key}":
            # As badly behaved as some are: the key that was sent is told in the error.
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
            choice["logprobs"] = {"content": [*tokens(text, self.of.probabilities)], "refusal": None}
        usage = {
            "prompt_tokens": characters // 4,
            "completion_tokens": len(text) // 4 + 1,
            "total_tokens": characters // 4 + len(text) // 4 + 1,
        }
        return {"id": "c", "object": "chat.completion", "created": 0, "model": self.of.model, "choices": [choice], "usage": usage}

    def send(self, status: int, told: Any, headers: Mapping[str, str] | None = None) -> None:
        self.write(status, json.dumps(told).encode(), headers or {})

    def write(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def tokens(text: str, likely: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """Every character as a token; at each digit or side what else might have stood there."""
    for character in text:
        others = [{"token": label, "logprob": math.log(p), "bytes": None} for label, p in likely.items()] if character in "12345AB" else []
        yield {"token": character, "logprob": -0.1, "bytes": None, "top_logprobs": others}
