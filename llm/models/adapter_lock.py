"""Turns at a model that computes in one of several ways: threads that want the same way share a turn, others follow in their order."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator

UNKNOWN = ""
"""A way that nobody wants. The others are the adapter that is on, None for none."""


class Turns:
    """Who may compute now.

    A thread may take another turn inside its own, in another way, too; where two threads do that at once, each waits for the other.
    """

    def __init__(self) -> None:
        self.way: str | None = UNKNOWN
        self._inside = 0
        self._line: deque[object] = deque()
        self._changed = threading.Condition()
        self._own = threading.local()

    @contextlib.contextmanager
    def taking(self, way: str | None, switch: Callable[[str | None], None]) -> Iterator[None]:
        """Within the block the model computes in a way; whoever wants another one waits until the block ends.

        Args: switch: brings the model to a way. It is called when nobody else computes.
        """
        depth = getattr(self._own, "depth", 0)
        with self._changed:
            self._wait(depth, lambda: self.way == way or self._inside == depth)
            before = self.way
            self._bring(way, switch)
            self._inside += 1
        self._own.depth = depth + 1
        try:
            yield
        finally:
            self._own.depth = depth
            with self._changed:
                self._inside -= 1
                if depth:  # back in the turn around it, which is this thread's alone again
                    self._changed.wait_for(lambda: self.way == before or self._inside == depth)
                    self._bring(before, switch)
                elif not self._inside:
                    self._bring(None, switch)  # at rest no adapter is on
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Within the block nobody else computes, and the model may be changed; afterwards its way is not known."""
        depth = getattr(self._own, "depth", 0)
        with self._changed:
            self._wait(depth, lambda: self._inside == depth)
            self.way = UNKNOWN
            try:
                yield
            finally:
                self._changed.notify_all()

    def _wait(self, depth: int, free: Callable[[], bool]) -> None:
        """Waits in line, so that a steady stream in one way keeps nobody from another; inside a turn of its own a thread need not."""
        if depth:
            self._changed.wait_for(free)
            return
        ticket = object()
        self._line.append(ticket)
        try:
            self._changed.wait_for(lambda: self._line[0] is ticket and free())
        finally:
            self._line.remove(ticket)
            self._changed.notify_all()

    def _bring(self, way: str | None, switch: Callable[[str | None], None]) -> None:
        if self.way != way:
            self.way = UNKNOWN
            switch(way)
            self.way = way
