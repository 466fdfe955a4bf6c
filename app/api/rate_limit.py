"""How often a key may ask: a token bucket each."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

KEPT = 10_000
"""Buckets at most; the one that was used longest ago is forgotten, which can only favour its owner."""


@dataclass
class Rates:
    """Token buckets by name.

    Attributes: rate: requests a second on average. burst: requests at once at most.
    """

    rate: float
    burst: float
    clock: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self, name: str) -> int:
        """Takes one token; 0, or where there is none the whole seconds after which there will be."""
        with self._lock:
            now = self.clock()
            tokens, then = self._buckets.pop(name, (self.burst, now))
            tokens = min(self.burst, tokens + (now - then) * self.rate)
            wait = 0 if tokens >= 1 else math.ceil((1 - tokens) / self.rate)
            self._buckets[name] = (tokens - 1 if tokens >= 1 else tokens, now)
            while len(self._buckets) > KEPT:
                self._buckets.popitem(last=False)
            return wait
