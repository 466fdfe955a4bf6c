"""Core record types (items, rules, queries, candidates, evidence, recommendations) and the columns of tables.

Frozen dataclasses without behaviour beyond small derived values; tables of them are polars data frames with the same column names
(`ITEM_COLUMNS` and its siblings). Knows nothing of files, models or indexes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Category = tuple[str, ...]
"""Category path, broad to narrow: `("Electronics", "Phones")`."""

Kind = Literal["purchase", "cart", "click", "view", "rating", "search"]
KIND_WEIGHTS: Mapping[str, float] = {
    "purchase": 1.0,
    "rating": 1.0,
    "cart": 0.6,
    "click": 0.3,
    "search": 0.2,
    "view": 0.15,
}
"""Weight of an interaction by kind, from 0 to 1."""
OWNING_KINDS = ("purchase", "rating")
"""Kinds of interaction that mean that the user owns the item."""

Scope = Literal["new", "other"]
Channel = Literal["semantic", "associations", "graph", "popularity", "llm"]

ITEM_COLUMNS = ("item_id", "title", "category", "description", "brand", "price", "image", "in_stock")
REVIEW_COLUMNS = ("item_id", "user_id", "rating", "title", "text", "timestamp")
"""`rating` on the source's scale; `timestamp` in milliseconds since 1970, UTC."""
INTERACTION_COLUMNS = ("user_id", "item_id", "kind", "timestamp", "value", "position")
"""`value` is a rating or a quantity; `position` orders interactions without a timestamp."""
RELATION_COLUMNS = ("head", "relation", "tail")


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the store. `price` is in the store's currency; an empty title means that the source has none."""

    item_id: str
    title: str
    category: Category = ()
    description: str = ""
    brand: str | None = None
    price: float | None = None
    image: str | None = None
    in_stock: bool | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """Constraints on recommendations; the defaults exclude only owned items and, by `scope`, known categories.

    Attributes:
        scope: `new`: only categories without any interaction in the history, views included; `other`: only a category other than that
            of the candidate's history item.
        include_categories: Only these category names, matched at any level of an item's path, ignoring case.
        exclude_categories: None of these category names, matched in the same way.
        min_price: Lower bound, inclusive; items without a price fail.
        max_price: Upper bound, inclusive; items without a price fail.
        brands: Only these brands, ignoring case.
        in_stock: Exclude items known to be out of stock.
        max_per_category: Maximum number of recommendations per category at the workspace's level.
        exclude_owned: Exclude items that the user bought or rated.
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
    """A request for recommendations.

    Attributes:
        user_id: The user; None for an anonymous one.
        items: Item ids used as the history.
        text: The user's need in words.
        rules: Constraints.
        k: Number of recommendations.
        novelty: Popularity penalty, from 0 (none) to 1.
        new_items: Number of slots reserved for new items.
        new_up_to: Maximum number of users of an item that counts as new.
        without: History items to ignore.
    """

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
    """An item proposed by retrieval.

    Attributes:
        item_id: The item.
        scores: Channel name to the channel's score; channels that did not propose the item are absent.
        anchor: History item that led to it; None for text or popularity.
        text_anchor: Item near the text query whose shoppers led to it; None without a text, and for that item itself.
    """

    item_id: str
    scores: Mapping[str, float]
    anchor: str | None = None
    text_anchor: str | None = None


@dataclass(frozen=True, slots=True)
class Association:
    """Co-occurrence counts of a directed pair, by distinct users.

    Attributes:
        level: Whether source and target are item ids or category names at the workspace's level.
        source: The given item or category.
        target: The associated item or category.
        support: Users of both.
        source_users: Users of the source.
        target_users: Users of the target.
        users: All users.
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
        """Share of the source's users who also interacted with the target, 0 to 1."""
        return self.support / self.source_users

    @property
    def lift(self) -> float:
        """Confidence divided by the target's base rate; 1 means independent (Brin et al., SIGMOD 1997)."""
        return self.support * self.users / (self.source_users * self.target_users)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A fact that supports or qualifies an explanation.

    Attributes:
        kind: `history` (an item of the user), `association` (a co-occurrence statistic), `review` (a verbatim quote), `attribute` (of
            the item), `need` (the shopper's own words), `use` (what two items are for).
        text: The fact as displayable text.
        item_id: Item that the fact is about; the history item for `history` and for an association between items; None for an
            association between categories.
        value: Number behind the fact (lift, similarity, rating, price), if any.
        evidence_id: Id within one explanation that claims refer to: `e1`, `e2`, ...; empty if none refers to it.
        against: Whether it is a drawback of the item.
    """

    kind: Literal["history", "association", "review", "attribute", "need", "use"]
    text: str
    item_id: str | None = None
    value: float | None = None
    evidence_id: str = ""
    against: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A span of an explanation's text and the evidence that supports it."""

    text: str
    evidence_id: str


@dataclass(frozen=True, slots=True)
class CustomerCopy:
    """Texts of a recommendation for a mail to a customer.

    Attributes:
        subject: Subject line.
        line: One sentence.
        alternative_text: Text in place of the item's picture.
    """

    subject: str
    line: str
    alternative_text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Explanation of a recommendation, with its evidence.

    Attributes:
        text: Displayable text; empty if there is no sufficiently strong reason.
        source: Origin of the text: `model` (written by a model for this shopper), `wording` (words that a model learned, filled with the
            facts), `evidence` (facts alone), or `none` if it is empty.
        verified: Whether the text passed verification; False only if it is empty.
        evidence: Facts behind the text.
        claims: Mapping of text spans to evidence.
        customer_copy: Further texts, for a mail to the customer; None for other readers.
    """

    text: str
    source: Literal["model", "wording", "evidence", "none"]
    verified: bool
    evidence: tuple[Evidence, ...] = ()
    claims: tuple[Claim, ...] = ()
    customer_copy: CustomerCopy | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A ranked item.

    Attributes:
        rank: Rank from 1.
        item: The item.
        score: Score of the blend or the fusion, scaled to 0..1 within the list.
        channels: Channel name to raw score.
        anchor: History item that led to it.
        explanation: Explanation, if requested.
        propensity: Probability that the item was shown, if the list explores.
    """

    rank: int
    item: Item
    score: float
    channels: Mapping[str, float]
    anchor: str | None = None
    explanation: Explanation | None = None
    propensity: float | None = None


@dataclass(frozen=True, slots=True)
class LLMUse:
    """What the language model did for one answer.

    Attributes:
        model: Name of the model; None without one.
        adapter: Id of the adapter, trained on this store, that the model ranked with; None if it had none or did not read.
        candidates_read: Number of candidates that it read and scored.
        weight: Mean weight of its scores in the order: blend-score units per standard deviation, or in the order of a text query its weight
            beside the channels' ranks; 0 if it read nothing.
        tokens_in: Number of tokens that it read.
        sentences_generated: Number of texts that it wrote while answering, rejected ones included; explanations from stored wordings count
            as 0.
        summary: The same as one sentence, which says why it did not read.
    """

    model: str | None
    adapter: str | None
    candidates_read: int
    weight: float
    tokens_in: int
    sentences_generated: int
    summary: str


@dataclass(frozen=True, slots=True)
class Recommendations:
    """Recommendations for one query, in rank order.

    Attributes:
        query: The query.
        items: Ranked items.
        unsatisfied: Messages about constraints that could not be met.
        timings_ms: Step name to milliseconds.
        llm: What the language model did; None in answers of other code than the recommender's.
    """

    query: Query
    items: tuple[Recommendation, ...]
    unsatisfied: tuple[str, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    llm: LLMUse | None = None

    def __iter__(self) -> Any:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Recommendation:
        return self.items[index]
