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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ...data import deadlines
from ...data.records import Claim, Explanation
from ..models import adapters
from .briefs import SPOKEN, Brief, Briefing, combinations
from .constrained_decoding import MOST_TOKENS, Alphabet, Task, Writing, alphabet, draw, read
from .grounding import faults
from .slots import NAMES, QUOTED, fill
from .vocabulary import HEDGES
from .wording_cache import READY, Kind, Pair, Wordings

if TYPE_CHECKING:
    from ..models.language_model import LanguageModel
    from .briefs import Tone
    from .constrained_decoding import Length
    from .entailment import Entailment
    from .reasons import Reason

T = TypeVar("T")
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
GROWTH = 4
"""How many times as many are drawn together in each part of a list that is wanted soon as in the part before."""

Key = tuple[object, ...]
"""What an explanation hangs on."""
Stands = Callable[[int, "Explanation | None"], None]
"""Takes the place of a reason and its explanation, which stands."""


class ReasonWriter:
    """Words reasons with one model.

    Args: llm: with an adapter for the prompt `word`. cache: folder where wordings are kept for the next process; None for none.
        entailment: that has to find no contradiction in a finished text, None for none.
    """

    def __init__(self, llm: LanguageModel, cache: Path | None = None, entailment: Entailment | None = None) -> None:
        assert llm.word_version
        self.llm, self._briefing, self.entailment = llm, Briefing(llm, llm.word_version), entailment
        self._lock = threading.Lock()
        self._known: OrderedDict[Key, Explanation | None] = OrderedDict()
        file = cache / f"{llm.word_hash[:16]}-{llm.quantization}.json" if cache else None
        self.wordings = Wordings.open(file, llm.word_hash, llm.word_folder / READY if llm.word_folder else None)

    @cached_property
    def _alphabet(self) -> Alphabet:
        return alphabet(self.llm)

    def write(self, reasons: Sequence[Reason], tone: Tone, length: Length, stands: Stands, *, soon: bool = False) -> None:
        """Words each reason once, and hands over its place and explanation as soon as it stands, first what needs no drawing.

        One thread writes at a time.

        Args:
            stands: is handed them; None where there is nothing to word, or no wording passed.
            soon: draws in parts, so that the first explanation need not wait for the last; together they take a little longer.
        Raises: TimedOutError: the deadline of the work at hand is over.
        """
        with self._lock:
            deadlines.check()  # it may have waited too long
            places: dict[Key, list[int]] = {}
            for place, reason in enumerate(reasons):
                places.setdefault(_key(reason, tone, length), []).append(place)

            def each(key: Key) -> None:
                for place in places[key]:
                    stands(place, self._known[key])

            new = {key: reasons[there[0]] for key, there in places.items() if key not in self._known}
            for key in places.keys() - new.keys():
                each(key)
            for key, explanation in _Round(self, new, tone, length, soon=soon).finished():
                self._known[key] = explanation
                each(key)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)

    def variants(self, briefs: Mapping[Key, Brief]) -> dict[Key, Pair]:
        """Which wording each reason takes: by lot, and no two of a list the same while there are others."""
        taken: dict[Key, Pair] = {}
        for key, brief in briefs.items():
            kind = Kind(brief.slots, brief.firm, brief.occasion, brief.tone, brief.length)
            first = _lot(repr(key)) % VARIANTS
            order = [(kind, (first + step) % VARIANTS) for step in range(VARIANTS)]
            used = list(taken.values())
            # Whatever is drawn already, so that it stays the same.
            taken[key] = next((pair for pair in order if pair not in used), order[0])
        return taken

    def least_told(self, kind: Kind, variant: int, told: Mapping[str, int]) -> str | None:
        """The wording of a variant, or another of its kind that the list has told less often; None where there is none."""
        texts = (self.wordings.get((kind, (variant + step) % VARIANTS)) for step in range(VARIANTS))
        return min((text for text in texts if text), key=lambda text: told.get(text, 0), default=None)

    def draw(self, pairs: Sequence[Pair], tries: int = TRIES) -> None:
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
        written = self.compose(briefs, seeds, tries)
        fine: dict[Kind, dict[str, float]] = {}
        for number, (kind, _) in enumerate(pairs):
            for text, likelihood in written[tries * number : tries * (number + 1)]:
                if sound(text, kind) and likelihood >= CLUMSY[kind.length]:
                    fine.setdefault(kind, {})[text] = likelihood
        for kind in dict.fromkeys(kind for kind, _ in pairs):
            self.wordings.share(kind, [variant for one, variant in pairs if one == kind], fine.get(kind, {}))
        self.wordings.save()

    def compose(self, briefs: Sequence[Brief], keys: Sequence[str], times: int = 1) -> list[tuple[str, float]]:
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


