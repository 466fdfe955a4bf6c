"""Ranks the facts about one item by persuasiveness and by their part in its score.

Does not know where facts come from or how they are worded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ...data.records import Evidence
from ...llm.explain.reasons import Reason
from ...llm.explain.slots import SupportStatistic

PERSUASIVENESS: Mapping[str, float] = {
    "use": 7.0,
    "purpose": 6.0,
    "figure": 5.0,
    "fits": 3.2,
    "quote": 3.15,
    "need": 3.1,
    "brand": 3.0,
    "price": 2.95,
    "fresh": 2.9,
    "aisles": 2.85,
    "history": 2.8,
    "popular": 2.4,
    "category": 1.0,
    "caution": 0.0,
}
"""Persuasiveness of each kind of fact, as rated by shoppers from 1 to 5: attributes 2.7 to 3.2, ordered within that range by us. What both
items are for says why, so it always comes first; then a count of shoppers, rated above all others; a complaint always comes last."""
SUPPORTING_CHANNELS: Mapping[str, frozenset[str]] = {
    "aisles": frozenset(
        {
            "associations",
            "text_smoothed",
            "item_knn",
            "co_occurrence",
            "sequential",
            "user_knn",
            "random_walk",
            "item_regression",
            "factors",
            "graph",
        }
    ),
    "fits": frozenset({"relations"}),
    "quote": frozenset({"semantic", "complements"}),
    "history": frozenset({"semantic", "complements"}),
    "need": frozenset({"semantic", "complements"}),
    "brand": frozenset({"profile"}),
    "price": frozenset({"profile"}),
    "fresh": frozenset({"popularity", "lately"}),
    "popular": frozenset({"popularity", "lately", "category_popularity"}),
}
"""Kind of fact to the channels that measure it: their share of the score, up to 1, is added to the persuasiveness."""


@dataclass(frozen=True, slots=True)
class _WeightedFact:
    """A fact with its weight, the clause and the plain sentence that state it, and its slot values."""

    weight: float
    evidence: Evidence
    clause: str | None
    sentence: str | None
    slots: Mapping[str, str | SupportStatistic]


@dataclass
class RankedFacts:
    """The facts about one item.

    Attributes:
        channel_shares: share of each channel in the positive contributions to the item's score; empty if unknown.
        confident: whether a fact supports a sentence without "could" or "may".
    """

    channel_shares: Mapping[str, float] = field(default_factory=dict)
    confident: bool = False
    _facts: list[_WeightedFact] = field(default_factory=list)

    def add(self, kind: str, fact: Evidence, clause: str | None, sentence: str | None, **slots: str | SupportStatistic | None) -> None:
        """Add a fact.

        Args:
            kind: a key of `PERSUASIVENESS`.
            fact: the evidence.
            clause: clause that states it, None if it cannot end a sentence.
            sentence: plain sentence that states it, None if it has none.
            slots: slot values for generated wordings.
        """
        weight = PERSUASIVENESS[kind] + sum(self.channel_shares.get(channel, 0.0) for channel in SUPPORTING_CHANNELS.get(kind, ()))
        self._facts.append(
            _WeightedFact(weight, fact, clause, sentence, {slot: value for slot, value in slots.items() if value is not None})
        )

    def reason(self, item: str, *, anchor: str | None = None, anchor_purchased: bool = False, need: str | None = None) -> Reason:
        """Return the facts as a reason, largest weight first.

        Args:
            item: display name of the item.
            anchor: display name of the history item behind the recommendation.
            anchor_purchased: whether the shopper bought the anchor.
            need: the text query.
        """
        ordered = sorted(self._facts, key=lambda fact: -fact.weight)
        numbered = [replace(fact, evidence=replace(fact.evidence, evidence_id=f"e{n}")) for n, fact in enumerate(ordered, start=1)]
        clauses = [(fact.clause, fact.evidence) for fact in numbered if fact.clause]
        sentences = [(fact.sentence, fact.evidence) for fact in numbered if fact.sentence]
        return Reason(
            item,
            anchor,
            anchor_purchased,
            need,
            tuple(fact.evidence for fact in numbered),
            tuple(clause for clause, _ in clauses),
            bool(clauses) and clauses[0][1].kind == "association",
            sentences[0][0] if sentences else "",
            slot_values={slot: value for fact in numbered for slot, value in fact.slots.items()},
            slot_evidence={slot: fact.evidence.evidence_id for fact in numbered for slot in fact.slots},
            claim_evidence=(clauses[0][1].evidence_id if clauses else "", sentences[0][1].evidence_id if sentences else ""),
            confident=self.confident,
        )
