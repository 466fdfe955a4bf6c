"""A thread pool with a bounded queue; requests beyond it are rejected with 503 and a Retry-After header.

A request that is late, or whose client has disconnected, leaves the queue. One that is already running sees its deadline and stops at its
next step (see `data.deadlines`). Its slot is free only after the work has ended.
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


class ClientDisconnected(Exception):
    """Raised when the client disconnects before the response is ready."""


class WorkerPool:
    """Threads for blocking work, with a bounded queue.

    Args:
        name: Name of the threads, and of the pool in the metrics.
        workers: Number of threads.
        max_waiting: Requests that may wait in the queue.
    """

    def __init__(self, name: str, workers: int, max_waiting: int) -> None:
        self.name, self.capacity = name, workers + max_waiting
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._pending = 0
        self._open = True

    @property
    def pending(self) -> int:
        """Number of requests that are running or waiting."""
        return self._pending

    def pending_gauge(self) -> float:
        """`pending` as the value of a Prometheus gauge."""
        return float(self._pending)

    async def run(self, call: Callable[[], T], seconds: float, disconnected: Callable[[], Awaitable[None]] | None = None) -> T:
        """Run `call` in a thread and return its result.

        Args:
            call: The blocking work.
            seconds: Time limit, waiting included.
            disconnected: Returns when the client has disconnected; None if that is not watched.

        Raises:
            BusyError: The queue is full, or the pool is closing.
            TimedOutError: The time limit passed.
            ClientDisconnected: The client disconnected.
        """
        if not self._open:
            raise BusyError("the server is shutting down; retry in a moment", retry_after=5)
        if self._pending >= self.capacity:
            raise BusyError(f"{self._pending} requests are running or wait already; retry in a moment")
        loop, deadline = asyncio.get_running_loop(), Deadline(seconds)
        context = contextvars.copy_context()

        def work() -> T:
            deadline.check()  # it may have passed in the queue
            with within(deadline):
                return call()

        self._pending += 1
        running: Future[T] = self._threads.submit(context.run, work)
        running.add_done_callback(lambda _: loop.call_soon_threadsafe(self._release))
        result = asyncio.wrap_future(running)
        watch = asyncio.ensure_future(disconnected()) if disconnected is not None else None
        try:
            futures = [future for future in (result, watch) if future is not None]
            await asyncio.wait(futures, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if result.done():
                return result.result()
            if watch is not None and watch.done():
                raise ClientDisconnected
            raise TimedOutError(f"the response was not ready within {seconds:g} seconds; request less, or retry later")
        finally:
            if not result.done():
                deadline.cancelled = True
                running.cancel()
                result.cancel()
            if watch is not None:
                watch.cancel()

    def _release(self) -> None:
        self._pending -= 1

    def close(self) -> None:
        """Accept no more work and wait for the accepted work to finish."""
        self._open = False
        self._threads.shutdown(wait=True)


def call_in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[T], object], argument: T) -> None:
    """Call a function in an event loop from a worker thread; a loop that was closed in the meantime is ignored."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, argument)
