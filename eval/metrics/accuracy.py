"""Accuracy metrics per case, as pure functions of which ranks hold a target. A case without targets is NaN, never 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.ragged import RaggedArray


def hits(top: NDArray[np.int32], targets: RaggedArray) -> NDArray[np.bool_]:
    """(cases, depth) which ranks hold a target.

    Args:
        top: (cases, depth) item rows, best first, -1 where nothing is ranked.
        targets: Distinct target rows of each case.
    """
    target_keys = np.sort(targets.row_index << 32 | targets.rows.astype(np.int64))
    keys = (np.arange(len(top), dtype=np.int64)[:, None] << 32) | np.maximum(top, 0).astype(np.int64)
    is_hit = np.append(target_keys, -1)[np.searchsorted(target_keys, keys)] == keys
    return np.asarray(is_hit & (top >= 0))


def ndcg(hit: NDArray[np.bool_], target_count: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """(cases,) normalised discounted cumulative gain at k with binary relevance, 0 to 1.

    Source: Järvelin and Kekäläinen, TOIS 2002; the ideal ranking has all min(k, target_count) targets first.
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0], np.cumsum(discount)])[np.minimum(target_count, k)]
    hit_at_k = hit[:, :k]
    # Summed rank by rank: the last digits of a matrix product depend on the other cases, and a perfect list must score exactly 1.
    gain = (hit_at_k * discount[: hit_at_k.shape[1]]).cumsum(axis=1)[:, -1:].sum(axis=1)
    return _ratio(gain, ideal)


def recall(hit: NDArray[np.bool_], target_count: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """(cases,) share of the targets in the top k, 0 to 1."""
    return _ratio(hit[:, :k].sum(axis=1), target_count)


def hit_rate(hit: NDArray[np.bool_], target_count: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """(cases,) 1 where any target is in the top k, else 0."""
    return _ratio(hit[:, :k].any(axis=1) * target_count, target_count)


def mrr(hit: NDArray[np.bool_], target_count: NDArray[np.int64]) -> NDArray[np.float64]:
    """(cases,) reciprocal rank of the first target, 0 where the ranking has none at any depth."""
    reciprocal_rank = np.where(hit.any(axis=1), 1 / (hit.argmax(axis=1) + 1), 0)
    return _ratio(reciprocal_rank * target_count, target_count)


def average_precision(hit: NDArray[np.bool_], target_count: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """(cases,) sum of the precision at each target in the top k, over min(k, target_count): 0 to 1. Its mean is MAP@k."""
    hit_at_k = hit[:, :k]
    precision = np.cumsum(hit_at_k, axis=1) / np.arange(1, hit_at_k.shape[1] + 1)
    return _ratio((precision * hit_at_k).sum(axis=1), np.minimum(target_count, k))


def per_case(top: NDArray[np.int32], targets: RaggedArray, k: int) -> Mapping[str, NDArray[np.float64]]:
    """Return all metrics of one system, by their names in a report, each (cases,).

    Args:
        top: (cases, depth) item rows, best first, -1 where nothing is ranked.
        targets: Distinct target rows of each case.
        k: Cutoff.
    """
    hit, target_count = hits(top, targets), targets.lengths
    metrics: dict[str, Callable[[NDArray[np.bool_], NDArray[np.int64], int], NDArray[np.float64]]] = {
        "ndcg": ndcg, "recall": recall, "hit": hit_rate, "map": average_precision,
    }  # fmt: skip
    return {**{f"{name}@{k}": metric(hit, target_count, k) for name, metric in metrics.items()}, "mrr": mrr(hit, target_count)}


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    """numerator / denominator, NaN where the denominator is 0."""
    ratio = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio
