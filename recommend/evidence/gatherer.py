"""Evidence for a recommendation: collects the facts that an explanation may state, before any text is written.

Facts, strongest first: what both items are for; what the item is for, beside a count; the number of shoppers who bought both; a relation
declared by the store; a review quotation that speaks to the history item or the need; a match with the shopper's profile (brand, price);
co-purchase of the two categories; similarity of the descriptions; recent popularity. In user studies, shoppers rated statistics about other
shoppers as more persuasive than attributes. Overall popularity and the category are evidence, but no reason. Facts below a threshold are
left out; each is stated with its reason.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...data.records import Candidate, Evidence, Item
from ...llm.explain.reasons import MAX_QUOTE_CHARS, MIN_CONFIDENT_SUPPORT, NO_QUOTES, Background, Reason
from ...llm.explain.slots import SupportStatistic, with_article
from ...prompts.injection import is_prompt_injection, truncate_at_injection
from ...prompts.sanitize import sanitize_for_prompt
from ...retrieval.associations.item_users import ItemUsers
from ...retrieval.associations.rules import SIGNIFICANCE_LEVEL, fisher_p_value
from ...retrieval.channels import declared_relations
from ...retrieval.index.vector_index import ITEMS, VectorIndex
from ...retrieval.items.catalogue import Catalogue
from ...retrieval.items.relations import DeclaredRelations
from ..profiles.profile import Profile
from .anchor_choice import AnchorChooser, significant_pair
from .fact_ranking import RankedFacts
from .quotations import Quotation, Quotations
from .recent_popularity import RECENT_DAYS
from .relation_words import OTHER_RELATION_WORDS, RELATION_WORDS
from .review_excerpts import display_name
from .similarity_sentence import similarity_sentence
from .use_facts import add_named_use, add_purpose, add_shared_use, use_of_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.uses.store import StoreUses
    from .anchor_choice import AnchorChoice

MIN_CATEGORY_SUPPORT = 5
"""Minimum number of shoppers for a statistic of categories to be shown."""
MIN_CATEGORY_LIFT = 1.2
"""Minimum lift between two categories for the statistic to be informative."""
MIN_ITEM_COSINE, MIN_TEXT_COSINE = 0.4, 0.3
"""Minimum cosine of two descriptions called close, and of a text query and a description. With MiniLM, about 1 % of random item pairs from
different categories reach the first (99th percentile: 0.37 in the demo store, 0.40 in a sample of Amazon), and 1 % of the pairs of sixteen
queries with all items reach the second (99th percentile: 0.29 in both)."""
MIN_ALIKE_COSINE = 0.45
"""Minimum cosine of two descriptions that a sentence calls alike: between the two, readers often found little in common."""
PRICE_LEVEL_TOLERANCE = 0.15
"""Difference in log price level within which an item counts as at the shopper's price level."""
MAX_BACKGROUND_ITEMS, MAX_BACKGROUND_CHARS = 8, 300
"""Latest history items and characters of a description that a model may read that writes freely."""


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
        quotations: finds quotations in the reviews.
        relations: relations that the store declares.
        recent_user_counts: (items,) users of each item in the last `RECENT_DAYS` days; None where interactions have no timestamps.
        uses: what the items are for; None if that is not mined.
    """

    catalogue: Catalogue
    index: VectorIndex
    item_users: ItemUsers
    quotations: Quotations
    relations: DeclaredRelations
    recent_user_counts: NDArray[np.int64] | None = None
    uses: StoreUses | None = None

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
        vectors = self.index.vectors(ITEMS, [candidate.item_id for candidate in candidates])
        chooser = AnchorChooser(self.catalogue, self.item_users, self.quotations, self.uses)
        history = profile.rows.tolist() if profile is not None else []
        reasons = []
        for candidate in candidates:
            item, shares = items[candidate.item_id], (channel_shares or {}).get(candidate.item_id, {})
            # The text query takes precedence if there is evidence for it; otherwise the reason refers to the history.
            near = items[candidate.text_anchor] if candidate.text_anchor else None
            vector = vectors.get(candidate.item_id)
            takes_text = user_text is not None or not candidate.anchor
            reason = self._from_text(RankedFacts(shares), item, vector, user_text, profile, near) if takes_text else None
            if candidate.anchor and (reason is None or not reason.clauses):
                leading = items[candidate.anchor]
                is_declared = self.relations.between(self.catalogue.row(item.item_id), self.catalogue.row(leading.item_id)) is not None
                choice = chooser.choose(item, leading, [] if is_declared else history)
                is_bought = self.catalogue.row(choice.anchor.item_id) in bought
                proposes = declared_relations.NAME in candidate.scores
                reason = self._from_history(RankedFacts(shares), item, vector, choice, is_bought, profile, proposes)
            assert reason is not None
            reasons.append(replace(reason, background=self._background(item, reason, history)))
        return reasons

    def _background(self, item: Item, reason: Reason, history: Sequence[int]) -> Background:
        """What a model that writes freely may read besides the facts."""
        latest = self.catalogue.records(history[-MAX_BACKGROUND_ITEMS:])
        anchor = next((own for own in latest if self._name(own) == reason.anchor), None)
        about, anchor_about = (
            sanitize_for_prompt(truncate_at_injection(own.description or ""), MAX_BACKGROUND_CHARS) if own else "" for own in (item, anchor)
        )
        names = tuple(name for own in latest if (name := self._name(own)) != reason.anchor)
        return Background(about, anchor_about, names)

    def _from_history(
        self,
        facts: RankedFacts,
        item: Item,
        item_vector: NDArray[np.float32] | None,
        choice: AnchorChoice,
        is_bought: bool,
        profile: Profile | None,
        proposes: bool,
    ) -> Reason:
        """Return the reason for an item that names a history item, the anchor. Args: proposes: see `_add_declared_relation`."""
        anchor, shared = choice.anchor, choice.shared
        name, other = self._name(item), self._name(anchor)
        self._add_declared_relation(facts, anchor, item, proposes=proposes)
        is_quoted = shared is not None and add_shared_use(facts, shared, anchor, item, self._name)
        is_counted = self._add_item_co_purchase(facts, anchor, other, item, name)
        self._add_profile_matches(facts, item, profile, anchor, other if is_bought else None)
        is_counted |= self._add_category_co_purchase(facts, anchor, item, name, is_reason=choice.purpose is not None)
        if choice.quotation and not is_quoted:
            self._add_praise(facts, item, name, choice.quotation)
        cosine = _cosine(self.index.vectors(ITEMS, [anchor.item_id]).get(anchor.item_id), item_vector)
        is_owned, is_similar = is_bought and self.catalogue.words.means_owning, cosine >= MIN_ITEM_COSINE
        purpose = (
            add_purpose(facts, choice.purpose, item, name, worded=is_counted) if choice.purpose and (is_counted or is_similar) else None
        )
        occasion = f"{self.catalogue.words.counted_participle('bought')} before" if is_bought else "in the history"
        facts.add(
            "history",
            Evidence(
                "history",
                f"{occasion}: {other}{f', close in description to {name}' if is_similar else ''}",
                anchor.item_id,
                round(cosine, 3),
            ),
            None,
            similarity_sentence(name, other, is_owned=is_owned, use=purpose) if cosine >= MIN_ALIKE_COSINE else None,
        )
        self._add_popularity_and_category(facts, item, name)
        self._add_complaint(facts, item, other)
        reason = facts.reason(name, anchor=other, anchor_purchased=is_owned)
        return replace(reason, anchor_done=is_bought and not is_owned)

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
        name = self._name(item)
        need = None
        if user_text:
            if near is not None:
                self._add_item_co_purchase(facts, near, self._name(near), item, name)
            if quotation := self.quotations.praise(item.item_id, name, [user_text.text]):
                self._add_praise(facts, item, name, quotation)
            if self.uses is not None and (use := use_of_text(self.uses, item.item_id, user_text.text, self.quotations.vectors)):
                add_named_use(facts, use, item, name)
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
            self._add_complaint(facts, item, user_text.text)
        return facts.reason(name, need=need)

    def _name(self, item: Item) -> str:
        """The name of an item for a sentence, with the store's noun if it has one."""
        return self.catalogue.words.with_noun(display_name(item))

    @staticmethod
    def _add_praise(facts: RankedFacts, item: Item, name: str, quotation: Quotation) -> None:
        facts.add(
            "quote",
            Evidence("review", quotation.text, item.item_id, round(quotation.cosine, 3)),
            f"a reviewer wrote “{quotation.text}”",
            f"A reviewer of {with_article(name)} wrote “{quotation.text}”",
            quote=f"“{quotation.text}”",
        )

    def _add_complaint(self, facts: RankedFacts, item: Item, topic: str) -> None:
        """Add a quotation from a negative review. Args: topic: what the shopper has or said."""
        if quotation := self.quotations.complaint(item.item_id, topic):
            evidence = Evidence("review", quotation.text, item.item_id, round(quotation.cosine, 3), against=True)
            facts.add("caution", evidence, None, None, caution=f"“{quotation.text}”")

    def _add_declared_relation(self, facts: RankedFacts, anchor: Item, item: Item, *, proposes: bool) -> None:
        """Add the relation that the store declares between the two items. Args: proposes: whether its channel scores the item."""
        declared = self.relations.between(self.catalogue.row(item.item_id), self.catalogue.row(anchor.item_id))
        if declared is None or (declared[0] not in RELATION_WORDS and not proposes):
            return
        (relation, item_is_head), name, other = declared, self._name(item), self._name(anchor)
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
            facts.add("popular", Evidence("attribute", f"{share} {name}", item.item_id, float(users)), None, None)
        if item.category:
            path = sanitize_for_prompt(" › ".join(item.category), 120)
            facts.add("category", Evidence("attribute", f"category of {name}: {path}", item.item_id), None, None)

    def _add_item_co_purchase(self, facts: RankedFacts, anchor: Item, other: str, item: Item, name: str) -> bool:
        """Add the number of shoppers who bought both items, if it is significant; return whether it is."""
        pair = significant_pair(self.item_users, self.catalogue.row(anchor.item_id), self.catalogue.row(item.item_id))
        if pair:
            verb, people = self.catalogue.counted_past, self.catalogue.words.users
            usual = f"{pair.lift:.{1 if pair.lift < 10 else 0}f} times the usual share" if pair.lift >= MIN_CATEGORY_LIFT else None
            facts.confident |= pair.support >= MIN_CONFIDENT_SUPPORT
            statistic = SupportStatistic(pair.support, pair.source_users, verb, other, name, people)
            facts.add(
                "figure",
                Evidence(
                    "association",
                    f"{pair.support} of {pair.source_users} {people} who {verb} {other} also {verb} {name}{f', {usual}' if usual else ''}",
                    anchor.item_id,
                    round(pair.lift, 2),
                ),
                f"{statistic.clause(('own', 'item'))}.",
                f"{statistic.clause(())}.",
                figure=statistic,
                usual=usual,
            )
        return pair is not None

    def _add_category_co_purchase(self, facts: RankedFacts, anchor: Item, item: Item, name: str, *, is_reason: bool) -> bool:
        """Add the number of shoppers who bought from both categories, if it is significant; return whether it is.

        Args: is_reason: Whether a text may state it: beside what the item is for. Alone it says nothing about this item.
        """
        category = self.catalogue.category
        pair = self.item_users.category_pair(
            int(category[self.catalogue.row(anchor.item_id)]), int(category[self.catalogue.row(item.item_id)])
        )
        is_stated = pair and pair.support >= MIN_CATEGORY_SUPPORT and pair.lift >= MIN_CATEGORY_LIFT
        if pair and is_stated and fisher_p_value(pair) <= SIGNIFICANCE_LEVEL:
            did_from, people, lift = self.catalogue.did_from, self.catalogue.words.users, round(pair.lift, 1)
            source, target = sanitize_for_prompt(pair.source), sanitize_for_prompt(pair.target)
            share = (
                f"{pair.support} of {pair.source_users} {people} who {did_from} {source} also {did_from} {target}, "
                f"{lift} times the usual share"
            )
            sentence = f"{share}, and {with_article(name)} is from there."
            fact = Evidence("association", share, None, lift)
            facts.add("aisles", fact, *((f"{share}.", sentence) if is_reason else (None, None)), aisles=share if is_reason else None)
            return True
        return False


def _cosine(left: NDArray[np.float32] | None, right: NDArray[np.float32] | None) -> float:
    return float(left @ right) if left is not None and right is not None else 0.0
