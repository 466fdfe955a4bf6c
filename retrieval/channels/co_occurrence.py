"""Sparse item-item matrices counted from histories: sequential co-occurrence, cosine, BM25 and random walks.

Every pair counts, also that of a single user: such a pair is no evidence to show, but ranks better than no pair. No queries, categories or
cases are known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from ..items.ragged import RaggedArray


def sequential(histories: RaggedArray, items: int, *, window: int, shrinkage: float, both_directions: bool) -> sparse.csr_array:
    """Return the damped share of an item's users who had another item soon afterwards.

    Args:
        histories: (users,) item rows, oldest first, repeated items included.
        items: Number of items.
        window: Number of later events that count as following an item.
        shrinkage: Users that the share is damped by.
        both_directions: Whether earlier events count as well.

    Returns:
        (items, items) float32.
    """
    from scipy import sparse

    owner, rows = histories.row_index, histories.rows.astype(np.int64)
    total = sparse.csr_array((items, items), dtype=np.float32)
    for offset in range(1, min(window, len(rows) - 1) + 1):
        same_user = owner[offset:] == owner[:-offset]
        source, target = rows[:-offset][same_user], rows[offset:][same_user]
        differ = source != target
        total = total + sparse.csr_array((np.ones(int(differ.sum()), np.float32), (source[differ], target[differ])), shape=(items, items))
    total = (total + total.T).tocsr() if both_directions else total.tocsr()
    source_users = user_counts(histories, items)[np.repeat(np.arange(items), np.diff(total.indptr))]
    share = (total.data / (source_users + shrinkage)).astype(np.float32)
    return sparse.csr_array((share, total.indices, total.indptr), shape=(items, items))


def cosine(histories: RaggedArray, items: int, *, max_neighbors: int, shrinkage: float, partner_exponent: float) -> sparse.csr_array:
    """Return users of both items, divided by the norm of the user counts; the largest entries of each row are kept.

    Args:
        histories: (users,) item rows.
        items: Number of items.
        max_neighbors: Entries kept per row.
        shrinkage: Users that a similarity is damped by: n / (n + shrinkage).
        partner_exponent: Exponent of the partner's users in the norm: 0.5 is the cosine, 0 divides by the root of the source's users only.

    Returns:
        (items, items) float32.

    Source: Deshpande and Karypis, TOIS 2004.
    """
    return cosine_from_counts(
        pair_counts(histories, items),
        user_counts(histories, items),
        max_neighbors=max_neighbors,
        shrinkage=shrinkage,
        partner_exponent=partner_exponent,
    )


def pair_counts(histories: RaggedArray, items: int) -> sparse.csr_array:
    """Return (items, items) float32 number of distinct users of each pair of items, without the diagonal."""
    user_items = histories.matrix(items)
    user_items.data[:] = 1
    return without_diagonal((user_items.T @ user_items).tocsr())


def cosine_from_counts(
    pairs: sparse.csr_array, item_users: NDArray[np.int64], *, max_neighbors: int, shrinkage: float, partner_exponent: float
) -> sparse.csr_array:
    """Return `cosine` of counted pairs, so that several configurations share the counts.

    Args:
        pairs: (items, items) `pair_counts`; not changed.
        item_users: (items,) number of distinct users of each item.
        max_neighbors: Entries kept per row.
        shrinkage: See `cosine`.
        partner_exponent: See `cosine`.
    """
    from scipy import sparse

    counts = np.maximum(item_users, 1).astype(np.float64)
    norm = np.repeat(np.sqrt(counts), np.diff(pairs.indptr)) * (counts**partner_exponent)[pairs.indices]
    damping = pairs.data / (pairs.data + shrinkage) if shrinkage else 1.0
    similarities = (pairs.data / norm * damping).astype(np.float32)
    return top_per_row(sparse.csr_array((similarities, pairs.indices, pairs.indptr), shape=pairs.shape), max_neighbors)


def bm25(histories: RaggedArray, items: int, *, max_neighbors: int, k1: float, b: float) -> sparse.csr_array:
    """Return BM25 similarities with items as documents and their users as terms; the largest entries of each row are kept.

    Args:
        histories: (users,) item rows.
        items: Number of items.
        max_neighbors: Entries kept per row.
        k1: Saturation of the term frequency.
        b: Normalization of the document length, from 0 to 1.

    Returns:
        (items, items) float32.

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


