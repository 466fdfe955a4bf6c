"""Group commit: threads that arrive during a write wait, and all waiting work is written in one call.

The cost of a commit is the wait for the disk, not the number of rows, so that more threads need fewer commits per event. One of the
waiting threads leads: it writes everything in the queue, its own work included, and then wakes the first of the new arrivals to lead.
There is no extra thread and no timer: a single writer is served immediately.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Work = TypeVar("Work")


@dataclass(eq=False)
class _PendingWork(Generic[Work]):
    """One thread's work; `called` is set when it is done or when this thread must lead."""

    work: Work
    called: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    result: Any = None
    error: BaseException | None = None


class GroupCommit(Generic[Work]):
    """Passes the work of all waiting threads to one call of `write`."""

    def __init__(self, write: Callable[[Sequence[Work]], Sequence[Any]]) -> None:
        """Set the function that writes.

        Args:
            write: Does all of the given work, or none and raises; returns one result for each, in order. Never called concurrently.
        """
        self._write = write
        self._mutex = threading.Lock()
        self._waiting: list[_PendingWork[Work]] = []
        self._led = False

    def submit(self, work: Work) -> Any:
        """Wait until the work is done; return its result or raise the error of `write`."""
        mine = _PendingWork(work)
        with self._mutex:
            self._waiting.append(mine)
            must_wait, self._led = self._led, True
        if must_wait:
            mine.called.wait()
        if not mine.done:
            self._lead()
        if mine.error is not None:
            raise mine.error
        return mine.result

    @property
    def waiting(self) -> int:
        """Number of threads waiting for the next write."""
        return len(self._waiting)

    def _lead(self) -> None:
        with self._mutex:
            batch, self._waiting = self._waiting, []
        try:
            for entry, result in zip(batch, self._write([entry.work for entry in batch]), strict=True):
                entry.result = result
        except BaseException as error:
            for entry in batch:
                entry.error = error if isinstance(error, Exception) else RuntimeError("the thread that wrote for the group was stopped")
            if not isinstance(error, Exception):
                raise
        finally:
            for entry in batch:
                entry.done = True
            with self._mutex:
                self._led = bool(self._waiting)
                following = self._waiting[:1]
            for entry in (*following, *batch):
                entry.called.set()
