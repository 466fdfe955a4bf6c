"""Why an item, or what a segment needs, in one sentence.

The store fills the facts, the model words how they join, a check has the last word. The sentence is an opening that names things, a
joining phrase (after which the opening may go on), and a clause with the strongest fact. Opening and clause are filled from the
evidence. The phrase is the model's choice among phrasings that state no facts (`phrasing`), because a 135M model left to itself names
the wrong product and promises what nobody said. Whatever was written, `grounding` reads the finished sentence; what does not pass is
replaced by the plain sentence of the evidence.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache as remembered
from pathlib import Path
from typing import Literal

from ... import prompts
from ...data.records import Claim, Evidence, Explanation
from ..models.language_model import LanguageModel
from .briefs import Tone
from .constrained_decoding import Length
from .entailment import Entailment
from .generator import GROWTH, ReasonWriter, growing
from .grounding import faults
from .phrase_grammar import Phrasings, choose, expand
from .slots import Figure, the

TEMPERATURE = 0.8
FIRM_SUPPORT = 5
"""Shoppers behind a figure from whom on it carries a sentence without "could" or "may"."""
_END = ":"
_GAP = " … "
"""Where in an opening the phrase goes; at its end where the line has none."""
NAME, QUOTE = 60, 120
"""Characters of a name, and of a quotation, at most."""
NO_QUOTES = str.maketrans({'"': "'", "“": "'", "”": "'"})
"""For `str.translate`: text that will stand in quotation marks must not hold any."""
NEEDED = 1.2
"""Lift from which a segment is said to need something; below it only the figure is shown."""
# Names that can be bought as they stand ("Phones", "Toys & Games"); of any other one buys something from it ("Running").
_GOODS = re.compile(r"(?!(?:.* )?(?:sports|outdoors)$).*[^su'’]s(?<!ics)", re.IGNORECASE)
_JOINED = re.compile(r",|&|/| and not | and | or ")

Occasion = Literal["owned", "seen", "need"]
"""What a sentence begins with: an item the shopper has, one of a basket or a visit, or the shopper's own words."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What there is to say for one recommendation.

    Attributes:
        item: the item's name as it may be shown.
        owned: the name of the history item behind it, None where there is none. has: whether the shopper bought that one.
        need: what the shopper said, None where nothing was said or a history item is behind it.
        evidence: the facts, strongest first. clauses: one finished clause per fact that can carry a sentence, strongest first.
        counted: whether the first clause is a figure of shoppers; anything less is worded with "could" and "may".
        plain: the sentence made of the evidence alone.
        words: what else the lines of the prompt ask for; the prompt `explain` asks for nothing.
        slots: what each slot of a learned wording stands for, strongest evidence first. backing: slot to the id of its evidence.
        behind: ids of the evidence that the first clause and the plain sentence tell. firm: whether there is a fact that carries a
            judgement without "could" or "may".
    """

    item: str
    owned: str | None
    has: bool
    need: str | None
    evidence: tuple[Evidence, ...]
    clauses: tuple[str, ...]
    counted: bool
    plain: str
    words: Mapping[str, str] = field(default_factory=dict)
    slots: Mapping[str, str | Figure] = field(default_factory=dict)
    backing: Mapping[str, str] = field(default_factory=dict)
    behind: tuple[str, str] = ("", "")
    firm: bool = False

    @property
    def names(self) -> list[str]:
        """The product names a sentence may use, the item's first."""
        return [self.item, *([self.owned] if self.owned else [])]

    @property
    def occasion(self) -> Occasion | None:
        """What a sentence can begin with; None where the evidence has no clause to end it with."""
        if not self.clauses:
            return None
        if self.owned:
            return "owned" if self.has else "seen"
        return "need" if self.need else None