def random_walk(histories: RaggedArray, items: int, *, max_neighbors: int, popularity_exponent: float) -> sparse.csr_array:
    """Return the probability to reach an item from another over a random common user, divided by a power of the target's users.

    Args:
        histories: (users,) item rows.
        items: Number of items.
        max_neighbors: Entries kept per row.
        popularity_exponent: Exponent of the target's users; 0 does not penalize popular items.

    Returns:
        (items, items) float32.

    Source: RP3beta of Paudel et al., ACM TiiS 2016, with unmodified transition probabilities.
    """
    user_items = histories.matrix(items)
    user_items.data[:] = 1
    item_users = user_items.T.tocsr()
    counts = np.maximum(np.diff(item_users.indptr), 1).astype(np.float64)
    lengths = np.maximum(np.diff(user_items.indptr), 1)
    user_items.data /= np.repeat(lengths, np.diff(user_items.indptr)).astype(np.float32)
    pairs = without_diagonal((item_users @ user_items).tocsr())
    source = np.repeat(np.arange(items), np.diff(pairs.indptr))
    pairs.data = (pairs.data / (counts[source] * counts[pairs.indices] ** popularity_exponent)).astype(np.float32)
    return top_per_row(pairs, max_neighbors)


def user_counts(histories: RaggedArray, items: int) -> NDArray[np.int64]:
    """Return (items,) number of distinct users of each item."""
    return np.bincount(histories.matrix(items).indices, minlength=items).astype(np.int64)


def top_per_row(pairs: sparse.csr_array, count: int) -> sparse.csr_array:
    """Return the `count` largest entries of each row; among equal ones the first columns.

    Args:
        pairs: (rows, columns) float32 without NaN or duplicate entries; its indices are sorted in place.
        count: Entries kept per row, 1 or more.
    """
    from scipy import sparse

    pairs.sort_indices()
    lengths = np.diff(pairs.indptr)
    owner = np.repeat(np.arange(pairs.shape[0]), lengths)
    long_rows = np.flatnonzero(lengths > count)
    if not len(long_rows):
        return sparse.csr_array((pairs.data, pairs.indices, pairs.indptr), shape=pairs.shape)
    in_long_row = (lengths > count)[owner]
    values, long_lengths = pairs.data[in_long_row] + np.float32(0), lengths[long_rows]  # + 0 turns -0 into 0
    threshold = np.repeat(_kth_largest(values, long_lengths, count), long_lengths)
    is_equal, is_above = values == threshold, values > threshold
    starts = np.cumsum(long_lengths) - long_lengths
    room = count - np.add.reduceat(is_above.astype(np.int64), starts)  # entries equal to the threshold that are kept, by row
    equal_before = np.cumsum(is_equal) - is_equal
    equal_position = equal_before - np.repeat(equal_before[starts], long_lengths)
    kept = np.ones(len(pairs.data), dtype=bool)
    kept[in_long_row] = is_above | (is_equal & (equal_position < np.repeat(room, long_lengths)))
    indptr = np.concatenate([[0], np.cumsum(np.minimum(lengths, count))])
    return sparse.csr_array((pairs.data[kept], pairs.indices[kept], indptr), shape=pairs.shape)


def _kth_largest(values: NDArray[np.float32], lengths: NDArray[np.int64], k: int) -> NDArray[np.float32]:
    """The k-th largest value of each of consecutive segments with at least k values."""
    starts = np.cumsum(lengths) - lengths
    kth = np.empty(len(lengths), dtype=np.float32)
    by_length = np.argsort(lengths, kind="stable")
    for first in range(0, len(by_length), 64):  # segments of similar length are sorted as the rows of one padded array
        segments = by_length[first : first + 64]
        width = int(lengths[segments[-1]])
        columns = np.arange(width)
        is_filled = columns < lengths[segments, None]
        padded = np.full((len(segments), width), -np.inf, dtype=np.float32)
        padded[is_filled] = values[(starts[segments, None] + columns)[is_filled]]
        kth[segments] = np.sort(padded, axis=1)[:, width - k]
    return kth


def without_diagonal(pairs: sparse.csr_array) -> sparse.csr_array:
    """Return the pairs without those of an item with itself and without zeros, columns ascending."""
    from scipy import sparse

    owner = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))
    kept = (pairs.indices != owner) & (pairs.data != 0)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(owner[kept], minlength=pairs.shape[0]))])
    others = sparse.csr_array((pairs.data[kept], pairs.indices[kept], indptr), shape=pairs.shape)
    others.sort_indices()
    return others
