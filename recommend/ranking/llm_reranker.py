"""Re-ranks the blend's best candidates with the LLM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...llm.ranking.ranker import Ranker
from ...llm.ranking.remote_ranker import RemoteRanker
from . import candidate_facts
from .features import FeatureMatrix
from .llm_weight import LLM_RERANK_DEPTH, LLMWeight, disagreement, gate_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.associations.rules import Associations
    from ...retrieval.channels.base import CandidateQuery
    from ...retrieval.items.catalogue import Catalogue
    from ...retrieval.retriever import CandidateScores
    from .behaviour import BehaviourReader
    from .ranked_candidates import ScoredCandidates


@dataclass(frozen=True)
class LLMReranker:
    """Scores candidates with the LLM.

    Attributes:
        ranker: scores candidates by a prompt.
        catalogue: source of the item records.
        associations: source of the co-purchase counts in the prompt.
        behaviour: source of the soft tokens; None without factors.
    """

    ranker: Ranker | RemoteRanker
    catalogue: Catalogue
    associations: Associations
    behaviour: BehaviourReader | None = None

    def logit_margins(
        self,
        proposals: CandidateScores,
        indices: NDArray[np.int64],
        query: CandidateQuery,
        scores: NDArray[np.float64],
        features: FeatureMatrix,
    ) -> NDArray[np.float32]:
        """Return (indices,) the yes/no logit differences of some candidates, in nats.

        Args:
            proposals: all candidates of the query.
            indices: candidates to score, as indices into `proposals`.
            query: the history.
            scores: (candidates,) of the blend alone, for the rank in the prompt.
            features: (candidates, features) of the blend, for soft tokens.
        """
        rows, records = proposals.rows[indices], self.catalogue.records
        pair_counts = candidate_facts.anchor_pair_counts(proposals, query, self.associations)[indices]
        shows_rank = self.ranker.prompt.version in candidate_facts.RANK_PROMPT_VERSIONS
        facts = candidate_facts.fact_sentences(
            pair_counts, self.catalogue.users[rows], self.catalogue, ranks(scores)[indices] if shows_rank else None
        )
        inputs, soft = self.ranker.behaviour_inputs, None
        if inputs is not None and self.behaviour is not None:
            soft = self.behaviour.soft_inputs(inputs, query, rows, FeatureMatrix(features.names, features.values[indices]))
        return self.ranker.scores(records(query.rows.tolist()), None, records(rows.tolist()), facts, soft)

    def rerank(self, candidates: ScoredCandidates, query: CandidateQuery, llm_weight: LLMWeight, depth: int) -> ScoredCandidates:
        """Return the candidates with the LLM's contribution added to the highest scores.

        Args:
            candidates: scored by the blend.
            query: the history.
            llm_weight: weight of each candidate.
            depth: number of candidates to read; all of them if there are fewer.
        """
        indices = rerank_indices(candidates.scores, depth)
        margins = np.full(len(candidates.scores), np.nan, np.float32)
        features = FeatureMatrix(candidates.model.feature_names, candidates.features)
        margins[indices] = self.logit_margins(candidates.proposals, indices, query, candidates.scores, features)
        return with_llm(candidates, margins, llm_weight, self.gate_features(candidates, query))

    def gate_features(self, candidates: ScoredCandidates, query: CandidateQuery) -> NDArray[np.float64]:
        """Return (candidates, `llm_weight.GATE_FEATURES`) what the weight of each candidate depends on."""
        users = self.catalogue.users[candidates.proposals.rows]
        return gate_features(users, len(query.rows), disagreement(candidates.model.feature_names, candidates.features))


def with_llm(
    candidates: ScoredCandidates, margins: NDArray[np.float32], llm_weight: LLMWeight, features: NDArray[np.float64]
) -> ScoredCandidates:
    """Return the candidates with the LLM's contributions.

    Args:
        candidates: scored by the blend.
        margins: (candidates,) logit margins, NaN for candidates that were not read.
        llm_weight: weight of each candidate.
        features: (candidates, `llm_weight.GATE_FEATURES`).
    """
    read = np.isfinite(margins)
    contributions = np.zeros(len(candidates.scores))
    contributions[read] = llm_weight.contributions(margins[read], features[read])
    mean_weight = float(llm_weight.of_candidates(features[read]).mean()) if read.any() else 0.0
    return replace(
        candidates,
        scores=candidates.scores + contributions,
        logit_margins=margins,
        llm_contributions=contributions,
        mean_llm_weight=mean_weight,
    )


def rerank_indices(scores: NDArray[np.float64], depth: int = LLM_RERANK_DEPTH) -> NDArray[np.int64]:
    """Return (at most `depth`,) the indices of the highest scores, highest first."""
    return np.argsort(-scores, kind="stable")[:depth]


def ranks(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return (candidates,) the rank of each by score, 1 the highest."""
    rank = np.empty(len(scores), dtype=np.int64)
    rank[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return rank
