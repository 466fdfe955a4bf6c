"""Profile of a shopper, derived from the history: decayed item weights, categories, brands, price level, last session.

Features for personalization must depend on the shopper and the item together. In an additive score f(X, Y) = X theta + Y omega + b, with
shopper attributes X and item attributes Y, X theta is the same for every item, so the order is that of Y omega for every shopper. Each
feature here therefore combines the two: similarity of the item's text to the taste vector, co-purchase with the history, price relative to
the shopper's price level, share of the item's brand in the history. Trees add products of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.records import KIND_WEIGHTS
from ...retrieval.channels.base import CandidateQuery
from ...retrieval.items.interactions import DAY, NEVER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.catalogue import Catalogue

DECAY = 0.7
"""Weight of a history item relative to the next newer one."""
MIN_DECAY = 0.02
"""Lower bound of the decay, so that old interests keep some weight."""
KINDS = tuple(KIND_WEIGHTS)
"""Kinds of interaction, in the order of their codes."""
SESSION_GAP_MS = DAY // 2
"""Milliseconds before the last event that belong to the same session; without timestamps, the last three events do."""


def weight_history(
    rows: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the items of a history with their weights, each at its latest position.

    Args:
        rows: (interactions,) item rows, oldest first.
        weights: (interactions,) of the kind of each interaction (see `KIND_WEIGHTS`).
    Returns:
        (items,) rows, oldest first; (items,) weights above 0: the largest weight of the item's interactions, decayed by position; (items,)
        the same without decay.
    """
    # np.unique returns first positions, so it is applied to the reversed history.
    _, positions = np.unique(rows[::-1], return_index=True)
    latest = np.sort(len(rows) - 1 - positions)
    # The maximum, so that a later view of a bought item does not lower its weight.
    distinct, item = np.unique(rows, return_inverse=True)
    largest = np.zeros(len(distinct))
    np.maximum.at(largest, item, weights)
    age = np.arange(len(latest))[::-1]
    undecayed = largest[item[latest]]
    return rows[latest], undecayed * np.maximum(DECAY**age, MIN_DECAY), undecayed


