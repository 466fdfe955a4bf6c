"""Questions for the teacher: pairs of a store's items and leaf categories, and lists of what its shoppers would be served.

No purchase label is needed, so items and shoppers of whom behaviour says nothing are asked about as well. The candidates of an anchor are
of other categories: some were bought with it or with items like it, some are the nearest to it by text, the others are random. What
`pair_examples.unseen` keeps for measuring is in no question, and no question is about a shopper who is kept for measuring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...recommend.ranking.llm_weight import LLM_RERANK_DEPTH
from ..llm.list_examples import CANDIDATES as LIST_CANDIDATES
from ..llm.pair_examples import PairEntities, PairQuestion
from ..llm.ranker import TRAINING_SHARE, user_uniforms
from .grading import TeacherQuestion

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.catalogue import Catalogue
    from ..llm.ranker_examples import RankerExamples

CANDIDATES, MIN_CANDIDATES = 10, 4
"""Candidates of a pair question, and the number below which nothing is asked."""
BOUGHT, NEAREST = 3, 3
"""How many of them were bought with the anchor or with items like it, and how many are the nearest to it by text; the others are random."""
ALIKE, POOL = 10, 30
"""Number of entities of the anchor's category that count as like it, and of those that either kind is sampled from."""
MAX_ROUNDS = 3
"""Maximum number of questions with the same anchor, each with other candidates."""


@dataclass(frozen=True)
class ListQuestion:
    """One query of a training user. Attributes: query: index. candidates: (candidates,) indices into all candidates, in random order."""

    query: int
    candidates: NDArray[np.int64]


def anchor_questions(entities: PairEntities, selected: NDArray[np.bool_], limit: int, rng: np.random.Generator) -> list[PairQuestion]:
    """Return anchors with candidates of other categories, in random order. A larger limit continues the same questions.

    Args:
        entities: Items or leaf categories, with or without users.
        selected: (entities,) which may be in a question.
        limit: Maximum number of questions.
        rng: Generator that samples them.
    """
    eligible = np.flatnonzero(selected & (np.abs(entities.vectors).max(axis=1, initial=0.0) > 0))
    questions: list[PairQuestion] = []
    for _ in range(MAX_ROUNDS):
        for anchor in rng.permutation(eligible).tolist():
            if len(questions) >= limit:
                return questions
            others = eligible[entities.category[eligible] != entities.category[anchor]]
            if len(others) >= MIN_CANDIDATES:
                questions.append(PairQuestion(anchor, _candidates(entities, anchor, eligible, others, rng)))
    return questions


def _candidates(
    entities: PairEntities, anchor: int, eligible: NDArray[np.int64], others: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The candidates of an anchor, from all sources, in random order."""
    cosines = entities.vectors[eligible] @ entities.vectors[anchor]
    is_other = entities.category[eligible] != entities.category[anchor]
    alike = eligible[~is_other][np.argsort(-cosines[~is_other], kind="stable")[: ALIKE + 1]]  # the anchor itself comes first
    shared = np.asarray(entities.shared_users[alike].sum(axis=0)).ravel()[others]
    bought = others[np.argsort(-shared, kind="stable")[:POOL]][: int((shared > 0).sum())]
    nearest = eligible[is_other][np.argsort(-cosines[is_other], kind="stable")[:POOL]]
    chosen = np.empty(0, dtype=np.int64)
    for pool, count in ((bought, BOUGHT), (nearest, NEAREST), (others, CANDIDATES - BOUGHT - NEAREST)):
        new = np.setdiff1d(pool, chosen)
        chosen = np.concatenate([chosen, rng.choice(new, min(count, len(new)), replace=False)])
    new = np.setdiff1d(others, chosen)  # in place of what a source lacks
    chosen = np.concatenate([chosen, rng.choice(new, min(CANDIDATES - len(chosen), len(new)), replace=False)])
    return rng.permutation(chosen).astype(np.int64)


def list_questions(
    examples: RankerExamples, selected: NDArray[np.bool_], limit: int, rng: np.random.Generator, *, seed: int
) -> list[ListQuestion]:
    """Return queries of training users with some of their served candidates, first the queries without a purchase among these.

    Args:
        examples: Queries with their candidates.
        selected: (items,) which items may be in a question.
        limit: Maximum number of questions.
        rng: Generator that samples them.
        seed: Seed of the adapter, which decides who the training users are.
    """
    is_served = examples.rank < LLM_RERANK_DEPTH
    has_purchase = np.bincount(examples.query, examples.purchased & is_served, minlength=len(examples)) > 0
    queries = rng.permutation(np.flatnonzero(user_uniforms(examples, seed) < TRAINING_SHARE))
    questions: list[ListQuestion] = []
    for query in queries[np.argsort(has_purchase[queries], kind="stable")].tolist():
        if len(questions) >= limit:
            break
        candidates = examples.candidates(query)
        served = np.arange(candidates.start, candidates.stop)[:LLM_RERANK_DEPTH]
        served = served[selected[examples.rows[served]]]
        if len(served) >= MIN_CANDIDATES and selected[examples.histories[query]].any():
            questions.append(ListQuestion(query, rng.permutation(served)[:LIST_CANDIDATES]))
    return questions


def pair_text(entities: PairEntities, question: PairQuestion) -> TeacherQuestion:
    """Return a pair question as the teacher gets it."""
    return TeacherQuestion([entities.items[question.anchor]], [entities.items[row] for row in question.candidates.tolist()])


def list_text(examples: RankerExamples, question: ListQuestion, selected: NDArray[np.bool_], catalogue: Catalogue) -> TeacherQuestion:
    """Return a list question as the teacher gets it. Args: selected: (items,) which items of the history may be in it."""
    return TeacherQuestion(
        catalogue.records(selected_history(examples, question.query, selected)),
        catalogue.records(examples.rows[question.candidates].tolist()),
    )


def selected_history(examples: RankerExamples, query: int, selected: NDArray[np.bool_]) -> list[int]:
    """Return the item rows of a query's history that may be in a question, oldest first."""
    rows = examples.histories[query]
    return [int(row) for row in rows[selected[rows]]]


def interleaved(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Return (source, index) of all questions of several sources, so that every prefix has about the same share of each.

    Args:
        lengths: Number of questions of each source.
    """
    places = [((index + 0.5) / length, source, index) for source, length in enumerate(lengths) for index in range(length)]
    return [(source, index) for _, source, index in sorted(places)]
