"""Reasons worded by a model that has learned to: facts chosen, briefed, written in batches, filled, checked.

    reasons -> slots to tell -> letters and joining words (`writing`) -> filled (`slots`) -> checked (`grounding`) -> explanations

A wording has slots for all that is said of the items, so it is as true of others with facts of the same kinds: it is kept and told again.
Each kind of reason has some wordings, and a list takes different ones. What a check faults once filled is worded anew with the fault named;
what does not pass then is left to the evidence's own sentence. Knows nothing of where facts come from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.files import write_atomically
from ..data.records import Claim, Explanation
from . import adapters
from .grounding import faults
from .slots import NAMES, QUOTED, fill
from .vocabulary import HEDGES
from .wording import SPOKEN, Brief, Briefing, combinations
from .writing import MOST_TOKENS, Alphabet, Task, Writing, alphabet, draw, read

if TYPE_CHECKING:
    from .explainer import Reason
    from .models import LanguageModel
    from .wording import Tone
    from .writing import Length

TEMPERATURE = 1.0
CHOICES = 4
"""Combinations of facts that a text may tell, the strongest, for variety."""
VARIANTS, TRIES = 6, 6
"""Wordings of one kind of reason; and how many are drawn for each, of which one is kept."""
CLUMSY = {"line": -0.45, "paragraph": -0.55, "bullets": -0.55}
"""Mean log-likelihood of a wording's tokens, nats, below which the model itself would hardly have written it: it is not used. Read by eye,
what lies above reads well but for one in ten, and what lies below is muddled in every other case."""
AGAIN = 1.0
"""Nats that a wording loses for every other of its kind that begins with the same three words: more than likelihood can make up for."""
EXAMPLES = (
    ("Pyra Gas Stove", "Norrvik Dome Tent"),
    ("Lumen Desk Lamp", "Tillmark Oak Desk"),
    ("Kettlow Steel Bottle", "Stridana Trail Shoes"),
)
"""Names that a wording is drawn for, so that it does not depend on who asks first."""
VERSION = 2
"""Of the file that wordings are kept in, and of how they are drawn."""
KEPT = 10_000
"""Wordings and explanations that are remembered."""
Kind = tuple[frozenset[str], bool, str, "Tone", "Length"]
"""Slots, firm, occasion, tone and length: what a wording depends on."""


class ReasonWriter:
    """Words reasons with one model.

    Args: llm: with an adapter for the prompt `word`. cache: folder where wordings are kept for the next process; None for none.
    """

    def __init__(self, llm: LanguageModel, cache: Path | None = None) -> None:
        assert llm.word_version
        self.llm, self._briefing = llm, Briefing(llm, llm.word_version)
        self._known: OrderedDict[tuple[object, ...], Explanation | None] = OrderedDict()
        self._file = cache / f"{llm.word_hash[:16]}-{llm.quantization}.json" if cache else None
        self._wordings: dict[tuple[Kind, int], str | None] = _load(self._file) if self._file else {}

    @cached_property
    def _alphabet(self) -> Alphabet:
        return alphabet(self.llm)

    def write(self, reasons: Sequence[Reason], tone: Tone, length: Length) -> list[Explanation | None]:
        """An explanation per reason, in order; None where there is nothing to word, or no wording passed."""
        keys = [_key(reason, tone, length) for reason in reasons]
        new = {key: reason for key, reason in zip(keys, reasons, strict=True) if key not in self._known}
        found: dict[tuple[object, ...], Explanation | None] = dict.fromkeys(new)
        failed: dict[tuple[object, ...], Brief] = {}
        for turn in range(2):  # where there is no wording for a choice of facts, there may be one for another
            left = [key for key in new if found[key] is None and key not in failed]
            briefs = {key: brief for key in left if (brief := _brief(new[key], tone, length, turn))}
            wanted = self._variants(briefs)
            self._draw([pair for pair in dict.fromkeys(wanted.values()) if pair not in self._wordings])
            for key, brief in briefs.items():
                if wording := self._wordings[wanted[key]] or self._other(*wanted[key]):
                    found[key], fault = _checked(new[key], brief, wording)
                    if found[key] is None:
                        failed[key] = replace(brief, fault=fault)
        again = self._write([*failed.values()], [repr(key) for key in failed])
        for (key, brief), (wording, likelihood) in zip(failed.items(), again, strict=True):
            if likelihood >= CLUMSY[length]:
                found[key], _ = _checked(new[key], brief, wording)
        self._known.update(found)
        answer = [self._known[key] for key in keys]
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return answer

    def _variants(self, briefs: Mapping[tuple[object, ...], Brief]) -> dict[tuple[object, ...], tuple[Kind, int]]:
        """Which wording each reason takes: by lot, and no two of a list the same while there are others."""
        taken: dict[tuple[object, ...], tuple[Kind, int]] = {}
        for key, brief in briefs.items():
            kind = (brief.slots, brief.firm, brief.occasion, brief.tone, brief.length)
            first = _lot(repr(key)) % VARIANTS
            order = [(kind, (first + step) % VARIANTS) for step in range(VARIANTS)]
            used = list(taken.values())
            taken[key] = next((pair for pair in order if pair not in used and self._wordings.get(pair, "") is not None), order[0])
        return taken

    def _other(self, kind: Kind, variant: int) -> str | None:
        """Another wording of the kind, where this variant has none."""
        good = [text for step in range(1, VARIANTS) if (text := self._wordings.get((kind, (variant + step) % VARIANTS)))]
        return good[0] if good else None

    def _draw(self, pairs: Sequence[tuple[Kind, int]]) -> None:
        """Draws the wordings that are not there yet, all in one batch."""
        if not pairs:
            return
        briefs, seeds = [], []
        for (slots, firm, occasion, tone, length), variant in pairs:
            item, own = EXAMPLES[variant % len(EXAMPLES)]
            need = f"“{SPOKEN[variant % len(SPOKEN)]}”" if occasion == "need" else None
            brief = Brief(item, None if need else own, need, occasion, slots, firm, tone, length)  # type: ignore[arg-type]
            briefs.append(brief)
            seeds += [f"{sorted(slots)}{firm}{occasion}{tone}{length}{variant}{turn}" for turn in range(TRIES)]
        written = self._write(briefs, seeds, TRIES)
        for number, pair in enumerate(pairs):
            others = [text for (kind, _), text in self._wordings.items() if kind == pair[0] and text]
            starts = Counter(_start(text) for text in others)
            tries = {text: likelihood for text, likelihood in written[TRIES * number : TRIES * (number + 1)] if _whole(text, pair[0][0])}
            fine = [text for text, likelihood in tries.items() if likelihood >= CLUMSY[pair[0][4]]]
            self._wordings[pair] = max(fine, key=lambda text: tries[text] - AGAIN * (starts[_start(text)] + (text in others)), default=None)
        while len(self._wordings) > KEPT:
            del self._wordings[next(iter(self._wordings))]
        if self._file:
            _save(self._file, self._wordings)

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


def _load(file: Path) -> dict[tuple[Kind, int], str | None]:
    """The wordings of a file; none where it is not there, or is no longer what is written today."""
    try:
        told = json.loads(file.read_text("utf-8"))
        if told["version"] != VERSION:
            return {}
        return {
            ((frozenset(one["slots"]), one["firm"], one["occasion"], one["tone"], one["length"]), one["variant"]): one["text"]
            for one in told["wordings"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _save(file: Path, wordings: Mapping[tuple[Kind, int], str | None]) -> None:
    """Keeps the wordings for the next process, which would draw the same again; where that cannot be written, it will."""
    told = [
        {"slots": sorted(slots), "firm": firm, "occasion": occasion, "tone": tone, "length": length, "variant": variant, "text": text}
        for ((slots, firm, occasion, tone, length), variant), text in wordings.items()
    ]
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps({"version": VERSION, "wordings": told}, ensure_ascii=False, indent=1).encode())


def _lot(key: str) -> int:
    return int(hashlib.sha256(key.encode()).hexdigest()[:12], 16)


def _start(wording: str) -> str:
    return " ".join(wording.split()[:3])


def _whole(wording: str, slots: Collection[str]) -> bool:
    """Whether a wording came to its end with each slot once."""
    return all(wording.count(f"{{{slot}}}") == 1 for slot in slots)


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


def _checked(reason: Reason, brief: Brief, wording: str) -> tuple[Explanation | None, str]:
    """The explanation that a wording makes, or None and what is wrong with it."""
    values = {**reason.slots, "item": reason.item, "own": reason.owned or "", "need": f"“{reason.need}”"}
    if not _whole(wording, brief.slots):
        return None, "not each letter once"
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
