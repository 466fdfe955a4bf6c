"""ASGI middleware: request ids, access log, metrics, security headers and a catch-all 500 handler.

A log line has the method, the template of the route, the status, the milliseconds and the id of the key. Paths, queries, bodies and
headers are never logged, because they name people. A bug is logged with the locations of its traceback and without its message, for the
same reason.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .errors import problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .metrics import Metrics

logger = logging.getLogger("crossaisle.service")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # The URL of a page can hold a question, which no other site may learn from the Referer header. With "no-referrer", browsers would send
    # our own forms with the origin "null", which `Authorizer.check_origin` rejects.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
API_CONTENT_SECURITY_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_CONTENT_SECURITY_POLICY = (
    # The console's framework (NiceGUI) uses inline scripts and styles, compiles its templates in the browser and talks over a websocket.
    # Pictures of items can be on any host.
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "img-src 'self' data: https:; connect-src 'self' ws: wss:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)


class RequestLoggingMiddleware:
    """The outermost middleware: assigns the request id, adds headers, counts and logs the request, and turns bugs into a 500.

    Args:
        app: The inner application.
        metrics: Metrics that count the requests.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["request_id"] = request_id = _request_id(scope)
        start, status, started = time.perf_counter(), 500, False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                message["headers"] = _with_defaults(message.get("headers", ()), _default_headers(scope["path"], request_id))
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            _log_bug(request_id, error)
            if started:  # part of the response is sent; all that is left is to close the connection
                raise
            detail = "internal server error; the server log has the details under this request_id"
            await problem_response(500, "bug", detail, request_id=request_id)(scope, receive, send_with_headers)
        finally:
            seconds, route = time.perf_counter() - start, _route_template(scope)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.observe_request(method, route, status, seconds)
            logger.info("%s %s %s %d %.0f ms key %s", request_id, method, route, status, seconds * 1000, scope.get("key_id", "-"))


def _request_id(scope: Scope) -> str:
    """The caller's own request id if it is harmless in a log, otherwise a random one."""
    header = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
    return header if _REQUEST_ID.fullmatch(header) else secrets.token_hex(8)


def _route_template(scope: Scope) -> str:
    """The template of the route that matched; a path would name users and could have any number of values."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str) and path.startswith(("/v1", "/metrics", "/docs", "/openapi", "/login", "/logout")):
        return path
    return "console" if scope.get("console") else "other"


def _default_headers(path: str, request_id: str) -> dict[str, str]:
    """Headers for a response that does not set them itself; responses with data are neither cached nor rendered."""
    if path.startswith(("/v1", "/metrics", "/openapi")):
        extra = {"Content-Security-Policy": API_CONTENT_SECURITY_POLICY, "Cache-Control": "no-store"}
    else:
        extra = {"Content-Security-Policy": PAGE_CONTENT_SECURITY_POLICY}
    return {**SECURITY_HEADERS, **extra, "X-Request-ID": request_id}


def _with_defaults(headers: Iterable[tuple[bytes, bytes]], defaults: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers of a response, plus the defaults that it does not set."""
    own = list(headers)
    names = {name.lower() for name, _ in own}
    return own + [(name.encode(), value.encode()) for name, value in defaults.items() if name.lower().encode() not in names]


def _log_bug(request_id: str, error: Exception) -> None:
    """Log where an exception was raised. Its message may quote a person, so only the debug log has it."""
    frames = " < ".join(
        f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in reversed(traceback.extract_tb(error.__traceback__))
    )
    logger.error("%s bug: %s at %s", request_id, type(error).__name__, frames)
    logger.debug("%s", request_id, exc_info=error)
