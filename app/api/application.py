"""The ASGI application of one store: HTTP API, OpenAPI description, Prometheus metrics, login and, optionally, the console.

    from crossaisle.app.api.application import create
    from crossaisle.app.service.store_service import StoreService

    app = create(StoreService.open("shop"))

Middleware, outermost first: request logging, CORS (if origins are allowed), body size limit, login (for every path outside the API).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ... import __version__
from ..schemas.recommendation_responses import STREAM_EVENTS
from . import routes
from .authorization import Authorizer
from .body_limit import BodySizeLimitMiddleware
from .errors import add_exception_handlers
from .rate_limit import RateLimiter
from .state import AppState, ServerOptions
from .worker_pool import WorkerPool

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..service.store_service import StoreService

LLM_WORKERS = 8
"""Worker threads if a language model scores candidates: the requests of that many threads share one batch."""
BURST = 10
"""Seconds of the average rate that a key may use up at once."""


def create(store: StoreService, options: ServerOptions | None = None) -> FastAPI:
    """Return the ASGI application of a store. It loads the models on startup and closes the store on shutdown.

    Args:
        store: The open workspace.
        options: Options of the server. The default requires no API key and is meant for loopback.
    """
    from fastapi import FastAPI
    from fastapi.middleware.cors import CORSMiddleware
    from starlette.concurrency import run_in_threadpool

    from .login import LoginMiddleware, LoginSessions, login_routes
    from .request_logging import RequestLoggingMiddleware

    options = options or ServerOptions()
    rate = options.requests_per_second
    rate_limiter = None if rate is None else RateLimiter(rate, max(1.0, BURST * rate))
    # Threads that use a model wait for one batch together. Without one they compete for the interpreter, and more add only switches.
    workers = LLM_WORKERS if store.settings.llm != "none" else max(2, os.cpu_count() or 2)
    state = AppState(
        store,
        options,
        Authorizer(options.api_keys, rate_limiter, options.allowed_origins),
        WorkerPool("answers", workers, options.max_waiting),
        WorkerPool("events", 8, 20 * options.max_waiting),
        WorkerPool("changes", 1, 16),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(store.load_models)
        state.ready = True
        try:
            yield
        finally:
            await run_in_threadpool(state.close)

    app = FastAPI(
        title="crossaisle",
        version=__version__,
        description="Cross-category recommendations with explanations.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page loads its scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.crossaisle = state
    add_exception_handlers(app)
    app.include_router(routes.api)
    app.include_router(routes.pages)
    _extend_openapi(app)
    sessions = LoginSessions(options.api_keys, secure_cookies=options.secure_cookies) if options.api_keys is not None else None
    if sessions is not None:
        app.include_router(login_routes(sessions, state.authorizer))
    if options.console is not None:
        options.console(app, store)
    # The middleware added last is the outermost.
    app.add_middleware(LoginMiddleware, sessions=sessions, authorizer=state.authorizer)
    app.add_middleware(BodySizeLimitMiddleware, max_bytes=options.max_body_bytes)
    if options.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.allowed_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(RequestLoggingMiddleware, metrics=state.metrics)
    return app


def _extend_openapi(app: FastAPI) -> None:
    """Add to the OpenAPI description what FastAPI cannot derive: the key scheme, the problem response and the events of the stream."""
    generate = app.openapi

    def extended() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = generate()
            components = description.setdefault("components", {})
            components["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key; not required on loopback without keys."}
            }
            schemas = {name: schema for name, schema in components.get("schemas", {}).items() if name not in _REPLACED_SCHEMAS}
            components["schemas"] = {**schemas, **_stream_schemas()}
            for methods in description["paths"].values():
                for operation in methods.values():
                    operation["responses"].pop("422", None)  # part of the problem response for 4XX
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = extended  # type: ignore[method-assign]  # the way that FastAPI documents


_REPLACED_SCHEMAS = ("HTTPValidationError", "ValidationError")
"""FastAPI's own schemas of validation errors, which this API sends as problem details."""


def _stream_schemas() -> dict[str, Any]:
    """The JSON schemas of the stream's events and of the problem response, which no route declares as its response."""
    from pydantic.json_schema import models_json_schema

    models = [(model, "serialization") for model in STREAM_EVENTS.values()]
    _, definitions = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    return dict(definitions["$defs"])
