"""When the next call to an endpoint may be made: so many a minute, longer and longer pauses after failures, and patience when asked for it.

Knows nothing of HTTP but what the header `Retry-After` means.
"""

from __future__ import annotations

import datetime
import random
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

FIRST, LONGEST = 0.5, 60.0
"""Seconds: the longest pause after the first failure, and after any."""


class StoppedError(Exception):
    """The run is being ended; nothing more is asked."""


class Pace:
    """Lets callers through, each when its turn has come; threads share one.

    Args: per_minute: calls that are let through in a minute at most, evenly spread; None for as many as come.
    """

    def __init__(self, per_minute: float | None = None) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._held = 0.0
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def wait(self) -> None:
        """Returns when the caller's turn has come. Raises: StoppedError: the run is being ended."""
        with self._lock:
            now = time.monotonic()
            turn = max(self._next, now)
            self._next = turn + self._gap
        self.sleep(turn - now)
        while (left := self._held - time.monotonic()) > 0:
            # A little apart, or all who waited would go at the same moment.
            self.sleep(left * random.uniform(1.0, 1.1))

    def hold(self, seconds: float) -> None:
        """Lets nobody through for some seconds: the endpoint asked for it."""
        with self._lock:
            self._held = max(self._held, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Sleeps. Raises: StoppedError: the run is being ended."""
        if self._stopped.wait(max(seconds, 0.0)):
            raise StoppedError

    def stop(self) -> None:
        """Wakes everybody who waits, and lets nobody through any more."""
        self._stopped.set()


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row, drawn at random so that callers do not come back all at once.

    Source: "full jitter" of Brooker, Exponential backoff and jitter, AWS Architecture Blog, 2015, with half of the pause certain.
    """
    longest = min(LONGEST, FIRST * 2.0 ** (failures - 1))
    return longest / 2 + random.uniform(0, longest / 2)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the endpoint asks to wait, None where it does not say: `Retry-After` in seconds or as a date (RFC 9110, 10.2.3)."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    told = headers.get("retry-after")
    if (seconds := _number(told)) is not None or told is None:
        return seconds
    try:
        moment = parsedate_to_datetime(told)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if 0 <= found < float("inf") else None