@dataclass(frozen=True)
class ItemAttributes:
    """Attributes of the items that profiles use.

    Attributes:
        category: (items,) codes.
        brand: (items,) codes into `brands`, -1 unknown; case-insensitive.
        brands: brand names.
        price_level: (items,) log price minus the mean log price of the item's category, NaN if unknown.
    """

    category: NDArray[np.int32]
    brand: NDArray[np.int64]
    brands: list[str]
    price_level: NDArray[np.float64]

    @classmethod
    def from_catalogue(cls, catalogue: Catalogue) -> ItemAttributes:
        """Derive the attributes of a catalogue's items."""
        import polars as pl

        price = catalogue.items["price"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            log_price = np.log(np.where(price > 0, price, np.nan))
        known = np.isfinite(log_price)
        category, codes = catalogue.category, len(catalogue.nodes)
        priced = np.bincount(category[known], minlength=codes)
        mean = np.bincount(category[known], log_price[known], minlength=codes) / np.maximum(priced, 1)
        brands = catalogue.items["brand"].fill_null("")
        names = brands.str.to_lowercase().to_numpy().astype(str)
        _, first, brand = np.unique(names, return_index=True, return_inverse=True)
        return cls(category, np.where(names == "", -1, brand).astype(np.int64), brands.gather(first).to_list(), log_price - mean[category])


@dataclass(frozen=True)
class Profile:
    """Profile of one shopper.

    Attributes:
        events: (interactions,) item rows, oldest first.
        kinds: (interactions,) codes into `KINDS`.
        times: (interactions,) milliseconds since 1970, `NEVER` if unknown.
        item_attributes: of all items.
    """

    events: NDArray[np.int64]
    kinds: NDArray[np.int8]
    times: NDArray[np.int64]
    item_attributes: ItemAttributes

    def with_event(self, row: int, kind: str = "purchase", time: int | None = None) -> Profile:
        """Return the profile with one more event; equal to a profile built from all events."""
        return replace(
            self,
            events=np.append(self.events, np.int64(row)),
            kinds=np.append(self.kinds, np.int8(KINDS.index(kind))),
            times=np.append(self.times, np.int64(NEVER if time is None else time)),
        )

    # ------------------------------------------------------------------ items

    @cached_property
    def _weighted_history(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        return weight_history(self.events, np.asarray([KIND_WEIGHTS[kind] for kind in KINDS])[self.kinds])

    @property
    def rows(self) -> NDArray[np.int64]:
        """(items,) distinct item rows, each at its latest position, oldest first."""
        return self._weighted_history[0]

    @property
    def weights(self) -> NDArray[np.float64]:
        """(items,) weight of each item, above 0, decayed by position."""
        return self._weighted_history[1]

    @property
    def undecayed_weights(self) -> NDArray[np.float64]:
        """(items,) the same without decay."""
        return self._weighted_history[2]

    def candidate_query(self, texts: NDArray[np.float32] | None = None) -> CandidateQuery:
        """Return the input of retrieval. Args: texts: (texts, dimensions) vectors of a text query."""
        return CandidateQuery(self.rows, self.weights, np.empty((0, 0), np.float32) if texts is None else texts, self.undecayed_weights)

    # ------------------------------------------------------------------ derived attributes

    def taste(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (dimensions,) the taste vector: the weighted mean of the item vectors as a unit vector; zeros without a history.

        Args: vectors: (items of the profile, dimensions) unit vectors of `rows`.
        """
        if not len(self.rows):
            return np.zeros(vectors.shape[1], np.float32)
        mean = self.weights @ vectors
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)

    @cached_property
    def categories(self) -> Mapping[int, float]:
        """Category code to its share of the weights, largest first."""
        return self._shares(self.item_attributes.category[self.rows])

    @cached_property
    def brands(self) -> Mapping[int, float]:
        """Brand code to its share of the weights, largest first; items without a brand are part of the total."""
        return self._shares(self.item_attributes.brand[self.rows])

    def _shares(self, codes: NDArray[np.integer]) -> Mapping[int, float]:
        distinct, inverse = np.unique(codes, return_inverse=True)
        share = np.bincount(inverse, self.weights, minlength=len(distinct)) / max(float(self.weights.sum()), 1e-12)
        order = np.argsort(-share, kind="stable")
        return {int(distinct[i]): float(share[i]) for i in order if distinct[i] >= 0}

    @cached_property
    def price_level(self) -> float | None:
        """Mean log price relative to the mean of each item's category; None if no price is known."""
        level = self.item_attributes.price_level[self.rows]
        known = np.isfinite(level)
        return float(np.average(level[known], weights=self.weights[known])) if known.any() else None

    @cached_property
    def kind_counts(self) -> Mapping[str, int]:
        """Kind to its number of events, without zeros."""
        counts = np.bincount(self.kinds, minlength=len(KINDS))
        return {kind: int(count) for kind, count in zip(KINDS, counts, strict=True) if count}

    @cached_property
    def time_span(self) -> tuple[int, int] | None:
        """First and last time, in milliseconds since 1970; None without timestamps."""
        known = self.times[self.times != NEVER]
        return (int(known.min()), int(known.max())) if len(known) else None

    @cached_property
    def searched_items(self) -> NDArray[np.int64]:
        """(searches,) distinct rows of the items that were searched, newest first."""
        return _distinct(self.events[self.kinds == KINDS.index("search")][::-1])

    @cached_property
    def session_items(self) -> NDArray[np.int64]:
        """(items,) distinct rows of the last session, newest first."""
        last = self.times >= self.time_span[1] - SESSION_GAP_MS if self.time_span else np.arange(len(self.events)) >= len(self.events) - 3
        return _distinct(self.events[last][::-1])

    # ------------------------------------------------------------------ features of shopper and item

    def price_gap(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (items,) absolute differences in log price from the shopper's price level, 0.5 if unknown."""
        return np.nan_to_num(np.abs(self.item_attributes.price_level[rows] - (self.price_level or 0.0)), nan=0.5)

    def brand_share(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (items,) share of each item's brand in the shopper's weights."""
        share = np.zeros(len(self.item_attributes.brands) + 1)
        share[list(self.brands)] = list(self.brands.values())
        return np.asarray(share[self.item_attributes.brand[rows]])


def purchase_profile(history: NDArray[np.integer[Any]], attributes: ItemAttributes) -> Profile:
    """Return the profile of a history whose items all count as purchases without a time."""
    size = len(history)
    return Profile(history.astype(np.int64), np.zeros(size, np.int8), np.full(size, NEVER), attributes)


def _distinct(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distinct rows in the order of their first position."""
    return rows[np.sort(np.unique(rows, return_index=True)[1])]
