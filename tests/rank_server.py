"""Test server on loopback that ranks in each shape that endpoints have: real HTTP, a rule or a real model behind it, and faults.

Faults, for every call from `fault_after` on: `slow` (longer than the client waits), `busy` (429), `broken` (500), `garbled` (not JSON),
`nonsense` (JSON of another shape), `nan` (scores that are no numbers), `forbidden` (401).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from .http_server import running_handler

Score = Callable[[str, str], float]
"""Maps the history and one candidate, as texts, to a score from 0 to 1."""
Alternatives = Callable[[str, str], Mapping[str, float]]
"""Maps the system and the user message to log-probabilities of the first token of the answer."""


def by_length(_: str, candidate: str) -> float:
    """Return a score that grows with the length of the text."""
    return min(len(candidate) / 1000, 0.999)


@dataclass
class RankServer:
    """Configuration and log of the server.

    Attributes:
        shape: `logprobs`, `plain` (chat without log-probabilities), `rerank`, `score` or `listwise`.
        score: Score of a candidate, for all shapes but `logprobs`.
        alternatives: Log-probabilities, for `logprobs`.
        model: The only model; others answer 404.
        delay: Seconds before each answer.
        fault: See above; None for none.
        fault_after: Number of calls before the first fault.
        retry_after: Value of the Retry-After header of `busy`.
        bodies: Bodies of all requests.
        routes: Routes of all requests.
        max_in_flight: Largest number of requests at the same time.
        url: Base URL while running.
    """

    shape: str = "logprobs"
    score: Score = by_length
    alternatives: Alternatives = lambda _, user: {"Yes": -0.5 - len(user) / 1000, "No": -1.0}
    model: str = "ranker"
    delay: float = 0.0
    fault: str | None = None
    fault_after: int = 0
    retry_after: str = "0.05"
    bodies: list[dict[str, Any]] = field(default_factory=list)
    routes: list[str] = field(default_factory=list)
    in_flight: int = 0
    max_in_flight: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def running(self) -> Iterator[RankServer]:
        """Serve on a free loopback port until the block ends."""
        with running_handler(type("Handler", (_Handler,), {"of": self})) as self.url:
            yield self

    def answer(self, route: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        """Return status and JSON of an answer."""
        if body.get("model") != self.model:
            return 404, {"error": {"message": f"no model {body.get('model')}"}}
        if route == "/v1/chat/completions" and self.shape in ("logprobs", "plain", "listwise"):
            return 200, self._chat(body)
        if route == f"/v1/{self.shape}":
            query, documents = body.get("query", body.get("text_1")), body.get("documents", body.get("text_2"))
            scores = [self.score(str(query), str(document)) for document in documents or ()]
            key = "relevance_score" if self.shape == "rerank" else "score"
            entries = [{"index": index, key: score} for index, score in enumerate(scores)]
            entries.sort(key=lambda entry: -float(entry[key]))  # best first, as rerankers answer
            return 200, {"results" if self.shape == "rerank" else "data": entries, "usage": {"prompt_tokens": 7 * len(entries)}}
        return 404, {"error": {"message": "not found"}}

    def _chat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        system, user = (str(message["content"]) for message in body["messages"])
        choice: dict[str, Any] = {"message": {"content": "Yes"}, "finish_reason": "length"}
        if self.shape == "logprobs" and body.get("logprobs"):
            alternatives = [{"token": token, "logprob": logprob} for token, logprob in self.alternatives(system, user).items()]
            choice["logprobs"] = {"content": [{"token": "Yes", "logprob": -0.1, "top_logprobs": alternatives}]}
        if self.shape == "listwise" and "response_format" in body:
            lines = [line.partition(". ") for line in user.splitlines() if line.partition(". ")[0].isdecimal()]
            ranked = sorted(lines, key=lambda line: -self.score(user, line[2]))
            choice["message"]["content"] = json.dumps({"order": [int(number) for number, _, _ in ranked]})
        return {"choices": [choice], "usage": {"prompt_tokens": len(user.split()), "completion_tokens": 1}}


class _Handler(BaseHTTPRequestHandler):
    """One call."""

    of: RankServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer a call, or fail as configured."""
        server = self.of
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            faulty = server.fault if len(server.bodies) >= server.fault_after else None
            server.bodies.append(body)
            server.routes.append(self.path)
            server.in_flight += 1
            server.max_in_flight = max(server.max_in_flight, server.in_flight)
        try:
            time.sleep(server.delay)
            status, content = server.answer(self.path, body)
            text = json.dumps(content)
            headers = {}
            if faulty == "slow":
                time.sleep(3)
            elif faulty == "busy":
                status, headers = 429, {"retry-after": server.retry_after}
            elif faulty == "broken":
                status = 500
            elif faulty == "forbidden":
                status = 401
            elif faulty == "garbled":
                text = "<html>"
            elif faulty == "nonsense":
                text = json.dumps({"choices": [{"message": {"content": "I am sorry."}}], "results": "none", "data": {}})
            elif faulty == "nan":
                text = text.replace("-0.5", "NaN").replace("-1.0", "NaN").replace("0.0", "NaN")
            data = text.encode()
            self.send_response(status)
            for name, value in {**headers, "content-type": "application/json", "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):  # the client has given up
            pass
        finally:
            with server.lock:
                server.in_flight -= 1

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""