class _Round:
    """One list that is worded. What has no wording yet waits for it to be drawn; what has one is told at once.

    The outcome is that of wording the list in its order: a reason is told before an earlier one only if the two have no wording in common.

    Args: new: what is to be worded, by key. soon: whether somebody waits for the first rather than for the last.
    """

    def __init__(self, writer: ReasonWriter, new: Mapping[Key, Reason], tone: Tone, length: Length, *, soon: bool) -> None:
        self._writer, self._new, self._tone, self._length, self._soon = writer, new, tone, length, soon
        self._open = dict.fromkeys(new)  # in the order of the list
        self._told: Counter[str] = Counter()
        self._failed: dict[Key, Brief] = {}
        self._spare: dict[Key, tuple[Brief, str]] = {}

    def finished(self) -> Iterator[tuple[Key, Explanation | None]]:
        """Each key with its explanation, None where there is none, as soon as it stands."""
        for turn in range(TURNS):  # where there is no wording for a choice of facts, or the list has it, there may be one for another
            left = [key for key in self._open if key not in self._failed]
            yield from self._turn({key: _brief(self._new[key], self._tone, self._length, turn) for key in left})
        for key, (brief, wording) in self._spare.items():
            if key in self._open and key not in self._failed:
                yield from self._settled(key, brief, wording)
        again = self._writer.compose([*self._failed.values()], [repr(key) for key in self._failed])
        for (key, brief), (wording, likelihood) in zip(self._failed.items(), again, strict=True):
            if likelihood >= CLUMSY[self._length]:
                found, _ = _checked(self._new[key], brief, wording, self._writer.entailment)
                if found:
                    yield self._close(key, found)
        yield from [self._close(key, None) for key in [*self._open]]

    def _turn(self, chosen: Mapping[Key, Brief | None]) -> Iterator[tuple[Key, Explanation | None]]:
        yield from [self._close(key, None) for key, brief in chosen.items() if brief is None]
        briefs = {key: brief for key, brief in chosen.items() if brief}
        wanted = self._writer.variants(briefs)
        missing = [pair for pair in dict.fromkeys(wanted.values()) if pair not in self._writer.wordings]
        drawn: set[Pair] = {*wanted.values()} - {*missing}
        for part in [[], *_parts(missing, soon=self._soon)]:
            self._writer.draw(part)
            drawn |= {*part}
            waiting: set[frozenset[str]] = set()  # what is told by whoever comes before is told less often by those behind
            for key, brief in [*briefs.items()]:
                if wanted[key] not in drawn or brief.slots in waiting:
                    waiting.add(brief.slots)
                    continue
                del briefs[key]
                if wording := self._writer.least_told(*wanted[key], self._told):
                    if self._told[wording]:
                        self._spare.setdefault(key, (brief, wording))
                    else:
                        yield from self._settled(key, brief, wording)

    def _settled(self, key: Key, brief: Brief, wording: str) -> Iterator[tuple[Key, Explanation]]:
        self._told[wording] += 1
        found, fault = _checked(self._new[key], brief, wording, self._writer.entailment)
        if found:
            yield self._close(key, found)
        else:
            self._failed[key] = replace(brief, fault=fault)

    def _close(self, key: Key, found: T) -> tuple[Key, T]:
        del self._open[key]
        return key, found


def _parts(missing: Sequence[Pair], *, soon: bool) -> list[list[Pair]]:
    """What is drawn at once: all, or ever more; never a part of a kind, whose wordings share what was drawn for any of them."""
    kinds = [*dict.fromkeys(kind for kind, _ in missing)]
    return [[pair for pair in missing if pair[0] in part] for part in growing(kinds, GROWTH)] if soon else [[*missing]]


def growing(things: Sequence[T], times: int) -> list[Sequence[T]]:
    """Things in parts, one at first, then each so many times as many.

    >>> growing("abcdefg", 4)
    ['a', 'bcde', 'fg']
    """
    parts, start, size = [], 0, 1
    while start < len(things):
        parts.append(things[start : start + size])
        start, size = start + size, size * times
    return parts


def _lot(key: str) -> int:
    return int(hashlib.sha256(key.encode()).hexdigest()[:12], 16)


def _whole(wording: str, slots: Collection[str]) -> bool:
    """Whether a wording came to its end with each slot once."""
    return all(wording.count(f"{{{slot}}}") == 1 for slot in slots)


def sound(wording: str, kind: Kind) -> bool:
    """Whether a wording is whole, has a subject to each verb, and does not tell a shopper to decide on what they have."""
    return _whole(wording, kind.slots) and not _LAME.search(wording) and not (kind.occasion == "owned" and _UNDECIDED.search(wording))


def _key(reason: Reason, tone: Tone, length: Length) -> Key:
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
