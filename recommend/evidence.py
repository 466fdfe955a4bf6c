"""The facts for a recommendation, gathered before a word is written: who else had both, what a buyer wrote, what it is.

Strongest first: a figure of shoppers who had both items; a quotation from a review of the item that speaks to the shopper's
need; a figure between the two categories; how close the descriptions are; how many had it. A fact is left out where it is too weak to be
shown: thresholds stand beside each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..data.records import Association, Candidate, Evidence, Item
from ..llm.explainer import Reason
from ..prompts.fence import fence, shorten
from ..retrieval.associations import Associations
from ..retrieval.catalogue import Catalogue
from ..retrieval.index import ITEMS, REVIEWS, VectorIndex

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

ITEM_SUPPORT, CATEGORY_SUPPORT = 3, 5
"""Shoppers a figure needs before it is said aloud; fewer say more of those shoppers than of the pair."""
QUOTE_LIKENESS = 0.3
QUOTE_RATING = 4.0
CLOSE = 0.25
"""Cosine from which two descriptions may be called close: with MiniLM, unrelated products stay below about 0.2."""
NAME = 60
QUOTE = 120
MOST_REVIEWS = 50
# What could be somebody's address, number or order stays unquoted; masking it would no longer be verbatim.
_PRIVATE = re.compile(r"@|https?:|www\.|\d{5,}|\d{3}[-. ]\d{3,}")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")


@dataclass(frozen=True)
class Reviews:
    """The reviews of a snapshot, looked up by item: the table sorted by item, with their ids in the index."""

    table: pl.DataFrame

    def of(self, item_id: str) -> pl.DataFrame:
        """The item's well-rated reviews, at most `MOST_REVIEWS`: columns review_id, text."""
        import polars as pl

        ids = self.table["item_id"]
        first, last = ids.search_sorted(item_id, "left"), ids.search_sorted(item_id, "right")
        found = self.table.slice(int(first), int(last) - int(first))
        return found.filter((pl.col("rating") >= QUOTE_RATING) & (pl.col("text") != "")).head(MOST_REVIEWS)


