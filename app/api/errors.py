"""Error responses as problem details (RFC 9457): one sentence that the caller can act on, without internals of the server.

A `CrossaisleError` about the request is sent as it is. One about the state of the server (a disk, a model) names paths: the caller gets a
generic sentence, and the log gets the message. Any other exception is a bug, which `request_logging` turns into a 500 with the request id.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ...data import errors
from ...prompts.sanitize import shorten
from .worker_pool import ClientDisconnected

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse

logger = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
MAX_DETAIL_CHARS = 1000
"""Longest sentence of a problem; one that quotes the request could be as long as the request."""
MAX_VALIDATION_ERRORS = 20
CLIENT_CLOSED_REQUEST = 499
"""Status in logs and metrics of a request whose client disconnected (as in nginx). It is never sent."""

ERROR_STATUS: tuple[tuple[type[errors.CrossaisleError], int, str], ...] = (
    (errors.UnknownUserError, 404, "unknown-user"),
    (errors.UnknownItemError, 404, "unknown-item"),
    (errors.EmptyHistoryError, 422, "empty-history"),
    (errors.SuppressedError, 403, "suppressed"),
    (errors.BudgetSpentError, 403, "budget-spent"),
    (errors.PrivacyError, 403, "privacy"),
    (errors.QueryError, 422, "query"),
    (errors.FormatError, 422, "format"),
    (errors.WorkspaceBusyError, 409, "workspace-busy"),
    (errors.TimedOutError, 503, "timed-out"),
    (errors.UnavailableError, 503, "busy"),
    (errors.SettingsError, 422, "settings"),
)
"""Status and problem type of each error of the library; the first class that matches counts."""
SERVER_SIDE_DETAIL = "the store cannot answer because of an error on the server; its log has the details"
BODY_TOO_LARGE = "the request body is larger than this server accepts; send less at a time"
_WRONG_JSON_TYPE = ("model_attributes_type", "model_type", "list_type", "dict_type")
_PYDANTIC_INTERNAL = re.compile(r"(function-|list\[|[A-Z]\w*Request$)")
"""Parts of a location that name pydantic's validators and union members, not fields of the body."""


class RequestRejected(Exception):
    """A request that the API itself rejects.

    Args:
        status: HTTP status.
        kind: Last part of the problem's type; empty for `about:blank`.
        detail: One sentence.
        headers: Headers of the response.
    """

    def __init__(self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.headers = status, kind, detail, dict(headers or {})


def problem_details(rejection: RequestRejected) -> dict[str, Any]:
    """The members that every problem has: type, title, status, detail."""
    return {
        "type": f"urn:crossaisle:problem:{rejection.kind}" if rejection.kind else "about:blank",
        "title": HTTPStatus(rejection.status).phrase,
        "status": rejection.status,
        "detail": shorten(rejection.detail, MAX_DETAIL_CHARS),
    }


def problem_response(
    status: int, kind: str, detail: str, *, request_id: str = "", headers: Mapping[str, str] | None = None, **members: Any
) -> JSONResponse:
    """The response of a problem.

    Args:
        status: HTTP status.
        kind: Last part of the problem's type.
        detail: One sentence.
        request_id: Id of the request in the log.
        headers: Headers of the response.
        **members: Further members of the problem.
    """
    from fastapi.responses import JSONResponse

    content = {**problem_details(RequestRejected(status, kind, detail)), **({"request_id": request_id} if request_id else {}), **members}
    return JSONResponse(content, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def to_rejection(error: errors.CrossaisleError) -> RequestRejected:
    """The rejection that an error of the library is reported as. Errors of the server itself are logged and reported without details."""
    for error_class, status, kind in ERROR_STATUS:
        if isinstance(error, error_class):
            headers = {"Retry-After": str(error.retry_after)} if isinstance(error, errors.UnavailableError) else {}
            return RequestRejected(status, kind, str(error), headers)
    logger.error("%s: %s", type(error).__name__, error)
    return RequestRejected(503, "store", SERVER_SIDE_DETAIL, {"Retry-After": "60"})


def add_exception_handlers(app: FastAPI) -> None:
    """Make an application answer every error with problem details."""
    from fastapi import Response
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    def request_id(request: Request) -> str:
        return str(request.scope.get("request_id", ""))

    async def on_rejected(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestRejected)
        return problem_response(error.status, error.kind, error.detail, request_id=request_id(request), headers=error.headers)

    async def on_library_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, errors.CrossaisleError)
        return await on_rejected(request, to_rejection(error))

    async def on_http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        detail = {
            404: "no such address; /docs lists the addresses of the API",
            405: "this address does not support the method; the Allow header lists the methods that it supports",
            413: BODY_TOO_LARGE,
        }.get(error.status_code, str(error.detail))
        return problem_response(error.status_code, "", detail, request_id=request_id(request), headers=error.headers)

    async def on_invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        details = validation_errors(error.errors())
        return problem_response(
            422, "invalid", details[0]["detail"], request_id=request_id(request), errors=details[:MAX_VALIDATION_ERRORS]
        )

    async def on_disconnected(_: Request, __: Exception) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    app.add_exception_handler(ClientDisconnected, on_disconnected)
    app.add_exception_handler(RequestRejected, on_rejected)
    app.add_exception_handler(errors.CrossaisleError, on_library_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid)


def validation_errors(pydantic_errors: Sequence[Any]) -> list[dict[str, str]]:
    """Pydantic's errors as `in` (body, query, path), `pointer` (RFC 6901, within it) and `detail`, never with the values that were sent."""
    # A body that may be an object or a list is validated as each in turn; "not the other type" helps nobody if there is another error.
    relevant = [error for error in pydantic_errors if error["type"] not in _WRONG_JSON_TYPE] or pydantic_errors
    details = []
    for error in relevant:
        location = [str(part) for part in error["loc"] if not (isinstance(part, str) and _PYDANTIC_INTERNAL.match(part))]
        pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in location[1:])
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "json_invalid":
            detail = "the body is not JSON"
        elif len(location) == 1 and location[0] == "body" and error["type"] in ("missing", *_WRONG_JSON_TYPE):
            detail = "the body must be the JSON that /docs describes, sent with the header Content-Type: application/json"
        else:
            detail = f"{shorten('.'.join(location[1:]) or location[0], 100)}: {message[0].lower()}{message[1:]}"
        details.append({"in": location[0], "pointer": shorten(pointer, 200), "detail": detail})
    return details or [{"in": "body", "pointer": "", "detail": "the request does not match the OpenAPI description"}]
