"""Features of candidates for the blend: normalized channel scores, and how the item matches the shopper's profile.

Channel scores are relative to the best score of the same query, because absolute scores are not comparable between a history of two items
and one of two hundred. Category features separate two questions: which categories a channel points to, and which items within a category.
No feature depends on the held-out targets, so a model fitted to some shoppers applies to others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.catalogue import Catalogue
    from ...retrieval.retriever import CandidateScores
    from ..profiles.profile import Profile

CHANNELS = (
    "semantic",
    "associations",
    "popularity",
    "relations",
    "sequential",
    "item_knn",
    "co_occurrence",
    "text_smoothed",
    "lately",
    "factors",
    "item_regression",
    "user_knn",
    "random_walk",
    "category_popularity",
    "complements",
    "graph",
)
"""The channels of the package, in the order of their features; other channels follow in alphabetical order."""
LEVEL_FEATURES = ("level in short histories", "level in medium histories", "level in long histories")
"""Parts of a channel's level, which add up to it."""
RARE_FEATURE = "level of rarely bought items"
"""Name of the feature that lets a channel weigh more for items that few have bought, such as text similarity."""
CHANNEL_FEATURES = ("share", "log share", "by length", "category", "in category", *LEVEL_FEATURES, RARE_FEATURE)
"""Features of each channel; `FITTED_FEATURES` are those of present blends, the others those of blends of former versions.

- `share`: score divided by the best score of the query; `log share`: its log.
- `by length`: `log share` times the log of the history length over `TYPICAL_HISTORY_LENGTH`; with it a weighted sum can weight a channel by
  history length.
- `category`: log of the sum of the shares in the candidate's category.
- `in category`: log of the score divided by the best score of the candidate's category.
- `level in short histories`, `level in medium histories`, `level in long histories`: the level is the log of the share over a floor of
  `LEVEL_FLOOR`, from 0 (no evidence) to 1 (the best score), whatever the store or the channel. With n items in the history, the part
  2 / (n + 1) of it counts as short, of the rest n / (n + `LONG_HISTORY`) as long, so that a weighted sum weights a channel by history
  length.
- `level of rarely bought items`: the level times `RARE_USERS` / (`RARE_USERS` + users of the item).

Adding ranks made no difference on three stores.
"""
FITTED_FEATURES = (*LEVEL_FEATURES, RARE_FEATURE)
"""Channel features that a blend is fitted to. They mean the same in every store, so weights can be compared and carried over."""
LEVEL_FLOOR = 0.1
"""Share added before the logarithm of a level; smaller floors spread the candidates that no channel ranks high."""
LONG_HISTORY = 50
"""Items in a history of which half counts as long."""
RARE_USERS = 2
"""Users of an item at which half of its level counts as that of a rarely bought item."""
PROFILE_FEATURES = ("log users", "price gap", "brand", "crowd", "history length")
"""Features of the item and the profile.

- `log users`: log of the item's number of users.
- `price gap`: absolute difference in log price between the item and the shopper's price level, both relative to the category average.
- `brand`: share of the item's brand in the history.
- `crowd`: log of the number of candidates in the item's category.
- `history length`: log of the number of items in the history.
"""
LLM_CHANNEL = "llm"
"""Name of the LLM among the channels."""
EPSILON, CATEGORY_EPSILON = 1e-3, 1e-2
"""Added to a share before its logarithm: to shares of a query, and to shares within or of a category."""
TYPICAL_HISTORY_LENGTH = 9
"""Number of items in a typical history."""


@dataclass(frozen=True)
class FeatureMatrix:
    """Named features of a query's candidates.

    Attributes:
        names: (features) as `channel:feature` or `profile:feature`.
        values: (candidates, features) float32.
    """

    names: Sequence[str]
    values: NDArray[np.float32]

    def select(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Return (candidates, names) some features in this order; 0 for features that are absent."""
        available = {name: column for column, name in enumerate(self.names)}
        values = np.zeros((len(self.values), len(names)), dtype=np.float32)
        for column, name in enumerate(names):
            if name in available:
                values[:, column] = self.values[:, available[name]]
        return values


class FeatureExtractor:
    """Computes the features of candidates from one catalogue."""

    def __init__(self, catalogue: Catalogue, channels: Iterable[str]) -> None:
        """Args: channels: names of the retriever's channels."""
        self.catalogue = catalogue
        available = set(channels)
        self.channels = [name for name in CHANNELS if name in available] + sorted(available.difference(CHANNELS))
        self.names = [f"{channel}:{feature}" for channel in self.channels for feature in CHANNEL_FEATURES]
        self.names += [f"profile:{feature}" for feature in PROFILE_FEATURES]
        self._users = np.log1p(catalogue.users).astype(np.float32)

    def features(self, proposals: CandidateScores, profile: Profile) -> FeatureMatrix:
        """Return the features of the candidates, in their order."""
        rows = proposals.rows
        _, category = np.unique(self.catalogue.category[rows], return_inverse=True)  # (candidates,) codes of this query
        crowd = np.log1p(np.bincount(category, minlength=1)[category])
        length = np.log1p(len(profile.rows))
        columns: list[NDArray[Any]] = []
        for name in self.channels:
            scores = proposals.scores.get(name, np.zeros(len(proposals), np.float32))
            columns += _channel_features(scores, category, len(profile.rows), self.catalogue.users[rows])
        columns += [self._users[rows], profile.price_gap(rows), profile.brand_share(rows), crowd, np.full(len(rows), length)]
        return FeatureMatrix(self.names, np.stack(columns, axis=1).astype(np.float32))


def _channel_features(
    scores: NDArray[np.float32], category: NDArray[np.int64], history_length: int, user_counts: NDArray[np.integer[Any]]
) -> list[NDArray[Any]]:
    """`CHANNEL_FEATURES` of one channel, each (candidates,).

    Args:
        scores: (candidates,) of the channel, 0 for items that it does not score.
        category: (candidates,) codes from 0.
        history_length: number of items in the history.
        user_counts: (candidates,) number of users of each item.
    """
    best = float(scores.max(initial=0.0))
    share = np.maximum(scores, 0) / best if best > 0 else np.zeros(len(scores), np.float32)
    log_share = np.log(share + EPSILON)
    relative_length = np.log1p(history_length) - np.log1p(TYPICAL_HISTORY_LENGTH)
    best_in_category = np.zeros(int(category.max(initial=0)) + 1)
    np.maximum.at(best_in_category, category, share)
    category_share = np.log(np.bincount(category, share, minlength=1)[category] + CATEGORY_EPSILON)
    share_in_category = np.log(share / np.maximum(best_in_category[category], 1e-6) + CATEGORY_EPSILON)
    level = np.log1p(share / LEVEL_FLOOR) / np.log1p(1 / LEVEL_FLOOR)
    short, long = history_parts(history_length)
    return [
        share,
        log_share,
        relative_length * log_share,
        category_share,
        share_in_category,
        level * short,
        level * (1 - short - long),
        level * long,
        level * RARE_USERS / (RARE_USERS + user_counts),
    ]


def history_parts(length: int) -> tuple[float, float]:
    """Return which parts of a history of some length count as short and as long; the rest counts as medium.

    Args:
        length: number of items, 0 or more.
    """
    short = min(2 / (length + 1), 1.0)
    return short, (1 - short) * length / (length + LONG_HISTORY)


def is_fitted(name: str) -> bool:
    """Return whether a feature is one that blends are fitted to: `FITTED_FEATURES` of the channels, and all of the profile."""
    group, _, feature = name.partition(":")
    return group == "profile" or feature in FITTED_FEATURES
