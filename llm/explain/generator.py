"""Explanations by a model with an explainer adapter: choice of facts, briefs, batched generation, filling, checks.

    reasons -> chosen facts -> wording with slot letters (`constrained_decoding`) -> filled (`slots`) -> checked (`grounding`)

A wording has slots for everything that is specific to an item, so it is cached and reused for other items with facts of the same kinds.
Each template has several wordings, and a list uses different ones. A filled wording that fails a check is generated again with the fault
in the prompt; if that fails too, the explainer falls back to the plain sentence. Knows nothing of the source of the facts.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ...data import deadlines
from ...data.records import Claim, Explanation
from ...data.store_words import DEFAULT_WORDS, StoreWords
from ..models import adapters
from .briefs import EXAMPLE_NEEDS, BriefRenderer, ExplanationBrief
from .constrained_decoding import (
    MAX_TOKENS,
    ConstrainedDecoder,
    TokenVocabulary,
    WordingConstraints,
    constrained_sampler,
    restore_slots,
    token_vocabulary,
)
from .fact_choice import CacheKey, cache_key, make_brief, stable_hash
from .grounding import grounding_faults
from .slots import QUOTE_SLOTS, fill_slots
from .vocabulary import HEDGE_WORDS, wording_for_store
from .wording_cache import SHIPPED_FILE, TemplateKey, VariantKey, WordingCache, has_each_slot_once, is_well_formed

if TYPE_CHECKING:
    from ..models.language_model import LanguageModel
    from .briefs import Tone
    from .constrained_decoding import Length
    from .entailment import EntailmentModel
    from .reasons import Reason

T = TypeVar("T")
TEMPERATURE = 1.0
VARIANTS_PER_TEMPLATE, SAMPLES_PER_VARIANT = 6, 6
"""Number of different wordings per template, and number of samples for each, of which the best are kept."""
MAX_FACT_CHOICES = 2
"""Number of fact combinations that are tried for a reason before it gets a wording that the list already contains."""
MIN_LOG_LIKELIHOOD = {"line": -0.45, "paragraph": -0.55, "bullets": -0.55}
"""Minimum mean log-likelihood of a wording's tokens, in nats. In a manual review, one in ten wordings above it was awkward, and every
second one below it."""
EXAMPLE_NAMES = (
    ("Pyra Gas Stove", "Norrvik Dome Tent"),
    ("Lumen Desk Lamp", "Tillmark Oak Desk"),
    ("Kettlow Steel Bottle", "Stridana Trail Shoes"),
)
"""Names in the prompts of cached wordings, so that these do not depend on the first request."""
MAX_CACHED_EXPLANATIONS = 10_000
BATCH_GROWTH = 4
"""Growth factor of consecutive batches when the first explanations are wanted soon."""

OnExplanationReady = Callable[[int, "Explanation | None"], None]
"""Receives the index of a reason and its final explanation."""


class ExplanationGenerator:
    """Generates explanations with one model.

    Args:
        llm: Model with an adapter for the prompt `word`.
        cache: Folder that keeps wordings for the next process, None for none.
        entailment: Rejects texts that the evidence contradicts, None for no such check.
        words: The store's words; wordings that do not suit them are not used.
    """

    def __init__(
        self,
        llm: LanguageModel,
        cache: Path | None = None,
        entailment: EntailmentModel | None = None,
        words: StoreWords = DEFAULT_WORDS,
    ) -> None:
        assert llm.explainer_prompt_version
        self.llm, self._renderer, self.entailment = llm, BriefRenderer(llm, llm.explainer_prompt_version), entailment
        self.words = words
        self._lock = threading.Lock()
        self._cache: OrderedDict[CacheKey, Explanation | None] = OrderedDict()
        file = cache / f"{llm.explainer_hash[:16]}-{llm.quantization}.json" if cache else None
        shipped = llm.explainer_folder / SHIPPED_FILE if llm.explainer_folder else None
        self.wordings = WordingCache.open(file, llm.explainer_hash, shipped)

    @cached_property
    def _vocabulary(self) -> TokenVocabulary:
        return token_vocabulary(self.llm)

    def explain(
        self, reasons: Sequence[Reason], tone: Tone, length: Length, on_ready: OnExplanationReady, *, streaming: bool = False
    ) -> None:
        """Generate an explanation for each reason and pass it on as soon as it is ready, cached ones first.

        One thread generates at a time.

        Args:
            reasons: The facts; equal reasons get the same explanation.
            tone: Tone of the texts.
            length: Length of the texts.
            on_ready: Receives index and explanation; None if there are no facts to state or no wording passed the checks.
            streaming: Generate in growing batches, so that the first explanation does not wait for the last; the total takes longer.

        Raises:
            TimedOutError: The current deadline has passed.
        """
        with self._lock:
            deadlines.check()  # waiting for the lock may have taken too long
            indices: dict[CacheKey, list[int]] = {}
            for index, reason in enumerate(reasons):
                indices.setdefault(cache_key(reason, tone, length), []).append(index)

            def report(key: CacheKey) -> None:
                for index in indices[key]:
                    on_ready(index, self._cache[key])

            new = {key: reasons[same[0]] for key, same in indices.items() if key not in self._cache}
            for key in indices.keys() - new.keys():
                report(key)
            for key, explanation in _GenerationRun(self, new, tone, length, streaming=streaming).explanations():
                self._cache[key] = explanation
                report(key)
            while len(self._cache) > MAX_CACHED_EXPLANATIONS:
                self._cache.popitem(last=False)

    def assign_variants(self, briefs: Mapping[CacheKey, ExplanationBrief]) -> dict[CacheKey, VariantKey]:
        """Return a pseudo-random variant for each brief, without repetition in the list while there are others."""
        assigned: dict[CacheKey, VariantKey] = {}
        for key, brief in briefs.items():
            template = TemplateKey(brief.slots, brief.confident, brief.occasion, brief.tone, brief.length)
            first = stable_hash(repr(key)) % VARIANTS_PER_TEMPLATE
            order = [(template, (first + step) % VARIANTS_PER_TEMPLATE) for step in range(VARIANTS_PER_TEMPLATE)]
            used = list(assigned.values())
            # Independent of which variants are cached, so that the result is reproducible.
            assigned[key] = next((variant for variant in order if variant not in used), order[0])
        return assigned

    def least_used_wording(self, template: TemplateKey, number: int, usage: Mapping[str, int]) -> str | None:
        """Return the wording of a variant, or another one of its template that the list has used less often; None without any."""
        texts = (self.wordings.get((template, (number + step) % VARIANTS_PER_TEMPLATE)) for step in range(VARIANTS_PER_TEMPLATE))
        suitable = (shown for text in texts if text and (shown := wording_for_store(text, self.words)))
        return min(suitable, key=lambda text: usage.get(text, 0), default=None)

    def sample_wordings(self, variants: Sequence[VariantKey], samples: int = SAMPLES_PER_VARIANT) -> None:
        """Sample wordings for some variants in one batch, and cache those that are good enough.

        Args:
            variants: The variants.
            samples: Number of samples per variant; the best ones of a template are distributed among its variants.
        """
        if not variants:
            return
        briefs, seed_keys = [], []
        for (slots, confident, occasion, tone, length), number in variants:
            item, anchor = EXAMPLE_NAMES[number % len(EXAMPLE_NAMES)]
            need = f"“{EXAMPLE_NEEDS[number % len(EXAMPLE_NEEDS)]}”" if occasion == "need" else None
            briefs.append(ExplanationBrief(item, None if need else anchor, need, occasion, slots, confident, tone, length))
            seed_keys += [f"{sorted(slots)}{confident}{occasion}{tone}{length}{number}{sample}" for sample in range(samples)]
        generated = self.generate_wordings(briefs, seed_keys, samples)
        accepted: dict[TemplateKey, dict[str, float]] = {}
        for i, (template, _) in enumerate(variants):
            for text, likelihood in generated[samples * i : samples * (i + 1)]:
                if is_well_formed(text, template) and likelihood >= MIN_LOG_LIKELIHOOD[template.length]:
                    accepted.setdefault(template, {})[text] = likelihood
        for template in dict.fromkeys(template for template, _ in variants):
            numbers = [number for other, number in variants if other == template]
            self.wordings.assign_best(template, numbers, accepted.get(template, {}))
        self.wordings.save()

    def generate_wordings(
        self, briefs: Sequence[ExplanationBrief], seed_keys: Sequence[str], samples_per_brief: int = 1
    ) -> list[tuple[str, float]]:
        """Return generated wordings with `{slot}` placeholders, and the mean log-likelihood of their tokens in nats.

        Args:
            briefs: The prompts.
            seed_keys: Seed of each sample.
            samples_per_brief: Number of samples for each brief, adjacent in the result.
        """
        if not briefs:
            return []
        rendered = [self._renderer.render(brief) for brief in briefs]
        repeated = [brief for brief in briefs for _ in range(samples_per_brief)]
        decoders = [
            ConstrainedDecoder(self._vocabulary, WordingConstraints(brief.slots, brief.confident, brief.occasion == "seen", brief.length))
            for brief in repeated
        ]
        seeds = [stable_hash(key) for key in seed_keys]
        texts = self.llm.generate(
            rendered[0][0],
            [prompt for _, prompt in rendered],
            max_new_tokens=max(MAX_TOKENS[brief.length] for brief in briefs) + 2,
            process_logits=constrained_sampler(decoders, seeds, self.llm.tokenizer.pad_token_id, TEMPERATURE),
            adapter=adapters.EXPLAINING,
            max_lines=None,
            samples_per_prompt=samples_per_brief,
        )
        return [
            (restore_slots(text, brief.slots), sum(decoder.log_likelihoods) / max(1, len(decoder.log_likelihoods)))
            for text, brief, decoder in zip(texts, repeated, decoders, strict=True)
        ]


class _GenerationRun:
    """Explanations for one list. Reasons with a cached wording are explained at once, others after a wording is generated.

    The result equals that of explaining the reasons in their order: a reason is explained before an earlier one only if the two cannot
    get the same wording.

    Args:
        generator: The generator.
        new: The reasons by cache key.
        tone: Tone of the texts.
        length: Length of the texts.
        streaming: Whether to generate in growing batches.
    """

    def __init__(
        self, generator: ExplanationGenerator, new: Mapping[CacheKey, Reason], tone: Tone, length: Length, *, streaming: bool
    ) -> None:
        self._generator, self._new, self._tone, self._length, self._streaming = generator, new, tone, length, streaming
        self._pending = dict.fromkeys(new)  # in the order of the list
        self._usage: Counter[str] = Counter()
        self._failed: dict[CacheKey, ExplanationBrief] = {}
        self._repeated: dict[CacheKey, tuple[ExplanationBrief, str]] = {}

    def explanations(self) -> Iterator[tuple[CacheKey, Explanation | None]]:
        """Yield each key with its explanation, or None, as soon as it is final."""
        # If a choice of facts has no wording, or only one that the list contains, another choice may have one.
        for attempt in range(MAX_FACT_CHOICES):
            keys = [key for key in self._pending if key not in self._failed]
            yield from self._attempt({key: make_brief(self._new[key], self._tone, self._length, attempt) for key in keys})
        for key, (brief, wording) in self._repeated.items():
            if key in self._pending and key not in self._failed:
                yield from self._apply(key, brief, wording)
        regenerated = self._generator.generate_wordings([*self._failed.values()], [repr(key) for key in self._failed])
        for (key, brief), (wording, likelihood) in zip(self._failed.items(), regenerated, strict=True):
            shown = wording_for_store(wording, self._generator.words) if likelihood >= MIN_LOG_LIKELIHOOD[self._length] else None
            if shown:
                explanation, _ = _verified(self._new[key], brief, shown, self._generator.entailment)
                if explanation:
                    yield self._close(key, explanation)
        yield from [self._close(key, None) for key in [*self._pending]]

    def _attempt(self, choices: Mapping[CacheKey, ExplanationBrief | None]) -> Iterator[tuple[CacheKey, Explanation | None]]:
        yield from [self._close(key, None) for key, brief in choices.items() if brief is None]
        briefs = {key: brief for key, brief in choices.items() if brief}
        assigned = self._generator.assign_variants(briefs)
        missing = [variant for variant in dict.fromkeys(assigned.values()) if variant not in self._generator.wordings]
        available: set[VariantKey] = {*assigned.values()} - {*missing}
        for batch in [[], *_batches(missing, streaming=self._streaming)]:
            self._generator.sample_wordings(batch)
            available |= {*batch}
            waiting: set[frozenset[str]] = set()  # an earlier reason with these slots decides which wordings are used up
            for key, brief in [*briefs.items()]:
                if assigned[key] not in available or brief.slots in waiting:
                    waiting.add(brief.slots)
                    continue
                del briefs[key]
                if wording := self._generator.least_used_wording(*assigned[key], self._usage):
                    if self._usage[wording]:
                        self._repeated.setdefault(key, (brief, wording))
                    else:
                        yield from self._apply(key, brief, wording)

    def _apply(self, key: CacheKey, brief: ExplanationBrief, wording: str) -> Iterator[tuple[CacheKey, Explanation]]:
        self._usage[wording] += 1
        explanation, fault = _verified(self._new[key], brief, wording, self._generator.entailment)
        if explanation:
            yield self._close(key, explanation)
        else:
            self._failed[key] = replace(brief, previous_fault=fault)

    def _close(self, key: CacheKey, result: T) -> tuple[CacheKey, T]:
        del self._pending[key]
        return key, result


def _batches(missing: Sequence[VariantKey], *, streaming: bool) -> list[list[VariantKey]]:
    """Return the variants to generate in each batch. A template is never split: its wordings share the samples of all its variants."""
    templates = [*dict.fromkeys(template for template, _ in missing)]
    if not streaming:
        return [[*missing]]
    return [[variant for variant in missing if variant[0] in batch] for batch in geometric_batches(templates, BATCH_GROWTH)]


def geometric_batches(items: Sequence[T], factor: int) -> list[Sequence[T]]:
    """Return the items in batches whose sizes grow by a factor, starting at 1.

    >>> geometric_batches("abcdefg", 4)
    ['a', 'bcde', 'fg']
    """
    batches, start, size = [], 0, 1
    while start < len(items):
        batches.append(items[start : start + size])
        start, size = start + size, size * factor
    return batches


def _verified(reason: Reason, brief: ExplanationBrief, wording: str, entailment: EntailmentModel | None) -> tuple[Explanation | None, str]:
    """Return the explanation for a wording, or None and its faults. The faults are inserted into the prompt of the next attempt."""
    values = {**reason.slot_values, "item": reason.item, "own": reason.anchor or "", "need": f"“{reason.need}”"}
    if not has_each_slot_once(wording, brief.slots):
        return None, "not each letter once"
    filled = fill_slots(wording, values)
    faults = grounding_faults(filled.text, reason.product_names, reason.evidence, allow_lines=brief.length == "bullets")
    words = set(wording.casefold().split())
    if not brief.confident and not HEDGE_WORDS & {word.strip(".,;:") for word in words}:
        faults.append("it does not say may, could or might")
    if not faults and entailment:
        faults = entailment.contradictions(filled.text, reason.evidence)
    if faults:
        return None, "; ".join(faults)[:160]
    claims = tuple(
        Claim(filled.claims[slot].strip("“”") if slot in QUOTE_SLOTS else filled.claims[slot], reason.slot_evidence[slot])
        for slot in reason.slot_values
        if slot in filled.claims
    )
    return Explanation(filled.text, "wording", True, reason.evidence, claims), ""
