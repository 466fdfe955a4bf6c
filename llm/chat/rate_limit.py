"""Rate limit for the requests to one endpoint, shared by threads and interruptible."""

from __future__ import annotations

import threading
import time


class StoppedError(Exception):
    """Raised when the run is being stopped and no more requests may be sent."""


class RequestRateLimiter:
    """Spaces requests evenly.

    Args:
        per_minute: Maximum number of requests per minute; None for no limit.
    """

    def __init__(self, per_minute: float | None = None) -> None:
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def wait(self) -> None:
        """Block until the next request may be sent.

        Raises:
            StoppedError: `stop` was called.
        """
        with self._lock:
            now = time.monotonic()
            slot = max(self._next, now)
            self._next = slot + self._interval
        self.sleep(slot - now)

    def sleep(self, seconds: float) -> None:
        """Sleep for some seconds, or until `stop` is called.

        Raises:
            StoppedError: `stop` was called.
        """
        if self._stopped.wait(max(seconds, 0.0)):
            raise StoppedError

    def stop(self) -> None:
        """Wake all waiting threads; from now on `wait` and `sleep` raise `StoppedError`."""
        self._stopped.set()
