"""Fair shared lock on the active LoRA adapter: threads using the same adapter run together, others queue first in, first out."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator

UNKNOWN = ""
"""State of a model whose active adapter is not known. Otherwise: the name of the active adapter, None if all are off."""


class AdapterLock:
    """Lock that is shared by the threads that use the same adapter.

    It is reentrant: inside a `use` block a thread may use the same or another adapter. Two threads that each hold the lock and request
    another adapter wait for each other forever.

    Attributes:
        active: Name of the active adapter, None if all adapters are off, `UNKNOWN` after `exclusive`.
    """

    def __init__(self) -> None:
        self.active: str | None = UNKNOWN
        self._holders = 0
        self._queue: deque[object] = deque()
        self._condition = threading.Condition()
        self._thread = threading.local()

    @contextlib.contextmanager
    def use(self, adapter: str | None, activate: Callable[[str | None], None]) -> Iterator[None]:
        """Hold the lock for one adapter within the block; threads that need another adapter wait until the block ends.

        Args:
            adapter: Name of the adapter, None for the base weights.
            activate: Switches the model to an adapter; called only while no other thread uses the model.
        """
        depth = getattr(self._thread, "depth", 0)
        with self._condition:
            self._wait(depth, lambda: self.active == adapter or self._holders == depth)
            previous = self.active
            self._activate(adapter, activate)
            self._holders += 1
        self._thread.depth = depth + 1
        try:
            yield
        finally:
            self._thread.depth = depth
            with self._condition:
                self._holders -= 1
                if depth:  # return to the adapter of the enclosing block
                    self._condition.wait_for(lambda: self.active == previous or self._holders == depth)
                    self._activate(previous, activate)
                elif not self._holders:
                    self._activate(None, activate)  # no adapter is active while the model is idle
                self._condition.notify_all()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone within the block, so that the model can be modified; the active adapter is `UNKNOWN` afterwards."""
        depth = getattr(self._thread, "depth", 0)
        with self._condition:
            self._wait(depth, lambda: self._holders == depth)
            self.active = UNKNOWN
            try:
                yield
            finally:
                self._condition.notify_all()

    def _wait(self, depth: int, is_free: Callable[[], bool]) -> None:
        """Wait in the queue until the lock is free. A thread that already holds the lock does not queue."""
        if depth:
            self._condition.wait_for(is_free)
            return
        ticket = object()
        # First in, first out: a steady stream of requests for one adapter cannot starve the others.
        self._queue.append(ticket)
        try:
            self._condition.wait_for(lambda: self._queue[0] is ticket and is_free())
        finally:
            self._queue.remove(ticket)
            self._condition.notify_all()

    def _activate(self, adapter: str | None, activate: Callable[[str | None], None]) -> None:
        if self.active != adapter:
            self.active = UNKNOWN
            activate(adapter)
            self.active = adapter
