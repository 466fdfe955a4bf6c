"""Reasons worded by a model that has learned to: facts chosen, briefed, written in batches, filled, checked.

    reasons -> slots to tell -> letters and joining words (`writing`) -> filled (`slots`) -> checked (`grounding`) -> explanations

A wording has slots for all that is said of the items, so it is as true of others with facts of the same kinds: it is kept and told again.
Each kind of reason has some wordings, and a list takes different ones. What a check faults once filled is worded anew with the fault named;
what does not pass then is left to the evidence's own sentence. Knows nothing of where facts come from.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.records import Claim, Explanation
from . import adapters
from .drawn import READY, Kind, Wordings
from .grounding import faults
from .slots import NAMES, QUOTED, fill
from .vocabulary import HEDGES
from .wording import SPOKEN, Brief, Briefing, combinations
from .writing import MOST_TOKENS, Alphabet, Task, Writing, alphabet, draw, read

if TYPE_CHECKING:
    from .entailment import Entailment
    from .explainer import Reason
    from .models import LanguageModel
    from .wording import Tone
    from .writing import Length

TEMPERATURE = 1.0
CHOICES = 4
"""Combinations of facts that a text may tell, the strongest, for variety."""
_LAME = re.compile(r"\b(?:so|and) (?:may|might|could|would)\b|\bor \{|\ba (?:figure|brand|price):", re.IGNORECASE)
"""What nobody would say who has the facts before them: "so might look", "25 of 46, or 5.2 times"."""
_UNDECIDED = re.compile(
    r"\b(?:choos(?:e|ing)|decid(?:e|ed|ing) on|tak(?:e|ing)|go(?:ing)? for|thinking of|want) (?:the|your) \{own\}"
    r"|\{own\} is (?:what|one) you|considering the \{own\}",
    re.IGNORECASE,
)
"""What presumes of the thing that it is still to be had."""
VARIANTS, TRIES = 6, 6
"""Wordings of one kind of reason, no two the same; and how many are drawn for each, of which the best are kept."""
TURNS = 2
"""Choices of facts that are tried for a reason before it is told in words that the list has already."""
CLUMSY = {"line": -0.45, "paragraph": -0.55, "bullets": -0.55}
"""Mean log-likelihood of a wording's tokens, nats, below which the model itself would hardly have written it: it is not used. Read by eye,
what lies above reads well but for one in ten, and what lies below is muddled in every other case."""
EXAMPLES = (
    ("Pyra Gas Stove", "Norrvik Dome Tent"),
    ("Lumen Desk Lamp", "Tillmark Oak Desk"),
    ("Kettlow Steel Bottle", "Stridana Trail Shoes"),
)
"""Names that a wording is drawn for, so that it does not depend on who asks first."""
KEPT = 10_000
"""Explanations that are remembered."""


class ReasonWriter:
    """Words reasons with one model.

    Args: llm: with an adapter for the prompt `word`. cache: folder where wordings are kept for the next process; None for none.
        entailment: that has to find no contradiction in a finished text, None for none.
    """

    def __init__(self, llm: LanguageModel, cache: Path | None = None, entailment: Entailment | None = None) -> None:
        assert llm.word_version
        self.llm, self._briefing, self._entailment = llm, Briefing(llm, llm.word_version), entailment
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[object, ...], Explanation | None] = OrderedDict()
        file = cache / f"{llm.word_hash[:16]}-{llm.quantization}.json" if cache else None
        self.wordings = Wordings.open(file, llm.word_hash, llm.word_folder / READY if llm.word_folder else None)

    @cached_property
    def _alphabet(self) -> Alphabet:
        return alphabet(self.llm)

    def write(self, reasons: Sequence[Reason], tone: Tone, length: Length) -> list[Explanation | None]:
        """An explanation per reason, in order; None where there is nothing to word, or no wording passed. One thread writes at a time."""
        with self._lock:
            return self._written(reasons, tone, length)

    def _written(self, reasons: Sequence[Reason], tone: Tone, length: Length) -> list[Explanation | None]:
        keys = [_key(reason, tone, length) for reason in reasons]
        new = {key: reason for key, reason in zip(keys, reasons, strict=True) if key not in self._known}
        found: dict[tuple[object, ...], Explanation | None] = dict.fromkeys(new)
        failed: dict[tuple[object, ...], Brief] = {}
        told: Counter[str] = Counter()
        spare: dict[tuple[object, ...], tuple[Brief, str]] = {}

        def settle(key: tuple[object, ...], brief: Brief, wording: str) -> None:
            told[wording] += 1
            found[key], fault = _checked(new[key], brief, wording, self._entailment)
            if found[key] is None:
                failed[key] = replace(brief, fault=fault)

        for turn in range(TURNS):  # where there is no wording for a choice of facts, or the list has it, there may be one for another
            left = [key for key in new if found[key] is None and key not in failed]
            briefs = {key: brief for key in left if (brief := _brief(new[key], tone, length, turn))}
            wanted = self._variants(briefs)
            self.draw([pair for pair in dict.fromkeys(wanted.values()) if pair not in self.wordings])
            for key, brief in briefs.items():
                if wording := self._least_told(*wanted[key], told):
                    if told[wording]:
                        spare.setdefault(key, (brief, wording))
                    else:
                        settle(key, brief, wording)
        for key, (brief, wording) in spare.items():
            if found[key] is None and key not in failed:
                settle(key, brief, wording)
        again = self._write([*failed.values()], [repr(key) for key in failed])
        for (key, brief), (wording, likelihood) in zip(failed.items(), again, strict=True):
            if likelihood >= CLUMSY[length]:
                found[key], _ = _checked(new[key], brief, wording, self._entailment)
        self._known.update(found)
        answer = [self._known[key] for key in keys]
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return answer

    def _variants(self, briefs: Mapping[tuple[object, ...], Brief]) -> dict[tuple[object, ...], tuple[Kind, int]]:
        """Which wording each reason takes: by lot, and no two of a list the same while there are others."""
        taken: dict[tuple[object, ...], tuple[Kind, int]] = {}
        for key, brief in briefs.items():
            kind = Kind(brief.slots, brief.firm, brief.occasion, brief.tone, brief.length)
            first = _lot(repr(key)) % VARIANTS
            order = [(kind, (first + step) % VARIANTS) for step in range(VARIANTS)]
            used = list(taken.values())
            taken[key] = next(
                (pair for pair in order if pair not in used), order[0]
            )  # whatever is drawn already, so that it stays the same
        return taken

    def _least_told(self, kind: Kind, variant: int, told: Mapping[str, int]) -> str | None:
        """The wording of a variant, or another of its kind that the list has told less often; None where there is none."""
        texts = (self.wordings.get((kind, (variant + step) % VARIANTS)) for step in range(VARIANTS))
        return min((text for text in texts if text), key=lambda text: told.get(text, 0), default=None)

    def draw(self, pairs: Sequence[tuple[Kind, int]], tries: int = TRIES) -> None:
        """Draws the wordings of some kinds, by number, all in one batch, and keeps those that are good enough.

        Args: tries: how many are drawn for each number; the best of a kind's are shared out among its numbers.
        """
        if not pairs:
            return
        briefs, seeds = [], []
        for (slots, firm, occasion, tone, length), variant in pairs:
            item, own = EXAMPLES[variant % len(EXAMPLES)]
            need = f"“{SPOKEN[variant % len(SPOKEN)]}”" if occasion == "need" else None
            briefs.append(Brief(item, None if need else own, need, occasion, slots, firm, tone, length))
            seeds += [f"{sorted(slots)}{firm}{occasion}{tone}{length}{variant}{turn}" for turn in range(tries)]
        written = self._write(briefs, seeds, tries)
        fine: dict[Kind, dict[str, float]] = {}
        for number, (kind, _) in enumerate(pairs):
            for text, likelihood in written[tries * number : tries * (number + 1)]:
                if sound(text, kind) and likelihood >= CLUMSY[kind.length]:
                    fine.setdefault(kind, {})[text] = likelihood
        for kind in dict.fromkeys(kind for kind, _ in pairs):
            self.wordings.share(kind, [variant for one, variant in pairs if one == kind], fine.get(kind, {}))
        self.wordings.save()

    def _write(self, briefs: Sequence[Brief], keys: Sequence[str], times: int = 1) -> list[tuple[str, float]]:
        """What the model writes for each brief, with `{slot}` for every letter, and the mean log-likelihood of its tokens, nats.

        Args: keys: what each draw is seeded with. times: draws for each brief, one after another.
        """
        if not briefs:
            return []
        told = [self._briefing.text(brief) for brief in briefs]
        each = [brief for brief in briefs for _ in range(times)]
        rows = [Writing(self._alphabet, Task(brief.slots, brief.firm, brief.occasion == "seen", brief.length)) for brief in each]
        texts = self.llm.generate(
            told[0][0],
            [brief for _, brief in told],
            max_new_tokens=max(MOST_TOKENS[brief.length] for brief in briefs) + 2,
            among=draw(rows, [_lot(key) for key in keys], self.llm.tokenizer.pad_token_id, TEMPERATURE),
            adapter=adapters.WORD,
            lines=None,
            times=times,
        )
        return [
            (read(text, brief.slots), sum(row.likelihood) / max(1, len(row.likelihood)))
            for text, brief, row in zip(texts, each, rows, strict=True)
        ]


def _lot(key: str) -> int:
    return int(hashlib.sha256(key.encode()).hexdigest()[:12], 16)


def _whole(wording: str, slots: Collection[str]) -> bool:
    """Whether a wording came to its end with each slot once."""
    return all(wording.count(f"{{{slot}}}") == 1 for slot in slots)


def sound(wording: str, kind: Kind) -> bool:
    """Whether a wording is whole, has a subject to each verb, and does not tell a shopper to decide on what they have."""
    return _whole(wording, kind.slots) and not _LAME.search(wording) and not (kind.occasion == "owned" and _UNDECIDED.search(wording))


def _key(reason: Reason, tone: Tone, length: Length) -> tuple[object, ...]:
    return (reason.item, reason.owned, reason.has, reason.need, reason.evidence, tone, length)


def _brief(reason: Reason, tone: Tone, length: Length, turn: int = 0) -> Brief | None:
    """What the model is told of a reason; None where it has no fact to tell or nothing to begin with. Args: turn: of choosing facts."""
    occasion = "need" if not reason.owned and reason.need else "owned" if reason.has else "seen"
    if not (reason.owned or reason.need):
        return None
    facts = _chosen(reason.slots, length, _lot(repr(_key(reason, tone, length))) + turn)
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


def _checked(reason: Reason, brief: Brief, wording: str, entailment: Entailment | None) -> tuple[Explanation | None, str]:
    """The explanation that a wording makes, or None and what is wrong with it."""
    values = {**reason.slots, "item": reason.item, "own": reason.owned or "", "need": f"“{reason.need}”"}
    if not _whole(wording, brief.slots):
        return None, "not each letter once"
    filled = fill(wording, values)
    found = faults(filled.text, reason.names, reason.evidence, lines=brief.length == "bullets")
    words = set(wording.casefold().split())
    if not brief.firm and not HEDGES & {word.strip(".,;:") for word in words}:
        found.append("it does not say may, could or might")
    if not found and entailment:
        found = entailment.faults(filled.text, reason.evidence)
    if found:
        return None, "; ".join(found)[:160]
    claims = tuple(
        Claim(filled.claims[slot].strip("“”") if slot in QUOTED else filled.claims[slot], reason.backing[slot])
        for slot in reason.slots
        if slot in filled.claims
    )
    return Explanation(filled.text, "llm", True, reason.evidence, claims), ""
