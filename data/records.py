"""The words of the project as types: items, reviews, interactions, queries, candidates, recommendations.

Plain frozen records without behaviour beyond small derived values; tables of them are polars frames whose columns bear the
same names (`ITEM_COLUMNS` and its siblings). Knows nothing of files, models or indexes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Category = tuple[str, ...]
"""A path, broad to narrow: `("Electronics", "Phones")`."""

Kind = Literal["purchase", "cart", "click", "view", "rating", "search"]
KIND_WEIGHTS: Mapping[str, float] = {
    "purchase": 1.0,
    "rating": 1.0,
    "cart": 0.6,
    "click": 0.3,
    "search": 0.2,
    "view": 0.15,
}
"""How much one interaction of a kind says about what a user wants, 0 to 1."""
OWNING_KINDS = ("purchase", "rating")
"""Kinds that mean the user has the item."""

Scope = Literal["new", "other"]
Channel = Literal["semantic", "associations", "graph", "popularity", "llm"]

ITEM_COLUMNS = ("item_id", "title", "category", "description", "brand", "price", "image", "in_stock")
REVIEW_COLUMNS = ("item_id", "user_id", "rating", "title", "text", "timestamp")
INTERACTION_COLUMNS = ("user_id", "item_id", "kind", "timestamp", "value", "position")
RELATION_COLUMNS = ("head", "relation", "tail")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing on offer. `price` is in the store's currency; an empty title means that the source had none."""

    item_id: str
    title: str
    category: Category = ()
    description: str = ""
    brand: str | None = None
    price: float | None = None
    image: str | None = None
    in_stock: bool | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """What someone wrote of an item. `rating` as the source scales it; `timestamp` in milliseconds since 1970, UTC."""

    item_id: str
    user_id: str
    rating: float | None
    title: str
    text: str
    timestamp: int | None = None


@dataclass(frozen=True, slots=True)
class Interaction:
    """One user, one item, one moment, one kind. `value` is a rating or a quantity; `timestamp` as in `Review`."""

    user_id: str
    item_id: str
    kind: Kind = "purchase"
    timestamp: int | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a recommendation must satisfy; the defaults exclude nothing but what the user has.

    Attributes:
        scope: `new`: only categories absent from the whole history, looks included; `other`: only a category other than that of the history
            item behind the candidate.
        include_categories / exclude_categories: names matched, without regard to case, at any level of an item's path.
        min_price / max_price: inclusive; an item without a price fails a rule on price.
        brands: only these, without regard to case.
        in_stock: only items not known to be out of stock.
        max_per_category: at most this many recommendations of one category at the workspace's level.
        exclude_owned: leave out what the user bought or rated.
    """

    scope: Scope = "new"
    include_categories: tuple[str, ...] = ()
    exclude_categories: tuple[str, ...] = ()
    min_price: float | None = None
    max_price: float | None = None
    brands: tuple[str, ...] = ()
    in_stock: bool = False
    max_per_category: int | None = None
    exclude_owned: bool = True


@dataclass(frozen=True, slots=True)
class Query:
    """What is known at request time; never the candidates. `novelty`, 0 to 1, asks for less of what everybody has,
    `new_items` for so many places to go to new items, which at most `new_up_to` users had; `without` are history items that are taken as
    never had."""

    user_id: str | None = None
    items: tuple[str, ...] = ()
    text: str | None = None
    rules: Rules = field(default_factory=Rules)
    k: int = 5
    novelty: float = 0.0
    new_items: int = 0
    new_up_to: int = 0
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item that retrieval proposes.

    Attributes:
        scores: channel name to that channel's own score; a channel that did not propose the item is absent.
        anchor: the history item behind it, None when a text or plain popularity brought it.
    """

    item_id: str
    scores: Mapping[str, float]
    anchor: str | None = None


@dataclass(frozen=True, slots=True)
class Association:
    """A directed pair by distinct users: of `source_users` who had `source`, `support` also had `target`, among `users`.

    `source` and `target` are item ids, or category names at the workspace's level when `level` is `category`.
    """

    level: Literal["item", "category"]
    source: str
    target: str
    support: int
    source_users: int
    target_users: int
    users: int

    @property
    def confidence(self) -> float:
        """The share of the source's users who also had the target, 0 to 1."""
        return self.support / self.source_users

    @property
    def lift(self) -> float:
        """Confidence over the target's base rate; 1 means independent (Brin et al., SIGMOD 1997)."""
        return self.support * self.users / (self.source_users * self.target_users)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A fact that an explanation may rest on.

    Attributes:
        kind: `history` (an item the user had), `association` (a figure), `review` (a verbatim quote), `attribute` (of the
            item), `need` (the shopper's own words).
        item_id: the item that the fact is about; the history item's for `history` and for an association between items;
            None for an association between categories.
        text: the fact in words, as it may be shown.
        value: the figure behind it (lift, similarity, rating, price) where there is one.
        evidence_id: what a claim refers to it by, within one explanation: `e1`, `e2`, ...; empty where nothing does.
        against: whether it speaks against the item: a reservation, told as one.
    """

    kind: Literal["history", "association", "review", "attribute", "need"]
    text: str
    item_id: str | None = None
    value: float | None = None
    evidence_id: str = ""
    against: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A stretch of an explanation's text, and the evidence that bears it out."""

    text: str
    evidence_id: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an item is recommended, and the facts that it rests on.

    Attributes:
        text: what may be shown; empty where it abstains, for there is no reason strong enough to state. source: who worded it: the model,
            the evidence itself, or nobody. verified: whether the text passed the check; False only when it is empty.
        claims: what in the text rests on which evidence.
    """

    text: str
    source: Literal["llm", "evidence", "none"]
    verified: bool
    evidence: tuple[Evidence, ...] = ()
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A ranked item. `score` is that of the blend or the fusion, 0 to 1 within the answer; `channels` the raw score of each channel;
    `propensity` the chance that it was shown, where answers explore."""

    rank: int
    item: Item
    score: float
    channels: Mapping[str, float]
    anchor: str | None = None
    explanation: Explanation | None = None
    propensity: float | None = None


@dataclass(frozen=True, slots=True)
class Recommendations:
    """The answer to one query, in rank order; `unsatisfied` says in words what of the query could not be met."""

    query: Query
    items: tuple[Recommendation, ...]
    unsatisfied: tuple[str, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    def __iter__(self) -> Any:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Recommendation:
        return self.items[index]
