"""A service on a real socket of loopback, in a thread of the test's process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from fastapi import FastAPI


@contextmanager
def running_server(app: FastAPI, **headers: str) -> Iterator[httpx.Client]:
    """A client of the app, which is started before and stopped after the block; what it had taken it has then answered."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, server_header=False, ws="websockets-sansio"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, headers=headers) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def retry_until_listening(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The first answer of a service that is starting as a process of its own."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return ask()
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def assert_problem(answer: httpx.Response, status: int, *words: str) -> dict[str, object]:
    """What was wrong, as RFC 9457 has it: one sentence, and nothing of the inside."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == status
    assert told["title"]
    assert told["detail"]
    assert told["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    for word in words:
        assert word in told["detail"], told
    return dict(told)
