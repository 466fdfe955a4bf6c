"""Evidence for a recommendation: collects the facts that an explanation may state, before any text is written.

Facts, strongest first: the number of shoppers who bought both items; a relation declared by the store; a review quotation close to the
shopper's need; a match with the shopper's profile (brand, price); co-purchase of the two categories; similarity of the descriptions;
recent and overall popularity. In user studies, shoppers rated statistics about other shoppers as more persuasive than attributes. Facts
below a threshold are left out; the reason for each threshold is stated with it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.records import Candidate, Evidence, Item
from ...llm.explain.reasons import MAX_QUOTE_CHARS, MIN_CONFIDENT_SUPPORT, NO_QUOTES, Reason
from ...llm.explain.slots import SupportStatistic, with_article
from ...prompts.injection import is_prompt_injection
from ...prompts.sanitize import sanitize_for_prompt
from ...retrieval.associations.item_users import ItemUsers
from ...retrieval.associations.rules import SIGNIFICANCE_LEVEL, fisher_p_value
from ...retrieval.channels import declared_relations
from ...retrieval.index.vector_index import ITEMS, REVIEWS, VectorIndex
from ...retrieval.items.catalogue import Catalogue, counted_interactions
from ...retrieval.items.interactions import DAY
from ...retrieval.items.relations import DeclaredRelations
from ..profiles.profile import Profile
from .fact_ranking import RankedFacts
from .relation_words import OTHER_RELATION_WORDS, RELATION_WORDS
from .review_excerpts import complaint_excerpt, display_name, praise_excerpt
from .review_table import ReviewTable

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

MIN_ITEM_SUPPORT, MIN_CATEGORY_SUPPORT = 3, 5
"""Minimum number of shoppers for a statistic to be shown; with fewer, it describes those shoppers rather than the pair."""
MIN_QUOTE_COSINE = 0.3
"""Minimum cosine between a review and the text that it should support."""
MIN_CATEGORY_LIFT = 1.2
"""Minimum lift between two categories for the statistic to be informative."""
MIN_ITEM_COSINE, MIN_TEXT_COSINE = 0.4, 0.3
"""Minimum cosine of two descriptions called close, and of a text query and a description. With MiniLM, about 1 % of random item pairs from
different categories reach the first (99th percentile: 0.37 in the demo store, 0.40 in a sample of Amazon), and 1 % of the pairs of sixteen
queries with all items reach the second (99th percentile: 0.29 in both)."""
PRICE_LEVEL_TOLERANCE = 0.15
"""Difference in log price level within which an item counts as at the shopper's price level."""
RECENT_DAYS = 30
"""Length of the recent period in days, back from the last event of the store."""


@dataclass(frozen=True, slots=True)
class UserText:
    """A text query, and its unit vector (dimensions,)."""

    text: str
    vector: NDArray[np.float32]


