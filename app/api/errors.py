"""Whatever goes wrong, told as problem details (RFC 9457): one sentence a caller can act on, and nothing of the inside.

A `CrossaisleError` about the request is shown as it is; one about the server's own state (a disk, a model) names paths, so the caller
is told only that it is the server's, and the log has the sentence. Anything else is a bug: a 500 with the request's id.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ...data import errors
from ...prompts.sanitize import shorten
from .worker_pool import Gone

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse

logger = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
LONGEST = 1000
"""Characters of a sentence; one that quotes what was asked could be as long as the question."""
MOST_ERRORS = 20
NOBODY = 499
"""The code by which a log and figures know an answer that nobody waited for (nginx's); it is sent to nobody."""

# The first that fits counts.
STATUS: tuple[tuple[type[errors.CrossaisleError], int, str], ...] = (
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
_OTHER_SHAPE = ("model_attributes_type", "model_type", "list_type", "dict_type")
_INSIDE = re.compile(r"(function-|list\[|[A-Z]\w*Request$)")
PRIVATE = "the store cannot answer this now for a reason of its own, which its log tells"


class Refused(Exception):
    """A request that the door itself turns away.

    Args: status: of HTTP. kind: what the problem's type ends in. detail: one sentence. headers: of the answer.
    """

    def __init__(self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.headers = status, kind, detail, dict(headers or {})


def content(refused: Refused) -> dict[str, Any]:
    """What every problem says."""
    return {
        "type": f"urn:crossaisle:problem:{refused.kind}" if refused.kind else "about:blank",
        "title": HTTPStatus(refused.status).phrase,
        "status": refused.status,
        "detail": shorten(refused.detail, LONGEST),
    }


def problem(
    status: int, kind: str, detail: str, *, request_id: str = "", headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    """The answer that tells of a problem."""
    from fastapi.responses import JSONResponse

    told = {**content(Refused(status, kind, detail)), **({"request_id": request_id} if request_id else {}), **more}
    return JSONResponse(told, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def refusal(error: errors.CrossaisleError) -> Refused:
    """How an error of the library is told over HTTP."""
    for kind, status, name in STATUS:
        if isinstance(error, kind):
            headers = {"Retry-After": str(error.retry_after)} if isinstance(error, errors.UnavailableError) else {}
            return Refused(status, name, str(error), headers)
    logger.error("%s: %s", type(error).__name__, error)
    return Refused(503, "store", PRIVATE, {"Retry-After": "60"})


def install(app: FastAPI) -> None:
    """Has the app answer every error with problem details."""
    from fastapi import Response
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    def id_of(request: Request) -> str:
        return str(request.scope.get("request_id", ""))

    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refused)
        return problem(error.status, error.kind, error.detail, request_id=id_of(request), headers=error.headers)

    async def ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, errors.CrossaisleError)
        return await refused(request, refusal(error))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        detail = {
            404: "there is nothing at this address; /docs lists what there is",
            405: "this address does not take this method; the Allow header says which it takes",
            413: "the body is larger than this server takes; send less at a time",
        }.get(error.status_code, str(error.detail))
        return problem(error.status_code, "", detail, request_id=id_of(request), headers=error.headers)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        found = described(error.errors())
        return problem(422, "invalid", found[0]["detail"], request_id=id_of(request), errors=found[:MOST_ERRORS])

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=NOBODY)

    app.add_exception_handler(Gone, gone)
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(errors.CrossaisleError, ours)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)


def described(found: Sequence[Any]) -> list[dict[str, str]]:
    """Pydantic's findings as `in`, `pointer` (RFC 6901, from there on) and `detail`, never with what was sent."""
    # Where a body may be one thing or a list, it was taken for each in turn; what says only that it is not the other is no help.
    findings = [one for one in found if one["type"] not in _OTHER_SHAPE] or found
    told = []
    for one in findings:
        # Pydantic names the alternatives and validators that it went through; a body has no such fields.
        place = [str(part) for part in one["loc"] if not (isinstance(part, str) and _INSIDE.match(part))]
        pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in place[1:])
        message = one["msg"].removeprefix("Value error, ")
        if one["type"] == "json_invalid":
            said = "the body is not JSON"
        elif len(place) == 1 and place[0] == "body" and one["type"] in ("missing", *_OTHER_SHAPE):
            said = "the body must be the JSON that /docs describes, sent with the header Content-Type: application/json"
        else:
            said = f"{shorten('.'.join(place[1:]) or place[0], 100)}: {message[0].lower()}{message[1:]}"
        told.append({"in": place[0], "pointer": shorten(pointer, 200), "detail": said})
    return told or [{"in": "body", "pointer": "", "detail": "the request is not what the OpenAPI page describes"}]
