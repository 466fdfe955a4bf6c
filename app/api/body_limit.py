"""Middleware that limits the size of request bodies, counted as they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import BODY_TOO_LARGE, problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodySizeLimitMiddleware:
    """Rejects larger bodies with 413: before reading if the Content-Length header is too large, otherwise as soon as the limit is passed.

    Args:
        app: The inner application.
        max_bytes: Largest body.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with a body that is counted while it is read."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        content_length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not content_length.isdigit() or int(content_length) > self.max_bytes:
            response = problem_response(
                413, "body", BODY_TOO_LARGE, request_id=scope.get("request_id", ""), headers={"Connection": "close"}
            )
            await response(scope, receive, send)
            return
        received = 0

        async def counting_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                from starlette.exceptions import HTTPException

                raise HTTPException(413)
            return message

        await self.app(scope, counting_receive, send)
