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
from ...llm.explain.reasons import FIRM_SUPPORT, NO_QUOTES, QUOTE, Reason
from ...llm.explain.slots import Figure, the
from ...prompts.injection import speaks_to_a_model
from ...prompts.sanitize import fence
from ...retrieval.associations.item_users import Holders
from ...retrieval.associations.rules import UNLIKELY, chance
from ...retrieval.index.vector_index import ITEMS, REVIEWS, VectorIndex
from ...retrieval.items.catalogue import Catalogue, telling
from ...retrieval.items.interactions import DAY
from ..profiles.profile import Profile
from .declared_relations import Relations
from .fact_ranking import Facts
from .review_excerpts import critical, display_name, quotable

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

ITEM_SUPPORT, CATEGORY_SUPPORT = 3, 5
"""Shoppers a figure needs before it is said aloud; fewer say more of those shoppers than of the pair."""
QUOTE_LIKENESS = 0.3
QUOTE_RATING = 4.0
"""Of five; a store that rates up to ten quotes more, one that rates up to three nothing."""
CATEGORY_LIFT = 1.2
"""A figure between categories that says less than this over the usual share says next to nothing."""
CLOSE, CLOSE_TO_WORDS = 0.4, 0.3
"""Cosine from which two descriptions are called close: of two items of different categories drawn at random, about one pair in a
hundred reaches it with MiniLM (99 % lie below 0.37 in the demo store and below 0.40 in a cut of Amazon's). And the same for what a
shopper says against an item: 99 % of sixteen sentences with all items lie below 0.29 in both."""
MOST_REVIEWS = 50
KEPT = 10_000
"""Items whose reviews are kept in memory once they were looked at."""
CRITICAL_RATING = 3.0
"""Of five: a reservation is looked for in what is rated at most this."""
SAME_LEVEL = 0.15
"""Log price from which an item lies above or below the level at which a shopper buys."""
LATELY = 30
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
class Said:
    """What a shopper said, and its unit vector (dimensions,)."""

    text: str
    vector: NDArray[np.float32]


@dataclass(frozen=True)
class Reviews:
    """The reviews of a snapshot, looked up by item: the table sorted by item, with their ids in the index."""

    table: pl.DataFrame

    def of(self, item_id: str, *, against: bool = False) -> pl.DataFrame:
        """The item's well-rated reviews, at most `MOST_REVIEWS`: columns review_id, text. Args: against: the ill-rated ones."""
        import polars as pl

        ids = self.table["item_id"]
        first, last = ids.search_sorted(item_id, "left"), ids.search_sorted(item_id, "right")
        found = self.table.slice(int(first), int(last) - int(first))
        rated = pl.col("rating") <= CRITICAL_RATING if against else pl.col("rating") >= QUOTE_RATING
        return found.filter(rated & (pl.col("text") != "")).head(MOST_REVIEWS)

    def texts(self, item_id: str, against: bool) -> list[tuple[str, str]]:
        """The same as pairs of id and text; kept, because popular items are explained again and again."""
        key = (item_id, against)
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            found = self._kept[key] = list(self.of(item_id, against=against).select("review_id", "text").iter_rows())
        return found

    @cached_property
    def _kept(self) -> dict[tuple[str, bool], list[tuple[str, str]]]:
        return {}


