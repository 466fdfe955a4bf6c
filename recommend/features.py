"""What the blend is told of each candidate: the channels' scores as shares and ranks, and how it fits the shopper.

A score is told against the best of the same query, because a history of two and one of two hundred differ in everything else. Nothing here
knows which items are asked for, so that what is fitted on one part of the shoppers may be used on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..retrieval.candidates import Proposals, Seeds
    from ..retrieval.catalogue import Catalogue

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

    def __init__(self, catalogue: Catalogue, channels: Sequence[str]) -> None:
        """Args: channels: those that the retriever has."""
        import polars as pl

        self.catalogue = catalogue
        self.channels = [name for name in CHANNELS if name in channels]
        self.names = [f"{channel}:{what}" for channel in self.channels for what in OF_CHANNEL] + [f"profile:{what}" for what in OF_FIT]
        price = catalogue.items["price"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            level = np.log(np.where(price > 0, price, np.nan))
        usual = np.zeros(len(catalogue.nodes))
        for code in range(len(usual)):
            here = level[catalogue.category == code]
            usual[code] = np.nanmean(here) if np.isfinite(here).any() else 0.0
        self._level = level - usual[catalogue.category]  # (items,) log price against the category's usual one; nan unknown
        brand = catalogue.items["brand"].str.to_lowercase().fill_null("")
        codes = brand.cast(pl.Categorical).to_physical().to_numpy().astype(np.int64)
        self._brand = np.where(brand.to_numpy() == "", -1, codes)
        self._users = np.log1p(catalogue.users).astype(np.float32)

    def features(self, found: Proposals, seeds: Seeds) -> Features:
        """The features of a query's candidates, in their order."""
        columns: list[NDArray[Any]] = []
        for name in self.channels:
            columns += _told(found.scores.get(name, np.zeros(len(found), np.float32)))
        columns += self._fit(found.rows, seeds)
        return Features(
            self.names, np.stack(columns, axis=1).astype(np.float32) if len(found) else np.empty((0, len(self.names)), np.float32)
        )

    def _fit(self, rows: NDArray[np.int64], seeds: Seeds) -> list[NDArray[Any]]:
        history, weights = seeds.rows, seeds.weights
        paid, known = self._level[history], np.isfinite(self._level[history])
        level = float(np.average(paid[known], weights=weights[known])) if known.any() else 0.0
        gap = np.nan_to_num(np.abs(self._level[rows] - level), nan=0.5)
        brand = self._brand[rows]
        same = (brand[:, None] == self._brand[history][None, :]) & (brand[:, None] >= 0)  # (candidates, history)
        loyal = same @ weights / max(float(weights.sum()), 1e-12)
        category = self.catalogue.category[rows]
        crowd = np.log1p(np.bincount(category, minlength=1)[category])
        return [self._users[rows], gap, loyal, crowd, np.full(len(rows), np.log1p(len(history)))]


def _told(scores: NDArray[np.float32]) -> list[NDArray[Any]]:
    """`OF_CHANNEL` of one channel's scores; what it says nothing of is last."""
    best = float(scores.max(initial=0.0))
    share = np.maximum(scores, 0) / best if best > 0 else np.zeros(len(scores), np.float32)
    # Equal scores share the best rank among them.
    losses = np.subtract(0, share)
    rank = np.searchsorted(np.sort(losses), losses, side="left")
    return [share, np.log(share + SMALL), np.log1p(rank)]
