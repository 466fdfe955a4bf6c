"""Re-ranks the blend's top candidates with the fine-tuned LLM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...llm.ranking.ranker import Ranker
from . import candidate_facts
from .llm_weight import LLM_RERANK_DEPTH, LLMWeight

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.associations.rules import Associations
    from ...retrieval.channels.base import CandidateQuery
    from ...retrieval.items.catalogue import Catalogue
    from ...retrieval.retriever import CandidateScores
    from .ranked_candidates import ScoredCandidates


@dataclass(frozen=True)
class LLMReranker:
    """Scores candidates with the LLM.

    Attributes:
        ranker: scores candidates by a prompt.
        catalogue: source of the item records.
        associations: source of the co-purchase counts in the prompt.
    """

    ranker: Ranker
    catalogue: Catalogue
    associations: Associations

    def logit_margins(
        self, proposals: CandidateScores, indices: NDArray[np.int64], query: CandidateQuery, scores: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Return (indices,) the yes/no logit differences of some candidates, in nats.

        Args:
            proposals: all candidates of the query.
            indices: candidates to score, as indices into `proposals`.
            query: the history.
            scores: (candidates,) of the blend alone, for the rank in the prompt.
        """
        rows, records = proposals.rows[indices], self.catalogue.records
        pair_counts = candidate_facts.anchor_pair_counts(proposals, query, self.associations)[indices]
        shows_rank = self.ranker.prompt.version >= candidate_facts.RANK_PROMPT_VERSION
        facts = candidate_facts.fact_sentences(
            pair_counts, self.catalogue.users[rows], self.catalogue, ranks(scores)[indices] if shows_rank else None
        )
        return self.ranker.scores(records(query.rows.tolist()), None, records(rows.tolist()), facts)

    def rerank(self, candidates: ScoredCandidates, query: CandidateQuery, llm_weight: LLMWeight) -> ScoredCandidates:
        """Return the candidates with the LLM's contribution added to the `LLM_RERANK_DEPTH` highest scores."""
        indices = rerank_indices(candidates.scores)
        margins = np.full(len(candidates.scores), np.nan, np.float32)
        contributions = np.zeros(len(candidates.scores))
        margins[indices] = self.logit_margins(candidates.proposals, indices, query, candidates.scores)
        contributions[indices] = llm_weight.contributions(margins[indices])
        return replace(candidates, scores=candidates.scores + contributions, logit_margins=margins, llm_contributions=contributions)


def rerank_indices(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return (at most `LLM_RERANK_DEPTH`,) the indices of the highest scores, highest first."""
    return np.argsort(-scores, kind="stable")[:LLM_RERANK_DEPTH]


def ranks(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return (candidates,) the rank of each by score, 1 the highest."""
    rank = np.empty(len(scores), dtype=np.int64)
    rank[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return rank
