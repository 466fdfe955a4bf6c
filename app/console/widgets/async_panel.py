"""How the console asks its shop: in a thread, in the line in which the API waits too, and shown in a place of its own on the page.

What goes wrong is told in one sentence where the answer would have stood; a bug is logged by its kind and told without its inside.
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
from .elements import bones, box, notice, say

if TYPE_CHECKING:
    from nicegui.element import Element

    from ....data.records import Item
    from ...api.worker_pool import WorkerPool
    from ...service.store_service import StoreService

T = TypeVar("T")
E = TypeVar("E")
P = TypeVar("P")
logger = logging.getLogger(__name__)


class Counter:
    """Where the pages ask. Args: desk: the threads. seconds: that an answer may take."""

    def __init__(self, shop: StoreService, desk: WorkerPool, seconds: float) -> None:
        self.shop, self._desk, self._seconds = shop, desk, seconds

    async def ask(self, call: Callable[[], T]) -> T:
        """What `call` returns, from a thread.

        Raises: whatever it raises; BusyError, TimedOutError: as `WorkerPool.run`.
        """
        return await self._desk.run(call, self._seconds)

    def items(self, keys: Sequence[str]) -> dict[str, Item]:
        """The items of some ids, those that there are. To be called in a thread."""
        catalogue = self.shop.recommender.catalogue
        return {item.item_id: item for item in catalogue.records([catalogue.rows[key] for key in keys if key in catalogue.rows])}


class Place:
    """A part of a page that holds an answer: what is asked last counts, and what stands there stays until the next is there.

    Args: heights: of the grey shapes that stand there while the first answer is made, in pixels. waiting: whether something will be asked
        as soon as the page is open, so that the shapes are there from the first moment.
    """

    def __init__(self, counter: Counter, *heights: int, classes: str = "", waiting: bool = False) -> None:
        self._counter, self._heights = counter, heights
        self._task: asyncio.Task[Any] | None = None
        self._turn = self._answers = 0
        with box("div", f"place {classes}") as self.element:
            box("div", "under-way", aria_hidden="true")
            # The answer itself would be too much to be read out whenever it changes.
            self._status = say("p", "", "hidden", role="status")
            self.content = box("div", "content")
        self._empty = True
        if waiting:
            self._wait()

    async def fill(self, call: Callable[[], T], draw: Callable[[T], object], there: Callable[[], bool] = lambda: False) -> T | None:
        """Asks, and draws the answer here, or says why there is none; the answer, None where it was none or is no longer wanted.

        Args: there: whether the answer stands here already when it has come.
        """
        if self.element.is_deleted:
            return None  # whoever asked has left the page
        turn = self._next()
        self._wait()
        task = self._task = asyncio.ensure_future(self._counter.ask(call))
        answer: T | None = None
        wrong = ""
        try:
            answer = await task
        except asyncio.CancelledError:
            if self._turn == turn:
                raise
        except (CrossaisleError, RequestRejected) as error:
            wrong = sentence(error)
        except Exception as error:
            wrong = _bug(error)
        if self._turn != turn or self.element.is_deleted:
            return None  # something newer was asked, or nobody is there any more
        keep = there() and not wrong
        with self._fresh(keep=keep):
            if keep:
                return answer
            if answer is None or wrong:
                notice(wrong, "bad", alert=True)
            else:
                self._drawn(draw, answer)
        return answer

    async def fill_in_parts(
        self,
        call: Callable[[Callable[[E], None], Callable[[P], None]], T],
        first: Callable[[E], Callable[[P], object]],
        draw: Callable[[T], object],
    ) -> T | None:
        """As `fill`, for a call that has its answer in parts; what was drawn of them stays, and whoever reads there is not disturbed.

        Args:
            call: hands the part that comes first to the one it is given, and those that follow to the other.
            first: draws the former, and returns what draws one of the latter into it. draw: the whole answer, where there was no such part.
        """
        loop, turn = asyncio.get_running_loop(), self._turn + 1  # the one that `fill` begins
        more: list[Callable[[P], object]] = []

        def early(part: E) -> None:
            if self._turn == turn and not self.element.is_deleted:
                self.content.clear()
                self.element.classes("early")
                with self.content:
                    self._drawn(lambda told: more.append(first(told)), part)

        def later(part: P) -> None:
            if self._turn == turn and not self.element.is_deleted and more:
                with self.content:
                    self._drawn(more[0], part)

        return await self.fill(
            lambda: call(lambda part: call_in_loop(loop, early, part), lambda part: call_in_loop(loop, later, part)), draw, there=lambda: bool(more)
        )

    def show(self, draw: Callable[[], object]) -> None:
        """Draws something that is there already."""
        self._next()
        with self._fresh():
            draw()

    def _next(self) -> int:
        """Begins another turn: what was asked before is no longer wanted."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._turn += 1
        return self._turn

    def _drawn(self, draw: Callable[[T], object], answer: T) -> None:
        """Draws an answer; what cannot be drawn must not stand there by halves."""
        try:
            draw(answer)
        except Exception as error:
            self.content.clear()
            notice(_bug(error), "bad", alert=True)

    def _wait(self) -> None:
        self.element.classes("busy").props["aria-busy"] = "true"
        self._status.set_text("Asking")
        if self._empty and self._heights:
            self.content.clear()
            with self.content:
                bones(*self._heights)

    def _fresh(self, *, keep: bool = False) -> Element:
        self._empty = False
        self._answers += 1
        self.element.props["data-answers"] = str(self._answers)  # by which a script can wait for the next one
        self._status.set_text("The answer is there")
        self.element.classes(remove="busy early").props["aria-busy"] = "false"
        if not keep:
            self.content.clear()
        return self.content


def sentence(error: CrossaisleError | RequestRejected) -> str:
    """What a person is told of an error: the same as the API's `detail`."""
    told = error.detail if isinstance(error, RequestRejected) else to_rejection(error).detail
    return f"{told[:1].upper()}{told[1:]}."


def _bug(error: Exception) -> str:
    """Logs where a bug struck, without its message, which may quote a person."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    logger.error("console bug: %s at %s:%s", type(error).__name__, frame.filename.rsplit("/", 1)[-1], frame.lineno)
    logger.debug("console bug", exc_info=error)
    return "This went wrong through a fault of the console's own; its log knows more."
