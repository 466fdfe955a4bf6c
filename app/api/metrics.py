"""Prometheus metrics of a running server. Labels are routes, methods, status codes and stages: never a user, an item, a key or a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping

MEDIA_TYPE = "text/plain; version=1.0.0; charset=utf-8"
LATENCY_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Upper bounds of the histograms' buckets, in seconds."""


class Metrics:
    """Metrics of one application. Each has its own registry, so that two applications in one process do not add up.

    Args:
        pending: Name of each worker pool, and a function that returns its number of pending requests.
    """

    def __init__(self, pending: Mapping[str, Callable[[], float]]) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter("crossaisle_requests_total", "Requests answered.", ("method", "route", "code"), registry=registry)
        self._latency = Histogram(
            "crossaisle_request_seconds",
            "Seconds from the head of a request to the end of its response.",
            ("route",),
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self._stages = Histogram(
            "crossaisle_stage_seconds", "Seconds of each stage of a recommendation.", ("stage",), buckets=LATENCY_BUCKETS, registry=registry
        )
        self._events = Counter("crossaisle_events_total", "Events recorded.", ("outcome",), registry=registry)
        gauge = Gauge("crossaisle_requests_taken", "Requests that are running or waiting.", ("desk",), registry=registry)
        for name, count in pending.items():
            gauge.labels(name).set_function(count)

    def observe_request(self, method: str, route: str, code: int, seconds: float) -> None:
        """Count an answered request; `route` is the template that matched, never the path."""
        self._requests.labels(method, route, str(code)).inc()
        self._latency.labels(route).observe(seconds)

    def observe_stages(self, timings_ms: Mapping[str, float]) -> None:
        """Record the durations of the stages of one recommendation, in milliseconds."""
        for stage, ms in timings_ms.items():
            self._stages.labels(stage).observe(ms / 1000)

    def count_events(self, accepted: int, repeated: int) -> None:
        """Count recorded events."""
        self._events.labels("accepted").inc(accepted)
        self._events.labels("repeated").inc(repeated)

    def text(self) -> bytes:
        """All metrics in the Prometheus text format."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)