@dataclass(frozen=True, slots=True)
class Segment:
    """What was found of a segment: the shoppers it is made of, and what they need.

    Attributes:
        cohort: what makes the segment, as the store or the marketer calls it: strangers' text. need: the category's or item's name.
        users: the segment's shoppers. support: how many of them went on to the need, None where they are too few to count and only the
            texts suggest it.
        lift: their share over the usual one, None where it is not known. lift_low: lower end of its 95 % interval; only above 1 may the
            need be said without "may".
        days: the window, None where there is no clock. ordered: whether the need was counted after what made the segment.
        cohort_kind: `text` is the marketer's own words, quoted: also for a cohort that several things joined make. need_kind: likewise.
        verb: as in the catalogue: bought, rated or looked at. noisy: whether the counts were blurred for privacy.
        quote: a verbatim stretch of a review, for colour.
    """

    cohort: str
    need: str
    users: int
    support: int | None
    lift: float | None = None
    lift_low: float | None = None
    days: int | None = None
    ordered: bool = True
    cohort_kind: Literal["category", "item", "brand", "text"] = "category"
    need_kind: Literal["category", "item"] = "category"
    verb: str = "bought"
    noisy: bool = False
    quote: str | None = None

    def reason(self) -> Reason:
        """The figures as a reason for `Explainer(llm, prompt="segment")`."""
        cohort, need = _name(self.cohort), _name(self.need)
        things, had = _things(need, self.need_kind), _things(cohort, self.cohort_kind)
        said = self.cohort_kind == "text"
        who = f"shoppers who fit “{cohort}”" if said else f"shoppers who {self.verb} {had}"
        if self.support is None:
            facts = [Evidence("attribute", f"judged by name and description alone, {who} may need {things}; too few to count yet")]
            clauses = ["judged by name and description alone, too few to count yet."]
        else:
            shares = self._shares(who, f"{self.verb} {things}")
            facts = [Evidence("association", shares, None, None if self.lift is None or math.isinf(self.lift) else round(self.lift, 2))]
            there = "it" if self.need_kind == "item" else "from there" if self.verb == "bought" else "something from there"
            clauses = [f"{self._shares('', f'{self.verb} {there}')}."] if (self.lift or 0) >= NEEDED else []
        plain = f"{facts[0].text[0].upper()}{facts[0].text[1:]}."
        if said:
            facts.append(Evidence("need", cohort))
        # Verbatim or not at all: a quotation that the fence would change, or that holds quotation marks, is left out.
        if self.quote and clauses and self.quote == prompts.fence(self.quote, QUOTE).translate(NO_QUOTES):
            facts.append(Evidence("review", self.quote))
            clauses[0] += f" A reviewer wrote “{self.quote}”"
        return Reason(
            item=need,
            owned=None if said else cohort,
            has=True,
            need=cohort if said else None,
            evidence=tuple(facts),
            clauses=tuple(clauses),
            counted=self.support is not None and (self.lift_low or 0) > 1,
            plain=plain,
            words={
                "verb": self.verb,
                "cohort": had,
                "things": things,
                "next": " next" if self.ordered and self.support is not None else "",
            },
        )

    def _shares(self, who: str, did: str) -> str:
        """The figure in words: `38 of 123 WHO DID within 90 days, 2.6 times the usual share`."""
        count = f"{'about ' if self.noisy else ''}{self.support} of {self.users} {who}".strip()
        within = f" within {self.days} day{'s' if self.days > 1 else ''}" if self.ordered and self.days else ""
        when = "" if within else "later " if self.ordered else "also "
        times = "" if self.lift is None or math.isinf(self.lift) else f", {self.lift:.{1 if self.lift < 10 else 0}f} times the usual share"
        return f"{count} {when}{did}{within}{times}"


