"""The HTTP service of one shop: the API, its OpenAPI page, figures for Prometheus, the login, and a place for the console.

    from crossaisle.app.service import Options, create
    app = create(Shop.open("shop"), Options())        # an ASGI app

Layers, outermost first: `seen` (ids, log, headers, bugs), CORS where it is asked for, `bodies` (their size), `login` (whatever is not
API), FastAPI.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ... import __version__
from ..schemas.responses import STREAMED
from .authorization import Guard
from .body_limit import Bodies
from .errors import install
from .metrics import Metrics
from .rate_limit import Rates
from .routes import pages, router
from .worker_pool import Desk

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..service.api_keys import Keys
    from ..service.store_service import Shop

logger = logging.getLogger("crossaisle.service")
TOGETHER = 8
"""Requests that are ranked at once where a language model reads them: so many share a pack."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a service behaves.

    Attributes:
        keys: of the workspace; None asks for none, which is for loopback only.
        rate: requests a second that a key may make on average, None for any; in a burst ten times as many.
        timeout: seconds that an answer may take. waiting: requests that may wait for one. body: bytes of a request at most.
        origins: other sites whose pages may ask; none by default.
        secure: whether the console's cookie is for HTTPS only.
        console: puts the console on the app, None leaves it out. Called with the app and the shop.
    """

    keys: Keys | None = None
    rate: float | None = None
    timeout: float = 30.0
    waiting: int = 64
    body: int = 2**20
    origins: tuple[str, ...] = ()
    secure: bool = False
    console: Callable[[FastAPI, Shop], None] | None = None


@dataclass
class Service:
    """What the routes of one app share. `ready` is True between start and stop."""

    shop: Shop
    options: Options
    guard: Guard
    answers: Desk
    events: Desk
    changes: Desk
    metrics: Metrics = field(init=False)
    ready: bool = False

    def __post_init__(self) -> None:
        desks = (self.answers, self.events, self.changes)
        self.metrics = Metrics({desk.name: desk.taking for desk in desks})

    def close(self) -> None:
        """Finishes what was taken, then frees the shop."""
        self.ready = False
        for desk in (self.answers, self.events, self.changes):
            desk.close()
        self.shop.close()


def create(shop: Shop, options: Options | None = None) -> FastAPI:
    """The app of a shop, which it closes when it stops. It is ready when its models are loaded, which starting it does.

    Args: options: default, an open service as it is for loopback.
    """
    from fastapi import FastAPI
    from fastapi.middleware.cors import CORSMiddleware
    from starlette.concurrency import run_in_threadpool

    from .login import Gate, Login, login_routes
    from .request_logging import Seen

    options = options or Options()
    rates = None if options.rate is None else Rates(options.rate, max(1.0, 10 * options.rate))
    # Threads that share a model wait for it together; without one they compete for the interpreter and more only add switching.
    workers = TOGETHER if shop.settings.llm != "none" else max(2, os.cpu_count() or 2)
    service = Service(
        shop,
        options,
        Guard(options.keys, rates, options.origins),
        Desk("answers", workers, options.waiting),
        Desk("events", 8, 20 * options.waiting),
        Desk("changes", 1, 16),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(shop.warm)
        service.ready = True
        try:
            yield
        finally:
            await run_in_threadpool(service.close)

    app = FastAPI(
        title="crossaisle",
        version=__version__,
        description="What a shopper needs next from another category, and why.",
        lifespan=lifespan,
        docs_url=None,  # their page loads its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    install(app)
    app.include_router(router(service))

    app.include_router(pages(service, app))
    _describe(app)
    login = Login(options.keys, secure=options.secure) if options.keys is not None else None
    if login is not None:
        app.include_router(login_routes(login, service.guard))
    if options.console is not None:
        options.console(app, shop)
    # Added last is outermost.
    app.add_middleware(Gate, login=login, guard=service.guard)
    app.add_middleware(Bodies, most=options.body)
    if options.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(Seen, metrics=service.metrics)
    return app


def _shapes() -> dict[str, Any]:
    """The shapes that no route's plain answer has: those of a stream's events, and of a problem."""
    from pydantic.json_schema import models_json_schema

    _, made = models_json_schema([(shape, "serialization") for shape in STREAMED.values()], ref_template="#/components/schemas/{model}")
    return dict(made["$defs"])


def _describe(app: FastAPI) -> None:
    """Puts what FastAPI cannot know into the API's description: the keys, and what a problem looks like."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = plain()
            parts = made.setdefault("components", {})
            parts["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key; none is asked for on loopback."}
            }
            parts["schemas"] = {
                **{name: one for name, one in parts.get("schemas", {}).items() if name not in ("HTTPValidationError", "ValidationError")},
                **_shapes(),
            }
            for methods in made["paths"].values():
                for operation in methods.values():
                    operation["responses"].pop("422", None)  # one of the problems
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # the way that FastAPI's documentation names
