"""Collects wordings of explanations in advance: per combination of facts the handwritten ones, and the best of many generated ones.

    python scripts/generate_wordings.py FILE [--length line] [--tone warm] [--tries 6] [--strike FILE]

Adds missing combinations to FILE, `llm/models/explainer-adapter/wordings.json`, one at a time, so an interrupted run resumes. `--strike`
names a file of rejected wordings, one per line: they are removed and replaced. Wordings in FILE are used from the first request on,
without waiting for the model; other combinations are generated on first use.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import get_args

from crossaisle.data.settings import Settings
from crossaisle.llm.explain.briefs import LENGTHS, TONES, fact_combinations, handwritten_wordings
from crossaisle.llm.explain.generator import SAMPLES_PER_VARIANT, VARIANTS_PER_TEMPLATE, ExplanationGenerator
from crossaisle.llm.explain.reasons import Occasion
from crossaisle.llm.explain.wording_cache import TemplateKey, WordingCache, is_well_formed
from crossaisle.llm.models import bundled
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.model_source import fingerprint

AT_ONCE = 4
"""Combinations generated in one batch."""
COUNTED = {"figure", "fits"}
"""Facts that can carry a judgement without "may"."""
OF_HISTORY = {"usual", "aisles", "fits", "purpose"}
"""Facts that a text query alone cannot support."""
OF_TEXTS = {"close"}
"""Facts that only a text query supports."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--length", choices=LENGTHS, action="append")
    parser.add_argument("--tone", choices=TONES, action="append")
    parser.add_argument("--tries", type=int, default=SAMPLES_PER_VARIANT)
    parser.add_argument("--strike", type=Path)
    arguments = parser.parse_args()
    settings = Settings.read().with_(llm="smollm2")
    llm = LanguageModel.load(settings)
    llm.load_explainer_adapter(bundled.EXPLAINER_ADAPTER, fingerprint("smollm2", settings.home))
    writer = ExplanationGenerator(llm)
    writer.wordings = WordingCache.open(arguments.file, llm.explainer_hash)
    badly = arguments.strike.read_text("utf-8").splitlines() if arguments.strike else []
    unsound = [text for (kind, _), text in writer.wordings.items() if text and not is_well_formed(text, kind)]
    writer.wordings.exclude([*(line.replace("\\n", "\n") for line in badly), *unsound])
    writer.wordings.save()
    every = kinds(arguments.length or LENGTHS, arguments.tone or TONES)
    for kind, texts in handwritten(badly).items():
        numbers = [number for number in range(VARIANTS_PER_TEMPLATE) if (kind, number) not in writer.wordings]
        if kind in every:
            writer.wordings.assign_best(kind, numbers[: len(texts)], dict.fromkeys(texts, 0.0))
    missing = [kind for kind in every if any((kind, number) not in writer.wordings for number in range(VARIANTS_PER_TEMPLATE))]
    for start in range(0, len(missing), AT_ONCE):
        part = missing[start : start + AT_ONCE]
        writer.sample_wordings([(kind, number) for kind in part for number in range(VARIANTS_PER_TEMPLATE)], arguments.tries)
        print(f"{min(start + AT_ONCE, len(missing))} of {len(missing)} kinds", flush=True)
    texts = [text for pair in writer.wordings if (text := writer.wordings.get(pair))]
    worded = sum(writer.wordings.get((kind, 0)) is not None for kind in every)
    print(f"{len(texts)} wordings, {worded} of {len(every)} kinds have one")


def handwritten(struck: Collection[str]) -> dict[TemplateKey, list[str]]:
    """The handwritten wordings by kind. Args: struck: rejected wordings."""
    found: dict[TemplateKey, list[str]] = {}
    for wording in handwritten_wordings():
        kind = TemplateKey(wording.slots, wording.confident, wording.occasion, wording.tone, wording.length)
        if wording.text not in struck:
            found.setdefault(kind, []).append(wording.text)
    return found


def kinds(lengths: Sequence[str], tones: Sequence[str]) -> list[TemplateKey]:
    """All kinds of reasons that can come up, in these lengths and tones."""
    found: list[TemplateKey] = []
    for length, tone, occasion in itertools.product(lengths, tones, get_args(Occasion)):
        for facts in fact_combinations(length):  # type: ignore[arg-type]
            if facts & (OF_HISTORY if occasion == "need" else OF_TEXTS):
                continue
            names = {"item", "need" if occasion == "need" else "own"}
            for firm in (True, False) if facts & COUNTED else (False,):
                found.append(TemplateKey(frozenset(facts | names), firm, occasion, tone, length))  # type: ignore[arg-type]
    return found


if __name__ == "__main__":
    main()
