"""Deadline of the current request in a context variable, so that it need not be passed through every call.

An interface sets a deadline around a request; the steps below call `check()` before they start and `remaining()` where they wait. Work
without a deadline (the command line, a batch) has no time limit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from .errors import TimedOutError


@dataclass(slots=True)
class Deadline:
    """Time limit of a request.

    Attributes:
        seconds: Time allowed for the whole request.
        expires_at: End of the time limit on the clock of `time.monotonic`.
        cancelled: Set when the result is no longer needed.
    """

    seconds: float
    expires_at: float = 0.0
    cancelled: bool = False

    def __post_init__(self) -> None:
        self.expires_at = time.monotonic() + self.seconds

    def remaining(self) -> float:
        """Remaining seconds; 0 if expired or cancelled."""
        return 0.0 if self.cancelled else max(0.0, self.expires_at - time.monotonic())

    def check(self) -> None:
        """Check that there is time left.

        Raises:
            TimedOutError: The deadline has expired or was cancelled.
        """
        if self.remaining() <= 0:
            raise TimedOutError(f"the answer was not ready within {self.seconds:g} seconds; request less, or try again later")


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """Set the deadline of the block."""
    token = _current.set(deadline)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Deadline | None:
    """Deadline of the current request; None if there is none."""
    return _current.get()


def check() -> None:
    """Check the deadline of the current request, if there is one.

    Raises:
        TimedOutError: It has expired.
    """
    deadline = _current.get()
    if deadline is not None:
        deadline.check()
