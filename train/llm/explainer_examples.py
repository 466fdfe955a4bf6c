"""Training examples for the explainer: handwritten wordings, each filled with many of the store's items.

A wording has slots for everything that a store fills in, so it is valid for any items. The items of one category are held out for
validation, which measures whether the LLM finds known wordings for unseen items. The likelihood of unseen wordings would not: it falls once
the LLM has learned its own wordings, while its texts still improve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...data.records import Item
from ...llm.explain.briefs import EXAMPLE_NEEDS, BriefRenderer, ExplanationBrief, HandwrittenWording, handwritten_wordings
from ...llm.explain.constrained_decoding import WordingConstraints, is_decodable, token_vocabulary
from ...llm.explain.slots import slots_to_letters
from ...recommend.evidence.review_excerpts import display_name
from ..lora.wording_loss import WordingExample, wording_example

if TYPE_CHECKING:
    from ...llm.models.language_model import LanguageModel

ROUNDS = 4
"""Number of examples per wording, each with other items."""
HELD_OUT_CATEGORY = "Baby"
"""Category for validation: no training example has a wording for it or, in a store with other categories, an item of it."""
VALIDATION_EXAMPLES = 60
"""Number of validation examples."""
FEEDBACK = ("it does not say may, could or might", "not each letter once", "it says more than the facts")
"""Faults of an earlier attempt, as the prompt states them."""
FEEDBACK_SHARE = 0.1
"""Share of the examples whose prompt states a fault; the expected wording is the same."""


@dataclass(frozen=True)
class ExplainerExamples:
    """Training examples, and validation examples with items of the held-out category."""

    training: Sequence[WordingExample]
    validation: Sequence[WordingExample]


def explainer_examples(renderer: BriefRenderer, items: Sequence[Item], seed: int, rounds: int = ROUNDS) -> ExplainerExamples:
    """Return examples with a store's items.

    Args:
        renderer: Renders the prompts.
        items: Items of any categories, whose names are used.
        seed: Random seed.
        rounds: Number of examples per wording.
    """
    rng = np.random.default_rng([seed, 5])
    names = _names_by_category(items)
    writable = _writable(handwritten_wordings(), renderer.llm)
    wordings = [wording for wording in writable if HELD_OUT_CATEGORY not in wording.categories]
    training = [wording_example(renderer, _brief(wording, names, rng), wording.text) for _ in range(rounds) for wording in wordings]
    sample = [wordings[index] for index in rng.permutation(len(wordings))[:VALIDATION_EXAMPLES].tolist()]
    held_out = [replace(wording, categories=(wording.categories[0], HELD_OUT_CATEGORY)) for wording in sample]
    return ExplainerExamples(training, [wording_example(renderer, _brief(wording, names, rng), wording.text) for wording in held_out])


def _writable(wordings: Sequence[HandwrittenWording], llm: LanguageModel) -> list[HandwrittenWording]:
    """The wordings that constrained decoding allows: within the vocabulary, and without slots that a text query has no facts for."""
    vocabulary = token_vocabulary(llm)
    return [
        wording
        for wording in wordings
        if (wording.occasion != "need" or not wording.slots & {"aisles", "fits"})
        and is_decodable(
            vocabulary,
            WordingConstraints(wording.slots, wording.confident, wording.occasion == "seen", wording.length, relaxed=True),
            llm.encode(slots_to_letters(wording.text)),
        )
    ]


def _names_by_category(items: Sequence[Item]) -> Mapping[str, list[str]]:
    """Item names by top category; all of them under the empty string."""
    names: dict[str, list[str]] = {"": []}
    for item in items:
        name = display_name(item)
        names[""].append(name)
        if item.category:
            names.setdefault(item.category[0], []).append(name)
    return names


def _brief(wording: HandwrittenWording, names: Mapping[str, list[str]], rng: np.random.Generator) -> ExplanationBrief:
    """A brief for a wording, with random items of its categories."""
    anchor_category, item_category = wording.categories
    item = str(rng.choice(names.get(item_category) or names[""]))
    anchor = str(rng.choice(names.get(anchor_category) or names[""])) if wording.occasion != "need" else None
    return ExplanationBrief(
        item,
        anchor,
        f"“{rng.choice(EXAMPLE_NEEDS)}”" if wording.occasion == "need" else None,
        wording.occasion,
        wording.slots,
        wording.confident,
        wording.tone,
        wording.length,
        str(rng.choice(FEEDBACK)) if rng.random() < FEEDBACK_SHARE else None,
    )
