"""How long the work at hand may still take, known to whatever does it without being handed down through every call.

A door sets a deadline around a request; the steps beneath ask `check()` before they begin and `remaining()` where they wait. Work without
a deadline (the command line, a batch) may take as long as it likes.
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
    """A moment of `time.monotonic` after which the answer is of no use to anybody; `cancelled` when that is known earlier.

    Attributes: seconds: that the whole work was given.
    """

    seconds: float
    at: float = 0.0
    cancelled: bool = False

    def __post_init__(self) -> None:
        self.at = time.monotonic() + self.seconds

    def left(self) -> float:
        """Seconds that are left, 0 when it is over."""
        return 0.0 if self.cancelled else max(0.0, self.at - time.monotonic())

    def check(self) -> None:
        """Raises: TimedOutError: it is over."""
        if self.remaining() <= 0:
            raise TimedOutError(f"the answer was not ready within {self.seconds:g} seconds; ask for less, or again when less is going on")


_now: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """The work of the block has this deadline."""
    token = _now.set(deadline)
    try:
        yield
    finally:
        _now.reset(token)


def current() -> Deadline | None:
    """The deadline of the work at hand, None where there is none."""
    return _now.get()


def check() -> None:
    """Raises: TimedOutError: the work at hand is too late."""
    deadline = _now.get()
    if deadline is not None:
        deadline.check()