class EvidenceGatherer:
    """Gathers the reasons for recommendations over one index."""

    def __init__(self, catalogue: Catalogue, index: VectorIndex, associations: Associations, reviews: Reviews) -> None:
        self.catalogue, self.index, self.associations, self.reviews = catalogue, index, associations, reviews

    def reasons(self, candidates: Sequence[Candidate], items: Mapping[str, Item], text: str | None, text_vector: NDArray[np.float32] | None) -> list[Reason]:
        """A reason per candidate, in order.

        Args:
            items: the candidates and the history items behind them, by id.
            text, text_vector: what the shopper said and its unit vector (dimensions,), None where nothing was said.
        """
        anchors = [candidate.anchor for candidate in candidates if candidate.anchor]
        vectors = self.index.vectors(ITEMS, sorted({*anchors, *(candidate.item_id for candidate in candidates)}))
        reasons = []
        for candidate in candidates:
            item, owned = items[candidate.item_id], items[candidate.anchor] if candidate.anchor else None
            look = vectors.get(candidate.anchor) if candidate.anchor else text_vector
            reasons.append(self._reason(item, owned, text, look, vectors.get(item.item_id)))
        return reasons

    def _reason(
        self, item: Item, owned: Item | None, text: str | None, look: NDArray[np.float32] | None, own: NDArray[np.float32] | None
    ) -> Reason:
        name, owned_name = display_name(item), display_name(owned) if owned else None
        facts: list[Evidence] = []
        clauses: list[str] = []
        plain: list[str] = []

        def add(fact: Evidence, clause: str | None = None, sentence: str | None = None) -> None:
            facts.append(fact)
            clauses.extend([clause] if clause else [])
            plain.extend([sentence] if sentence else [])

        quote = self._quote(item, look)
        if owned and owned_name:
            pair = self.associations.pair(self.catalogue.row(owned.item_id), self.catalogue.row(item.item_id))
            if pair and pair.support >= ITEM_SUPPORT and pair.lift > 1:
                add(
                    Evidence("association", f"{_of(pair)} shoppers who bought {owned_name} also bought {name}", owned.item_id, round(pair.lift, 2)),
                    f"{_of(pair)} shoppers who bought the {owned_name} also bought it.",
                    f"{_of(pair)} shoppers who bought the {owned_name} also bought the {name}.",
                )
        if quote:
            add(Evidence("review", quote[0], item.item_id, round(quote[1], 3)), f"a buyer wrote “{quote[0]}”", f"A buyer of the {name} wrote “{quote[0]}”")
        if owned and owned_name:
            categories = self._category_pair(owned, item)
            if categories:
                both = f"{_of(categories)} shoppers who bought from {fence(categories.source)} also bought from {fence(categories.target)}"
                usual = f"{categories.lift:.1f} times the usual share"
                add(Evidence("association", f"{both}, {usual}", None, round(categories.lift, 2)), f"{both}, {usual}.", f"{both}, {usual}: the {name} is an item from there.")
            close = float(look @ own) if look is not None and own is not None else 0.0
            if close >= CLOSE:
                add(
                    Evidence("history", f"bought before: {owned_name}, close in description to {name}", owned.item_id, round(close, 3)),
                    "the two are close in description.",
                    f"The {name} is close in description to the {owned_name}.",
                )
            else:
                facts.append(Evidence("history", f"bought before: {owned_name}", owned.item_id))
        if text and not owned:
            said = fence(text, QUOTE).replace('"', "'").replace("“", "'").replace("”", "'")
            close = float(look @ own) if look is not None and own is not None else 0.0
            add(
                Evidence("need", said, item.item_id, round(close, 3)),
                None,
                f"You said “{said}”, and the {name} is close in description." if close >= CLOSE else None,
            )
        path = fence(" > ".join(item.category), 120)
        facts.append(Evidence("attribute", f"category of {name}: {path}", item.item_id))
        users = int(self.catalogue.users[self.catalogue.row(item.item_id)])
        if users >= CATEGORY_SUPPORT:
            share = f"{users} of {self.catalogue.total_users} shoppers bought {name}"
            add(Evidence("attribute", share, item.item_id, float(users)), None, f"{users} of {self.catalogue.total_users} shoppers bought the {name}.")
        if not plain:
            plain.append(f"The {name} is from {fence(item.category[-1])}." if item.category else "")
        return Reason(name, owned_name, tuple(facts), tuple(clauses), plain[0])

    def _category_pair(self, owned: Item, item: Item) -> Association | None:
        code = self.catalogue.category
        pair = self.associations.category_pair(int(code[self.catalogue.row(owned.item_id)]), int(code[self.catalogue.row(item.item_id)]))
        return pair if pair and pair.support >= CATEGORY_SUPPORT and pair.lift >= 1.05 else None

    def _quote(self, item: Item, look: NDArray[np.float32] | None) -> tuple[str, float] | None:
        """The sentence of a well-rated review of the item that is nearest to what it is recommended for, and the review's cosine."""
        if look is None:
            return None
        reviews = self.reviews.of(item.item_id)
        vectors = self.index.vectors(REVIEWS, reviews["review_id"].to_list()) if len(reviews) else {}
        ranked = sorted(
            ((float(vectors[key] @ look), text) for key, text in reviews.select("review_id", "text").iter_rows() if key in vectors),
            key=lambda found: (-found[0], found[1]),
        )
        for likeness, text in ranked:
            if likeness < QUOTE_LIKENESS:
                return None
            if quote := quotable(text):
                return quote, likeness
        return None


def quotable(text: str) -> str | None:
    """A verbatim stretch of a review that may be shown: its first fitting sentence, cut at a word border; None if there is none.

    Left out: what holds an address, a long number or a quotation mark, and what the fence would have to change.
    """
    for sentence in _SENTENCE.findall(text):
        quote = shorten(sentence.strip(), QUOTE)
        whole = 25 <= len(quote) and len(quote.split()) >= 5
        if whole and quote == fence(quote, QUOTE) and not _PRIVATE.search(quote) and not any(c in quote for c in "\"“”"):
            return quote
    return None


def display_name(item: Item) -> str:
    """What an item is called in a sentence: the beginning of its title, up to where the keywords start."""
    title = fence(item.title, 200) or item.item_id
    for border in (" | ", " ¦ ", " (", ", ", " - ", " – ", ": ", "; ", " with ", " for ", " [", "/"):
        head = title.split(border, 1)[0]
        if len(head) >= 12 and len(head.split()) >= 2:
            title = head
    return shorten(title, NAME).replace('"', "''").rstrip(".,:;- ")


def _of(pair: Association) -> str:
    return f"{pair.support} of {pair.source_users}"
