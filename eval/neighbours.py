"""Baselines that count who had both: item-kNN, by cosine or BM25, and directed co-occurrence.

All of them score with one sparse product, histories by items, and cost no more than what their pairs hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from ..retrieval.runs import Runs
    from .training import Training


@dataclass(frozen=True, slots=True)
class Cosine:
    """Config of `ItemKNN` by cosine."""

    neighbours: int = 200
    """Partners that each item keeps, the nearest."""
    shrinkage: float = 0.0
    """Users that a similarity is damped by: n / (n + shrinkage)."""
    partner: float = 0.5
    """Exponent of the partner's users in the norm: 0.5 is the cosine, 0 divides by the history item's root only."""


@dataclass(frozen=True, slots=True)
class BM25:
    """Config of `ItemKNN` by BM25, constants as in the source."""

    neighbours: int = 200
    """Partners that each item keeps, the nearest."""
    k1: float = 1.2
    """How soon repeated interactions stop counting."""
    b: float = 0.75
    """How much users with many items count less."""


class ItemKNN:
    """Sum, over the history, of how near each item is by its users.

    Source: Deshpande and Karypis, TOIS 2004; BM25 as Robertson and Zaragoza, 2009, of an item as document and its users as terms.
    """

    def __init__(self, training: Training, config: Cosine | BM25) -> None:
        self.near = nearest(_bm25(training, config) if isinstance(config, BM25) else _cosine(training, config), config.neighbours)

    def scores(self, histories: Runs) -> NDArray[np.float32]:
        """(cases, items) 0 or more."""
        return np.asarray((histories.matrix(self.near.shape[0]) @ self.near).toarray())


def _cosine(training: Training, config: Cosine) -> sparse.csr_array:
    """(items, items): history item by partner."""
    pairs = _shared(training.matrix)
    users = np.maximum(training.users, 1).astype(np.float64)
    source = np.repeat(np.arange(training.items), np.diff(pairs.indptr))
    norm = np.sqrt(users[source]) * users[pairs.indices] ** config.partner
    damp = pairs.data / (pairs.data + config.shrinkage) if config.shrinkage else 1.0
    pairs.data = (pairs.data / norm * damp).astype(np.float32)
    return pairs


def _bm25(training: Training, config: BM25) -> sparse.csr_array:
    from scipy import sparse

    items = training.pasts.matrix(training.items).T.tocsr()  # (items, users): counts of interactions
    users = np.maximum(np.bincount(items.indices, minlength=items.shape[1]), 1)
    idf = np.log(items.shape[0]) - np.log1p(users)
    length = np.asarray(items.sum(axis=1)).reshape(-1)
    norm = (1.0 - config.b) + config.b * length / max(length.mean(), 1e-12)
    owner = np.repeat(np.arange(items.shape[0]), np.diff(items.indptr))
    weighted = items.data * (config.k1 + 1.0) / (config.k1 * norm[owner] + items.data) * idf[items.indices]
    terms = sparse.csr_array((weighted.astype(np.float32), items.indices, items.indptr), shape=items.shape)
    return _without_diagonal((terms @ terms.T).tocsr())


def _shared(matrix: sparse.csr_array) -> sparse.csr_array:
    """(items, items) float32: users who had both, nothing on the diagonal."""
    return _without_diagonal((matrix.T @ matrix).tocsr())


def _without_diagonal(pairs: sparse.csr_array) -> sparse.csr_array:
    pairs.setdiag(0)
    pairs.eliminate_zeros()
    return pairs


def nearest(pairs: sparse.csr_array, n: int) -> sparse.csr_array:
    """The `n` largest entries of each row; of equal ones the first columns."""
    from scipy import sparse

    owner = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))
    order = np.lexsort((pairs.indices, -pairs.data, owner))
    place = np.arange(len(order)) - np.repeat(pairs.indptr[:-1], np.diff(pairs.indptr))
    kept = order[place < n]
    return sparse.csr_array((pairs.data[kept], (owner[kept], pairs.indices[kept])), shape=pairs.shape)


@dataclass(frozen=True, slots=True)
class Directed:
    """Config of `CoOccurrence`."""

    window: int = 10
    """How many places behind an item another one still follows it."""
    shrinkage: float = 5.0
    """Users that a share is damped by."""
    decay: float = 0.8
    """Weight of a history item relative to the next newer one."""
    order: Literal["directed", "either"] = "directed"
    """Whether only what came after counts."""


class CoOccurrence:
    """Of the users who had an item, how many had another one after it; summed over the history, newer items for more."""

    def __init__(self, training: Training, config: Directed) -> None:
        from scipy import sparse

        self.config, pasts, items = config, training.pasts, training.items
        owner, rows = pasts.owner, pasts.rows.astype(np.int64)
        total = sparse.csr_array((items, items), dtype=np.float32)
        for ahead in range(1, min(config.window, len(rows) - 1) + 1):  # one shift of the whole array for each place
            same = owner[ahead:] == owner[:-ahead]
            source, target = rows[:-ahead][same], rows[ahead:][same]
            differ = source != target
            total = total + sparse.csr_array(
                (np.ones(int(differ.sum()), np.float32), (source[differ], target[differ])), shape=(items, items)
            )
        total = (total + total.T).tocsr() if config.order == "either" else total.tocsr()
        had = training.users[np.repeat(np.arange(items), np.diff(total.indptr))]
        total.data = (total.data / (had + config.shrinkage)).astype(np.float32)
        self.follows = total

    def scores(self, histories: Runs) -> NDArray[np.float32]:
        """(cases, items) 0 or more."""
        decayed = np.power(self.config.decay, histories.age).astype(np.float32)
        return np.asarray((histories.matrix(self.follows.shape[0], decayed) @ self.follows).toarray())
