"""Where requests wait for a thread: so many work, so many wait, and the next one is told to come again.

A request that is late, or whose asker has gone, is taken out of the line; one that is being worked on is told by its deadline and stops
at its next step (see `data.deadlines`). Its place is free only when the work has really ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ...data.deadlines import Deadline, within
from ...data.errors import BusyError, TimedOutError

T = TypeVar("T")


class Gone(Exception):
    """Whoever asked has closed the connection; there is nobody to answer."""


class Desk:
    """Threads for blocking work, with a bounded line before them.

    Args: name: of the threads. workers: that work at once. waiting: requests that may wait besides.
    """

    def __init__(self, name: str, workers: int, waiting: int) -> None:
        self.name, self.most = name, workers + waiting
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._taken = 0
        self._open = True

    @property
    def taken(self) -> int:
        """Requests that work or wait."""
        return self._taken

    def taking(self) -> float:
        """The same as a figure that is watched."""
        return float(self._taken)

    async def run(self, call: Callable[[], T], seconds: float, gone: Callable[[], Awaitable[None]] | None = None) -> T:
        """What `call` returns, from a thread.

        Args: seconds: that it may take, the waiting included. gone: returns when whoever asked has gone.
        Raises: BusyError: too many wait already, or the desk is closing. TimedOutError: it was too late. Gone: nobody waits for it.
        """
        if not self._open:
            raise BusyError("the server is going down; ask again in a moment", retry_after=5)
        if self._taken >= self.most:
            raise BusyError(f"{self._taken} requests are being answered or wait already; ask again in a moment")
        loop, deadline = asyncio.get_running_loop(), Deadline(seconds)
        context = contextvars.copy_context()

        def work() -> T:
            deadline.check()  # it may have waited too long
            with within(deadline):
                return call()

        self._taken += 1
        running: Future[T] = self._threads.submit(context.run, work)
        running.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave))
        answer = asyncio.wrap_future(running)
        watch = asyncio.ensure_future(gone()) if gone is not None else None
        try:
            await asyncio.wait([one for one in (answer, watch) if one is not None], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if watch is not None and watch.done():
                raise Gone
            raise TimedOutError(f"the answer was not ready within {seconds:g} seconds; ask for less, or again when less is going on")
        finally:
            if not answer.done():
                deadline.cancelled = True
                running.cancel()
                answer.cancel()
            if watch is not None:
                watch.cancel()

    def _leave(self) -> None:
        self._taken -= 1

    def close(self) -> None:
        """Finishes what was taken and takes nothing more."""
        self._open = False
        self._threads.shutdown(wait=True)


def tell(loop: asyncio.AbstractEventLoop, call: Callable[[T], object], told: T) -> None:
    """Calls in a loop from a desk's thread; a loop that was closed meanwhile has nobody to tell."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, told)
