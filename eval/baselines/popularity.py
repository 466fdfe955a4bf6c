"""Baselines that know no taste: chance, and what is had most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...retrieval.items.interactions import DAY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.ragged import Runs
    from ..splits.training_data import TrainingData


class RandomScorer:
    """Every item by lot: what a ranking is worth that knows nothing."""

    def __init__(self, training: TrainingData, *, seed: int = 0) -> None:
        self.items, self._draw = training.item_count, np.random.default_rng(seed)

    def scores(self, histories: Runs) -> NDArray[np.float32]:
        """(cases, items) in [0, 1)."""
        return self._draw.random((len(histories), self.items), dtype=np.float32)


class PopularityScorer:
    """What most users had, the same for everybody."""

    def __init__(self, training: TrainingData) -> None:
        self.users = training.user_counts.astype(np.float32)

    def scores(self, histories: Runs) -> NDArray[np.float32]:
        """(cases, items) the users of each item."""
        return np.broadcast_to(self.users, (len(histories), len(self.users)))


@dataclass(frozen=True, slots=True)
class RecentPopularityConfig:
    """Config of `RecentPopularityScorer`."""

    days: int = 30
    """How far back counts, from the last training interaction."""


class RecentPopularityScorer:
    """What most users had in the last days of the training; earlier popularity only breaks ties.

    Raises: ValueError: the training has no clock.
    """

    def __init__(self, training: TrainingData, config: RecentPopularityConfig) -> None:
        if training.timestamps is None:
            raise ValueError("there is no clock, so nothing is recent")
        late = training.timestamps >= training.timestamps.max(initial=0) - config.days * DAY
        pasts = training.histories.where(late)
        pairs = np.unique(pasts.owner * training.item_count + pasts.rows)
        lately = np.bincount(pairs % training.item_count, minlength=training.item_count)
        self.users = (lately + training.user_counts / (training.user_counts.max(initial=0) + 1)).astype(np.float32)

    def scores(self, histories: Runs) -> NDArray[np.float32]:
        """(cases, items) the late users of each item."""
        return np.broadcast_to(self.users, (len(histories), len(self.users)))


@dataclass(frozen=True, slots=True)
class CategoryPopularityConfig:
    """Config of `CategoryPopularityScorer`."""

    prior: float = 10.0
    """Users of the overall share that each category's confidence is smoothed with."""


class CategoryPopularityScorer:
    """What is had most inside the categories that the training users of the history's categories went to.

    An item's score is the mean, over the categories of the history, of the share of their users who had anything of the item's category,
    times the item's share of that category's users.
    """

    def __init__(self, training: TrainingData, config: CategoryPopularityConfig) -> None:
        from scipy import sparse

        self.category, categories = training.category, int(training.category.max(initial=0)) + 1
        belongs = sparse.csr_array(
            (np.ones(training.item_count, np.float32), (np.arange(training.item_count), training.category)),
            shape=(training.item_count, categories),
        )
        users = training.matrix @ belongs
        users.data[:] = 1
        had = np.asarray(users.sum(axis=0)).reshape(-1)  # (categories,)
        both = (users.T @ users).toarray()
        base = had / max(len(training.histories), 1)
        self.goes = ((both + config.prior * base) / (had[:, None] + config.prior)).astype(np.float32)  # (categories, categories)
        self.share = (training.user_counts / np.maximum(had[training.category], 1)).astype(np.float32)  # (items,)

    def scores(self, histories: Runs) -> NDArray[np.float32]:
        """(cases, items) between 0 and 1."""
        from scipy import sparse

        known = sparse.csr_array(
            (np.ones(len(histories.rows), np.float32), self.category[histories.rows].astype(np.int64), histories.starts),
            shape=(len(histories), len(self.goes)),
        )
        pull = (known @ self.goes) / np.maximum(histories.lengths, 1)[:, None]
        return np.asarray(pull[:, self.category] * self.share, dtype=np.float32)
