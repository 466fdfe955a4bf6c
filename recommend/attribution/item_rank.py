"""Rank of a single item in a shopper's full ranking under given rules.

Uses the same steps as `Recommender.recommend` up to the list, so that the effect of a change to the query (a history item left out, another
rule) is recomputed, not estimated. Does not explain the rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..constraints.eligibility import eligible_items, violated_rules
from ..constraints.list_selection import cap_per_category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.records import Candidate, Query
    from ...retrieval.channels.base import CandidateQuery
    from ..profiles.shopper import Shopper
    from ..ranking.ranked_candidates import ScoredCandidates
    from ..recommender import Recommender


@dataclass(frozen=True)
class ItemRank:
    """Rank of an item for a query.

    Attributes:
        rank: among `of` candidates, 1 the best; None if the item is not a candidate.
        order: (of,) rows of the candidates, best first.
        left_out: rules that the item violates, as shown in results.
        shopper: of the query.
        candidate_query: the input of retrieval.
        mask: (items,) bool of the items that satisfy the rules.
        scored_candidates: of the blend.
        candidate: the item with its channel scores; None if it is not a candidate.
        score: from 0 to 1; None if it is not a candidate.
        candidate_index: of the item in `scored_candidates`; None if it is not a candidate.
    """

    rank: int | None
    order: NDArray[np.int64]
    left_out: tuple[str, ...]
    shopper: Shopper
    candidate_query: CandidateQuery
    mask: NDArray[np.bool_]
    scored_candidates: ScoredCandidates
    candidate: Candidate | None = None
    score: float | None = None
    candidate_index: int | None = None

    @property
    def of(self) -> int:
        """Number of candidates."""
        return len(self.order)

    @property
    def outcome(self) -> tuple[int | None, tuple[str, ...]]:
        """What a counterfactual compares: the rank and the violated rules."""
        return self.rank, self.left_out


def rank_item(recommender: Recommender, query: Query, row: int, *, use_llm: bool = True) -> ItemRank:
    """Return the rank of an item for a query.

    Args:
        recommender: ranks the candidates.
        query: without a text.
        row: of the item.
        use_llm: whether a fine-tuned LLM re-ranks, as in recommendations.
    Raises: see `Recommender.shopper`.
    """
    catalogue, blend_ranker, rules = recommender.catalogue, recommender.blend_ranker, query.rules
    shopper = recommender.shopper(query)
    mask, _ = eligible_items(rules, catalogue, shopper.rows, shopper.owned, shopper.dismissed)
    left_out = violated_rules(rules, catalogue, shopper.rows, shopper.owned, row, shopper.dismissed)
    candidate_query = shopper.profile.candidate_query()
    candidate, score = None, None
    scored = blend_ranker.rank(candidate_query, shopper.profile, mask, other_than_anchor=rules.scope == "other")
    scored = recommender.rerank(scored, candidate_query) if use_llm else scored
    rows = scored.proposals.rows
    order = rows[np.argsort(-scored.scores, kind="stable")]
    matches = np.flatnonzero(rows == row)
    index = int(matches[0]) if len(matches) else None
    if index is not None:
        candidate, score = blend_ranker.candidate(scored, index, candidate_query)
    if rules.max_per_category is not None:  # candidates beyond the cap are never shown
        order = np.asarray(cap_per_category(order.tolist(), catalogue, rules.max_per_category, len(order)), dtype=np.int64)
        if index is not None and row not in order:
            left_out = (*left_out, category_cap_reason(rules.max_per_category))
    rank = int(np.flatnonzero(order == row)[0]) + 1 if row in order else None
    return ItemRank(rank, order, left_out, shopper, candidate_query, mask, scored, candidate, score, index)


def category_cap_reason(max_per_category: int) -> str:
    """What a cap per category excludes, as shown in results."""
    return f"beyond the {max_per_category} best of its category"
