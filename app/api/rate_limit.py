"""Rate limits: one token bucket for each API key or client address."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_BUCKETS = 10_000
"""Buckets kept at most. The least recently used one is dropped, which can only favour its owner."""


@dataclass
class RateLimiter:
    """Token buckets by name.

    Attributes:
        rate: Average requests per second.
        burst: Size of a bucket: requests at once.
        clock: Monotonic clock in seconds.
    """

    rate: float
    burst: float
    clock: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def acquire(self, name: str) -> int:
        """Take one token from a bucket.

        Returns: 0, or the whole seconds until the next token if the bucket is empty.
        """
        with self._lock:
            now = self.clock()
            tokens, updated_at = self._buckets.pop(name, (self.burst, now))
            tokens = min(self.burst, tokens + (now - updated_at) * self.rate)
            wait = 0 if tokens >= 1 else math.ceil((1 - tokens) / self.rate)
            self._buckets[name] = (tokens - 1 if tokens >= 1 else tokens, now)
            while len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
            return wait
