"""From scores to rankings: every eligible item, ties broken by lot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..splits.cases import Cases, EligibleItems
    from ..splits.training_data import Scorer

MAX_SCORES = 24_000_000
"""Scores that are held at once: a hundred megabytes."""


def rank(scorer: Scorer, cases: Cases, eligible: EligibleItems, depth: int, *, seed: int = 0) -> NDArray[np.int32]:
    """(cases, depth) item rows, best first, -1 where nothing is left to rank; all eligible items are ranked.

    Items that score alike come in an order that the seed draws, never in that of their rows, which may follow a hint of popularity.
    """
    items = len(eligible.rankable)
    lot = np.random.default_rng(seed).permutation(items)
    step = max(1, MAX_SCORES // max(items, 1))
    parts = []
    for start in range(0, len(cases), step):
        block = slice(start, start + step)
        scores = scorer.scores(cases.histories.part(np.arange(len(cases))[block]))
        scores = np.where(eligible.mask(cases, block) & ~np.isnan(scores), scores, -np.inf)
        parts.append(top_k(scores, depth, lot))
    return np.concatenate(parts) if parts else np.empty((0, depth), np.int32)


def top_k(scores: NDArray[np.float32], depth: int, lot: NDArray[np.int64]) -> NDArray[np.int32]:
    """(cases, depth) the columns of the highest scores, highest first; -inf is never taken.

    Args: lot: (items,) a permutation of the columns; of equal scores the one that stands earlier in it comes first.
    """
    cases, items = scores.shape
    k = min(depth, items)
    drawn = scores[:, lot]  # (cases, items)
    edge = np.partition(drawn, items - k, axis=1)[:, items - k, None]
    above, level = drawn > edge, drawn == edge
    # Of those at the edge exactly so many, in the order of the lot, as there is room for.
    room = k - above.sum(axis=1, keepdims=True)
    taken = above | (level & (np.cumsum(level, axis=1, dtype=np.int32) <= room))
    column = np.nonzero(taken)[1].reshape(cases, k)
    found = np.take_along_axis(drawn, column, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    rows = lot[np.take_along_axis(column, order, axis=1)]
    rows[np.take_along_axis(found, order, axis=1) == -np.inf] = -1
    return np.pad(rows, ((0, 0), (0, depth - k)), constant_values=-1).astype(np.int32)