@dataclass(frozen=True)
class EvidenceGatherer:
    """Collects the facts for recommendations from one workspace.

    Attributes:
        catalogue: the items.
        index: vectors of items and reviews.
        item_users: co-purchase counts of items and categories.
        reviews: the reviews by item.
        relations: relations that the store declares.
        recent_user_counts: (items,) users of each item in the last `RECENT_DAYS` days; None where interactions have no timestamps.
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
        """Return one reason per candidate, in order.

        Args:
            candidates: the recommended items.
            items: the candidates and their anchors, by item id.
            bought: rows of the items that the shopper bought; sentences say "you have" only of these.
            user_text: the text query, None without one.
            profile: of the shopper, for matches of brand and price.
            channel_shares: item id to channel to its share of the positive score contributions (`ScoredCandidates.positive_contributions`).
        """
        anchors = [anchor for candidate in candidates for anchor in (candidate.anchor, candidate.text_anchor) if anchor]
        vectors = self.index.vectors(ITEMS, sorted({*anchors, *(candidate.item_id for candidate in candidates)}))
        reasons = []
        for candidate in candidates:
            item, item_vector = items[candidate.item_id], vectors.get(candidate.item_id)
            # The text query takes precedence if there is evidence for it; otherwise the reason refers to the history.
            facts = RankedFacts((channel_shares or {}).get(candidate.item_id, {}))
            near = items[candidate.text_anchor] if candidate.text_anchor else None
            reason = self._from_text(facts, item, item_vector, user_text, profile, near) if user_text or not candidate.anchor else None
            if candidate.anchor and (reason is None or not reason.clauses):
                anchor = items[candidate.anchor]
                is_bought = self.catalogue.row(anchor.item_id) in bought
                facts = RankedFacts((channel_shares or {}).get(candidate.item_id, {}))
                self._add_declared_relation(facts, anchor, item, proposes=declared_relations.NAME in candidate.scores)
                reason = self._from_history(facts, item, item_vector, anchor, vectors.get(anchor.item_id), is_bought, profile)
            assert reason is not None
            reasons.append(reason)
        return reasons

    def _from_history(
        self,
        facts: RankedFacts,
        item: Item,
        item_vector: NDArray[np.float32] | None,
        anchor: Item,
        anchor_vector: NDArray[np.float32] | None,
        is_bought: bool,
        profile: Profile | None,
    ) -> Reason:
        """Return the reason for an item that is recommended because of a history item, the anchor."""
        name, other = display_name(item), display_name(anchor)
        self._add_item_co_purchase(facts, anchor, other, item, name)
        self._add_praise(facts, item, name, anchor.title, anchor_vector)
        self._add_profile_matches(facts, item, profile, anchor, other if is_bought else None)
        self._add_category_co_purchase(facts, anchor, item, name)
        cosine = _cosine(anchor_vector, item_vector)
        occasion = f"{self.catalogue.words.counted_participle('bought')} before" if is_bought else "in the history"
        similar = f", close in description to {name}" if cosine >= MIN_ITEM_COSINE else ""
        facts.add(
            "history",
            Evidence("history", f"{occasion}: {other}{similar}", anchor.item_id, round(cosine, 3)),
            "the two are close in description." if similar else None,
            f"{with_article(name, sentence_start=True)} is close in description to {with_article(other)}." if similar else None,
            close="the two are close in description" if similar else None,
        )
        self._add_popularity_and_category(facts, item, name)
        self._add_complaint(facts, item, anchor.title, anchor_vector)
        return facts.reason(name, anchor=other, anchor_purchased=is_bought and self.catalogue.words.means_owning)

    def _from_text(
        self,
        facts: RankedFacts,
        item: Item,
        item_vector: NDArray[np.float32] | None,
        user_text: UserText | None,
        profile: Profile | None,
        near: Item | None = None,
    ) -> Reason:
        """Return the reason for an item that is recommended because of the text query, or of its popularity alone.

        Args: near: item near the text whose shoppers led to this one.
        """
        name = display_name(item)
        need = None
        if user_text:
            if near is not None:
                self._add_item_co_purchase(facts, near, display_name(near), item, name, names_both=True)
            self._add_praise(facts, item, name, user_text.text, user_text.vector)
            # A prompt injection is used for retrieval like any text, but never shown: the text may come from a web page, not the shopper.
            if not is_prompt_injection(user_text.text):
                need = sanitize_for_prompt(user_text.text, MAX_QUOTE_CHARS).translate(NO_QUOTES)
                cosine = _cosine(user_text.vector, item_vector)
                is_close = cosine >= MIN_TEXT_COSINE
                facts.add(
                    "need",
                    Evidence("need", need, item.item_id, round(cosine, 3)),
                    "its description is close to that." if is_close else None,
                    f"You said “{need}”, and {with_article(name)} is close in description." if is_close else None,
                    close="its description is close to that" if is_close else None,
                )
        self._add_profile_matches(facts, item, profile, None, None)
        self._add_popularity_and_category(facts, item, name)
        if user_text:
            self._add_complaint(facts, item, user_text.text, user_text.vector)
        return facts.reason(name, need=need)

    def _add_praise(self, facts: RankedFacts, item: Item, name: str, about: str, vector: NDArray[np.float32] | None) -> None:
        """Add a quotation from a positive review. Args: about, vector: text that it should support, and its vector."""
        if quote := self._quote(item, about, vector):
            text, cosine = quote
            facts.add(
                "quote",
                Evidence("review", text, item.item_id, round(cosine, 3)),
                f"a reviewer wrote “{text}”",
                f"A reviewer of {with_article(name)} wrote “{text}”",
                quote=f"“{text}”",
            )

    def _add_complaint(self, facts: RankedFacts, item: Item, about: str, vector: NDArray[np.float32] | None) -> None:
        """Add a quotation from a negative review. Args: as for `_add_praise`."""
        if quote := self._quote(item, about, vector, negative=True):
            text, cosine = quote
            facts.add("caution", Evidence("review", text, item.item_id, round(cosine, 3), against=True), None, None, caution=f"“{text}”")

    def _add_declared_relation(self, facts: RankedFacts, anchor: Item, item: Item, *, proposes: bool) -> None:
        """Add the relation that the store declares between the two items. Args: proposes: whether its channel scores the item."""
        declared = self.relations.between(self.catalogue.row(item.item_id), self.catalogue.row(anchor.item_id))
        if declared is None or (declared[0] not in RELATION_WORDS and not proposes):
            return
        (relation, item_is_head), name, other = declared, display_name(item), display_name(anchor)
        forward, backward = RELATION_WORDS.get(relation, (OTHER_RELATION_WORDS, OTHER_RELATION_WORDS))
        words = forward if item_is_head else backward
        facts.add(
            "fits",
            Evidence("attribute", f"the store says of {name}: it {words} {other}", anchor.item_id),
            f"it {words} {with_article(other)}.",
            f"{with_article(name, sentence_start=True)} {words} {with_article(other)}.",
            fits=f"it {words} {with_article(other)}",
        )

    def _add_profile_matches(self, facts: RankedFacts, item: Item, profile: Profile | None, anchor: Item | None, other: str | None) -> None:
        """Add what matches the shopper's profile (a brand of the history, the price level), and recent popularity."""
        row = self.catalogue.row(item.item_id)
        if profile is not None and len(profile.rows):
            attributes = profile.item_attributes
            history_brands = {code for code in attributes.brand[profile.rows].tolist() if code >= 0}
            if (brand := int(attributes.brand[row])) in history_brands:
                brand_name = sanitize_for_prompt(attributes.brands[brand], 40).translate(NO_QUOTES)
                same = anchor is not None and attributes.brand[self.catalogue.row(anchor.item_id)] == brand
                ending = f"as is {with_article(other)}" if same and other else "a brand in your history"
                words = f"it is by {brand_name}, {ending}"
                facts.add("brand", Evidence("attribute", words, item.item_id), None, None, brand=words)
            gap = float(attributes.price_level[row]) - (profile.price_level or 0.0)
            if item.price is not None and profile.price_level is not None and np.isfinite(gap) and gap < PRICE_LEVEL_TOLERANCE:
                level = "at" if gap > -PRICE_LEVEL_TOLERANCE else "below"
                words = f"it costs {item.price:.2f}, {level} the price level that you usually choose"
                facts.add("price", Evidence("attribute", words, item.item_id, item.price), None, None, price=words)
        if self.recent_user_counts is not None and (users := int(self.recent_user_counts[row])) >= MIN_CATEGORY_SUPPORT:
            did = self.catalogue.words.counted_participle(self.catalogue.verb)
            words = f"it was {did} by {users} {self.catalogue.words.users} in the last {RECENT_DAYS} days of the store"
            facts.add("fresh", Evidence("attribute", words, item.item_id, float(users)), None, None, fresh=words)

    def _add_popularity_and_category(self, facts: RankedFacts, item: Item, name: str) -> None:
        users = int(self.catalogue.users[self.catalogue.row(item.item_id)])
        if users >= MIN_CATEGORY_SUPPORT:
            share = f"{users} of {self.catalogue.total_users} {self.catalogue.words.users} {self.catalogue.counted_past}"
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

    def _add_item_co_purchase(
        self, facts: RankedFacts, anchor: Item, other: str, item: Item, name: str, *, names_both: bool = False
    ) -> None:
        """Add the number of shoppers who bought both items, if it is significant.

        Args: names_both: state it only in a sentence that names both, since the shopper does not know the anchor.
        """
        pair = self.item_users.pair(self.catalogue.row(anchor.item_id), self.catalogue.row(item.item_id))
        if pair and pair.support >= MIN_ITEM_SUPPORT and pair.lift > 1 and fisher_p_value(pair) <= SIGNIFICANCE_LEVEL:
            verb, people = self.catalogue.counted_past, self.catalogue.words.users
            usual = f"{pair.lift:.{1 if pair.lift < 10 else 0}f} times the usual share" if pair.lift >= MIN_CATEGORY_LIFT else None
            facts.confident |= pair.support >= MIN_CONFIDENT_SUPPORT
            facts.add(
                "figure",
                Evidence(
                    "association",
                    f"{pair.support} of {pair.source_users} {people} who {verb} {other} also {verb} {name}{f', {usual}' if usual else ''}",
                    anchor.item_id,
                    round(pair.lift, 2),
                ),
                None if names_both else f"of {pair.source_users} {people} who {verb} the first, {pair.support} also {verb} the second.",
                f"{pair.support} of {pair.source_users} {people} who {verb} {with_article(other)} also {verb} {with_article(name)}.",
                figure=None if names_both else SupportStatistic(pair.support, pair.source_users, verb, other, name, people),
                usual=None if names_both else usual,
            )

    def _add_category_co_purchase(self, facts: RankedFacts, anchor: Item, item: Item, name: str) -> None:
        """Add the number of shoppers who bought from both categories, if it is significant."""
        category = self.catalogue.category
        pair = self.item_users.category_pair(
            int(category[self.catalogue.row(anchor.item_id)]), int(category[self.catalogue.row(item.item_id)])
        )
        if pair and pair.support >= MIN_CATEGORY_SUPPORT and pair.lift >= MIN_CATEGORY_LIFT and fisher_p_value(pair) <= SIGNIFICANCE_LEVEL:
            did_from, people, lift = self.catalogue.did_from, self.catalogue.words.users, round(pair.lift, 1)
            source, target = sanitize_for_prompt(pair.source), sanitize_for_prompt(pair.target)
            share = (
                f"{pair.support} of {pair.source_users} {people} who {did_from} {source} also {did_from} {target}, "
                f"{lift} times the usual share"
            )
            sentence = f"{share}, and {with_article(name)} is from there."
            facts.add("aisles", Evidence("association", share, None, lift), f"{share}.", sentence, aisles=share)

    def _quote(self, item: Item, about: str, vector: NDArray[np.float32] | None, *, negative: bool = False) -> tuple[str, float] | None:
        """Return a sentence from the review of an item that is closest to a text, and the cosine of the review; None without one.

        Args:
            item: the reviewed item.
            about: text that the quotation should support.
            vector: (dimensions,) of that text.
            negative: a complaint from a negative review, instead of praise from a positive one.
        """
        if vector is None:
            return None
        reviews = self.reviews.texts(item.item_id, negative)
        vectors = self.index.vectors(REVIEWS, [review_id for review_id, _ in reviews]) if reviews else {}
        by_cosine = sorted(
            ((float(vectors[review_id] @ vector), text) for review_id, text in reviews if review_id in vectors),
            key=lambda pair: (-pair[0], pair[1]),
        )
        for cosine, text in by_cosine:
            if cosine < MIN_QUOTE_COSINE:
                return None
            if quote := (complaint_excerpt if negative else praise_excerpt)(text, about):
                return quote, cosine
        return None


def count_recent_users(interactions: pl.DataFrame, catalogue: Catalogue) -> NDArray[np.int64] | None:
    """Return (items,) users of each item in the last `RECENT_DAYS` days of the store; None without timestamps."""
    import polars as pl

    counted = counted_interactions(interactions)[0]
    last = counted["timestamp"].max()
    if not isinstance(last, int):
        return None
    recent = counted.filter(pl.col("timestamp") > last - RECENT_DAYS * DAY).select("user_id", "item_id").unique()
    rows = recent.join(catalogue.row_table(), on="item_id")["row"].to_numpy()
    return np.bincount(rows, minlength=len(catalogue)).astype(np.int64)


def _cosine(left: NDArray[np.float32] | None, right: NDArray[np.float32] | None) -> float:
    return float(left @ right) if left is not None and right is not None else 0.0
