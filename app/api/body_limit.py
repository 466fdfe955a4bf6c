"""How large a request's body may be, counted as it arrives: nobody makes the server hold more than that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAID = "the body is larger than this server takes; send less at a time"


class Bodies:
    """Turns larger bodies away, before they are read where their length is told. Args: most: bytes."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through whose body stays small enough."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        told = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not told.isdigit() or int(told) > self.most:
            answer = problem(413, "body", SAID, request_id=scope.get("request_id", ""), headers={"Connection": "close"})
            await answer(scope, receive, send)
            return
        size = 0

        async def counting() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.most:
                from starlette.exceptions import HTTPException

                raise HTTPException(413)
            return message

        await self.app(scope, counting, send)
