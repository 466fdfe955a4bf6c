"""Full ranking: every eligible item is ranked by its score, with ties in random order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..splits.cases import Cases, EligibleItems
    from ..splits.training_data import Scorer

MAX_SCORES = 4_000_000
"""Scores held in memory at once (16 MB): small enough for the allocator to reuse, which avoids page faults."""
GROUPS_PER_RANK = 4
"""Groups of columns, for each rank wanted, whose maxima bound the score of the last rank."""


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
        scores = np.where(eligible.mask(cases, block), scores, -np.inf)
        blocks.append(top_k(scores, depth, tie_order))
    return np.concatenate(blocks) if blocks else np.empty((0, depth), np.int32)


def top_k(scores: NDArray[np.float32], k: int, tie_order: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return (cases, k) columns of the highest scores, highest first, padded with -1; columns with score -inf or NaN are omitted.

    A lower bound of each case's k-th highest score leaves few columns to sort: columns are divided into groups, and the k-th highest of the
    groups' maxima is the bound.

    Args:
        scores: (cases, items) scores.
        k: Number of columns per case.
        tie_order: (items,) permutation of the columns; among equal scores, the column that is earlier in it comes first.
    """
    cases, items = scores.shape
    width = min(k, items)
    group_size = max(1, items // (GROUPS_PER_RANK * width))
    groups = items // group_size
    maxima = np.fmax.reduce(scores[:, : group_size * groups].reshape(cases, group_size, groups), axis=1)
    maxima[np.isnan(maxima)] = -np.inf  # a group without any other value
    bound = np.sort(maxima, axis=1)[:, groups - width]  # (cases,)
    case, column = np.nonzero(scores > bound[:, None])
    tie_rank = np.empty(items, dtype=np.int64)
    tie_rank[tie_order] = np.arange(items)
    order = np.lexsort((tie_rank[column], -scores[case, column], case))
    above = np.bincount(case, minlength=cases)  # (cases,) number of columns above the bound
    position = np.arange(len(order)) - np.repeat(np.cumsum(above) - above, above)
    is_top = position < width
    top = np.full((cases, k), -1, dtype=np.int32)
    top[case[is_top], position[is_top]] = column[order[is_top]]
    # With too few columns above it, the bound is the k-th highest score: the ranks left go to columns equal to it, in tie order.
    for i in np.flatnonzero((above < width) & (bound > -np.inf)).tolist():
        equal = tie_order[np.flatnonzero(scores[i, tie_order] == bound[i])[: width - above[i]]]
        top[i, above[i] : width] = equal
    return top
