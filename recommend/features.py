"""What the blend is told of each candidate: the channels' scores as shares and ranks, and how it fits the shopper.

A score is told against the best of the same query, because a history of two and one of two hundred differ in everything else. Nothing here
knows which items are asked for, so that what is fitted on one part of the shoppers may be used on another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..retrieval.candidates import Proposals
    from ..retrieval.catalogue import Catalogue
    from .profile import Profile

CHANNELS = ("semantic", "associations", "popularity", "follows", "neighbours", "smoothed", "lately", "complements", "graph")
"""Every channel that there may be, in the order of the features."""
OF_CHANNEL = ("share", "log share", "log rank")
OF_FIT = ("log users", "price gap", "brand", "crowd", "history length")
"""`log users` of the item; `price gap`: how far, in log price, it lies from what the shopper pays, each against the usual in its category;
`brand`: share of the history of its brand; `crowd`: log of how many candidates its category has; `history length`: in log."""
LLM = "llm"
SMALL = 1e-3
"""Share that stands for none where a logarithm is taken."""


@dataclass(frozen=True)
class Features:
    """Names and values.

    Attributes: names: (features) as `channel:what`. values: (candidates, features) float32.
    """

    names: Sequence[str]
    values: NDArray[np.float32]


class FeatureMaker:
    """Features over one catalogue."""

    def __init__(self, catalogue: Catalogue, channels: Iterable[str]) -> None:
        """Args: channels: those that the retriever has."""
        self.catalogue = catalogue
        there = set(channels)
        self.channels = [name for name in CHANNELS if name in there]
        self.names = [f"{channel}:{what}" for channel in self.channels for what in OF_CHANNEL] + [f"profile:{what}" for what in OF_FIT]
        self._users = np.log1p(catalogue.users).astype(np.float32)

    def features(self, found: Proposals, profile: Profile) -> Features:
        """The features of a query's candidates, in their order."""
        columns: list[NDArray[Any]] = []
        for name in self.channels:
            columns += _told(found.scores.get(name, np.zeros(len(found), np.float32)))
        rows = found.rows
        category = self.catalogue.category[rows]
        crowd = np.log1p(np.bincount(category, minlength=1)[category])
        length = np.full(len(rows), np.log1p(len(profile.rows)))
        columns += [self._users[rows], profile.price_gap(rows), profile.brand_share(rows), crowd, length]
        return Features(self.names, np.stack(columns, axis=1).astype(np.float32))


def _told(scores: NDArray[np.float32]) -> list[NDArray[Any]]:
    """`OF_CHANNEL` of one channel's scores; what it says nothing of is last."""
    best = float(scores.max(initial=0.0))
    share = np.maximum(scores, 0) / best if best > 0 else np.zeros(len(scores), np.float32)
    # Equal scores share the best rank among them.
    losses = np.subtract(0, share)
    rank = np.searchsorted(np.sort(losses), losses, side="left")
    return [share, np.log(share + SMALL), np.log1p(rank)]
