"""What is known of a shopper, in one typed object, made anew or carried on by one event.

A history says more than a list of items: what the shopper leans to now, where the money goes, at which price and to which brands, how
often, what was searched, and what the last visit was about.

Why not simply f(X, Y) = X theta + Y omega + b, with X what is known of the shopper and Y what is known of the item? Because for one shopper
X theta is the same number for every item, so the order of the items is that of Y omega: everybody gets the same list. Only what joins the
two can personalise an order. Here every feature of a candidate is such a meeting of shopper and item: likeness of its text to the taste,
company it keeps with the history, its price against what the shopper pays, its brand among the shopper's. Trees add products of those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

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
"""What the oldest still counts: a liking of long ago does not fall to nothing."""
KINDS = tuple(KIND_WEIGHTS)
"""Kinds of interaction by their code."""
SESSION_GAP_MS = DAY // 2
"""Milliseconds before the last event that still belong to the same visit; without a clock the last three events do."""


def weight_history(rows: NDArray[np.int64], weights: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """The items of a history, each at its latest place.

    Args: rows: (interactions,) item rows, oldest first. weights: (interactions,) of the kind of each (see `KIND_WEIGHTS`).
    Returns: rows (items,), oldest first; weights (items,), above 0: that of an item's weightiest interaction, decayed by its place; the
        same before it was decayed.
    """
    # np.unique keeps first places, so it is asked of the reversed history.
    _, places = np.unique(rows[::-1], return_index=True)
    latest = np.sort(len(rows) - 1 - places)
    # Looking again at what one bought takes nothing away.
    distinct, item = np.unique(rows, return_inverse=True)
    most = np.zeros(len(distinct))
    np.maximum.at(most, item, weights)
    age = np.arange(len(latest))[::-1]
    liking = most[item[latest]]
    return rows[latest], liking * np.maximum(DECAY**age, MIN_DECAY), liking


@dataclass(frozen=True)
class ItemAttributes:
    """What a profile asks of a catalogue's items.

    Attributes:
        category: (items,) codes. brand: (items,) codes into `brands`, -1 unknown; told apart without regard to case.
        level: (items,) log price against the usual one of the item's category, nan unknown.
    """

    category: NDArray[np.int32]
    brand: NDArray[np.int64]
    brands: list[str]
    price_level: NDArray[np.float64]

    @classmethod
    def from_catalogue(cls, catalogue: Catalogue) -> ItemAttributes:
        """The facts of a catalogue."""
        import polars as pl

        price = catalogue.items["price"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            log = np.log(np.where(price > 0, price, np.nan))
        there = np.isfinite(log)
        category, codes = catalogue.category, len(catalogue.nodes)
        priced = np.bincount(category[there], minlength=codes)
        usual = np.bincount(category[there], log[there], minlength=codes) / np.maximum(priced, 1)
        written = catalogue.items["brand"].fill_null("")
        names = written.str.to_lowercase().to_numpy().astype(str)
        _, first, brand = np.unique(names, return_index=True, return_inverse=True)
        return cls(category, np.where(names == "", -1, brand).astype(np.int64), written.gather(first).to_list(), log - usual[category])


@dataclass(frozen=True)
class Profile:
    """One shopper.

    Attributes:
        events: (interactions,) item rows, oldest first. kinds: (interactions,) codes into `KINDS`.
        times: (interactions,) milliseconds since 1970, `NEVER` unknown. facts: of all items.
    """

    events: NDArray[np.int64]
    kinds: NDArray[np.int8]
    times: NDArray[np.int64]
    item_attributes: ItemAttributes

    def with_event(self, row: int, kind: str = "purchase", time: int | None = None) -> Profile:
        """The profile when one more event has happened; the same as one made anew from all events."""
        return replace(
            self,
            events=np.append(self.events, np.int64(row)),
            kinds=np.append(self.kinds, np.int8(KINDS.index(kind))),
            times=np.append(self.times, np.int64(NEVER if time is None else time)),
        )

    # ------------------------------------------------------------------ what is had

    @cached_property
    def _weighed(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        return weight_history(self.events, np.asarray([KIND_WEIGHTS[kind] for kind in KINDS])[self.kinds])

    @property
    def rows(self) -> NDArray[np.int64]:
        """(items,) distinct, each at its latest place, oldest first."""
        return self._weighed[0]

    @property
    def weights(self) -> NDArray[np.float64]:
        """(items,) how much each says of what is wanted next, above 0."""
        return self._weighed[1]

    @property
    def undecayed_weights(self) -> NDArray[np.float64]:
        """(items,) the same without regard to how long ago."""
        return self._weighed[2]

    def candidate_query(self, texts: NDArray[np.float32] | None = None) -> CandidateQuery:
        """What candidates are looked for from. Args: texts: (texts, dimensions) of what the shopper says."""
        return CandidateQuery(self.rows, self.weights, np.empty((0, 0), np.float32) if texts is None else texts, self.undecayed_weights)

    # ------------------------------------------------------------------ what it says

    def taste(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(dimensions,) unit vector of what the shopper leans to now; zeros for nobody.

        Args: vectors: (items of the profile, dimensions) unit vectors of `rows`.
        """
        if not len(self.rows):
            return np.zeros(vectors.shape[1], np.float32)
        mean = self.weights @ vectors
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)

    @cached_property
    def categories(self) -> Mapping[int, float]:
        """Category code to its share of the weights, the largest first."""
        return self._shares(self.item_attributes.category[self.rows])

    @cached_property
    def brands(self) -> Mapping[int, float]:
        """Brand code to its share of the weights, the largest first; items without a brand count among the rest."""
        return self._shares(self.item_attributes.brand[self.rows])

    def _shares(self, codes: NDArray[np.integer]) -> Mapping[int, float]:
        found, place = np.unique(codes, return_inverse=True)
        share = np.bincount(place, self.weights, minlength=len(found)) / max(float(self.weights.sum()), 1e-12)
        order = np.argsort(-share, kind="stable")
        return {int(found[i]): float(share[i]) for i in order if found[i] >= 0}

    @cached_property
    def price_level(self) -> float | None:
        """How dear the shopper buys: mean log price against what is usual in each item's category, None where no price is known."""
        level = self.item_attributes.price_level[self.rows]
        known = np.isfinite(level)
        return float(np.average(level[known], weights=self.weights[known])) if known.any() else None

    @cached_property
    def kind_counts(self) -> Mapping[str, int]:
        """Kind to how many events of it, those that there are."""
        number = np.bincount(self.kinds, minlength=len(KINDS))
        return {kind: int(n) for kind, n in zip(KINDS, number, strict=True) if n}

    @cached_property
    def time_span(self) -> tuple[int, int] | None:
        """First and last moment, in milliseconds since 1970; None without a clock."""
        known = self.times[self.times != NEVER]
        return (int(known.min()), int(known.max())) if len(known) else None

    @cached_property
    def searched_items(self) -> NDArray[np.int64]:
        """(searches,) rows of what was searched, the newest first, each once."""
        return _once(self.events[self.kinds == KINDS.index("search")][::-1])

    @cached_property
    def session_items(self) -> NDArray[np.int64]:
        """(items,) rows of the last visit, the newest first, each once."""
        last = self.times >= self.time_span[1] - SESSION_GAP_MS if self.time_span else np.arange(len(self.events)) >= len(self.events) - 3
        return _once(self.events[last][::-1])

    # ------------------------------------------------------------------ where it meets items

    def price_gap(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(items,) how far, in log price, each lies from what the shopper pays, 0.5 where it is not known."""
        return np.nan_to_num(np.abs(self.item_attributes.price_level[rows] - (self.price_level or 0.0)), nan=0.5)

    def brand_share(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(items,) share of the shopper's weights that is of each item's brand."""
        share = np.zeros(len(self.item_attributes.brands) + 1)
        share[list(self.brands)] = list(self.brands.values())
        return np.asarray(share[self.item_attributes.brand[rows]])


def _once(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each row where it comes first."""
    return rows[np.sort(np.unique(rows, return_index=True)[1])]
