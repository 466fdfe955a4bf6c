"""Dynamic batching: packs from many threads are scored together, several in one forward pass of one model.

One worker thread computes, or two where that is faster; callers put packs into its queue and wait. Each batch takes the oldest pack and
others of similar length that fit: rows are padded to the longest, and padding costs as much as content. Scores equal those of a pack
alone, up to rounding in the model's number format.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ...data import deadlines
from ...data.errors import UnavailableError
from ..models.quantization import has_amx_bf16
from ..models.usage import record_usage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .packed_scorer import PackedScorer, ScoredPack
    from .packs import Pack

logger = logging.getLogger(__name__)
MAX_BATCH_TOKENS = 4096
"""Tokens of one forward pass, padding included."""
MAX_PADDING = 0.25
"""Maximum share of padding in a row."""


@dataclass(frozen=True, slots=True)
class BatchingPolicy:
    """How packs are batched.

    Attributes:
        max_tokens: Maximum number of tokens of one forward pass; 0 scores each pack alone.
        threads: Number of worker threads.
    """

    max_tokens: int = 0
    threads: int = 1


def default_policy(scorer: PackedScorer) -> BatchingPolicy:
    """Return the fastest measured policy for the model and its device (`benchmarks/results/serve.json`, `serve-amx.json`).

    A GPU is fastest with many packs per batch, and so is a CPU in 4 bits, where weights are unpacked once for all rows. A CPU with bf16
    matrix units leaves them idle between two products: two threads with two or three packs each keep them busy. A CPU without them is
    busy with one pack in bf16; batches took half as long again.
    """
    if scorer.llm.device.type != "cpu" or scorer.llm.quantization == "nf4":
        return BatchingPolicy(MAX_BATCH_TOKENS)
    if scorer.llm.quantization == "bf16" and has_amx_bf16():
        return BatchingPolicy(MAX_BATCH_TOKENS // 2, threads=2)
    return BatchingPolicy()


@dataclass(eq=False)
class _QueuedPack:
    """A pack in the queue, and the future of its scores."""

    scorer: PackedScorer
    pack: Pack
    deadline: deadlines.Deadline | None
    result: Future[ScoredPack] = field(default_factory=Future)

    @property
    def tokens(self) -> int:
        return self.pack.tokens

    @property
    def expired(self) -> bool:
        return self.deadline is not None and self.deadline.remaining() <= 0


class PackBatcher:
    """The queue in front of one model.

    Args:
        policy: How packs are batched; None uses `default_policy` of the first scorer. A pack longer than `max_tokens` is scored alone.

    Attributes:
        forward_count: Number of forward passes made.
        pack_count: Number of packs scored.
    """

    def __init__(self, policy: BatchingPolicy | None = None) -> None:
        self.policy = policy
        self.forward_count = self.pack_count = 0
        self._queue: list[_QueuedPack] = []
        self._condition = threading.Condition()
        self._open = True
        self._workers: list[threading.Thread] = []

    def logit_margins(self, scorer: PackedScorer, pack: Pack) -> NDArray[np.float32]:
        """Return the result of `PackedScorer.logit_margins`, computed together with other packs of the same scorer in the queue.

        Raises:
            TimedOutError: The current deadline has passed; packs that were not scored yet are dropped.
            UnavailableError: The batcher is closed.
            ModelError: A candidate does not fit.
        """
        deadline = deadlines.current()
        parts = scorer.split_candidates(pack)
        queued = [_QueuedPack(scorer, pack.take(part), deadline) for part in parts]
        with self._condition:
            if not self._open:
                raise UnavailableError("the model is being unloaded; try again in a moment", retry_after=5)
            self.policy = self.policy or default_policy(scorer)
            while len(self._workers) < self.policy.threads:
                self._workers.append(threading.Thread(target=self._run, args=(self.policy.max_tokens,), name="packs", daemon=True))
                self._workers[-1].start()
            self._queue += queued
            self._condition.notify(len(queued))
        margins = np.empty(len(pack.candidates), dtype=np.float32)
        for part, entry in zip(parts, queued, strict=True):
            try:
                scored = entry.result.result(deadline.remaining() if deadline is not None else None)
            except FutureTimeoutError:
                assert deadline is not None
                deadline.cancelled = True  # the workers drop the remaining packs
                deadline.check()
            else:
                margins[part] = scored.margins
                record_usage(tokens_in=scored.tokens)  # here, because a counter belongs to the thread of the request
        return margins

    def close(self) -> None:
        """Score the packs in the queue and accept no more."""
        with self._condition:
            self._open = False
            self._condition.notify_all()
        for worker in self._workers:
            worker.join()

    # ------------------------------------------------------------------ the worker threads

    def _run(self, max_tokens: int) -> None:
        while batch := self._next_batch(max_tokens):
            try:
                results = batch[0].scorer.score_packs([entry.pack for entry in batch])
            except Exception as error:
                logger.warning("%d packs could not be scored (%s)", len(batch), type(error).__name__)
                for entry in batch:
                    entry.result.set_exception(error)
                continue
            with self._condition:
                self.forward_count, self.pack_count = self.forward_count + 1, self.pack_count + len(batch)
            for entry, scored in zip(batch, results, strict=True):
                entry.result.set_result(scored)

    def _next_batch(self, max_tokens: int) -> list[_QueuedPack]:
        """Remove the next batch from the queue; an empty list once the batcher is closed and the queue empty."""
        with self._condition:
            while True:
                for entry in [entry for entry in self._queue if entry.expired]:
                    entry.result.cancel()
                    self._queue.remove(entry)
                if self._queue:
                    break
                if not self._open:
                    return []
                self._condition.wait()
            batch = select_batch(self._queue, max_tokens)
            self._queue = [entry for entry in self._queue if entry not in batch]
            return batch


def select_batch(queue: Sequence[_QueuedPack], max_tokens: int) -> list[_QueuedPack]:
    """Return the oldest pack of the queue and, of the others, as many of the most similar length as fit.

    A pack is added only if padding stays below `MAX_PADDING` of every row.
    """
    first = queue[0]
    batch, longest, shortest = [first], first.tokens, first.tokens
    for entry in sorted(queue[1:], key=lambda entry: abs(entry.tokens - first.tokens)):
        high, low = max(longest, entry.tokens), min(shortest, entry.tokens)
        if entry.scorer is first.scorer and high * (len(batch) + 1) <= max_tokens and low > (1 - MAX_PADDING) * high:
            batch.append(entry)
            longest, shortest = high, low
    return batch
