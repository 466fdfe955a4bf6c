"""Why an item, in one sentence: the store fills the facts, the model words how they join, a check has the last word.

The sentence is an opening that names both things, a joining phrase, and a clause with the strongest fact. Opening and clause
are filled from the evidence; the phrase is the model's, chosen token by token among words that state no facts
(`vocabulary`), because a 135M model left to itself names the wrong product and promises what nobody said. What does not pass
`grounding` is replaced by the plain sentence of the evidence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from .. import prompts
from ..data.records import Evidence, Explanation
from .grounding import faults, fluent
from .models import LanguageModel
from .vocabulary import JOINING

if TYPE_CHECKING:
    import torch

PHRASE_TOKENS = 12
_SPLIT = "\N{SYMBOL FOR UNIT SEPARATOR}"


@dataclass(frozen=True, slots=True)
class Reason:
    """What there is to say for one recommendation.

    Attributes:
        item: the item's name as it may be shown. owned: the name of the history item behind it, None when a text or plain
            popularity brought it.
        evidence: the facts, strongest first. clauses: one finished clause per fact that can carry a sentence, strongest first.
        plain: the sentence made of the evidence alone.
    """

    item: str
    owned: str | None
    evidence: tuple[Evidence, ...]
    clauses: tuple[str, ...]
    plain: str

    @property
    def names(self) -> list[str]:
        """The product names a sentence may use, the item's first."""
        return [self.item, *([self.owned] if self.owned else [])]


class Explainer:
    """Words reasons with a language model, a list of them in one batch.

    Args: llm: the model, None for the evidence's own sentences. version: of the prompt `explain`.
    """

    def __init__(self, llm: LanguageModel | None, *, version: int = 1) -> None:
        self.llm, self.prompt = llm, prompts.load("explain", version)

    def explain(self, reasons: Sequence[Reason]) -> list[Explanation]:
        """One verified explanation per reason, in order."""
        openings = self._openings(reasons)
        asked = [i for i, opening in enumerate(openings) if opening is not None]
        phrases = self._phrases([(reasons[i], str(openings[i])) for i in asked])
        worded = dict(zip(asked, phrases, strict=True))
        return [self._finish(reason, openings[i], worded.get(i)) for i, reason in enumerate(reasons)]

    def _openings(self, reasons: Sequence[Reason]) -> list[str | None]:
        """An opening per reason that has a history item and a clause: different ones along a list, the same for the same list."""
        sources = self.prompt.sections["openings"].strip().splitlines()
        start = int(hashlib.sha256("".join(reason.item for reason in reasons).encode()).hexdigest(), 16)
        openings: list[str | None] = []
        for i, reason in enumerate(reasons):
            if self.llm is None or reason.owned is None or not reason.clauses:
                openings.append(None)
                continue
            line = sources[(start + i) % len(sources)]
            openings.append(line.replace("{{ owned }}", reason.owned).replace("{{ item }}", reason.item))
        return openings

    def _phrases(self, asked: Sequence[tuple[Reason, str]]) -> list[str]:
        if self.llm is None or not asked:
            return []
        turns: list[tuple[str, str]] = []
        for line in self.prompt.sections["examples"].strip().splitlines():
            facts, answer = line.split(" => ")
            turns += [("user", facts), ("assistant", answer)]
        head, tail = self.llm.chat(self.prompt.render("system"), [*turns, ("user", _SPLIT)]).split(_SPLIT)
        prompts_ = [self.prompt.render("facts", owned=r.owned, item=r.item) + tail + opening for r, opening in asked]
        return self.llm.generate(head, prompts_, max_new_tokens=PHRASE_TOKENS, among=self._joining, until=":")

    @cached_property
    def _joining(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Keeps generation to the joining words and the colon that ends the phrase."""
        import torch

        assert self.llm is not None
        single = [ids[0] for word in sorted(JOINING) if len(ids := self.llm.encode(" " + word)) == 1]
        allowed = torch.tensor([*single, self.llm.encode(":")[0]], device=self.llm.device)

        def among(_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            kept = torch.full_like(scores, float("-inf"))
            kept[:, allowed] = scores[:, allowed]
            return kept

        return among

    def _finish(self, reason: Reason, opening: str | None, phrase: str | None) -> Explanation:
        if opening is not None and phrase is not None:
            joined = phrase.rstrip(":").strip()
            text = f"{opening} {joined}: {reason.clauses[0]}"
            if fluent(joined) and not faults(text, reason.names, reason.evidence):
                return Explanation(text, "llm", True, reason.evidence)
        if not faults(reason.plain, reason.names, reason.evidence):
            return Explanation(reason.plain, "evidence", True, reason.evidence)
        return Explanation("", "evidence", False, reason.evidence)
