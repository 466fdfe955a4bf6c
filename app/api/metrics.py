"""Figures of a running service for Prometheus. Labels are routes, methods, codes and stages: never a user, an item, a key or a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

MEDIA_TYPE = "text/plain; version=1.0.0; charset=utf-8"
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics:
    """The figures of one service; each has a registry of its own, so that two in one process do not add up."""

    def __init__(self, waiting: Mapping[str, Callable[[], float]]) -> None:
        """Args: waiting: name of a desk to how many requests are at it."""
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

        self.registry: CollectorRegistry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter("crossaisle_requests_total", "Requests answered.", ("method", "route", "code"), registry=self.registry)
        self._seconds = Histogram(
            "crossaisle_request_seconds",
            "Seconds from a request's head to its answer's end.",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "crossaisle_stage_seconds", "Seconds of the stages of a recommendation.", ("stage",), buckets=SECONDS, registry=self.registry
        )
        self._events = Counter("crossaisle_events_total", "Events recorded.", ("outcome",), registry=self.registry)
        taken = Gauge("crossaisle_requests_taken", "Requests that are worked on or wait.", ("desk",), registry=self.registry)
        for name, count in waiting.items():
            taken.labels(name).set_function(count)

    def request(self, method: str, route: str, code: int, seconds: float) -> None:
        """Counts an answered request; `route` is the template that matched, never the path."""
        self._requests.labels(method, route, str(code)).inc()
        self._seconds.labels(route).observe(seconds)

    def stages(self, timings_ms: Mapping[str, float]) -> None:
        """Counts the stages of one recommendation."""
        for stage, ms in timings_ms.items():
            self._stages.labels(stage).observe(ms / 1000)

    def events(self, accepted: int, repeated: int) -> None:
        """Counts recorded events."""
        self._events.labels("accepted").inc(accepted)
        self._events.labels("repeated").inc(repeated)

    def text(self) -> bytes:
        """All figures in the text format that Prometheus reads."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)
