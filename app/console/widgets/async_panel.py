"""Calls from the console's pages to the store service, run in the API's worker pool, and the page areas that show their results.

An error is shown as one sentence in place of the result. A bug is logged by its type and place and shown without details.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ....data.errors import CrossaisleError
from ...api.errors import RequestRejected, to_rejection
from ...api.worker_pool import call_in_loop
from .elements import container, notice, skeleton_loader, text_element

if TYPE_CHECKING:
    from nicegui.element import Element

    from ....data.records import Item
    from ....data.store_words import StoreWords
    from ...api.worker_pool import WorkerPool
    from ...service.store_service import StoreService

ResultT = TypeVar("ResultT")
FirstPartT = TypeVar("FirstPartT")
LaterPartT = TypeVar("LaterPartT")
logger = logging.getLogger(__name__)


class ConsoleBackend:
    """Access of the pages to the store.

    Attributes:
        store: The store service.
    """

    def __init__(self, store: StoreService, worker_pool: WorkerPool, timeout: float) -> None:
        """Args: `worker_pool` runs the calls; `timeout` is the time limit of a call in seconds."""
        self.store, self._worker_pool, self._timeout = store, worker_pool, timeout

    @property
    def words(self) -> StoreWords:
        """The store's words in texts for people."""
        return self.store.recommender.catalogue.words

    async def run(self, call: Callable[[], ResultT]) -> ResultT:
        """Run `call` in a worker thread and return its result.

        Raises:
            BusyError: See `WorkerPool.run`.
            TimedOutError: See `WorkerPool.run`.
            Exception: Whatever `call` raises.
        """
        return await self._worker_pool.run(call, self._timeout)

    def items(self, keys: Sequence[str]) -> dict[str, Item]:
        """The items of the catalogue among some ids, by id. Must be called in a worker thread."""
        catalogue = self.store.recommender.catalogue
        return {item.item_id: item for item in catalogue.records([catalogue.rows[key] for key in keys if key in catalogue.rows])}


class AsyncPanel:
    """An area of a page that shows the result of the latest call; the previous result stays until the new one is ready.

    Attributes:
        element: The whole area.
        content: The element that holds the result.
    """

    def __init__(self, backend: ConsoleBackend, *heights: int, classes: str = "", loading: bool = False) -> None:
        """Create the area.

        Args:
            backend: Runs the calls.
            heights: Heights of the skeleton shown while the first result is computed, in pixels.
            classes: CSS classes of the area.
            loading: Whether a call follows as soon as the page is open, so that the skeleton is shown from the start.
        """
        self._backend, self._heights = backend, heights
        self._task: asyncio.Task[Any] | None = None
        self._call_id = self._results = 0
        with container("div", f"panel {classes}") as self.element:
            container("div", "progress", aria_hidden="true")
            # Only the status is announced: the result itself would be too long to be read out after every change.
            self._status = text_element("p", "", "hidden", role="status")
            self.content = container("div", "content")
        self._is_empty = True
        if loading:
            self._show_loading()

    async def fill(
        self,
        call: Callable[[], ResultT],
        draw: Callable[[ResultT], object],
        is_drawn: Callable[[], bool] = lambda: False,
    ) -> ResultT | None:
        """Run a call and draw its result, or an error message.

        Args:
            call: Computes the result in a worker thread.
            draw: Draws the result.
            is_drawn: Whether the result has already been drawn in parts when it arrives.

        Returns:
            The result; None after an error, or if a later call or a closed page has made it obsolete.
        """
        if self.element.is_deleted:
            return None  # the page was closed
        call_id = self._start_call()
        self._show_loading()
        task = self._task = asyncio.ensure_future(self._backend.run(call))
        result: ResultT | None = None
        message = ""
        try:
            result = await task
        except asyncio.CancelledError:
            if self._call_id == call_id:
                raise
        except (CrossaisleError, RequestRejected) as error:
            message = error_sentence(error)
        except Exception as error:
            message = _log_bug(error)
        if self._call_id != call_id or self.element.is_deleted:
            return None  # a later call was started, or the page was closed
        keep = is_drawn() and not message
        with self._finish_call(keep=keep):
            if keep:
                return result
            if result is None or message:
                notice(message, "bad", alert=True)
            else:
                self._draw_safely(draw, result)
        return result

    async def fill_in_parts(
        self,
        call: Callable[[Callable[[FirstPartT], None], Callable[[LaterPartT], None]], ResultT],
        draw_first: Callable[[FirstPartT], Callable[[LaterPartT], object]],
        draw: Callable[[ResultT], object],
    ) -> ResultT | None:
        """Run a call that delivers its result in parts, and draw each part when it arrives; drawn parts are not drawn again.

        Args:
            call: Passes its first part to its first argument and every later part to its second.
            draw_first: Draws the first part, and returns the function that draws a later part into it.
            draw: Draws the whole result if no first part was delivered.

        Returns:
            As `fill`.
        """
        loop, call_id = asyncio.get_running_loop(), self._call_id + 1  # the id that `fill` assigns
        draw_later: list[Callable[[LaterPartT], object]] = []

        def on_first(part: FirstPartT) -> None:
            if self._call_id == call_id and not self.element.is_deleted:
                self.content.clear()
                self.element.classes("partial")
                with self.content:
                    self._draw_safely(lambda first_part: draw_later.append(draw_first(first_part)), part)

        def on_later(part: LaterPartT) -> None:
            if self._call_id == call_id and not self.element.is_deleted and draw_later:
                with self.content:
                    self._draw_safely(draw_later[0], part)

        return await self.fill(
            lambda: call(lambda part: call_in_loop(loop, on_first, part), lambda part: call_in_loop(loop, on_later, part)),
            draw,
            is_drawn=lambda: bool(draw_later),
        )

    def show(self, draw: Callable[[], object]) -> None:
        """Draw content that needs no call; cancels the running call."""
        self._start_call()
        with self._finish_call():
            draw()

    def _start_call(self) -> int:
        """Cancel the running call and return the id of the next one."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._call_id += 1
        return self._call_id

    def _draw_safely(self, draw: Callable[[ResultT], object], result: ResultT) -> None:
        """Draw a result, or an error message instead of a partly drawn result."""
        try:
            draw(result)
        except Exception as error:
            self.content.clear()
            notice(_log_bug(error), "bad", alert=True)

    def _show_loading(self) -> None:
        self.element.classes("busy").props["aria-busy"] = "true"
        self._status.set_text("Loading")
        if self._is_empty and self._heights:
            self.content.clear()
            with self.content:
                skeleton_loader(*self._heights)

    def _finish_call(self, *, keep: bool = False) -> Element:
        self._is_empty = False
        self._results += 1
        self.element.props["data-results"] = str(self._results)  # browser tests wait for this counter
        self._status.set_text("Loaded")
        self.element.classes(remove="busy partial").props["aria-busy"] = "false"
        if not keep:
            self.content.clear()
        return self.content


def error_sentence(error: CrossaisleError | RequestRejected) -> str:
    """The message of an error as a sentence; the same text as `detail` in the API's response."""
    detail = error.detail if isinstance(error, RequestRejected) else to_rejection(error).detail
    return f"{detail[:1].upper()}{detail[1:]}."


def _log_bug(error: Exception) -> str:
    """Log the type and place of a bug without its message, which may contain personal data, and return the message for the page."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    logger.error("console bug: %s at %s:%s", type(error).__name__, frame.filename.rsplit("/", 1)[-1], frame.lineno)
    logger.debug("console bug", exc_info=error)
    return "Something went wrong in the console; the server log has the details."
