"""Work of many threads done together: whoever comes while another one writes waits, and all who wait are written in one go.

A commit's price is the wait for the disk, not the lines; so the more threads there are, the fewer commits each event costs. One of the
waiting threads leads: it takes what has queued up, its own work included, and when it is done it names the first of the new ones to lead.
No thread of its own, no timer: alone, one is written at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Work = TypeVar("Work")


@dataclass(eq=False)
class _Turn(Generic[Work]):
    """One thread's work. `called`: it is done, or this thread is to lead."""

    work: Work
    called: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    result: Any = None
    error: BaseException | None = None


class GroupCommit(Generic[Work]):
    """Hands the work of all waiting threads to one call of `write`."""

    def __init__(self, write: Callable[[Sequence[Work]], Sequence[Any]]) -> None:
        """Args: write: does all of some work, or none and raises; a result for each, in order. Never called by two threads at once."""
        self._write = write
        self._mutex = threading.Lock()
        self._waiting: list[_Turn[Work]] = []
        self._led = False

    def do(self, work: Work) -> Any:
        """The result of some work, when it is done; whatever `write` raised, where it is not."""
        mine = _Turn(work)
        with self._mutex:
            self._waiting.append(mine)
            waits, self._led = self._led, True
        if waits:
            mine.called.wait()
        if not mine.done:
            self._lead()
        if mine.error is not None:
            raise mine.error
        return mine.result

    @property
    def waiting(self) -> int:
        """How many wait to be written."""
        return len(self._waiting)

    def _lead(self) -> None:
        with self._mutex:
            batch, self._waiting = self._waiting, []
        try:
            for turn, result in zip(batch, self._write([turn.work for turn in batch]), strict=True):
                turn.result = result
        except BaseException as error:
            for turn in batch:
                turn.error = error if isinstance(error, Exception) else RuntimeError("the thread that wrote for others was stopped")
            if not isinstance(error, Exception):
                raise
        finally:
            for turn in batch:
                turn.done = True
            with self._mutex:
                self._led = bool(self._waiting)
                following = self._waiting[:1]
            for turn in (*following, *batch):
                turn.called.set()
