"""The routes of the HTTP API under `/v1`, and `/metrics` and `/docs`: request and response of each, its scope, and its worker pool.

The routes answer with the JSON of `StoreService`; they compute nothing themselves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from fastapi.routing import APIRoute

from ...data.errors import CrossaisleError
from ..schemas.base import ResponseModel
from ..schemas.recommendation_responses import STREAM_EVENTS, BatchResponse, RecommendResponse, WhyResponse
from ..schemas.requests import (
    MAX_EVENTS,
    AtlasRequest,
    BatchRequest,
    EventRequest,
    Id,
    ItemsRequest,
    ProbeRequest,
    RecommendRequest,
    WhyRequest,
)
from ..schemas.segment_responses import AtlasResponse, ComparisonResponse, ProbeResponse
from ..schemas.store_responses import EventsResponse, ForgottenResponse, HealthResponse, ItemsResponse, ProfileResponse, ReadyResponse
from .errors import MEDIA_TYPE, RequestRejected, problem_details, to_rejection
from .metrics import MEDIA_TYPE as METRICS_MEDIA_TYPE
from .openapi_page import render_openapi_page
from .worker_pool import call_in_loop

if TYPE_CHECKING:
    from .state import AppState

T = TypeVar("T")
CHANGE_TIMEOUT_FACTOR = 4
"""Changes of items and users may take that many times as long as other requests: they wait for one thread."""


def _requires(scope: str) -> dict[str, Any]:
    """The part of a route's OpenAPI description that names the scope; `AuthorizedRoute` enforces it."""
    return {"security": [{"key": [scope]}]}


def _responses(model: Any) -> dict[int | str, dict[str, Any]]:
    """The successful response of a route, for the OpenAPI description."""
    return {200: {"model": model}}


def _schema_refs(models: Mapping[str, type[ResponseModel]]) -> dict[str, Any]:
    """References to the models' schemas in the OpenAPI description, by the same names."""
    return {name: {"$ref": f"#/components/schemas/{model.__name__}"} for name, model in models.items()}


_PROBLEM = {
    "description": "The error, as problem details (RFC 9457).",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemResponse"}}},
}


class AuthorizedRoute(APIRoute):
    """A route that checks key, scope, rate, host and origin before it reads the body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route, preceded by the authorization."""
        handler = super().get_route_handler()
        security = (self.openapi_extra or {}).get("security")
        scope = security[0]["key"][0] if security else None

        async def authorized(request: Request) -> Response:
            _state(request).authorizer.authorize(request, scope)
            return await handler(request)

        return authorized


api = APIRouter(prefix="/v1", route_class=AuthorizedRoute, responses={"4XX": _PROBLEM, "5XX": _PROBLEM})
pages = APIRouter(include_in_schema=False)


# ---------------------------------------------------------------------- recommendations


@api.post(
    "/recommend", summary="Recommend items and explain them", openapi_extra=_requires("read"), responses=_responses(RecommendResponse)
)
async def recommend(request: Request, body: RecommendRequest) -> Response:
    """A ranked list for one shopper, each item with an explanation."""
    state = _state(request)
    response = await _compute(request, lambda: state.store.recommend(body))
    state.metrics.observe_stages(response["timings_ms"])
    return JSONResponse(response)


@api.post(
    "/recommend:batch", summary="Recommend for several shoppers", openapi_extra=_requires("read"), responses=_responses(BatchResponse)
)
async def batch(request: Request, body: BatchRequest) -> Response:
    """`answers` holds, in the order of `requests`, a response each, or a `problem` in its place."""
    state = _state(request)

    def recommend_each() -> list[dict[str, Any]]:
        return [_response_or_problem(state.store.recommend, query) for query in body.requests]

    responses = await _compute(request, recommend_each, state.options.timeout * len(body.requests))
    for response in responses:
        state.metrics.observe_stages(response.get("timings_ms", {}))
    return JSONResponse({"answers": responses})


