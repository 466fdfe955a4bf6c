"""The addresses under `/v1`: what each takes, which scope it needs, and which desk does the work.

FastAPI reads the annotations of a route when it is made, and the library is imported inside the function that makes them: this file alone
has no postponed annotations.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from ...data.errors import CrossaisleError
from ..schemas.requests import (
    MOST_EVENTS,
    AtlasRequest,
    BatchRequest,
    EventRequest,
    Id,
    ItemsRequest,
    ProbeRequest,
    RecommendRequest,
    WhyRequest,
)
from ..schemas.responses import (
    STREAMED,
    Answer,
    AtlasAnswer,
    BatchAnswer,
    ComparisonAnswer,
    EventsAnswer,
    ForgottenAnswer,
    HealthAnswer,
    ItemsAnswer,
    ProbeAnswer,
    ProfileAnswer,
    ReadyAnswer,
    RecommendAnswer,
    WhyAnswer,
)
from .errors import MEDIA_TYPE, Refused, content, refusal
from .metrics import MEDIA_TYPE as TEXT
from .openapi_page import page
from .worker_pool import tell

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI, Request

    from .application import Service

T = TypeVar("T")
_PROBLEM = {
    "description": "What was wrong, as problem details (RFC 9457).",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}},
}


def router(service: "Service") -> "APIRouter":
    """The API of one service."""
    from fastapi import APIRouter, Path, Query, Request
    from fastapi.responses import JSONResponse, Response, StreamingResponse
    from fastapi.routing import APIRoute

    shop, options, metrics = service.shop, service.options, service.metrics

    class Guarded(APIRoute):
        """A route that asks for its scope before it reads the body."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()
            security = (self.openapi_extra or {}).get("security")
            scope = security[0]["key"][0] if security else None

            async def guarded(request: Request) -> Response:
                service.guard.admit(request, scope)
                return await handler(request)

            return guarded

    api = APIRouter(prefix="/v1", route_class=Guarded, responses={"4XX": _PROBLEM, "5XX": _PROBLEM})

    def told(shape: Any) -> dict[int | str, dict[str, Any]]:
        return {200: {"model": shape}}

    def needs(scope: str) -> dict[str, Any]:
        return {"security": [{"key": [scope]}]}

    async def answer(request: Request, call: Callable[[], T], seconds: float | None = None) -> T:
        return await service.answers.run(call, seconds or options.timeout, _gone(request))

    @api.post("/recommend", summary="What a shopper would want next, and why", openapi_extra=needs("read"), responses=told(RecommendAnswer))
    async def recommend(request: Request, asked: RecommendRequest) -> Response:
        found = await answer(request, lambda: shop.recommend(asked))
        metrics.stages(found["timings_ms"])
        return JSONResponse(found)

    @api.post("/recommend:batch", summary="The same for several shoppers", openapi_extra=needs("read"), responses=told(BatchAnswer))
    async def batch(request: Request, asked: BatchRequest) -> Response:
        """`answers` holds, in the order of `requests`, an answer each, or the `problem` that stands in its place."""

        def each() -> list[dict[str, Any]]:
            return [_or_problem(shop.recommend, one) for one in asked.requests]

        found = await answer(request, each, options.timeout * len(asked.requests))
        for one in found:
            metrics.stages(one.get("timings_ms", {}))
        return JSONResponse({"answers": found})

    @api.post(
        "/recommend:stream",
        summary="The ranked list first, the reasons when they are worded",
        openapi_extra=needs("read"),
        response_class=StreamingResponse,  # with no type of its own, so that the description names this one only
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}, "x-events": _refs(STREAMED)}}}},
    )
    async def stream(request: Request, asked: RecommendRequest) -> Response:
        """Server-sent events: `ranked` (the answer without reasons), an `explanation` for each rank as it is worded, `done`; or `problem`.

        Explanations come in the order in which they are worded, which need not be that of the list.
        """
        loop, parts = asyncio.get_running_loop(), asyncio.Queue[tuple[str, dict[str, Any]] | None]()

        def part(name: str) -> Callable[[dict[str, Any]], None]:
            return lambda told: tell(loop, parts.put_nowait, (name, told))

        work = asyncio.ensure_future(answer(request, lambda: shop.recommend(asked, part("ranked"), part("explanation"))))

        def ended(_: object) -> None:
            parts.put_nowait(None)
            if not work.cancelled():
                work.exception()  # whoever has gone will not ask for it

        work.add_done_callback(ended)
        first = await parts.get()
        if first is None:
            await work  # what is wrong before anything was said is told as any other problem

        async def events() -> AsyncIterator[str]:
            one = first
            try:
                while one is not None:
                    yield _event(*one)
                    one = await parts.get()
                found = await work
                metrics.stages(found["timings_ms"])
                yield _event("done", {name: value for name, value in found.items() if name not in ("query", "recommendations")})
            except CrossaisleError as error:
                yield _event("problem", content(refusal(error)))
            finally:
                work.cancel()

        return StreamingResponse(events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    @api.get("/why", summary="Why an item is recommended to a shopper, or why not", openapi_extra=needs("read"), responses=told(WhyAnswer))
    async def why(request: Request, asked: Annotated[WhyRequest, Query()]) -> Response:
        return JSONResponse(await answer(request, lambda: shop.why(asked)))

    @api.post(
        "/probe", summary="What a group of shoppers needs next", openapi_extra=needs("read"), responses=told(ProbeAnswer | ComparisonAnswer)
    )
    async def probe(request: Request, asked: ProbeRequest) -> Response:
        return JSONResponse(await answer(request, lambda: shop.probe(asked)))

    @api.get("/atlas", summary="What every category does for every other", openapi_extra=needs("read"), responses=told(AtlasAnswer))
    async def atlas(request: Request, asked: Annotated[AtlasRequest, Query()]) -> Response:
        return JSONResponse(await answer(request, lambda: shop.atlas(asked.level)))

    @api.get("/profile/{user}", summary="What is known of a shopper", openapi_extra=needs("read"), responses=told(ProfileAnswer))
    async def profile(request: Request, user: Annotated[Id, Path()]) -> Response:
        return JSONResponse(await answer(request, lambda: shop.profile(user)))

    @api.delete("/users/{user}", summary="Forget a shopper", openapi_extra=needs("admin"), responses=told(ForgottenAnswer))
    async def forget(user: Annotated[Id, Path()]) -> Response:
        return JSONResponse(await service.changes.run(lambda: shop.forget(user), options.timeout * 4))

    @api.post("/items", summary="Add or change items", openapi_extra=needs("admin"), responses=told(ItemsAnswer))
    async def items(asked: ItemsRequest) -> Response:
        """All of them or none; they can be recommended as soon as the answer is there."""
        return JSONResponse(await service.changes.run(lambda: shop.put_items(asked.items), options.timeout * 4))

    @api.post("/events", summary="Tell what shoppers did", openapi_extra=needs("events"), responses=told(EventsAnswer))
    async def events(told: EventRequest | list[EventRequest]) -> Response:
        """One event or a list of them, all or none; the next recommendation of these shoppers goes by them."""
        given = told if isinstance(told, list) else [told]
        if not 1 <= len(given) <= MOST_EVENTS:
            raise Refused(422, "invalid", f"a list holds 1 to {MOST_EVENTS:,} events, not {len(given):,}")
        found = await service.events.run(lambda: shop.record(given), options.timeout)
        metrics.events(found["accepted"], found["repeated"])
        return JSONResponse(found)

    @api.get("/health", summary="Whether the process is alive", responses=told(HealthAnswer))
    async def health() -> Response:
        return JSONResponse({"status": "ok"})

    @api.get("/ready", summary="Whether it can answer now", responses=told(ReadyAnswer))
    async def ready() -> Response:
        if not service.ready:
            raise Refused(503, "not-ready", "the server is starting up or going down", {"Retry-After": "5"})
        return JSONResponse({**shop.health(), "requests": service.answers.taken})

    return api


def pages(service: "Service", app: "FastAPI") -> "APIRouter":
    """What is beside the API: the figures for Prometheus, and the page that describes the API."""
    from fastapi import APIRouter, Request
    from fastapi.responses import HTMLResponse, Response

    beside = APIRouter(include_in_schema=False)

    @beside.get("/metrics")
    async def metrics(request: Request) -> Response:
        service.guard.admit(request, "read")
        return Response(service.metrics.text(), media_type=TEXT)

    @beside.get("/docs")
    async def docs(request: Request) -> Response:
        service.guard.check_host(request)
        return HTMLResponse(page(app.openapi()))

    return beside


def _refs(shapes: Mapping[str, type[Answer]]) -> dict[str, Any]:
    """Names to where the description has their shapes."""
    return {name: {"$ref": f"#/components/schemas/{shape.__name__}"} for name, shape in shapes.items()}


def _or_problem(call: Callable[[RecommendRequest], dict[str, Any]], asked: RecommendRequest) -> dict[str, Any]:
    """An answer, or what was wrong with one query of many; that time is over is wrong with all of them."""
    try:
        return call(asked)
    except CrossaisleError as error:
        told = refusal(error)
        if told.status == 503:
            raise
        return {"problem": content(told)}


def _gone(request: "Request") -> Callable[[], Awaitable[None]]:
    """What returns when the caller has closed the connection."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return gone


def _event(name: str, data: dict[str, Any]) -> str:
    """One server-sent event; JSON has no line breaks of its own."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