class Explainer:
    """Words reasons with a language model, a list of them in one batch.

    Where the model has learned to write (`LanguageModel.add_writer`) it words the reasons for one shopper itself; else it chooses among
    the phrasings of the prompt.

    Args: llm: the model, None for the evidence's own sentences. prompt: `explain` for one shopper, `segment` for many. version: of it.
        cache: folder where wordings are kept for the next process, None for none. entailment: that has to find no contradiction in what
        the model worded, None for none.
    """

    def __init__(
        self,
        llm: LanguageModel | None,
        *,
        prompt: Literal["explain", "segment"] = "explain",
        version: int = 1,
        cache: Path | None = None,
        entailment: Entailment | None = None,
    ) -> None:
        self.llm, self.prompt, self._entailment = llm, prompts.load(prompt, version), entailment
        # A segment's sentence stands in many answers and must be the same in each; a batch's rounding can tip the model's choice.
        self._one_by_one = prompt == "segment"
        self._writer = ReasonWriter(llm, cache, entailment) if llm and llm.word_version and prompt == "explain" else None

    def explain(
        self,
        reasons: Sequence[Reason],
        tone: Tone = "warm",
        length: Length = "line",
        told: Callable[[int, Explanation], None] | None = None,
    ) -> list[Explanation]:
        """One verified explanation per reason, in order; one that abstains where not even the evidence's own sentence passes.

        Args:
            tone, length: of what a model that has learned to write is to write; other texts are one plain sentence.
            told: is given the place and the explanation of each reason as soon as it stands, which need not be in their order. The model
                then words the list in parts, so that the first need not wait for the last.
        Raises: TimedOutError: the deadline of the work at hand is over.
        """
        if self._one_by_one and len(reasons) > 1:
            return [explanation for reason in reasons for explanation in self.explain([reason])]
        found: dict[int, Explanation] = {}

        def stands(place: int, explanation: Explanation) -> None:
            found[place] = explanation
            if told:
                told(place, explanation)

        def written(place: int, worded: Explanation | None) -> None:
            stands(place, worded or finish(reasons[place], None))

        if self._writer:
            self._writer.write(reasons, tone, length, written, soon=told is not None)
        else:
            asked = [place for place, reason in enumerate(reasons) if self.llm and reason.occasion]
            for place in {*range(len(reasons))} - {*asked}:
                stands(place, finish(reasons[place], None))
            for part in growing(asked, GROWTH) if told else [asked]:
                for place, worded in self._word(reasons, part).items():
                    stands(place, finish(reasons[place], self._borne_out(reasons[place], worded)))
        return [found[place] for place in range(len(reasons))]

    def _word(self, reasons: Sequence[Reason], places: Sequence[int]) -> dict[int, str]:
        """The model's sentence for the reasons at some places, which have an occasion, by place."""
        if not places:
            return {}
        assert self.llm is not None
        start = int(hashlib.sha256("".join(reason.item for reason in reasons).encode()).hexdigest(), 16)
        openings, closings, tails, keys, rows = [], [], [], [], []
        head, after = self._chat()
        for i in places:
            reason, occasion = reasons[i], reasons[i].occasion
            kind: Literal["owned", "need"] = "need" if occasion == "need" else "owned"
            rows.append(self._phrasings(kind, reason.counted))
            values = {"item": reason.item, "owned": reason.owned, "need": reason.need, **reason.words}
            keys.append(f"{reason.owned or reason.need} {reason.item}")
            sources = self.prompt.lines(f"{occasion}_openings")
            before, gap, behind = sources[(start + i) % len(sources)].partition(_GAP)  # no two neighbours begin alike
            openings.append(prompts.fill(before, **values))
            closings.append(" " + prompts.fill(behind, **values) if gap else "")
            tails.append(self.prompt.render(kind, **values) + after + openings[-1])
        among = choose(rows, keys, self.llm.tokenizer.pad_token_id, TEMPERATURE)
        phrases = self.llm.generate(head, tails, max_new_tokens=16, among=among, until=_END)
        return {
            i: f"{opening} {phrase.removesuffix(_END).strip()}{closing}: {reasons[i].clauses[0]}"
            for i, opening, phrase, closing in zip(places, openings, phrases, closings, strict=True)
        }

    def _borne_out(self, reason: Reason, worded: str | None) -> str | None:
        """The model's sentence, None where its facts contradict it."""
        return None if worded and self._entailment and self._entailment.faults(worded, reason.evidence) else worded

    def _chat(self) -> tuple[str, str]:
        """What stands before a reason's facts, examples included, and what stands between them and the answer."""
        assert self.llm is not None
        turns: list[tuple[str, str]] = []
        for line in self.prompt.lines("examples"):
            facts, answer = line.split(" => ")
            turns += [("user", facts), ("assistant", answer)]
        return self.llm.frame(self.prompt.render("system"), turns)

    @remembered  # noqa: B019  # one explainer lives as long as its model
    def _phrasings(self, kind: Literal["owned", "need"], firm: bool) -> Phrasings:
        """The phrasings to choose among; those that say "is" or "are" only where the fact is firm."""
        assert self.llm is not None
        phrases = [phrase for line in self.prompt.lines(f"{kind}_phrasings") for phrase in expand(line)]
        texts = [f" {phrase}{_END}" for phrase in phrases if firm or not phrase.startswith(("is ", "are "))]
        return Phrasings(texts, self.llm.encode)


def finish(reason: Reason, worded: str | None) -> Explanation:
    """The model's sentence if it passes the check, else the evidence's own, else none: whoever shows it says that there is no reason."""
    found: tuple[tuple[str | None, Literal["llm", "evidence"], str], ...] = (
        (worded, "llm", reason.behind[0]),
        (reason.plain, "evidence", reason.behind[1]),
    )
    for text, source, behind in found:
        if text and not faults(text, reason.names, reason.evidence):
            told = text.partition(": ")[2] or text if source == "llm" else text
            return Explanation(text, source, True, reason.evidence, (Claim(told, behind),) if behind else ())
    return Explanation("", "none", False, reason.evidence)


def _name(text: str) -> str:
    """A stranger's name for a category or a segment as it may stand in a sentence, in quotation marks too."""
    return prompts.fence(text, NAME).translate(NO_QUOTES) or "(no name)"


def _things(name: str, kind: str) -> str:
    """What one has who bought it: `Phones`, `something from Running`, `something by Norrvik`, `the Dome Tent`."""
    if kind == "category" and all(_GOODS.fullmatch(part.strip()) for part in _JOINED.split(name)):
        return name
    if kind == "item":
        return the(name)
    return {"category": f"something from {name}", "brand": f"something by {name}"}.get(kind, name)
