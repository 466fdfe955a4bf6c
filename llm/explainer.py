"""Why an item, in one sentence: the store fills the facts, the model words how they join, a check has the last word.

The sentence is an opening that names things, a joining phrase, and a clause with the strongest fact. Opening and clause are
filled from the evidence. The phrase is the model's choice among phrasings that state no facts (`phrasing`), because a 135M
model left to itself names the wrong product and promises what nobody said. Whatever was written, `grounding` reads the finished
sentence; what does not pass is replaced by the plain sentence of the evidence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from .. import prompts
from ..data.records import Evidence, Explanation
from .grounding import faults
from .models import LanguageModel
from .phrasing import Phrasings, choose, expand

TEMPERATURE = 0.8
_SPLIT = "\N{SYMBOL FOR UNIT SEPARATOR}"
_END = ":"

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
    """

    item: str
    owned: str | None
    has: bool
    need: str | None
    evidence: tuple[Evidence, ...]
    clauses: tuple[str, ...]
    counted: bool
    plain: str

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


class Explainer:
    """Words reasons with a language model, a list of them in one batch.

    Args: llm: the model, None for the evidence's own sentences. version: of the prompt `explain`.
    """

    def __init__(self, llm: LanguageModel | None, *, version: int = 1) -> None:
        self.llm, self.prompt = llm, prompts.load("explain", version)

    def explain(self, reasons: Sequence[Reason]) -> list[Explanation]:
        """One verified explanation per reason, in order; without text where not even the evidence's own sentence passes."""
        worded = self._word(reasons) if self.llm else {}
        return [finish(reason, worded.get(i)) for i, reason in enumerate(reasons)]

    def _word(self, reasons: Sequence[Reason]) -> dict[int, str]:
        """The model's sentence for each reason that has an occasion, by its place."""
        asked = [(i, reason, occasion) for i, reason in enumerate(reasons) if (occasion := reason.occasion)]
        if not asked:
            return {}
        assert self.llm is not None
        start = int(hashlib.sha256("".join(reason.item for reason in reasons).encode()).hexdigest(), 16)
        openings, tails, keys, rows = [], [], [], []
        head, after = self._chat()
        for i, reason, occasion in asked:
            kind: Literal["owned", "need"] = "need" if occasion == "need" else "owned"
            rows.append(self._phrasings(kind, reason.counted))
            values = {"item": reason.item, "owned": reason.owned, "need": reason.need}
            sources = self.prompt.lines(f"{occasion}_openings")
            openings.append(prompts.fill(sources[(start + i) % len(sources)], **values))  # no two neighbours begin alike
            tails.append(self.prompt.render(kind, **values) + after + openings[-1])
            keys.append(f"{reason.owned or reason.need} {reason.item}")
        among = choose(rows, keys, self.llm.tokenizer.pad_token_id, TEMPERATURE)
        phrases = self.llm.generate(head, tails, max_new_tokens=16, among=among, until=_END)
        return {
            i: f"{opening} {phrase.removesuffix(_END).strip()}: {reason.clauses[0]}"
            for (i, reason, _), opening, phrase in zip(asked, openings, phrases, strict=True)
        }

    def _chat(self) -> tuple[str, str]:
        """What stands before a reason's facts, examples included, and what stands between them and the answer."""
        assert self.llm is not None
        turns: list[tuple[str, str]] = []
        for line in self.prompt.lines("examples"):
            facts, answer = line.split(" => ")
            turns += [("user", facts), ("assistant", answer)]
        head, after = self.llm.chat(self.prompt.render("system"), [*turns, ("user", _SPLIT)]).split(_SPLIT)
        return head, after

    @cache  # noqa: B019  # one explainer lives as long as its model
    def _phrasings(self, kind: Literal["owned", "need"], firm: bool) -> Phrasings:
        """The phrasings to choose among; those that say "is" only where the fact is firm."""
        assert self.llm is not None
        phrases = [phrase for line in self.prompt.lines(f"{kind}_phrasings") for phrase in expand(line)]
        texts = [f" {phrase}{_END}" for phrase in phrases if firm or not phrase.startswith("is ")]
        return Phrasings(texts, self.llm.encode)


def finish(reason: Reason, worded: str | None) -> Explanation:
    """The model's sentence if it passes the check, else the evidence's own, else none."""
    if worded is not None and not faults(worded, reason.names, reason.evidence):
        return Explanation(worded, "llm", True, reason.evidence)
    if reason.plain and not faults(reason.plain, reason.names, reason.evidence):
        return Explanation(reason.plain, "evidence", True, reason.evidence)
    return Explanation("", "evidence", False, reason.evidence)
