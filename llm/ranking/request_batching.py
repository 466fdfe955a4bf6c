"""One model, many threads: what waits to be read is read together, in one forward of several packs.

One thread reads, or two where that is faster; whoever asks puts packs into their line and waits. While they read, others queue up, and the
next forward takes the oldest and those of about its length that fit beside it: a row is filled up to the longest, and what is filled up is
work for nothing.
Scores are those of one alone, up to the rounding of the model's number format.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ...data import deadlines
from ...data.errors import UnavailableError
from ..models.quantization import multiplies_bf16

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .packed_scorer import Pack, PackedScorer

logger = logging.getLogger(__name__)
TOGETHER = 4096
"""Tokens of one forward, fillers included."""


@dataclass(frozen=True, slots=True)
class Way:
    """How packs are read fastest: tokens of one forward at most (0: each alone), and threads that read at once."""

    together: int = 0
    readers: int = 1


def best(scorer: PackedScorer) -> Way:
    """By what was measured (`benchmarks/results/serve.json`, `serve-amx.json`).

    A GPU reads many packs together, and so does a CPU in 4 bits, where weights are unpacked once for all rows. A CPU with matrix units for
    bf16 has them idle while it does what is between two products: two threads, with two or three packs each, keep them busy. A CPU without
    them is busy with one pack in bf16, and several took half as long again.
    """
    if scorer.llm.device.type != "cpu" or scorer.llm.quantization == "nf4":
        return Way(TOGETHER)
    if scorer.llm.quantization == "bf16" and multiplies_bf16():
        return Way(TOGETHER // 2, readers=2)
    return Way()


@dataclass(eq=False)
class _Waiting:
    """A pack in the line, and where its margins go."""

    scorer: PackedScorer
    pack: Pack
    deadline: deadlines.Deadline | None
    margins: Future[NDArray[np.float32]] = field(default_factory=Future)

    @property
    def tokens(self) -> int:
        return len(self.pack[0]) + sum(map(len, self.pack[1]))

    @property
    def late(self) -> bool:
        return self.deadline is not None and self.deadline.left() <= 0


class SharedPacks:
    """The line before one model.

    Args: way: how they are read; None is what is `best` for the scorer that asks first. A pack longer than `together` is read alone.
    """

    def __init__(self, way: Way | None = None) -> None:
        self.way = way
        self.forwards = self.rows = 0
        """How many forwards were made, and how many packs they read."""
        self._line: list[_Waiting] = []
        self._changed = threading.Condition()
        self._open = True
        self._readers: list[threading.Thread] = []

    def margins(self, scorer: PackedScorer, prefix: Sequence[int], candidates: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """As `PackedScorer.margins` has it, read together with whatever else waits for the same scorer.

        Raises: TimedOutError: the deadline of the work at hand is over; what was not read yet will not be. UnavailableError: it is closed.
            ModelError: a candidate does not fit.
        """
        deadline = deadlines.current()
        places = scorer.packs(prefix, candidates)
        waiting = [_Waiting(scorer, (prefix, [candidates[i] for i in pack]), deadline) for pack in places]
        with self._changed:
            if not self._open:
                raise UnavailableError("the model is being put away; ask again in a moment", retry_after=5)
            self.way = self.way or best(scorer)
            while len(self._readers) < self.way.readers:
                self._readers.append(threading.Thread(target=self._read, args=(self.way.together,), name="packs", daemon=True))
                self._readers[-1].start()
            self._line += waiting
            self._changed.notify(len(waiting))
        out = np.empty(len(candidates), dtype=np.float32)
        for pack, one in zip(places, waiting, strict=True):
            try:
                out[pack] = one.margins.result(deadline.left() if deadline is not None else None)
            except LateError:
                assert deadline is not None
                deadline.cancelled = True  # the reader leaves out what nobody waits for
                deadline.check()
        return out

    def close(self) -> None:
        """Reads what waits, takes nothing more."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        for reader in self._readers:
            reader.join()

    # ------------------------------------------------------------------ the reading threads

    def _read(self, together: int) -> None:
        while batch := self._next(together):
            try:
                margins = batch[0].scorer.margins_of([one.pack for one in batch])
            except Exception as error:
                logger.warning("%d packs could not be read (%s)", len(batch), type(error).__name__)
                for one in batch:
                    one.margins.set_exception(error)
                continue
            with self._changed:
                self.forwards, self.rows = self.forwards + 1, self.rows + len(batch)
            for one, found in zip(batch, margins, strict=True):
                one.margins.set_result(found)

    def _next(self, together: int) -> list[_Waiting]:
        """The oldest that waits and what is read beside it; empty when it is over."""
        with self._changed:
            while True:
                for one in [one for one in self._line if one.late]:
                    one.margins.cancel()
                    self._line.remove(one)
                if self._line:
                    break
                if not self._open:
                    return []
                self._changed.wait()
            chosen = beside(self._line, together)
            self._line = [one for one in self._line if one not in chosen]
            return chosen


def beside(line: Sequence[_Waiting], together: int) -> list[_Waiting]:
    """The first of a line, and of the others those nearest to it in length, as many as fit.

    A pack is taken only where it costs less than a quarter of its row in fillers, its own or the others'.
    """
    first = line[0]
    chosen, longest, shortest = [first], first.tokens, first.tokens
    for one in sorted(line[1:], key=lambda one: abs(one.tokens - first.tokens)):
        high, low = max(longest, one.tokens), min(shortest, one.tokens)
        if one.scorer is first.scorer and high * (len(chosen) + 1) <= together and low > 0.75 * high:
            chosen.append(one)
            longest, shortest = high, low
    return chosen
