"""How good rankings are, case by case: pure functions of which places hold a target. A case without targets is NaN, never 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.ragged import Runs


def hits(top: NDArray[np.int32], targets: Runs) -> NDArray[np.bool_]:
    """(cases, depth) which places hold a target.

    Args: top: (cases, depth) item rows, best first, -1 where nothing is ranked. targets: distinct rows of each case.
    """
    wanted = np.sort(targets.owner << 32 | targets.rows.astype(np.int64))
    asked = (np.arange(len(top), dtype=np.int64)[:, None] << 32) | np.maximum(top, 0).astype(np.int64)
    place = np.searchsorted(wanted, asked)
    found = np.append(wanted, -1)[place] == asked
    return np.asarray(found & (top >= 0))


def ndcg(hit: NDArray[np.bool_], wanted: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """(cases,) normalised discounted cumulative gain at k, each target worth 1: 0 to 1.

    Source: Järvelin and Kekäläinen, TOIS 2002; the ideal ranking has all min(k, wanted) targets first.
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0], np.cumsum(discount)])[np.minimum(wanted, k)]
    near = hit[:, :k]
    # Added place by place: a matrix product's last digits would depend on which other cases there are, and a perfect list must come to 1.
    gained = (near * discount[: near.shape[1]]).cumsum(axis=1)[:, -1:].sum(axis=1)
    return _share(gained, ideal)


def recall(hit: NDArray[np.bool_], wanted: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """(cases,) share of the targets among the first k: 0 to 1."""
    return _share(hit[:, :k].sum(axis=1), wanted)


def hit_rate(hit: NDArray[np.bool_], wanted: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """(cases,) 1 where any target is among the first k, else 0."""
    return _share(hit[:, :k].any(axis=1) * wanted, wanted)


def mrr(hit: NDArray[np.bool_], wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    """(cases,) 1 over the place of the first target, 0 where the ranking, as deep as it goes, holds none."""
    first = np.where(hit.any(axis=1), 1 / (hit.argmax(axis=1) + 1), 0)
    return _share(first * wanted, wanted)


def average_precision(hit: NDArray[np.bool_], wanted: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """(cases,) mean of the precision at each target among the first k, over min(k, wanted): 0 to 1. Its mean is MAP at k."""
    near = hit[:, :k]
    precision = np.cumsum(near, axis=1) / np.arange(1, near.shape[1] + 1)
    return _share((precision * near).sum(axis=1), np.minimum(wanted, k))


def per_case(top: NDArray[np.int32], targets: Runs, k: int) -> Mapping[str, NDArray[np.float64]]:
    """Every metric of one system by its name in a report."""
    hit, wanted = hits(top, targets), targets.lengths
    at: dict[str, Callable[[NDArray[np.bool_], NDArray[np.int64], int], NDArray[np.float64]]] = {
        "ndcg": ndcg, "recall": recall, "hit": hit_rate, "map": average_precision,
    }  # fmt: skip
    return {**{f"{name}@{k}": metric(hit, wanted, k) for name, metric in at.items()}, "mrr": mrr(hit, wanted)}


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    shares = np.full(len(part), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
