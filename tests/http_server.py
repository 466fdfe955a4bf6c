"""A server on a loopback socket in a thread of the test process, and assertions about its responses."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import uvicorn
from fastapi import FastAPI


@contextmanager
def running_server(app: FastAPI, **headers: str) -> Iterator[httpx.Client]:
    """A client of the app. The server starts before the block and stops after it, when running requests have finished."""
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


class _HandlerServer(ThreadingHTTPServer):
    """Handlers in threads; a client that closes its connection early is no error."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing if the client has gone."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # passed on as it came


@contextmanager
def running_handler(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The base URL of a handler that serves on a free loopback port, up to `/v1`, until the block ends."""
    httpd = _HandlerServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def retry_until_listening(send: Callable[[], httpx.Response]) -> httpx.Response:
    """The first response of a server that is starting in another process."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return send()
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def assert_problem(response: httpx.Response, status: int, *words: str) -> dict[str, object]:
    """Check that a response is a problem (RFC 9457) with these words in its detail and without a traceback, and return its content."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    content = response.json()
    assert content["status"] == status
    assert content["title"]
    assert content["detail"]
    assert content["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    for word in words:
        assert word in content["detail"], content
    return dict(content)