@api.post(
    "/recommend:stream",
    summary="Recommend, with the ranked list first and each explanation when it is ready",
    openapi_extra=_requires("read"),
    response_class=StreamingResponse,  # without a media type of its own, so that the description has only the one below
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}, "x-events": _schema_refs(STREAM_EVENTS)}}}},
)
async def stream(request: Request, body: RecommendRequest) -> Response:
    """Server-sent events: `ranked` (the response without explanations), an `explanation` for each rank, then `done`; or `problem`.

    Explanations are sent in the order in which they are generated, which need not be that of the list.
    """
    state = _state(request)
    loop, parts = asyncio.get_running_loop(), asyncio.Queue[tuple[str, dict[str, Any]] | None]()

    def send(name: str) -> Callable[[dict[str, Any]], None]:
        return lambda data: call_in_loop(loop, parts.put_nowait, (name, data))

    work = asyncio.ensure_future(_compute(request, lambda: state.store.recommend(body, send("ranked"), send("explanation"))))

    def on_done(_: object) -> None:
        parts.put_nowait(None)
        if not work.cancelled():
            work.exception()  # marks it as retrieved: a client that has disconnected never awaits it

    work.add_done_callback(on_done)
    first = await parts.get()
    if first is None:
        await work  # an error before the first event is an ordinary error response

    async def events() -> AsyncIterator[str]:
        part = first
        try:
            while part is not None:
                yield _sse_event(*part)
                part = await parts.get()
            response = await work
            state.metrics.observe_stages(response["timings_ms"])
            yield _sse_event("done", {name: value for name, value in response.items() if name not in ("query", "recommendations")})
        except CrossaisleError as error:
            yield _sse_event("problem", problem_details(to_rejection(error)))
        finally:
            work.cancel()

    return StreamingResponse(events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@api.get("/why", summary="Explain why an item is recommended or not", openapi_extra=_requires("read"), responses=_responses(WhyResponse))
async def why(request: Request, query: Annotated[WhyRequest, Query()]) -> Response:
    """Scores, rank and rules of one item for one shopper, and what would change its rank."""
    state = _state(request)
    return JSONResponse(await _compute(request, lambda: state.store.why(query)))


# ---------------------------------------------------------------------- segments, categories, profiles


@api.post(
    "/probe",
    summary="Analyse what a group of shoppers needs next",
    openapi_extra=_requires("read"),
    responses=_responses(ProbeResponse | ComparisonResponse),
)
async def probe(request: Request, body: ProbeRequest) -> Response:
    """Categories that a group of shoppers needs next; with `against`, the differences between two groups."""
    state = _state(request)
    return JSONResponse(await _compute(request, lambda: state.store.probe(body)))


@api.get("/atlas", summary="Lift of every pair of categories", openapi_extra=_requires("read"), responses=_responses(AtlasResponse))
async def atlas(request: Request, query: Annotated[AtlasRequest, Query()]) -> Response:
    """Pairs of categories that shoppers buy from one after the other, strongest first."""
    state = _state(request)
    return JSONResponse(await _compute(request, lambda: state.store.atlas(query.level)))


@api.get("/profile/{user}", summary="Profile of a shopper", openapi_extra=_requires("read"), responses=_responses(ProfileResponse))
async def profile(request: Request, user: Annotated[Id, Path()]) -> Response:
    """Categories, brands, price level and recent activity of a shopper."""
    state = _state(request)
    return JSONResponse(await _compute(request, lambda: state.store.profile(user)))


# ---------------------------------------------------------------------- changes


@api.delete("/users/{user}", summary="Forget a shopper", openapi_extra=_requires("admin"), responses=_responses(ForgottenResponse))
async def forget(request: Request, user: Annotated[Id, Path()]) -> Response:
    """Remove a shopper's events and served lists."""
    state = _state(request)
    timeout = state.options.timeout * CHANGE_TIMEOUT_FACTOR
    return JSONResponse(await state.change_pool.run(lambda: state.store.forget(user), timeout))


@api.post("/items", summary="Add or change items", openapi_extra=_requires("admin"), responses=_responses(ItemsResponse))
async def items(request: Request, body: ItemsRequest) -> Response:
    """All items are stored or none; they can be recommended from the response on."""
    state = _state(request)
    timeout = state.options.timeout * CHANGE_TIMEOUT_FACTOR
    return JSONResponse(await state.change_pool.run(lambda: state.store.put_items(body.items), timeout))


@api.post("/events", summary="Record events of shoppers", openapi_extra=_requires("events"), responses=_responses(EventsResponse))
async def events(request: Request, body: EventRequest | list[EventRequest]) -> Response:
    """One event or a list; all are recorded or none. The next recommendation for these shoppers takes them into account."""
    state = _state(request)
    batch = body if isinstance(body, list) else [body]
    if not 1 <= len(batch) <= MAX_EVENTS:
        raise RequestRejected(422, "invalid", f"a list must have 1 to {MAX_EVENTS:,} events, not {len(batch):,}")
    counts = await state.event_pool.run(lambda: state.store.record_events(batch), state.options.timeout)
    state.metrics.count_events(counts["accepted"], counts["repeated"])
    return JSONResponse(counts)


# ---------------------------------------------------------------------- the server itself


@api.get("/health", summary="Liveness of the process", responses=_responses(HealthResponse))
async def health() -> Response:
    """Always ok while the process runs."""
    return JSONResponse({"status": "ok"})


@api.get("/ready", summary="Readiness to answer requests", responses=_responses(ReadyResponse))
async def ready(request: Request) -> Response:
    """The state of the store; 503 during startup and shutdown."""
    state = _state(request)
    if not state.ready:
        raise RequestRejected(503, "not-ready", "the server is starting up or shutting down", {"Retry-After": "5"})
    return JSONResponse({**state.store.health(), "requests": state.answer_pool.pending})


@pages.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus metrics; requires the scope `read`."""
    state = _state(request)
    state.authorizer.authorize(request, "read")
    return Response(state.metrics.text(), media_type=METRICS_MEDIA_TYPE)


@pages.get("/docs")
async def docs(request: Request) -> Response:
    """The OpenAPI description as a page."""
    _state(request).authorizer.check_host(request)
    return HTMLResponse(render_openapi_page(request.app.openapi()))


# ---------------------------------------------------------------------- shared by the routes


def _state(request: Request) -> AppState:
    state: AppState = request.app.state.crossaisle
    return state


async def _compute(request: Request, call: Callable[[], T], seconds: float | None = None) -> T:
    """Run blocking work in the answer pool; the work is cancelled if the client disconnects."""
    state = _state(request)
    return await state.answer_pool.run(call, seconds or state.options.timeout, _disconnection(request))


def _disconnection(request: Request) -> Callable[[], Awaitable[None]]:
    """A coroutine function that returns when the client has disconnected."""

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return disconnected


def _response_or_problem(call: Callable[[RecommendRequest], dict[str, Any]], query: RecommendRequest) -> dict[str, Any]:
    """The response to one query of a batch, or its problem. A time-out is raised, because it concerns the whole batch."""
    try:
        return call(query)
    except CrossaisleError as error:
        rejection = to_rejection(error)
        if rejection.status == 503:
            raise
        return {"problem": problem_details(rejection)}


def _sse_event(name: str, data: dict[str, Any]) -> str:
    """One server-sent event; compact JSON has no line breaks."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