@dataclass(frozen=True)
class EvidenceGatherer:
    """Gathers the reasons for recommendations over one index.

    Attributes: lately: (items,) shoppers who had each item within the last `LATELY` days of the store; None without a clock.
    """

    catalogue: Catalogue
    index: VectorIndex
    holders: Holders
    reviews: Reviews
    relations: Relations
    lately: NDArray[np.int64] | None = None

    def reasons(
        self,
        candidates: Sequence[Candidate],
        items: Mapping[str, Item],
        bought: Container[int],
        said: Said | None,
        profile: Profile | None = None,
        moved: Mapping[str, Mapping[str, float]] | None = None,
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
            facts = Facts((moved or {}).get(candidate.item_id, {}))
            reason = self._from_text(facts, item, own, said, profile) if said or not candidate.anchor else None
            if candidate.anchor and (reason is None or not reason.clauses):
                behind = items[candidate.anchor]
                has = self.catalogue.row(behind.item_id) in bought
                facts = Facts((moved or {}).get(candidate.item_id, {}))
                reason = self._from_history(facts, item, own, behind, vectors.get(behind.item_id), has, profile)
            assert reason is not None
            reasons.append(reason)
        return reasons

    def _from_history(
        self,
        facts: Facts,
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
        alike = f", close in description to {name}" if close >= CLOSE else ""
        facts.add(
            "history",
            Evidence("history", f"{'bought before' if has else 'in the history'}: {other}{alike}", behind.item_id, round(close, 3)),
            "the two are close in description." if alike else None,
            f"{the(name, begins=True)} is close in description to {the(other)}." if alike else None,
            close="the two are close in description" if alike else None,
        )
        self._attributes(facts, item, name)
        self._reservation(facts, item, behind.title, look)
        return facts.reason(name, owned=other, has=has)

    def _from_text(self, facts: Facts, item: Item, own: NDArray[np.float32] | None, said: Said | None, profile: Profile | None) -> Reason:
        """The reason for an item that a text, or plain popularity, led to."""
        name = display_name(item)
        words = None
        if said:
            self._review(facts, item, name, said.text, said.vector)
            # An order to a model is searched with, as any words are, but not said back: a text may come from a page and not from a shopper.
            if not speaks_to_a_model(said.text):
                words = fence(said.text, QUOTE).translate(NO_QUOTES)
                close = _cosine(said.vector, own)
                facts.add(
                    "need",
                    Evidence("need", words, item.item_id, round(close, 3)),
                    "its description is close to that." if close >= CLOSE_TO_WORDS else None,
                    f"You said “{words}”, and {the(name)} is close in description." if close >= CLOSE_TO_WORDS else None,
                    close="its description is close to that" if close >= CLOSE_TO_WORDS else None,
                )
        self._fits(facts, item, profile, None, None)
        self._attributes(facts, item, name)
        if said:
            self._reservation(facts, item, said.text, said.vector)
        return facts.reason(name, need=words)

    def _review(self, facts: Facts, item: Item, name: str, about: str, look: NDArray[np.float32] | None) -> None:
        if quote := self._quote(item, about, look):
            facts.add(
                "quote",
                Evidence("review", quote[0], item.item_id, round(quote[1], 3)),
                f"a reviewer wrote “{quote[0]}”",
                f"A reviewer of {the(name)} wrote “{quote[0]}”",
                quote=f"“{quote[0]}”",
            )

    def _reservation(self, facts: Facts, item: Item, about: str, look: NDArray[np.float32] | None) -> None:
        """What a reviewer of the item complains about, where they speak of what it is recommended for."""
        if quote := self._quote(item, about, look, against=True):
            facts.add(
                "caution", Evidence("review", quote[0], item.item_id, round(quote[1], 3), against=True), None, None, caution=f"“{quote[0]}”"
            )

    def _declared(self, facts: Facts, behind: Item, other: str, item: Item, name: str) -> None:
        """What the store itself says of the two."""
        found = self.relations.between(self.catalogue.row(item.item_id), self.catalogue.row(behind.item_id))
        if found and found[0] in RELATION_WORDS:
            words = RELATION_WORDS[found[0]][0 if found[1] else 1]
            facts.add(
                "fits",
                Evidence("attribute", f"the store says of {name}: it {words} {other}", behind.item_id),
                f"it {words} {the(other)}.",
                f"{the(name, begins=True)} {words} {the(other)}.",
                fits=f"it {words} {the(other)}",
            )

    def _fits(self, facts: Facts, item: Item, profile: Profile | None, behind: Item | None, other: str | None) -> None:
        """What of the item fits the shopper: a brand that they have, a price at their level, what others buy of late."""
        row = self.catalogue.row(item.item_id)
        if profile is not None and len(profile.rows):
            known = profile.facts
            mine = {code for code in known.brand[profile.rows].tolist() if code >= 0}
            if (brand := int(known.brand[row])) in mine:
                called = fence(known.brands[brand], 40).translate(NO_QUOTES)
                same = behind is not None and known.brand[self.catalogue.row(behind.item_id)] == brand
                words = f"it is by {called}, as is {the(other)}" if same and other else f"it is by {called}, a brand in your history"
                facts.add("brand", Evidence("attribute", words, item.item_id), None, None, brand=words)
            gap = float(known.level[row]) - (profile.level or 0.0)
            if item.price is not None and profile.level is not None and np.isfinite(gap) and gap < SAME_LEVEL:
                level = "at" if gap > -SAME_LEVEL else "below"
                words = f"it costs {item.price:.2f}, {level} the price level that you usually choose"
                facts.add("price", Evidence("attribute", words, item.item_id, item.price), None, None, price=words)
        if self.lately is not None and (users := int(self.lately[row])) >= CATEGORY_SUPPORT:
            words = f"it was {self.catalogue.verb} by {users} shoppers in the last {LATELY} days of the store"
            facts.add("fresh", Evidence("attribute", words, item.item_id, float(users)), None, None, fresh=words)

    def _attributes(self, facts: Facts, item: Item, name: str) -> None:
        users = int(self.catalogue.users[self.catalogue.row(item.item_id)])
        if users >= CATEGORY_SUPPORT:
            share = f"{users} of {self.catalogue.total_users} shoppers {self.catalogue.verb}"
            facts.add(
                "popular",
                Evidence("attribute", f"{share} {name}", item.item_id, float(users)),
                None,
                f"{share} {the(name)}.",
                popular=f"{share} it",
            )
        if item.category:
            path = fence(" › ".join(item.category), 120)
            facts.add(
                "category",
                Evidence("attribute", f"category of {name}: {path}", item.item_id),
                None,
                f"{the(name, begins=True)} is from {fence(item.category[-1])}.",
            )

    def _users_of_both(self, facts: Facts, behind: Item, other: str, item: Item, name: str) -> None:
        pair = self.holders.pair(self.catalogue.row(behind.item_id), self.catalogue.row(item.item_id))
        if pair and pair.support >= ITEM_SUPPORT and pair.lift > 1 and chance(pair) <= UNLIKELY:
            did = self.catalogue.verb
            usual = f"{pair.lift:.{1 if pair.lift < 10 else 0}f} times the usual share" if pair.lift >= CATEGORY_LIFT else None
            facts.firm |= pair.support >= FIRM_SUPPORT
            facts.add(
                "figure",
                Evidence(
                    "association",
                    f"{pair.support} of {pair.source_users} shoppers who {did} {other} also {did} {name}{f', {usual}' if usual else ''}",
                    behind.item_id,
                    round(pair.lift, 2),
                ),
                f"of {pair.source_users} shoppers who {did} the first, {pair.support} also {did} the second.",
                f"{pair.support} of {pair.source_users} shoppers who {did} {the(other)} also {did} {the(name)}.",
                figure=Figure(pair.support, pair.source_users, did, other, name),
                usual=usual,
            )

    def _users_of_both_categories(self, facts: Facts, behind: Item, item: Item, name: str) -> None:
        code = self.catalogue.category
        pair = self.holders.category_pair(int(code[self.catalogue.row(behind.item_id)]), int(code[self.catalogue.row(item.item_id)]))
        if pair and pair.support >= CATEGORY_SUPPORT and pair.lift >= CATEGORY_LIFT and chance(pair) <= UNLIKELY:
            did, lift = self.catalogue.verb, round(pair.lift, 1)
            share = (
                f"{pair.support} of {pair.source_users} shoppers who {did} from {fence(pair.source)} also {did} from {fence(pair.target)}, "
                f"{lift} times the usual share"
            )
            facts.add(
                "aisles", Evidence("association", share, None, lift), f"{share}.", f"{share}, and {the(name)} is from there.", aisles=share
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
            if likeness < QUOTE_LIKENESS:
                return None
            if quote := (critical if against else quotable)(text, about):
                return quote, likeness
        return None


def lately(interactions: pl.DataFrame, catalogue: Catalogue) -> NDArray[np.int64] | None:
    """(items,) shoppers who had each item within the last `LATELY` days of the store; None without a clock."""
    import polars as pl

    had = telling(interactions)[0]
    last = had["timestamp"].max()
    if not isinstance(last, int):
        return None
    recent = had.filter(pl.col("timestamp") > last - LATELY * DAY).select("user_id", "item_id").unique()
    rows = recent.join(catalogue.row_table(), on="item_id")["row"].to_numpy()
    return np.bincount(rows, minlength=len(catalogue)).astype(np.int64)


def _cosine(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> float:
    return float(one @ other) if one is not None and other is not None else 0.0
