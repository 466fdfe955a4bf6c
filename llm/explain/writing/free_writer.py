"""Explanations written freely by a capable model: it reads the shopper's items, the item and its numbered facts, and cites them.

    reason -> prompt -> text with citations -> check (`claim_check`) -> once more with the fault named -> text, or None

None leaves the reason to the learned wordings. What the model wrote is checked, never trusted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Protocol

from .... import prompts
from ....data.errors import EndpointError, ModelError
from ....data.records import Claim, Explanation
from ..reasons import fact_line
from .claim_check import cited_sentences, claim_faults, plain_text

if TYPE_CHECKING:
    from ..briefs import Tone
    from ..constrained_decoding import Length
    from ..entailment import EntailmentModel
    from ..reasons import Reason

MIN_PARAMETERS = 1_200_000_000
"""Parameters from which a local model writes freely; smaller ones make up facts more often than not."""
MAX_TOKENS = {"line": 120, "paragraph": 220, "bullets": 220}
ATTEMPTS = 2
_COMPLAINT = "a complaint, to be presented as one: "


class TextModel(Protocol):
    """A model that writes a text.

    Attributes:
        concurrency: Number of texts that it writes at the same time.
    """

    concurrency: int

    def write(self, system: str, user: str, max_tokens: int) -> str:
        """Return the answer to a message.

        Raises:
            EndpointError: The endpoint fails or is too slow.
            ModelError: The text does not fit the model.
        """


class FreeWriter:
    """Writes explanations with one model.

    Args:
        model: The model.
        entailment: Rejects texts that the evidence contradicts, None for no such check.
    """

    def __init__(self, model: TextModel, entailment: EntailmentModel | None = None) -> None:
        self.model, self.entailment = model, entailment
        self.prompt = prompts.load("write", 1)
        self._forms = dict(line.split(": ", 1) for line in self.prompt.lines("forms"))

    def texts(self, reasons: Sequence[Reason], tone: Tone, length: Length) -> Iterator[tuple[int, Explanation]]:
        """Yield the index and the explanation of each reason with a text that passed the check, in order.

        Without one: there is no fact to state, no text passed, or the endpoint fails, is too slow or is left alone after a failure.

        Raises:
            TimedOutError: The current deadline has passed.
        """
        stated = [index for index, reason in enumerate(reasons) if self._numbered(reason)]
        with ThreadPoolExecutor(max(1, min(self.model.concurrency, len(stated))), thread_name_prefix="free-writer") as pool:
            futures = [pool.submit(copy_context().run, self._explanation, reasons[index], tone, length) for index in stated]
            for index, future in zip(stated, futures, strict=True):
                if explanation := future.result():
                    yield index, explanation

    def _explanation(self, reason: Reason, tone: Tone, length: Length) -> Explanation | None:
        fault: str | None = None
        for _ in range(ATTEMPTS):
            try:
                answer = self.model.write(self.prompt.render("system"), self._message(reason, tone, length, fault), MAX_TOKENS[length])
            except (EndpointError, ModelError):
                return None
            sentences = cited_sentences(answer)
            text = plain_text(sentences, length)
            faults = claim_faults(sentences, reason, length)
            if not faults and self.entailment:
                faults = self.entailment.contradictions(text, reason.evidence)
            if not faults:
                claims = tuple(Claim(sentence.text, name) for sentence in sentences for name in sentence.ids)
                return Explanation(text, "model", True, reason.evidence, claims)
            fault = "; ".join(faults)[:300]
        return None

    def _message(self, reason: Reason, tone: Tone, length: Length, fault: str | None) -> str:
        return self.prompt.render(
            "user",
            form=self._forms[length],
            tone=tone,
            item=reason.item,
            about=reason.background.about,
            own=reason.anchor,
            owned=reason.anchor_purchased,
            need=reason.need if not reason.anchor else None,
            history="; ".join(reason.background.history),
            facts=self._numbered(reason),
            fault=fault,
        )

    @staticmethod
    def _numbered(reason: Reason) -> list[str]:
        """The facts that a text may state, with their numbers; none if all of them are no reason by themselves."""
        if not (reason.clauses or reason.slot_values):
            return []
        return [f"[{fact.evidence_id}] {fact_line(fact, complaint=_COMPLAINT)}" for fact in reason.shown_evidence or reason.evidence]
