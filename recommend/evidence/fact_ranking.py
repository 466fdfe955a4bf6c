"""The facts about one item, weighed: what persuades most and moved the score most is told first.

Knows nothing of where facts come from or how they are worded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ...data.records import Evidence
from ...llm.explain.reasons import Reason
from ...llm.explain.slots import SupportStatistic

PERSUASIVENESS: Mapping[str, float] = {
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
"""How well a fact persuades, as shoppers rated reasons from 1 to 5: attributes 2.7 to 3.2, within that our own order; a figure of shoppers,
which they rated above all others, always leads, and a reservation never does."""
SUPPORTING_CHANNELS: Mapping[str, frozenset[str]] = {
    "aisles": frozenset({"associations", "smoothed", "neighbours", "together", "follows", "factors", "graph"}),
    "quote": frozenset({"semantic", "complements"}),
    "history": frozenset({"semantic", "complements"}),
    "need": frozenset({"semantic", "complements"}),
    "brand": frozenset({"profile"}),
    "price": frozenset({"profile"}),
    "fresh": frozenset({"popularity", "lately"}),
    "popular": frozenset({"popularity", "lately"}),
}
"""Fact to the channels that see what it tells: what of the score they made comes on top of its rating, up to one point."""


@dataclass(frozen=True, slots=True)
class _WeightedFact:
    """A fact with what it weighs, the clause and the plain sentence that it can carry, and what it puts into slots."""

    weight: float
    evidence: Evidence
    clause: str | None
    sentence: str | None
    slots: Mapping[str, str | SupportStatistic]


@dataclass
class RankedFacts:
    """What there is to say of one item. Args: moved: the share of its score that each channel made, empty where that is not known."""

    channel_shares: Mapping[str, float] = field(default_factory=dict)
    firm: bool = False
    _all: list[_WeightedFact] = field(default_factory=list)

    def add(self, kind: str, fact: Evidence, clause: str | None, sentence: str | None, **slots: str | SupportStatistic | None) -> None:
        """Adds a fact. Args: kind: one of `PERSUASIVENESS`."""
        weight = PERSUASIVENESS[kind] + sum(self.channel_shares.get(channel, 0.0) for channel in SUPPORTING_CHANNELS.get(kind, ()))
        self._all.append(_WeightedFact(weight, fact, clause, sentence, {slot: value for slot, value in slots.items() if value is not None}))

    def reason(self, item: str, *, owned: str | None = None, has: bool = False, need: str | None = None) -> Reason:
        """The facts as a reason, the weightiest first, for the item as it is called."""
        ordered = sorted(self._all, key=lambda fact: -fact.weight)
        named = [(replace(fact, evidence=replace(fact.evidence, evidence_id=f"e{n}"))) for n, fact in enumerate(ordered, start=1)]
        clauses = [(fact.clause, fact.evidence) for fact in named if fact.clause]
        sentences = [(fact.sentence, fact.evidence) for fact in named if fact.sentence]
        return Reason(
            item,
            owned,
            has,
            need,
            tuple(fact.evidence for fact in named),
            tuple(clause for clause, _ in clauses),
            bool(clauses) and clauses[0][1].kind == "association",
            sentences[0][0] if sentences else "",
            slot_values={slot: value for fact in named for slot, value in fact.slots.items()},
            slot_evidence={slot: fact.evidence.evidence_id for fact in named for slot in fact.slots},
            claim_evidence=(clauses[0][1].evidence_id if clauses else "", sentences[0][1].evidence_id if sentences else ""),
            confident=self.firm,
        )
