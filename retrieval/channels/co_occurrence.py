"""Item-by-item weights counted from what users had: who had both, and who went on from one to the other. Sparse; nothing is left out.

Unlike the table of associations these keep every pair, also one that a single user made: such a pair proves nothing that could be said
aloud, and still orders items better than no pair. Knows nothing of queries, categories or cases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from ..items.ragged import RaggedArray


def sequential(histories: RaggedArray, items: int, *, window: int, shrinkage: float, both_directions: bool) -> sparse.csr_array:
    """(items, items) float32: of the users who had an item, the share who had another one soon after it, damped.

    Args:
        pasts: one run a user, oldest first, repeats as they happened. window: how many places behind an item another one still follows it.
        shrinkage: users that a share is damped by. either: whether what came before counts too.
    """
    from scipy import sparse

    owner, rows = histories.row_index, histories.rows.astype(np.int64)
    total = sparse.csr_array((items, items), dtype=np.float32)
    for offset in range(1, min(window, len(rows) - 1) + 1):  # one shift of the whole array for each place
        same = owner[offset:] == owner[:-offset]
        source, target = rows[:-offset][same], rows[offset:][same]
        differ = source != target
        total = total + sparse.csr_array((np.ones(int(differ.sum()), np.float32), (source[differ], target[differ])), shape=(items, items))
    total = (total + total.T).tocsr() if both_directions else total.tocsr()
    counts = user_counts(histories, items)[np.repeat(np.arange(items), np.diff(total.indptr))]
    share = (total.data / (counts + shrinkage)).astype(np.float32)
    return sparse.csr_array((share, total.indices, total.indptr), shape=(items, items))


def cosine(histories: RaggedArray, items: int, *, max_neighbors: int, shrinkage: float, partner_exponent: float) -> sparse.csr_array:
    """(items, items) float32: users who had both over the roots of the users of each; the nearest are kept.

    Args: shrinkage: users that a similarity is damped by: n / (n + shrinkage). partner: exponent of the partner's users in the norm: 0.5
        is the cosine, 0 divides by the history item's root only.
    Source: Deshpande and Karypis, TOIS 2004.
    """
    user_items = histories.matrix(items)
    user_items.data[:] = 1
    pairs = without_diagonal((user_items.T @ user_items).tocsr())
    counts = np.maximum(np.bincount(user_items.indices, minlength=items), 1).astype(np.float64)
    source = np.repeat(np.arange(items), np.diff(pairs.indptr))
    norm = np.sqrt(counts[source]) * counts[pairs.indices] ** partner_exponent
    damping = pairs.data / (pairs.data + shrinkage) if shrinkage else 1.0
    pairs.data = (pairs.data / norm * damping).astype(np.float32)
    return top_per_row(pairs, max_neighbors)


def bm25(histories: RaggedArray, items: int, *, max_neighbors: int, k1: float, b: float) -> sparse.csr_array:
    """(items, items) float32: BM25 of an item as document and its users as terms, against each other item; the nearest are kept.

    Source: Robertson and Zaragoza, Foundations and Trends in Information Retrieval 2009.
    """
    from scipy import sparse

    item_users = histories.matrix(items).T.tocsr()  # (items, users): counts of interactions
    item_counts = np.maximum(np.bincount(item_users.indices, minlength=item_users.shape[1]), 1)
    idf = np.log(items) - np.log1p(item_counts)
    length = np.asarray(item_users.sum(axis=1)).reshape(-1)
    norm = (1.0 - b) + b * length / max(length.mean(), 1e-12)
    owner = np.repeat(np.arange(items), np.diff(item_users.indptr))
    weighted = item_users.data * (k1 + 1.0) / (k1 * norm[owner] + item_users.data) * idf[item_users.indices]
    terms = sparse.csr_array((weighted.astype(np.float32), item_users.indices, item_users.indptr), shape=item_users.shape)
    return top_per_row(without_diagonal((terms @ terms.T).tocsr()), max_neighbors)


def user_counts(histories: RaggedArray, items: int) -> NDArray[np.int64]:
    """(items,) distinct users who had each item."""
    return np.bincount(histories.matrix(items).indices, minlength=items).astype(np.int64)


def top_per_row(pairs: sparse.csr_array, n: int) -> sparse.csr_array:
    """The `n` largest entries of each row; of equal ones the first columns."""
    from scipy import sparse

    owner = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))
    order = np.lexsort((pairs.indices, -pairs.data, owner))
    rank = np.arange(len(order)) - np.repeat(pairs.indptr[:-1], np.diff(pairs.indptr))
    kept = order[rank < n]
    return sparse.csr_array((pairs.data[kept], (owner[kept], pairs.indices[kept])), shape=pairs.shape)


def without_diagonal(pairs: sparse.csr_array) -> sparse.csr_array:
    """The pairs of different items."""
    pairs.setdiag(0)
    pairs.eliminate_zeros()
    return pairs
