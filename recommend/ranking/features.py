"""What the blend is told of each candidate: the channels' scores as shares, and how it fits the shopper.

A score is told against the best of the same query, because a history of two and one of two hundred differ in everything else. It is told
apart by category, too: which categories a channel points at is one thing, which items of a category another. Nothing here knows which items
are asked for, so that what is fitted on one part of the shoppers may be used on another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.catalogue import Catalogue
    from ...retrieval.retriever import Proposals
    from ..profiles.profile import Profile

CHANNELS = (
    "semantic",
    "associations",
    "popularity",
    "follows",
    "neighbours",
    "together",
    "smoothed",
    "lately",
    "factors",
    "complements",
    "graph",
)
"""Every channel that there may be, in the order of the features."""
CHANNEL_FEATURES = ("share", "log share", "by length", "category", "in category")
"""`share` of the best score of the query, and its log; `by length`: that times the log of how much longer than `USUAL` the history is, for
only so can a weighted sum trust a channel more where the history is long; `category`: log of the sum of the shares of the candidate's
category; `in category`: log of the share of the best of it. Ranks beside these made no difference on three stores."""
PROFILE_FEATURES = ("log users", "price gap", "brand", "crowd", "history length")
"""`log users` of the item; `price gap`: how far, in log price, it lies from what the shopper pays, each against the usual in its category;
`brand`: share of the history of its brand; `crowd`: log of how many candidates its category has; `history length`: in log."""
LLM_CHANNEL = "llm"
EPSILON, CATEGORY_EPSILON = 1e-3, 1e-2
"""Share that stands for none where a logarithm is taken, of a query and inside a category."""
TYPICAL_HISTORY_LENGTH = 9
"""Items of a usual history."""


@dataclass(frozen=True)
class FeatureMatrix:
    """Names and values.

    Attributes: names: (features) as `channel:what`. values: (candidates, features) float32.
    """

    names: Sequence[str]
    values: NDArray[np.float32]


class FeatureExtractor:
    """Features over one catalogue."""

    def __init__(self, catalogue: Catalogue, channels: Iterable[str]) -> None:
        """Args: channels: those that the retriever has."""
        self.catalogue = catalogue
        there = set(channels)
        self.channels = [name for name in CHANNELS if name in there]
        self.names = [f"{channel}:{what}" for channel in self.channels for what in CHANNEL_FEATURES] + [
            f"profile:{what}" for what in PROFILE_FEATURES
        ]
        self._users = np.log1p(catalogue.users).astype(np.float32)

    def features(self, found: Proposals, profile: Profile) -> FeatureMatrix:
        """The features of a query's candidates, in their order."""
        rows = found.rows
        _, category = np.unique(self.catalogue.category[rows], return_inverse=True)  # (candidates,) codes of this query
        crowd = np.log1p(np.bincount(category, minlength=1)[category])
        length = np.log1p(len(profile.rows))
        columns: list[NDArray[Any]] = []
        for name in self.channels:
            columns += _told(found.scores.get(name, np.zeros(len(found), np.float32)), category, length - np.log1p(TYPICAL_HISTORY_LENGTH))
        columns += [self._users[rows], profile.price_gap(rows), profile.brand_share(rows), crowd, np.full(len(rows), length)]
        return FeatureMatrix(self.names, np.stack(columns, axis=1).astype(np.float32))


def _told(scores: NDArray[np.float32], category: NDArray[np.int64], longer: float) -> list[NDArray[Any]]:
    """`OF_CHANNEL` of one channel's scores; what it says nothing of is last."""
    best = float(scores.max(initial=0.0))
    share = np.maximum(scores, 0) / best if best > 0 else np.zeros(len(scores), np.float32)
    log = np.log(share + EPSILON)
    most = np.zeros(int(category.max(initial=0)) + 1)
    np.maximum.at(most, category, share)
    whole = np.log(np.bincount(category, share, minlength=1)[category] + CATEGORY_EPSILON)
    inside = np.log(share / np.maximum(most[category], 1e-6) + CATEGORY_EPSILON)
    return [share, log, longer * log, whole, inside]
