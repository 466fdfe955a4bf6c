"""Channels that count all that users had, however few had it: `follows`, `neighbours`, `together`, `smoothed` and `lately`.

Each scores all items for a history and names the history item that says most for each. They order; what may be said aloud of a pair is the
business of `associations`, which keeps only pairs that can be shown. Knows nothing of rules, users or language models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..items.interactions import DAY, NEVER, distinct
from ..items.ragged import Runs
from . import co_occurrence

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from ..items.interactions import Events
    from .base import CandidateQuery, Channel, ChannelScores
    from .text_similarity import Alike

WINDOW, SHRINKAGE = 10, 20.0
"""Places behind an item within which another one follows it, and users that a share is damped by."""
DECAY = 0.8
"""Weight of a history item relative to the next newer one, where order counts."""
NEIGHBOURS, K1, B = 1000, 100.0, 0.25
"""Of `neighbours`: as they were chosen most often on the validation cases of five sets of data."""
PARTNER = 0.0
"""Of `together`: exponent of the partner's users in the norm; 0 leaves much-had items ahead."""
LATELY = 180 * DAY
"""Milliseconds: what is older is not of late."""
LAST, LAST_OF_ALIKE = 50, 25
"""History items that are looked from where weights decay, older ones weigh nothing. `smoothed` looks from fewer: each costs it a look at
all texts, and the first that it leaves out would weigh 0.4 % of the newest."""


class Follows:
    """Of the users who had a history item, how many had this one soon after it; newer history items count for more."""

    def __init__(self, matrix: sparse.csr_array) -> None:
        self.matrix = matrix

    @classmethod
    def count(cls, pasts: Runs, items: int) -> Follows:
        """The channel of some users' pasts."""
        return cls(co_occurrence.follows(pasts, items, window=WINDOW, shrinkage=SHRINKAGE, either=False))

    def scores(self, seeds: CandidateQuery) -> ChannelScores:
        """Sums of shares, 0 or more."""
        places = np.arange(max(0, len(seeds.rows) - LAST), len(seeds.rows))
        return _sum(self.matrix, seeds.rows[places], _decayed(seeds)[places], places)


class Neighbours:
    """Nearness to the whole history, old and new alike, by who had both (BM25)."""

    def __init__(self, matrix: sparse.csr_array) -> None:
        self.matrix = matrix

    @classmethod
    def count(cls, pasts: Runs, items: int) -> Neighbours:
        """The channel of some users' pasts."""
        return cls(co_occurrence.bm25(pasts, items, neighbours=NEIGHBOURS, k1=K1, b=B))

    def scores(self, seeds: CandidateQuery) -> ChannelScores:
        """Sums of BM25 weights; may be below 0 for what nearly everybody had."""
        return _sum(self.matrix, seeds.rows, seeds.undecayed_weights, np.arange(len(seeds.rows)))


class Together:
    """Of the users who had each history item, how many had this one too, whatever the order; much-had history items prove less."""

    def __init__(self, matrix: sparse.csr_array) -> None:
        self.matrix = matrix

    @classmethod
    def count(cls, pasts: Runs, items: int) -> Together:
        """The channel of some users' pasts."""
        return cls(co_occurrence.cosine(pasts, items, neighbours=NEIGHBOURS, shrinkage=0.0, partner=PARTNER))

    def scores(self, seeds: CandidateQuery) -> ChannelScores:
        """Sums over the history of the users of both over the root of the history item's users, 0 or more."""
        return _sum(self.matrix, seeds.rows, seeds.undecayed_weights, np.arange(len(seeds.rows)))


class Smoothed:
    """As `Follows`, either way round, but each history item votes together with the items whose text is most like its own.

    What was hardly ever bought borrows the company of what it resembles.
    """

    def __init__(self, matrix: sparse.csr_array, alike: Alike) -> None:
        self.matrix, self.alike = matrix, alike

    @classmethod
    def count(cls, pasts: Runs, items: int, alike: Alike, *, ordered: bool) -> Smoothed:
        """The channel of some users' pasts; without an order all pairs of a user count, not only those near each other."""
        if ordered:
            return cls(co_occurrence.follows(pasts, items, window=WINDOW, shrinkage=SHRINKAGE, either=True), alike)
        return cls(co_occurrence.cosine(pasts, items, neighbours=NEIGHBOURS, shrinkage=5.0, partner=0.25), alike)

    def scores(self, seeds: CandidateQuery) -> ChannelScores:
        """Sums of shares, 0 or more."""
        places = np.arange(max(0, len(seeds.rows) - LAST_OF_ALIKE), len(seeds.rows))
        found = self.alike.of(seeds.rows[places])
        rows = np.concatenate([rows for rows, _ in found]) if found else np.empty(0, np.int64)
        share = np.concatenate([share for _, share in found]) if found else np.empty(0)
        voter = np.repeat(places, [len(rows) for rows, _ in found])
        return _sum(self.matrix, rows, share * _decayed(seeds)[voter], voter)


class Lately:
    """How many users had an item of late, by the clock; without one, ever. The same for every history."""

    def __init__(self, users: NDArray[np.float32]) -> None:
        self.users = users

    @classmethod
    def count(cls, events: Events, items: int) -> Lately:
        """The channel of some users' events."""
        recent = np.ones(len(events), dtype=bool)
        if events.order == "time" and len(events):
            # By when nearly all had happened: one wrong clock in the future must not make everything else old.
            recent = events.time > np.quantile(events.time[events.time != NEVER], 0.99) - LATELY
        pairs = distinct((events.user[recent].astype(np.int64) << 32) | events.row[recent])
        return cls(np.bincount(pairs & 0xFFFFFFFF, minlength=items).astype(np.float32))

    def scores(self, seeds: CandidateQuery) -> ChannelScores:  # noqa: ARG002
        """Counts of users; no history item is behind them."""
        return self.users, np.full(len(self.users), -1, dtype=np.int64)


def count(events: Events, items: int, alike: Alike) -> dict[str, Channel]:
    """The channels of a snapshot's events; where nothing tells an order, nothing follows anything."""
    pasts, ordered = Runs(events.starts, events.row), events.order != "none"
    found: dict[str, Channel] = {"follows": Follows.count(pasts, items)} if ordered else {}
    return found | {
        "neighbours": Neighbours.count(pasts, items),
        "together": Together.count(pasts, items),
        "smoothed": Smoothed.count(pasts, items, alike, ordered=ordered),
        "lately": Lately.count(events, items),
    }


def _decayed(seeds: CandidateQuery) -> NDArray[np.float64]:
    return np.asarray(seeds.undecayed_weights * DECAY ** np.arange(len(seeds.rows))[::-1])


def _sum(matrix: sparse.csr_array, rows: NDArray[np.int64], weights: NDArray[np.float64], places: NDArray[np.int64]) -> ChannelScores:
    """Adds up the rows of a matrix with weights; the place of the largest share of each sum."""
    items = matrix.shape[1]
    scores, best = np.zeros(items, dtype=np.float32), np.zeros(items, dtype=np.float32)
    strongest = np.full(items, -1, dtype=np.int64)
    indptr, indices, data = matrix.indptr, matrix.indices, matrix.data
    for row, weight, place in zip(rows.tolist(), weights.tolist(), places.tolist(), strict=True):
        run = slice(indptr[row], indptr[row + 1])
        targets = indices[run]
        share = data[run] * np.float32(weight)
        scores[targets] += share
        ahead = share > best[targets]
        targets = targets[ahead]
        best[targets], strongest[targets] = share[ahead], place
    return scores, strongest
