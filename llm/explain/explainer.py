"""Why an item, or what a segment needs, in one sentence.

The store fills the facts, the model words how they join, a check has the last word. The sentence is an opening that names things, a
joining phrase (after which the opening may go on), and a clause with the strongest fact. Opening and clause are filled from the
evidence. The phrase is the model's choice among phrasings that state no facts (`phrasing`), because a 135M model left to itself names
the wrong product and promises what nobody said. Whatever was written, `grounding` reads the finished sentence; what does not pass is
replaced by the plain sentence of the evidence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache as remembered
from pathlib import Path
from typing import Literal

from ... import prompts
from ...data.records import Claim, Explanation
from ..models.language_model import LanguageModel
from .briefs import Tone
from .constrained_decoding import Length
from .entailment import Entailment
from .generator import GROWTH, ReasonWriter, growing
from .grounding import faults
from .phrase_grammar import Phrasings, choose, expand
from .reasons import Reason

TEMPERATURE = 0.8
_END = ":"
_GAP = " … "
"""Where in an opening the phrase goes; at its end where the line has none."""


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
