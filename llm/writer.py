"""Reasons worded by a model that has learned to: facts chosen, briefed, written in one batch, filled, checked, and once written again.

    reasons -> slots to tell -> letters and joining words (`writing`) -> filled (`slots`) -> checked (`grounding`) -> explanations

What does not pass is written once more with the fault named; what does not pass then is left to the evidence's own sentence. Knows nothing
of where facts come from.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from ..data.records import Claim, Explanation
from . import adapters
from .grounding import faults
from .slots import NAMES, QUOTED, fill
from .vocabulary import HEDGES
from .wording import Brief, Briefing, combinations
from .writing import MOST_TOKENS, Alphabet, Task, Writing, alphabet, draw, read

if TYPE_CHECKING:
    from .explainer import Reason
    from .models import LanguageModel
    from .wording import Tone
from .writing import Length

TEMPERATURE = 0.4
CHOICES = 4
"""Combinations of facts that a text may tell, the strongest, for variety."""
CLUMSY = -1.5
"""Mean log-likelihood of a wording's tokens, nats, below which the model itself would hardly have written it: it is written again."""
KEPT = 10_000
"""Explanations that are remembered by their evidence."""


class ReasonWriter:
    """Words reasons with one model. Args: llm: with an adapter for the prompt `word`."""

    def __init__(self, llm: LanguageModel) -> None:
        assert llm.word_version
        self.llm, self._briefing = llm, Briefing(llm, llm.word_version)
        self._known: OrderedDict[tuple[object, ...], Explanation | None] = OrderedDict()

    @cached_property
    def _alphabet(self) -> Alphabet:
        return alphabet(self.llm)

    def write(self, reasons: Sequence[Reason], tone: Tone, length: Length) -> list[Explanation | None]:
        """An explanation per reason, in order; None where there is nothing to word, or no wording passed."""
        keys = [_key(reason, tone, length) for reason in reasons]
        new = {key: reason for key, reason in zip(keys, reasons, strict=True) if key not in self._known}
        briefs = {key: brief for key, reason in new.items() if (brief := _brief(reason, tone, length))}
        found: dict[tuple[object, ...], Explanation | None] = dict.fromkeys(new)
        for attempt in range(2):
            texts = self._write(list(briefs.values()), [f"{key}{attempt}" for key in briefs])
            failed = {}
            for (key, brief), (text, likelihood) in zip(briefs.items(), texts, strict=True):
                explanation, fault = _checked(new[key], brief, text)
                if explanation is not None and likelihood < CLUMSY:
                    explanation, fault = None, "it reads badly"
                found[key] = explanation
                if explanation is None:
                    failed[key] = replace(brief, fault=fault)
            briefs = failed
        for key, explanation in found.items():
            self._known[key] = explanation
        answer = [self._known[key] for key in keys]
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return answer

    def _write(self, briefs: Sequence[Brief], keys: Sequence[str]) -> list[tuple[str, float]]:
        """What the model writes for each brief, with `{slot}` for every letter, and the mean log-likelihood of its tokens, nats."""
        if not briefs:
            return []
        told = [self._briefing.text(brief) for brief in briefs]
        rows = [Writing(self._alphabet, Task(brief.slots, brief.firm, brief.occasion == "seen", brief.length)) for brief in briefs]
        seeds = [int(hashlib.sha256(key.encode()).hexdigest()[:12], 16) for key in keys]
        texts = self.llm.generate(
            told[0][0],
            [brief for _, brief in told],
            max_new_tokens=max(MOST_TOKENS[brief.length] for brief in briefs) + 2,
            among=draw(rows, seeds, self.llm.tokenizer.pad_token_id, TEMPERATURE),
            adapter=adapters.WORD,
            lines=None,
        )
        return [
            (read(text, brief.slots), sum(row.likelihood) / max(1, len(row.likelihood)))
            for text, brief, row in zip(texts, briefs, rows, strict=True)
        ]


def _key(reason: Reason, tone: Tone, length: Length) -> tuple[object, ...]:
    return (reason.item, reason.owned, reason.has, reason.need, reason.evidence, tone, length)


def _brief(reason: Reason, tone: Tone, length: Length) -> Brief | None:
    """What the model is told of a reason; None where it has no fact to tell or nothing to begin with."""
    occasion = "need" if not reason.owned and reason.need else "owned" if reason.has else "seen"
    if not (reason.owned or reason.need):
        return None
    facts = _chosen(reason.slots, length, int(hashlib.sha256(repr(_key(reason, tone, length)).encode()).hexdigest()[:8], 16))
    if not facts:
        return None
    names = {"item", "own" if reason.owned else "need"}
    firm = reason.firm and bool({"figure", "fits"} & set(facts))
    return Brief(
        reason.item,
        reason.owned,
        f"“{reason.need}”" if not reason.owned else None,
        occasion,  # type: ignore[arg-type]
        frozenset(names | set(facts)),
        firm,
        tone,
        length,
    )


def _chosen(slots: Mapping[str, object], length: Length, lot: int) -> list[str]:
    """The facts that a text tells: the strongest, alone or with others that are told with it, by lot among the strongest such."""
    place = {slot: number for number, slot in enumerate(slot for slot in slots if slot not in NAMES)}
    lead = next((slot for slot in place if slot not in ("caution", "usual")), None)
    if lead is None:
        return []
    told = [facts for facts in combinations(length) if lead in facts and facts <= place.keys()]
    told.sort(key=lambda facts: (max(place[slot] for slot in facts), sorted(facts)))
    return sorted(told[lot % min(len(told), CHOICES)], key=place.__getitem__) if told else [lead]


def _checked(reason: Reason, brief: Brief, wording: str) -> tuple[Explanation | None, str]:
    """The explanation that a wording makes, or None and what is wrong with it."""
    values = {**reason.slots, "item": reason.item, "own": reason.owned or "", "need": f"“{reason.need}”"}
    missing = [slot for slot in brief.slots if wording.count(f"{{{slot}}}") != 1]
    if missing:
        return None, f"not each letter once ({', '.join(sorted(missing))})"
    filled = fill(wording, values)
    found = faults(filled.text, reason.names, reason.evidence, lines=brief.length == "bullets")
    words = set(wording.casefold().split())
    if not brief.firm and not HEDGES & {word.strip(".,;:") for word in words}:
        found.append("it does not say may, could or might")
    if found:
        return None, "; ".join(found)[:160]
    claims = tuple(
        Claim(filled.claims[slot].strip("“”") if slot in QUOTED else filled.claims[slot], reason.backing[slot])
        for slot in reason.slots
        if slot in filled.claims
    )
    return Explanation(filled.text, "llm", True, reason.evidence, claims), ""
