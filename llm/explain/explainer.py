"""One-sentence explanations of recommendations and of segment needs.

The facts come from the store, the model words how they relate, and a grounding check decides. A sentence is an opening that names things,
a joining phrase (after which the opening may continue), and a clause with the strongest fact. Opening and clause are filled from the
evidence. The model chooses the phrase among phrases that state no facts (`phrase_grammar`), because a 135M model without constraints
names wrong products and makes unsupported claims. A sentence that fails the check is replaced by the plain sentence of the evidence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ... import prompts
from ...data.records import Claim, Explanation
from ...data.store_words import DEFAULT_WORDS, StoreWords
from ..models.language_model import LanguageModel
from .briefs import Tone
from .constrained_decoding import Length
from .entailment import EntailmentModel
from .generator import BATCH_GROWTH, ExplanationGenerator, geometric_batches
from .grounding import grounding_faults
from .phrase_grammar import PhraseTrie, expand_alternatives, phrase_sampler
from .reasons import Reason
from .vocabulary import suits_store

if TYPE_CHECKING:
    from .writing.free_writer import FreeWriter

LATEST_VERSIONS = {"explain": 1, "segment": 2}
"""Latest version of each prompt."""
TEMPERATURE = 0.8
_END = ":"
_GAP = " … "
"""Position of the phrase in an opening; at its end in openings without it."""


class Explainer:
    """Generates explanations for a list of reasons in one batch.

    If the model has an explainer adapter (`LanguageModel.load_explainer_adapter`), it writes the explanations for one shopper itself;
    otherwise it chooses among the phrases of the prompt.

    Args:
        llm: The model, None for the plain sentences of the evidence.
        prompt: `explain` for one shopper, `segment` for a segment.
        version: Version of the prompt; None for the latest.
        cache: Folder that keeps wordings for the next process, None for none.
        entailment: Rejects generated sentences that the evidence contradicts, None for no such check.
        words: The store's words; wordings that do not suit them are not used.
        writer: Writes explanations freely; those that it does not write are worded as without it. None for no such model.
    """

    def __init__(
        self,
        llm: LanguageModel | None,
        *,
        prompt: Literal["explain", "segment"] = "explain",
        version: int | None = None,
        cache: Path | None = None,
        entailment: EntailmentModel | None = None,
        words: StoreWords = DEFAULT_WORDS,
        writer: FreeWriter | None = None,
    ) -> None:
        self.llm, self.prompt, self._entailment = llm, prompts.load(prompt, version or LATEST_VERSIONS[prompt]), entailment
        self._words, self._writer = words, writer
        # A segment's sentence occurs in many answers and must be the same in each; rounding in a batch can change the model's choice.
        self._one_by_one = prompt == "segment"
        has_generator = llm and llm.explainer_prompt_version and prompt == "explain"
        self._generator = ExplanationGenerator(llm, cache, entailment, words) if llm and has_generator else None

    def explain(
        self,
        reasons: Sequence[Reason],
        tone: Tone = "warm",
        length: Length = "line",
        on_explanation: Callable[[int, Explanation], None] | None = None,
    ) -> list[Explanation]:
        """Return one verified explanation per reason, in order; an empty one if not even the plain sentence passes the check.

        Args:
            reasons: The facts.
            tone: Tone of texts by a model with an explainer adapter; other texts are one plain sentence.
            length: Length of these texts.
            on_explanation: Receives the index and the explanation of each reason as soon as it is ready, in any order. The list is then
                generated in batches of growing size, so that the first explanation does not wait for the last.

        Raises:
            TimedOutError: The current deadline has passed.
        """
        if self._one_by_one and len(reasons) > 1:
            return [explanation for reason in reasons for explanation in self.explain([reason])]
        explanations: dict[int, Explanation] = {}

        def add(index: int, explanation: Explanation) -> None:
            explanations[index] = explanation
            if on_explanation:
                on_explanation(index, explanation)

        def add_generated(index: int, explanation: Explanation | None) -> None:
            add(index, explanation or verified_explanation(reasons[index], None))

        for index, explanation in self._writer.texts(reasons, tone, length) if self._writer else ():
            add(index, explanation)
        rest = [index for index in range(len(reasons)) if index not in explanations]
        if self._generator:
            unwritten = [reasons[index] for index in rest]
            self._generator.explain(
                unwritten, tone, length, lambda place, text: add_generated(rest[place], text), streaming=on_explanation is not None
            )
        else:
            indices = [index for index in rest if self.llm and reasons[index].occasion]
            for index in {*rest} - {*indices}:
                add(index, verified_explanation(reasons[index], None))
            for batch in geometric_batches(indices, BATCH_GROWTH) if on_explanation else [indices]:
                for index, sentence in self._generate_sentences(reasons, batch).items():
                    add(index, verified_explanation(reasons[index], self._unless_contradicted(reasons[index], sentence)))
        return [explanations[index] for index in range(len(reasons))]

    def _generate_sentences(self, reasons: Sequence[Reason], indices: Sequence[int]) -> dict[int, str]:
        """Return the model's sentence by index, for the reasons at some indices, which have an occasion."""
        if not indices:
            return {}
        assert self.llm is not None
        start = int(hashlib.sha256("".join(reason.item for reason in reasons).encode()).hexdigest(), 16)
        openings, endings, tails, keys, rows = [], [], [], [], []
        prefix, suffix = self._prompt_frame()
        for i in indices:
            reason, occasion = reasons[i], reasons[i].occasion
            section: Literal["owned", "need"] = "need" if occasion == "need" else "owned"
            rows.append(self._phrase_trie(section, reason.has_statistic))
            values = {"item": reason.item, "owned": reason.anchor, "need": reason.need, **reason.prompt_values}
            keys.append(f"{reason.anchor or reason.need} {reason.item}")
            sources = [line for line in self.prompt.lines(f"{occasion}_openings") if suits_store(line, self._words)]
            source = sources[(start + i) % len(sources)]  # adjacent sentences begin differently
            before, gap, after = (source.replace("your", "the") if reason.anchor_done else source).partition(_GAP)
            openings.append(prompts.fill(before, **values))
            endings.append(" " + prompts.fill(after, **values) if gap else "")
            tails.append(self.prompt.render(section, **values) + suffix + openings[-1])
        sampler = phrase_sampler(rows, keys, self.llm.tokenizer.pad_token_id, TEMPERATURE)
        phrases = self.llm.generate(prefix, tails, max_new_tokens=16, process_logits=sampler, stop_text=_END)
        return {
            i: f"{opening} {phrase.removesuffix(_END).strip()}{ending}: {reasons[i].clauses[0]}"
            for i, opening, phrase, ending in zip(indices, openings, phrases, endings, strict=True)
        }

    def _unless_contradicted(self, reason: Reason, sentence: str) -> str | None:
        """Return the sentence, None if the entailment model finds that the evidence contradicts it."""
        return None if self._entailment and self._entailment.contradictions(sentence, reason.evidence) else sentence

    def _prompt_frame(self) -> tuple[str, str]:
        """Return the prompt before a reason's facts, with its examples, and between the facts and the answer."""
        assert self.llm is not None
        turns: list[tuple[str, str]] = []
        for line in self.prompt.lines("examples"):
            facts, answer = line.split(" => ")
            turns += [("user", facts), ("assistant", answer)]
        return self.llm.split_chat_prompt(self.prompt.render("system"), turns)

    @cache  # noqa: B019  # an explainer lives as long as its model
    def _phrase_trie(self, section: Literal["owned", "need"], confident: bool) -> PhraseTrie:
        """Return the phrases to choose among; those with "is" or "are" only if the fact is a statistic."""
        assert self.llm is not None
        phrases = [phrase for line in self.prompt.lines(f"{section}_phrasings") for phrase in expand_alternatives(line)]
        phrases = [phrase for phrase in phrases if suits_store(phrase, self._words)]
        texts = [f" {phrase}{_END}" for phrase in phrases if confident or not phrase.startswith(("is ", "are "))]
        return PhraseTrie(texts, self.llm.encode)


def verified_explanation(reason: Reason, sentence: str | None) -> Explanation:
    """Return the generated sentence if it passes the grounding check, else the plain sentence if it does, else an empty explanation."""
    candidates: tuple[tuple[str | None, Literal["wording", "evidence"], str], ...] = (
        (sentence, "wording", reason.claim_evidence[0]),
        (reason.plain_sentence, "evidence", reason.claim_evidence[1]),
    )
    for text, source, evidence_id in candidates:
        if text and not grounding_faults(text, reason.product_names, reason.evidence, store_words=reason.store_words):
            claim = text.partition(": ")[2] or text if source == "wording" else text
            return Explanation(text, source, True, reason.evidence, (Claim(claim, evidence_id),) if evidence_id else ())
    return Explanation("", "none", False, reason.evidence)
