"""The facts for a recommendation, gathered before a word is written: who else had both, what a reviewer wrote, what it is.

Strongest first: a figure of shoppers who had both items; what the store declared of the two; a quotation from a review of the item that
speaks to the shopper's need; what fits the shopper (brand, price); a figure between the two categories; how close the descriptions are;
how many had it of late, and at all. Shoppers found a statistic of others' behaviour more persuasive than attributes. A fact is left out
where it is too weak to be shown: thresholds stand beside each.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...data.records import Candidate, Evidence, Item
from ...llm.explain.reasons import MAX_QUOTE_CHARS, MIN_CONFIDENT_SUPPORT, NO_QUOTES, Reason
from ...llm.explain.slots import SupportStatistic, with_article
from ...prompts.injection import is_prompt_injection
from ...prompts.sanitize import sanitize_for_prompt
from ...retrieval.associations.item_users import ItemUsers
from ...retrieval.associations.rules import SIGNIFICANCE_LEVEL, fisher_p_value
from ...retrieval.index.vector_index import ITEMS, REVIEWS, VectorIndex
from ...retrieval.items.catalogue import Catalogue, counted_interactions
from ...retrieval.items.interactions import DAY
from ..profiles.profile import Profile
from .declared_relations import DeclaredRelations
from .fact_ranking import RankedFacts
from .review_excerpts import complaint_excerpt, display_name, praise_excerpt

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

MIN_ITEM_SUPPORT, MIN_CATEGORY_SUPPORT = 3, 5
"""Shoppers a figure needs before it is said aloud; fewer say more of those shoppers than of the pair."""
MIN_QUOTE_COSINE = 0.3
MIN_PRAISE_RATING = 4.0
"""Of five; a store that rates up to ten quotes more, one that rates up to three nothing."""
MIN_CATEGORY_LIFT = 1.2
"""A figure between categories that says less than this over the usual share says next to nothing."""
MIN_ITEM_COSINE, MIN_TEXT_COSINE = 0.4, 0.3
"""Cosine from which two descriptions are called close: of two items of different categories drawn at random, about one pair in a
hundred reaches it with MiniLM (99 % lie below 0.37 in the demo store and below 0.40 in a cut of Amazon's). And the same for what a
shopper says against an item: 99 % of sixteen sentences with all items lie below 0.29 in both."""
MAX_REVIEWS_PER_ITEM = 50
REVIEW_CACHE_ITEMS = 10_000
"""Items whose reviews are kept in memory once they were looked at."""
MAX_COMPLAINT_RATING = 3.0
"""Of five: a reservation is looked for in what is rated at most this."""
PRICE_LEVEL_TOLERANCE = 0.15
"""Log price from which an item lies above or below the level at which a shopper buys."""
RECENT_DAYS = 30
"""Days that count as of late, back from the last event of the store."""
RELATION_WORDS: Mapping[str, tuple[str, str]] = {
    "accessory_of": ("is an accessory of", "has as an accessory"),
    "part_of": ("is a part of", "has as a part"),
    "spare_part_of": ("is a spare part of", "has as a spare part"),
    "refill_of": ("is a refill of", "has as a refill"),
    "consumable_of": ("is a consumable of", "has as a consumable"),
    "fits": ("fits", "is fitted by"),
    "compatible_with": ("is compatible with", "is compatible with"),
    "used_with": ("is used with", "is used with"),
    "goes_with": ("goes with", "goes with"),
    "needs": ("needs", "is needed by"),
    "requires": ("requires", "is required by"),
}
"""Relation to what its head says of its tail, and its tail of its head; one that is not here is not told."""


@dataclass(frozen=True, slots=True)
class UserText:
    """What a shopper said, and its unit vector (dimensions,)."""

    text: str
    vector: NDArray[np.float32]


@dataclass(frozen=True)
class ReviewTable:
    """The reviews of a snapshot, looked up by item: the table sorted by item, with their ids in the index."""

    table: pl.DataFrame

    def rated_reviews(self, item_id: str, *, negative: bool = False) -> pl.DataFrame:
        """The item's well-rated reviews, at most `MAX_REVIEWS_PER_ITEM`: columns review_id, text. Args: against: the ill-rated ones."""
        import polars as pl

        ids = self.table["item_id"]
        first, last = ids.search_sorted(item_id, "left"), ids.search_sorted(item_id, "right")
        found = self.table.slice(int(first), int(last) - int(first))
        rated = pl.col("rating") <= MAX_COMPLAINT_RATING if negative else pl.col("rating") >= MIN_PRAISE_RATING
        return found.filter(rated & (pl.col("text") != "")).head(MAX_REVIEWS_PER_ITEM)

    def texts(self, item_id: str, negative: bool) -> list[tuple[str, str]]:
        """The same as pairs of id and text; kept, because popular items are explained again and again."""
        key = (item_id, negative)
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= REVIEW_CACHE_ITEMS:
                self._cache.clear()
            found = self._cache[key] = list(self.rated_reviews(item_id, negative=negative).select("review_id", "text").iter_rows())
        return found

    @cached_property
    def _cache(self) -> dict[tuple[str, bool], list[tuple[str, str]]]:
        return {}


@dataclass(frozen=True)
class EvidenceGatherer:
    """Gathers the reasons for recommendations over one index.

    Attributes: lately: (items,) shoppers who had each item within the last `RECENT_DAYS` days of the store; None without a clock.
    """

    catalogue: Catalogue
    index: VectorIndex
    item_users: ItemUsers
    reviews: ReviewTable
    relations: DeclaredRelations
    recent_user_counts: NDArray[np.int64] | None = None

    def reasons(
        self,
        candidates: Sequence[Candidate],
        items: Mapping[str, Item],
        bought: Container[int],
        user_text: UserText | None,
        profile: Profile | None = None,
        channel_shares: Mapping[str, Mapping[str, float]] | None = None,
    ) -> list[Reason]:
        """A reason per candidate, in order.

        Args:
            moved: item id to the share of its score, 0 to 1, that each channel made, where that is known (`Ranked.moved`).
            items: the candidates and the history items behind them, by id.
            bought: rows that this shopper bought; of another history item nobody says "you have".
            said: what the shopper said, None where nothing was. profile: of the shopper, for what fits them.
        """
        anchors = [candidate.anchor for candidate in candidates if candidate.anchor]
        vectors = self.index.vectors(ITEMS, sorted({*anchors, *(candidate.item_id for candidate in candidates)}))
        reasons = []
        for candidate in candidates:
            item, own = items[candidate.item_id], vectors.get(candidate.item_id)
            # What the shopper asks for comes first, where the evidence speaks to it; else what the shopper had.
            facts = RankedFacts((channel_shares or {}).get(candidate.item_id, {}))
            reason = self._from_text(facts, item, own, user_text, profile) if user_text or not candidate.anchor else None
            if candidate.anchor and (reason is None or not reason.clauses):
                behind = items[candidate.anchor]
                has = self.catalogue.row(behind.item_id) in bought
                facts = RankedFacts((channel_shares or {}).get(candidate.item_id, {}))
                reason = self._from_history(facts, item, own, behind, vectors.get(behind.item_id), has, profile)
            assert reason is not None
            reasons.append(reason)
        return reasons

    def _from_history(
        self,
        facts: RankedFacts,
        item: Item,
        own: NDArray[np.float32] | None,
        behind: Item,
        look: NDArray[np.float32] | None,
        has: bool,
        profile: Profile | None,
    ) -> Reason:
        """The reason for an item that a history item led to."""
        name, other = display_name(item), display_name(behind)
        self._users_of_both(facts, behind, other, item, name)
        self._declared(facts, behind, other, item, name)
        self._review(facts, item, name, behind.title, look)
        self._fits(facts, item, profile, behind, other if has else None)
        self._users_of_both_categories(facts, behind, item, name)
        close = _cosine(look, own)
        alike = f", close in description to {name}" if close >= MIN_ITEM_COSINE else ""
        facts.add(
            "history",
            Evidence("history", f"{'bought before' if has else 'in the history'}: {other}{alike}", behind.item_id, round(close, 3)),
            "the two are close in description." if alike else None,
            f"{with_article(name, sentence_start=True)} is close in description to {with_article(other)}." if alike else None,
            close="the two are close in description" if alike else None,
        )
        self._attributes(facts, item, name)
        self._reservation(facts, item, behind.title, look)
        return facts.reason(name, owned=other, has=has)

    def _from_text(self, facts: RankedFacts, item: Item, own: NDArray[np.float32] | None, said: UserText | None, profile: Profile | None) -> Reason:
        """The reason for an item that a text, or plain popularity, led to."""
        name = display_name(item)
        words = None
        if said:
            self._review(facts, item, name, said.text, said.vector)
            # An order to a model is searched with, as any words are, but not said back: a text may come from a page and not from a shopper.
            if not is_prompt_injection(said.text):
                words = sanitize_for_prompt(said.text, MAX_QUOTE_CHARS).translate(NO_QUOTES)
                close = _cosine(said.vector, own)
                facts.add(
                    "need",
                    Evidence("need", words, item.item_id, round(close, 3)),
                    "its description is close to that." if close >= MIN_TEXT_COSINE else None,
                    f"You said “{words}”, and {with_article(name)} is close in description." if close >= MIN_TEXT_COSINE else None,
                    close="its description is close to that" if close >= MIN_TEXT_COSINE else None,
                )
        self._fits(facts, item, profile, None, None)
        self._attributes(facts, item, name)
        if said:
            self._reservation(facts, item, said.text, said.vector)
        return facts.reason(name, need=words)

    def _review(self, facts: RankedFacts, item: Item, name: str, about: str, look: NDArray[np.float32] | None) -> None:
        if quote := self._quote(item, about, look):
            facts.add(
                "quote",
                Evidence("review", quote[0], item.item_id, round(quote[1], 3)),
                f"a reviewer wrote “{quote[0]}”",
                f"A reviewer of {with_article(name)} wrote “{quote[0]}”",
                quote=f"“{quote[0]}”",
            )

    def _reservation(self, facts: RankedFacts, item: Item, about: str, look: NDArray[np.float32] | None) -> None:
        """What a reviewer of the item complains about, where they speak of what it is recommended for."""
        if quote := self._quote(item, about, look, against=True):
            facts.add(
                "caution", Evidence("review", quote[0], item.item_id, round(quote[1], 3), against=True), None, None, caution=f"“{quote[0]}”"
            )

    def _declared(self, facts: RankedFacts, behind: Item, other: str, item: Item, name: str) -> None:
        """What the store itself says of the two."""
        found = self.relations.between(self.catalogue.row(item.item_id), self.catalogue.row(behind.item_id))
        if found and found[0] in RELATION_WORDS:
            words = RELATION_WORDS[found[0]][0 if found[1] else 1]
            facts.add(
                "fits",
                Evidence("attribute", f"the store says of {name}: it {words} {other}", behind.item_id),
                f"it {words} {with_article(other)}.",
                f"{with_article(name, sentence_start=True)} {words} {with_article(other)}.",
                fits=f"it {words} {with_article(other)}",
            )

    def _fits(self, facts: RankedFacts, item: Item, profile: Profile | None, behind: Item | None, other: str | None) -> None:
        """What of the item fits the shopper: a brand that they have, a price at their level, what others buy of late."""
        row = self.catalogue.row(item.item_id)
        if profile is not None and len(profile.rows):
            known = profile.facts
            mine = {code for code in known.brand[profile.rows].tolist() if code >= 0}
            if (brand := int(known.brand[row])) in mine:
                called = sanitize_for_prompt(known.brands[brand], 40).translate(NO_QUOTES)
                same = behind is not None and known.brand[self.catalogue.row(behind.item_id)] == brand
                words = f"it is by {called}, as is {with_article(other)}" if same and other else f"it is by {called}, a brand in your history"
                facts.add("brand", Evidence("attribute", words, item.item_id), None, None, brand=words)
            gap = float(known.level[row]) - (profile.level or 0.0)
            if item.price is not None and profile.level is not None and np.isfinite(gap) and gap < PRICE_LEVEL_TOLERANCE:
                level = "at" if gap > -PRICE_LEVEL_TOLERANCE else "below"
                words = f"it costs {item.price:.2f}, {level} the price level that you usually choose"
                facts.add("price", Evidence("attribute", words, item.item_id, item.price), None, None, price=words)
        if self.recent_user_counts is not None and (users := int(self.recent_user_counts[row])) >= MIN_CATEGORY_SUPPORT:
            words = f"it was {self.catalogue.verb} by {users} shoppers in the last {RECENT_DAYS} days of the store"
            facts.add("fresh", Evidence("attribute", words, item.item_id, float(users)), None, None, fresh=words)

    def _attributes(self, facts: RankedFacts, item: Item, name: str) -> None:
        users = int(self.catalogue.users[self.catalogue.row(item.item_id)])
        if users >= MIN_CATEGORY_SUPPORT:
            share = f"{users} of {self.catalogue.total_users} shoppers {self.catalogue.verb}"
            facts.add(
                "popular",
                Evidence("attribute", f"{share} {name}", item.item_id, float(users)),
                None,
                f"{share} {with_article(name)}.",
                popular=f"{share} it",
            )
        if item.category:
            path = sanitize_for_prompt(" › ".join(item.category), 120)
            facts.add(
                "category",
                Evidence("attribute", f"category of {name}: {path}", item.item_id),
                None,
                f"{with_article(name, sentence_start=True)} is from {sanitize_for_prompt(item.category[-1])}.",
            )

    def _users_of_both(self, facts: RankedFacts, behind: Item, other: str, item: Item, name: str) -> None:
        pair = self.item_users.pair(self.catalogue.row(behind.item_id), self.catalogue.row(item.item_id))
        if pair and pair.support >= MIN_ITEM_SUPPORT and pair.lift > 1 and fisher_p_value(pair) <= SIGNIFICANCE_LEVEL:
            did = self.catalogue.verb
            usual = f"{pair.lift:.{1 if pair.lift < 10 else 0}f} times the usual share" if pair.lift >= MIN_CATEGORY_LIFT else None
            facts.firm |= pair.support >= MIN_CONFIDENT_SUPPORT
            facts.add(
                "figure",
                Evidence(
                    "association",
                    f"{pair.support} of {pair.source_users} shoppers who {did} {other} also {did} {name}{f', {usual}' if usual else ''}",
                    behind.item_id,
                    round(pair.lift, 2),
                ),
                f"of {pair.source_users} shoppers who {did} the first, {pair.support} also {did} the second.",
                f"{pair.support} of {pair.source_users} shoppers who {did} {with_article(other)} also {did} {with_article(name)}.",
                figure=SupportStatistic(pair.support, pair.source_users, did, other, name),
                usual=usual,
            )

    def _users_of_both_categories(self, facts: RankedFacts, behind: Item, item: Item, name: str) -> None:
        code = self.catalogue.category
        pair = self.item_users.category_pair(int(code[self.catalogue.row(behind.item_id)]), int(code[self.catalogue.row(item.item_id)]))
        if pair and pair.support >= MIN_CATEGORY_SUPPORT and pair.lift >= MIN_CATEGORY_LIFT and fisher_p_value(pair) <= SIGNIFICANCE_LEVEL:
            did, lift = self.catalogue.verb, round(pair.lift, 1)
            share = (
                f"{pair.support} of {pair.source_users} shoppers who {did} from {sanitize_for_prompt(pair.source)} also {did} from {sanitize_for_prompt(pair.target)}, "
                f"{lift} times the usual share"
            )
            facts.add(
                "aisles", Evidence("association", share, None, lift), f"{share}.", f"{share}, and {with_article(name)} is from there.", aisles=share
            )

    def _quote(self, item: Item, about: str, look: NDArray[np.float32] | None, *, against: bool = False) -> tuple[str, float] | None:
        """The sentence of a review of the item that is nearest to what it is recommended for, and the review's cosine.

        Args: against: a complaint of an ill-rated review, not praise of a well-rated one.
        """
        if look is None:
            return None
        reviews = self.reviews.texts(item.item_id, against)
        vectors = self.index.vectors(REVIEWS, [key for key, _ in reviews]) if reviews else {}
        ranked = sorted(
            ((float(vectors[key] @ look), text) for key, text in reviews if key in vectors),
            key=lambda found: (-found[0], found[1]),
        )
        for likeness, text in ranked:
            if likeness < MIN_QUOTE_COSINE:
                return None
            if quote := (complaint_excerpt if against else praise_excerpt)(text, about):
                return quote, likeness
        return None


def count_recent_users(interactions: pl.DataFrame, catalogue: Catalogue) -> NDArray[np.int64] | None:
    """(items,) shoppers who had each item within the last `RECENT_DAYS` days of the store; None without a clock."""
    import polars as pl

    had = counted_interactions(interactions)[0]
    last = had["timestamp"].max()
    if not isinstance(last, int):
        return None
    recent = had.filter(pl.col("timestamp") > last - RECENT_DAYS * DAY).select("user_id", "item_id").unique()
    rows = recent.join(catalogue.row_table(), on="item_id")["row"].to_numpy()
    return np.bincount(rows, minlength=len(catalogue)).astype(np.int64)


def _cosine(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> float:
    return float(one @ other) if one is not None and other is not None else 0.0
