"""Sentences about the candidates of training questions, for the ranker's prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...recommend.ranking.candidate_facts import RANK_PROMPT_VERSIONS, fact_sentences

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...retrieval.items.catalogue import Catalogue
    from .ranker_examples import RankerExamples


def prompt_facts(examples: RankerExamples, candidates: NDArray[np.int64] | slice, catalogue: Catalogue, version: int) -> Sequence[str]:
    """Return a sentence about each candidate; the query's user does not count as a user of a purchased item.

    Args:
        examples: questions with their candidates.
        candidates: which candidates, of all questions.
        catalogue: the items.
        version: version of the prompt `rank`.
    """
    users = catalogue.users[examples.rows[candidates]] - examples.purchased[candidates]
    ranks = examples.rank[candidates] + 1 if version in RANK_PROMPT_VERSIONS else None
    return fact_sentences(examples.pair_counts[candidates], users, catalogue, ranks)
