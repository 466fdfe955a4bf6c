"""Where an item stands for a shopper under some rules: the order that recommendations are cut from, looked at for one item.

It is the very path of `Recommender.recommend` up to the list, so that what was changed in the query (a history item left out, another
rule) is recomputed and never estimated. Knows nothing of why.
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
    """Where an item stands.

    Attributes:
        rank: among `of` candidates, 1 the best; None if it is none of them. order: (of,) the candidates' rows, best first.
        left_out: the rules that turn it away, in words.
        shopper, seeds, mask: what the candidates were looked for from, and (items,) what the rules allow.
        candidate, score: the item as it was proposed, with its score from 0 to 1; None where it is no candidate.
        ranked: the candidates of a learned blend, and at: the item's place among them; None without a blend, or where it is none of them.
    """

    rank: int | None
    order: NDArray[np.int64]
    left_out: tuple[str, ...]
    shopper: Shopper
    candidate_query: CandidateQuery
    mask: NDArray[np.bool_]
    candidate: Candidate | None = None
    score: float | None = None
    scored_candidates: ScoredCandidates | None = None
    candidate_index: int | None = None

    @property
    def of(self) -> int:
        """How many candidates were ordered."""
        return len(self.order)

    @property
    def outcome(self) -> tuple[int | None, tuple[str, ...]]:
        """What is told of the item: two that are alike make no difference."""
        return self.rank, self.left_out


def rank_item(recommender: Recommender, query: Query, row: int, *, use_llm: bool = True) -> ItemRank:
    """Where the item in a row stands for a query.

    Args: query: a history, no text. vote: whether a tuned LLM has the say in the learned order that it has in recommendations; it is not
        asked where no blend was trained.
    Raises: as `Recommender.shopper` does.
    """
    catalogue, trained, rules = recommender.catalogue, recommender.blend_ranker, query.rules
    shopper = recommender.shopper(query)
    mask, _ = eligible_items(rules, catalogue, shopper.rows, shopper.owned, shopper.dismissed)
    left_out = violated_rules(rules, catalogue, shopper.rows, shopper.owned, row, shopper.dismissed)
    seeds = shopper.profile.candidate_query()
    ranked, candidate, score = None, None, None
    if trained:
        ranked = trained.rank(seeds, shopper.profile, mask, other_than_anchor=rules.scope == "other")
        ranked = recommender.rerank(ranked, seeds) if use_llm else ranked
        found = ranked.proposals.rows
        order = found[np.argsort(-ranked.scores, kind="stable")]
    else:
        fused = recommender.fuse_channels(query, seeds, mask)
        order = found = np.asarray([catalogue.row(one.item_id) for one, _ in fused], dtype=np.int64)
    where = np.flatnonzero(found == row)
    at = int(where[0]) if len(where) else None
    if at is not None:
        candidate, score = trained.candidate(ranked, at, seeds) if trained and ranked else fused[at]
    if rules.max_per_category is not None:  # what stands behind so many of its category is never shown
        order = np.asarray(cap_per_category(order.tolist(), catalogue, rules.max_per_category, len(order)), dtype=np.int64)
        if at is not None and row not in order:
            left_out = (*left_out, category_cap_reason(rules.max_per_category))
    rank = int(np.flatnonzero(order == row)[0]) + 1 if row in order else None
    return ItemRank(rank, order, left_out, shopper, seeds, mask, candidate, score, ranked, at if ranked else None)


def category_cap_reason(most: int) -> str:
    """What a rule on the list as a whole leaves out, in words."""
    return f"beyond the {most} best of its category"
