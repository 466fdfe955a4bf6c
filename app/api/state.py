"""The options of the server, and the state that the routes of one application share. Knows no route and no middleware."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .metrics import Metrics

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..service.api_keys import ApiKeys
    from ..service.store_service import StoreService
    from .authorization import Authorizer
    from .worker_pool import WorkerPool


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Options of the HTTP server.

    Attributes:
        api_keys: API keys of the workspace. None disables authentication, which is safe on loopback only.
        requests_per_second: Average rate limit of each key, with bursts of ten times as many requests; None for no limit.
        timeout: Seconds until a response must be ready, waiting included.
        max_waiting: Requests that may wait for a worker thread.
        max_body_bytes: Largest request body.
        allowed_origins: Other origins that browsers may call the API from (CORS).
        secure_cookies: Whether the cookies of the console are restricted to HTTPS.
        console: Adds the console to the application; None serves the API only.
    """

    api_keys: ApiKeys | None = None
    requests_per_second: float | None = None
    timeout: float = 30.0
    max_waiting: int = 64
    max_body_bytes: int = 2**20
    allowed_origins: tuple[str, ...] = ()
    secure_cookies: bool = False
    console: Callable[[FastAPI, StoreService], None] | None = None


@dataclass
class AppState:
    """State shared by the routes of one application, stored as `app.state.crossaisle`.

    Attributes:
        store: The open workspace.
        options: Options of the server.
        authorizer: Checks API keys, scopes, rates, hosts and origins.
        answer_pool: Threads that compute responses.
        event_pool: Threads that record events.
        change_pool: The single thread that changes items and removes users.
        metrics: Prometheus metrics.
        ready: True between startup and shutdown.
    """

    store: StoreService
    options: ServerOptions
    authorizer: Authorizer
    answer_pool: WorkerPool
    event_pool: WorkerPool
    change_pool: WorkerPool
    metrics: Metrics = field(init=False)
    ready: bool = False

    def __post_init__(self) -> None:
        self.metrics = Metrics({pool.name: pool.pending_gauge for pool in self._pools()})

    def close(self) -> None:
        """Finish the accepted requests, then close the store."""
        self.ready = False
        for pool in self._pools():
            pool.close()
        self.store.close()

    def _pools(self) -> tuple[WorkerPool, WorkerPool, WorkerPool]:
        return self.answer_pool, self.event_pool, self.change_pool
