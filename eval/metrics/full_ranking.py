"""Full ranking: every eligible item is ranked by its score, with ties in random order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..splits.cases import Cases, EligibleItems
    from ..splits.training_data import Scorer

MAX_SCORES = 24_000_000
"""Scores held in memory at once (96 MB)."""


def rank(scorer: Scorer, cases: Cases, eligible: EligibleItems, depth: int, *, seed: int = 0) -> NDArray[np.int32]:
    """Return (cases, depth) item rows, best first, -1 where no eligible item is left.

    Ties are ordered by the seed, not by row number, which may correlate with popularity.
    """
    item_count = len(eligible.rankable)
    tie_order = np.random.default_rng(seed).permutation(item_count)
    block_size = max(1, MAX_SCORES // max(item_count, 1))
    blocks = []
    for start in range(0, len(cases), block_size):
        block = slice(start, start + block_size)
        scores = scorer.scores(cases.histories.part(np.arange(len(cases))[block]))
        scores = np.where(eligible.mask(cases, block) & ~np.isnan(scores), scores, -np.inf)
        blocks.append(top_k(scores, depth, tie_order))
    return np.concatenate(blocks) if blocks else np.empty((0, depth), np.int32)


def top_k(scores: NDArray[np.float32], k: int, tie_order: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return (cases, k) columns of the highest scores, highest first, padded with -1; columns with score -inf are omitted.

    Args:
        scores: (cases, items) scores.
        k: Number of columns per case.
        tie_order: (items,) permutation of the columns; among equal scores, the column that is earlier in it comes first.
    """
    cases, items = scores.shape
    width = min(k, items)
    permuted = scores[:, tie_order]  # (cases, items)
    threshold = np.partition(permuted, items - width, axis=1)[:, items - width, None]
    above, equal = permuted > threshold, permuted == threshold
    # Of the scores equal to the threshold, take as many as there is room for, in tie order.
    room = width - above.sum(axis=1, keepdims=True)
    selected = above | (equal & (np.cumsum(equal, axis=1, dtype=np.int32) <= room))
    columns = np.nonzero(selected)[1].reshape(cases, width)
    top_scores = np.take_along_axis(permuted, columns, axis=1)
    order = np.argsort(-top_scores, axis=1, kind="stable")
    rows = tie_order[np.take_along_axis(columns, order, axis=1)]
    rows[np.take_along_axis(top_scores, order, axis=1) == -np.inf] = -1
    return np.pad(rows, ((0, 0), (0, k - width)), constant_values=-1).astype(np.int32)
