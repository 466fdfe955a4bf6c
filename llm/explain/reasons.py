"""Inputs of explanations: the facts for recommending an item, and the needs of a segment, as strings ready for a sentence.

Knows nothing of language models.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ... import prompts
from ...data.records import Evidence
from ...data.store_words import DEFAULT_WORDS, StoreWords, sentence_start
from .slots import SupportStatistic, with_article

MIN_CONFIDENT_SUPPORT = 5
"""Minimum number of shoppers behind a statistic for a sentence without "could" or "may"."""
MAX_NAME_CHARS, MAX_QUOTE_CHARS = 60, 120
NO_QUOTES = str.maketrans({'"': "'", "“": "'", "”": "'"})
"""For `str.translate`: replaces the double quotes of a text that is put in double quotes."""
MIN_NEED_LIFT = 1.2
"""Minimum lift for a sentence that a segment needs something; below it only the statistic is shown."""
# Names of goods ("Phones", "Toys & Games"), which can be bought; of any other category ("Running") one buys "something from" it.
_GOODS = re.compile(r"(?!(?:.* )?(?:sports|outdoors)$).*[^su'’]s(?<!ics)", re.IGNORECASE)
_SEPARATORS = re.compile(r",|&|/| and not | and | or ")

Occasion = Literal["owned", "seen", "need"]
"""How a sentence begins: with an item that the shopper bought, with an item of a basket or a visit, or with the shopper's own words."""


