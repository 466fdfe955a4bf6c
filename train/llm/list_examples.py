"""Lists of candidates as examples for the LLM ranker: it learns what the blend misses.

A list is what a shopper is served: some of the blend's best candidates with their out-of-fold scores, which the LLM's margins are added
to. Nothing in the prompt states the blend's order, so that the LLM does not learn to repeat it. Histories and titles vary from example to
example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...recommend.ranking.candidate_facts import RANK_PROMPT_VERSIONS
from ...recommend.ranking.llm_weight import LLM_RERANK_DEPTH
from ..lora.listwise_loss import ListwiseExample
from .prompt_facts import prompt_facts

if TYPE_CHECKING:
    from ...data.records import Item
    from ...llm.models.projector import ProjectorInputs
    from ...retrieval.items.catalogue import Catalogue
    from .ranker_examples import RankerExamples

CANDIDATES = 12
"""Candidates of a training example; validation examples have all that are served."""
TRAINING_DEPTH = 50
"""Number of the highest candidates that the purchase of a training example is among: more questions tell something than at the depth that
the LLM reads."""
CROPPED_SHARE, DROPPED_SHARE, REORDERED_SHARE, CUT_SHARE = 0.3, 0.1, 0.2, 0.2
"""Shares of the histories that are cropped to their last items and that are reordered, and of the items that are dropped and of the titles
that are cut."""
MIN_TITLE_WORDS = 3
"""Words that a cut title keeps at least."""


def list_example(
    examples: RankerExamples,
    query: int,
    catalogue: Catalogue,
    rng: np.random.Generator | None,
    *,
    version: int,
    inputs: ProjectorInputs | None = None,
) -> ListwiseExample:
    """Return one query, with a purchase among the served candidates, as an example. The purchase comes first.

    Args:
        examples: Queries with their candidates.
        query: Index of the query.
        catalogue: Catalogue of the items.
        rng: Generator that draws the candidates and varies history and titles; None for all served candidates as they are, with their
            most highly ranked purchase.
        version: Version of the prompt.
        inputs: What the model reads about behaviour; None for texts alone.
    """
    candidates = examples.candidates(query)
    purchased = examples.purchased[candidates][: LLM_RERANK_DEPTH if rng is None else TRAINING_DEPTH]
    purchases, others = np.flatnonzero(purchased), np.flatnonzero(~purchased)
    target = int(purchases[0] if rng is None else rng.choice(purchases))
    if rng is not None:
        served, deeper = others[others < LLM_RERANK_DEPTH], others[others >= LLM_RERANK_DEPTH]
        others = np.concatenate([rng.permutation(served), rng.permutation(deeper)])[: CANDIDATES - 1]
    chosen = np.concatenate([[target], others]).astype(np.int64) + candidates.start
    example = ListwiseExample(
        catalogue.records(examples.histories[query].tolist()),
        catalogue.records(examples.rows[chosen].tolist()),
        0,
        prompt_facts(examples, chosen, catalogue, version),
        scores=None if version in RANK_PROMPT_VERSIONS else examples.scores[chosen].tolist(),
        behaviour=examples.soft_inputs(query, chosen, inputs),
    )
    return example if rng is None else varied(example, rng)


def varied(example: ListwiseExample, rng: np.random.Generator) -> ListwiseExample:
    """Return an example with a history that may be cropped, thinned out or reordered, and with some titles cut."""
    history = list(example.history)
    if history and rng.random() < CROPPED_SHARE:
        history = history[-int(rng.integers(1, len(history) + 1)) :]
    kept = [item for item in history if rng.random() >= DROPPED_SHARE]
    history = kept or history[-1:]
    if rng.random() < REORDERED_SHARE:
        history = [history[place] for place in rng.permutation(len(history)).tolist()]
    return replace(example, history=_with_cut_titles(history, rng), candidates=_with_cut_titles(example.candidates, rng))


def _with_cut_titles(items: Sequence[Item], rng: np.random.Generator) -> list[Item]:
    return [_with_cut_title(item, rng) if rng.random() < CUT_SHARE else item for item in items]


def _with_cut_title(item: Item, rng: np.random.Generator) -> Item:
    words = item.title.split()
    if len(words) <= MIN_TITLE_WORDS:
        return item
    return replace(item, title=" ".join(words[: int(rng.integers(MIN_TITLE_WORDS, len(words) + 1))]))
