"""User weights for significance tests: 1, less for users with very many items and for groups of users with nearly the same items.

Tests assume independent users. Reviewers of free samples are not: in one review data set a few dozen people reviewed the same oils,
gloves and cords, and made every pair of them the strongest association. Similar users share one weight, like sequences of one family in
direct-coupling analysis (Morcos et al., PNAS 2011). Reported user counts are unweighted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..items.interactions import Events, distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNIT = 1000
"""A user of full weight, in the whole numbers that weights are added up in."""
FULL_ITEMS, FULL_SHARE = 20, 0.95
"""Distinct items up to which a user counts in full: as many as 95 of 100 users have, 20 at least. n times as many count 1 / n."""
MIN_ITEMS_COMPARED = 20
"""Distinct items above which users are compared: a taste shared over fewer is no sign of anything."""
SIMILAR_USER_COSINE = 0.2
"""Cosine of two users' items from which they are alike. Of the pairs of people with many items that share any, 99 of 100 lie below 0.15 in
a large set of reviews; those of its free-sample clique are mostly above 0.3."""
COMMON_ITEM_USERS = 100
"""Items with more compared users than this are ignored in the comparison."""
BLOCK = 1024


def user_weights(events: Events) -> NDArray[np.int64]:
    """(users,) weight of each user, in `UNIT`, at least 1."""
    owned = distinct((events.user.astype(np.int64) << 32) | events.row)
    user, row = owned >> 32, owned & 0xFFFFFFFF
    items = np.bincount(user, minlength=len(events.users))
    full = max(FULL_ITEMS, int(np.quantile(items[items > 0], FULL_SHARE))) if len(owned) else FULL_ITEMS
    share = np.minimum(1.0, full / np.maximum(items, 1)) / (1 + similar_user_counts(user, row, items))
    return np.maximum(UNIT * share, 1).astype(np.int64)


def similar_user_counts(user: NDArray[np.int64], row: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.int64]:
    """(users,) number of similar users of each user.

    Args:
        user: (pairs,) user numbers of distinct user-item pairs.
        row: (pairs,) item rows of the same pairs.
        items: (users,) number of items of each user.
    """
    from scipy import sparse

    heavy = np.flatnonzero(items > MIN_ITEMS_COMPARED)
    compared_index = np.full(len(items), -1)
    compared_index[heavy] = np.arange(len(heavy))
    keep = compared_index[user] >= 0
    user, row = compared_index[user[keep]], row[keep]
    rare = np.bincount(row, minlength=1) <= COMMON_ITEM_USERS
    user, row = user[rare[row]], row[rare[row]]
    counts = np.zeros(len(items), dtype=np.int64)
    if not len(user):
        return counts
    has = sparse.csr_array((np.ones(len(user), dtype=np.int32), (user, row)), shape=(len(heavy), int(row.max()) + 1))
    by_item = has.T.tocsr()
    root = np.sqrt(items[heavy])
    for start in range(0, len(heavy), BLOCK):
        shared = sparse.coo_array(has[start : start + BLOCK] @ by_item)
        left, right = shared.coords[0] + start, shared.coords[1]
        similar = (shared.data >= SIMILAR_USER_COSINE * root[left] * root[right]) & (left != right)
        counts[heavy] += np.bincount(left[similar], minlength=len(heavy))
    return counts
