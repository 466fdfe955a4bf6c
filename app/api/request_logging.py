"""What happens to every request before and after anything else: an id, a log line, figures, headers, and the last net under a bug.

A log line has the method, the route's template, the code, the milliseconds and the key's id; a path, a query, a body or a header is
never logged, because people stand in them. A bug is logged with the places of its traceback and without its message, for the same
reason.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
import traceback
from typing import TYPE_CHECKING, Any

from .errors import problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .metrics import Metrics

logger = logging.getLogger("crossaisle.service")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # A copied link to an answer holds the question; no other site is told where somebody came from. With no-referrer a browser would
    # send our own forms with the origin "null", which the guard turns away.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    # The console's framework writes its page with inline scripts and styles, compiles its templates in the browser and speaks over a
    # websocket. Pictures of items lie wherever the store keeps them.
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "img-src 'self' data: https:; connect-src 'self' ws: wss:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)


class Seen:
    """The outermost layer of the app.

    Args: app: all the others. metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["request_id"] = request_id = _id(scope)
        start, code, begun = time.perf_counter(), 500, False

        async def sending(message: Message) -> None:
            nonlocal code, begun
            if message["type"] == "http.response.start":
                code, begun = message["status"], True
                message["headers"] = _with(message.get("headers", ()), _headers(scope["path"], request_id))
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception as error:
            _report(request_id, error)
            if begun:  # half an answer is out; closing the connection is all that can be said
                raise
            found = problem(500, "bug", "this is a bug of the server; its log knows it by the request_id", request_id=request_id)
            await found(scope, receive, sending)
        finally:
            seconds, route = time.perf_counter() - start, _route(scope)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.request(method, route, code, seconds)
            logger.info("%s %s %s %d %.0f ms key %s", request_id, method, route, code, seconds * 1000, scope.get("key_id", "-"))


def _id(scope: Scope) -> str:
    """The caller's own id where it is a harmless one, else one that is drawn."""
    told = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
    return told if _ID.fullmatch(told) else secrets.token_hex(8)


def _route(scope: Scope) -> str:
    """The template of the route that matched; a path would name users and could have any number of values."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str) and path.startswith(("/v1", "/metrics", "/docs", "/openapi", "/login", "/logout")):
        return path
    return "console" if scope.get("console") else "other"


def _headers(path: str, request_id: str) -> dict[str, str]:
    data = path.startswith(("/v1", "/metrics", "/openapi"))
    extra = {"Content-Security-Policy": DATA_POLICY, "Cache-Control": "no-store"} if data else {"Content-Security-Policy": PAGE_POLICY}
    return {**ALWAYS, **extra, "X-Request-ID": request_id}


def _with(headers: Any, more: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers with those that the answer does not have already."""
    there = [(name, value) for name, value in headers]
    names = {name.lower() for name, _ in there}
    return there + [(name.encode(), value.encode()) for name, value in more.items() if name.lower().encode() not in names]


def _report(request_id: str, error: Exception) -> None:
    """Logs where a bug struck; its message may quote a person, so only a debugging log has it."""
    places = " < ".join(
        f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in reversed(traceback.extract_tb(error.__traceback__))
    )
    logger.error("%s bug: %s at %s", request_id, type(error).__name__, places)
    logger.debug("%s", request_id, exc_info=error)