@dataclass(frozen=True, slots=True)
class Background:
    """What a model may read besides the facts; untrusted text of the store, cleaned for a prompt.

    Attributes:
        about: Beginning of the item's description.
        anchor_about: The same of the history item.
        history: Names of further history items, latest last.
    """

    about: str = ""
    anchor_about: str = ""
    history: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """The facts for recommending one item.

    Attributes:
        item: Display name of the item.
        anchor: Display name of the history item behind the recommendation, None if there is none.
        anchor_purchased: Whether the shopper bought the anchor, and so has it.
        need: The shopper's text query, None without one or if there is an anchor.
        evidence: The facts, strongest first.
        clauses: One finished clause for each fact that can end a sentence, strongest first.
        has_statistic: Whether the first clause is a count of shoppers; others are worded with "could" and "may".
        plain_sentence: Sentence made of the evidence alone.
        prompt_values: Further variables of the prompt; the prompt `explain` has none.
        slot_values: Value of each slot of a generated wording, strongest evidence first.
        slot_evidence: Id of the evidence for each slot.
        claim_evidence: Ids of the evidence for the first clause and for the plain sentence.
        confident: Whether a fact supports a judgement without "could" or "may".
        store_words: Forms of the store's verb that a sentence may use, besides the words of the evidence.
        background: What else a model may read that writes freely.
        anchor_done: Whether the shopper took, watched or visited the anchor, without owning it afterwards.
        shown_evidence: The facts as that model reads them, if it must not read all of the evidence; else empty.
    """

    item: str
    anchor: str | None
    anchor_purchased: bool
    need: str | None
    evidence: tuple[Evidence, ...]
    clauses: tuple[str, ...]
    has_statistic: bool
    plain_sentence: str
    prompt_values: Mapping[str, str] = field(default_factory=dict)
    slot_values: Mapping[str, str | SupportStatistic] = field(default_factory=dict)
    slot_evidence: Mapping[str, str] = field(default_factory=dict)
    claim_evidence: tuple[str, str] = ("", "")
    confident: bool = False
    store_words: tuple[str, ...] = ()
    background: Background = Background()
    anchor_done: bool = False
    shown_evidence: tuple[Evidence, ...] = ()

    @property
    def product_names(self) -> list[str]:
        """Product names that a sentence may use, the item's first."""
        return [self.item, *([self.anchor] if self.anchor else [])]

    @property
    def occasion(self) -> Occasion | None:
        """How a sentence begins; None without a clause to end it."""
        if not self.clauses:
            return None
        if self.anchor:
            return "owned" if self.anchor_purchased or self.anchor_done else "seen"
        return "need" if self.need else None


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """Statistics of a segment and one of its needs.

    Attributes:
        cohort: Name of the segment in the words of the store or the marketer; untrusted text.
        need: Name of the needed category or item.
        users: Number of shoppers in the segment.
        support: Number of them with the need, None if they are too few to count and only texts suggest it.
        lift: Their share divided by the base rate, None if unknown.
        lift_low: Lower end of the 95 % interval of the lift; the sentence omits "may" only if it is above 1.
        days: Length of the time window, None without timestamps.
        ordered: Whether the need was counted only after the event that defines the segment.
        cohort_kind: `text` for the marketer's own words or a combination of conditions; it is quoted.
        need_kind: Kind of the need.
        verb: What users did, in the store's words: bought, took, looked at.
        noisy: Whether noise was added to the counts for privacy.
        quote: Verbatim quote from a review.
        words: The store's words.
    """

    cohort: str
    need: str
    users: int
    support: int | None
    lift: float | None = None
    lift_low: float | None = None
    days: int | None = None
    ordered: bool = True
    cohort_kind: Literal["category", "item", "brand", "use", "text"] = "category"
    need_kind: Literal["category", "item", "use"] = "category"
    verb: str = "bought"
    noisy: bool = False
    quote: str | None = None
    words: StoreWords = DEFAULT_WORDS

    def to_reason(self) -> Reason:
        """Return the statistics as a reason for `Explainer(llm, prompt="segment")`."""
        cohort, need = _sanitized_name(self.cohort), _sanitized_name(self.need)
        things, cohort_things = self._object(need, self.need_kind), self._object(cohort, self.cohort_kind)
        is_text = self.cohort_kind == "text"
        who = f"{self.words.users} who " + (f"fit “{cohort}”" if is_text else f"{self.verb} {cohort_things}")
        if self.support is None:
            facts = [Evidence("attribute", f"judged by name and description alone, {who} may need {things}; too few to count yet")]
            clauses = ["judged by name and description alone, too few to count yet."]
        else:
            statistic = self._statistic(who, f"{self.verb} {things}")
            value = None if self.lift is None or math.isinf(self.lift) else round(self.lift, 2)
            facts = [Evidence("association", statistic, None, value)]
            there = {"item": "it", "use": things}.get(self.need_kind) or self._object_from_there()
            clauses = [f"{self._statistic('', f'{self.verb} {there}')}."] if (self.lift or 0) >= MIN_NEED_LIFT else []
        plain_sentence = f"{facts[0].text[0].upper()}{facts[0].text[1:]}."
        if is_text:
            facts.append(Evidence("need", cohort))
        # Quotes are verbatim or omitted: a quote that sanitizing would change, or that contains double quotes, is omitted.
        if self.quote and clauses and self.quote == prompts.sanitize_for_prompt(self.quote, MAX_QUOTE_CHARS).translate(NO_QUOTES):
            facts.append(Evidence("review", self.quote))
            clauses[0] += f" A reviewer wrote “{self.quote}”"
        return Reason(
            item=need,
            anchor=None if is_text else cohort,
            anchor_purchased=True,
            need=cohort if is_text else None,
            evidence=tuple(facts),
            clauses=tuple(clauses),
            has_statistic=self.support is not None and (self.lift_low or 0) > 1,
            plain_sentence=plain_sentence,
            prompt_values={
                "verb": self.verb,
                "participle": self.words.counted_participle(self.verb),
                "users": self.words.users,
                "Users": sentence_start(self.words.users),
                "cohort": cohort_things,
                "things": things,
                "next": " next" if self.ordered and self.support is not None else "",
            },
            store_words=(self.words.counted_participle(self.verb),),
        )

    def _object(self, name: str, kind: str) -> str:
        """Return what somebody bought or took: `Phones`, `something for camping`, `courses from Statistics`, `the Dome Tent`."""
        if kind == "use":
            return f"{'something' if self.words.takes_categories(self.verb) else self.words.items} for {name}"
        if kind in ("category", "brand") and not self.words.takes_categories(self.verb):
            return f"{self.words.items} {'from' if kind == 'category' else 'by'} {name}"
        return _purchase_phrase(name, kind)

    def _object_from_there(self) -> str:
        """Return the same for a category that was named before."""
        if not self.words.takes_categories(self.verb):
            return f"{self.words.items} from there"
        buys = self.verb == "bought" or self.words.describes(self.verb)
        return "from there" if buys else "something from there"

    def _statistic(self, who: str, did: str) -> str:
        """Return the statistic in words: `38 of 123 WHO DID within 90 days, 2.6 times the usual share`."""
        count = f"{'about ' if self.noisy else ''}{self.support} of {self.users} {who}".strip()
        within = f" within {self.days} day{'s' if self.days > 1 else ''}" if self.ordered and self.days else ""
        when = "" if within else "later " if self.ordered else "also "
        times = "" if self.lift is None or math.isinf(self.lift) else f", {self.lift:.{1 if self.lift < 10 else 0}f} times the usual share"
        return f"{count} {when}{did}{within}{times}"


def fact_line(fact: Evidence, *, complaint: str) -> str:
    """Return a fact as a line, a quotation with the person it is from. Args: complaint: What stands before a quoted complaint."""
    if fact.kind == "review":
        return f"{complaint if fact.against else ''}a reviewer wrote “{fact.text}”"
    return f"the shopper said “{fact.text}”" if fact.kind == "need" else fact.text


def _sanitized_name(text: str) -> str:
    """Return the untrusted name of a category or segment, safe for a sentence and for double quotes."""
    return prompts.sanitize_for_prompt(text, MAX_NAME_CHARS).translate(NO_QUOTES) or "(no name)"


def _purchase_phrase(name: str, kind: str) -> str:
    """Return the object of "bought": `Phones`, `something from Running`, `something by Norrvik`, `the Dome Tent`."""
    if kind == "category" and all(_GOODS.fullmatch(part.strip()) for part in _SEPARATORS.split(name)):
        return name
    if kind == "item":
        return with_article(name)
    return {"category": f"something from {name}", "brand": f"something by {name}"}.get(kind, name)
