"""Choice of the facts that a generated explanation states, reproducible for the same reason."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .briefs import ExplanationBrief, fact_combinations
from .slots import NAME_SLOTS

if TYPE_CHECKING:
    from .briefs import Tone
    from .constrained_decoding import Length
    from .reasons import Occasion, Reason

MAX_FACT_COMBINATIONS = 4
"""Number of fact combinations that a text is chosen from, the strongest, for variety."""

NO_REASON_SLOTS = ("caution", "usual", "price", "fresh")
"""Facts that a text may add and that are no reason by themselves: nobody needs a thing because of its price."""

CacheKey = tuple[object, ...]
"""Everything an explanation depends on."""


def stable_hash(key: str) -> int:
    """Return a hash that is the same in every process, 48 bits."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:12], 16)


def cache_key(reason: Reason, tone: Tone, length: Length) -> CacheKey:
    """Return everything the explanation of a reason depends on."""
    stated = tuple(reason.slot_values.items())  # with or without counts
    return (reason.item, reason.anchor, reason.anchor_purchased, reason.need, reason.evidence, stated, tone, length)


def make_brief(reason: Reason, tone: Tone, length: Length, attempt: int = 0) -> ExplanationBrief | None:
    """Return the brief for a reason, None if it has no facts, anchor or need.

    Args:
        reason: The facts.
        tone: Tone of the text.
        length: Length of the text.
        attempt: Number of the attempt; each one chooses other facts.
    """
    occasion: Occasion = (
        "need" if not reason.anchor and reason.need else "owned" if reason.anchor_purchased or reason.anchor_done else "seen"
    )
    if not (reason.anchor or reason.need):
        return None
    facts = choose_facts(reason.slot_values, length, stable_hash(repr(cache_key(reason, tone, length))) + attempt)
    if not facts:
        return None
    names = {"item", "own" if reason.anchor else "need"}
    return ExplanationBrief(
        reason.item,
        reason.anchor,
        f"“{reason.need}”" if not reason.anchor else None,
        occasion,
        frozenset(names | set(facts)),
        reason.confident and bool({"figure", "fits"} & set(facts)),
        tone,
        length,
    )


def choose_facts(slots: Mapping[str, object], length: Length, seed: int) -> list[str]:
    """Return the facts that a text states: the strongest, with others that fit it, pseudo-randomly among the strongest combinations.

    None if no fact is a reason by itself.
    """
    strength = {slot: number for number, slot in enumerate(slot for slot in slots if slot not in NAME_SLOTS)}
    lead = next((slot for slot in strength if slot not in NO_REASON_SLOTS), None)
    if lead is None:
        return []
    combinations = [facts for facts in fact_combinations(length) if lead in facts and facts <= strength.keys()]
    combinations.sort(key=lambda facts: (max(strength[slot] for slot in facts), sorted(facts)))
    if not combinations:
        return [lead]
    return sorted(combinations[seed % min(len(combinations), MAX_FACT_COMBINATIONS)], key=strength.__getitem__)
