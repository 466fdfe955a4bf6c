"""Why an item is recommended to a shopper, or why not: channel ranks, score contributions, and the rule that excludes it.

Three views: the scores and ranks in each channel, the feature contributions that add up to the blend score, and counterfactuals (see
`counterfactuals`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import EmptyHistoryError
from ...data.records import Item, Query, Rules
from ...retrieval.graph.channel import GraphChannel
from ..constraints.eligibility import rule_text
from ..constraints.list_selection import cap_per_category
from ..query_validation import validate_query
from .counterfactuals import Counterfactual, counterfactuals
from .feature_contributions import ScoreBreakdown, score_breakdown
from .item_rank import ItemRank, rank_item

if TYPE_CHECKING:
    from ..profiles.profile import Profile
    from ..recommender import Recommender

MAX_ATTENTION_ITEMS = 3
"""Number of history items that are listed with the graph model's attention."""


@dataclass(frozen=True, slots=True)
class ChannelRank:
    """Rank of an item in one channel.

    Attributes:
        score: of the channel.
        rank: among the items that satisfy the rules, 1 the best; None without a score.
        contribution: to the blend score; None without a blend.
    """

    score: float
    rank: int | None
    contribution: float | None


@dataclass(frozen=True, slots=True)
class Why:
    """Why an item is recommended or not.

    Attributes:
        item: the item.
        rank: among `of` candidates, 1 the best; None if it is not a candidate.
        of: number of candidates.
        score: as in a recommendation, from 0 to 1; None if it is not a candidate.
        channels: channel, or `profile`, to the item's rank in it; largest contribution first.
        anchor: the history item behind the recommendation.
        left_out: the first rule that excludes the item, as shown in results.
        blend: how the candidates are ordered.
        attention: history items with the largest attention of the graph model for the item's category, with their shares; empty
            without a graph model.
        removed_by: all rules that exclude the item.
        features: contributions of the blend's features to the score; None without a blend, or if it is not a candidate.
        counterfactuals: changes of the query that change the rank, recomputed with the LLM if it re-ranks; empty if not requested.
        notes: further sentences for the reader.
    """

    item: Item
    rank: int | None
    of: int
    score: float | None
    channels: Mapping[str, ChannelRank]
    anchor: Item | None
    left_out: str | None
    blend: str
    attention: tuple[tuple[Item, float], ...] = ()
    removed_by: tuple[str, ...] = ()
    features: ScoreBreakdown | None = None
    counterfactuals: tuple[Counterfactual, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types."""
        return {
            "item_id": self.item.item_id,
            "title": self.item.title,
            "category": list(self.item.category),
            "rank": self.rank,
            "of": self.of,
            "score": self.score,
            "channels": {
                name: {
                    "score": round(channel.score, 4),
                    "rank": channel.rank,
                    "adds": None if channel.contribution is None else round(channel.contribution, 4),
                }
                for name, channel in self.channels.items()
            },
            "features": self.features.to_dict() if self.features else None,
            "behind": self.anchor.item_id if self.anchor else None,
            "left_out": self.left_out,
            "removed_by": list(self.removed_by),
            "blend": self.blend,
            "attention": [{"item_id": item.item_id, "share": round(share, 4)} for item, share in self.attention],
            "counterfactuals": [counterfactual.to_dict() for counterfactual in self.counterfactuals],
            "notes": list(self.notes),
        }


def why(
    recommender: Recommender,
    item_id: str,
    *,
    user_id: str | None = None,
    items: Sequence[str] = (),
    rules: Rules | None = None,
    k: int = 5,
    without: Sequence[str] = (),
    counterfactual: bool = True,
) -> Why:
    """Explain the rank of an item for a shopper.

    An LLM is used only if it re-ranks the blend's candidates: for the rank, and for each counterfactual that is reported.

    Args:
        recommender: ranks the candidates.
        item_id: the item.
        user_id, items, rules, without: as for `Recommender.recommend`.
        k: length of the list that the item may be missing from.
        counterfactual: whether to compute counterfactuals, which takes about ten times as long.
    Raises:
        UnknownUserError, UnknownItemError: an id is not in the workspace.
        EmptyHistoryError: neither a user nor items.
        QueryError: rules, items or k out of bounds.
    """
    if user_id is None and not items:
        raise EmptyHistoryError("there is nothing to go by: give a user or items")
    query = Query(user_id, tuple(items), None, rules or Rules(), k, without=tuple(without))
    validate_query(query)
    catalogue, blend_ranker = recommender.catalogue, recommender.blend_ranker
    row = catalogue.row(item_id)
    item = catalogue.records([row])[0]
    item_rank = rank_item(recommender, query, row)
    channel_ranks = blend_ranker.retriever.channel_ranks(item_rank.candidate_query, item_rank.mask, row)
    contributions: Mapping[str, float] = {}
    breakdown = None
    if item_rank.candidate_index is not None:
        contributions = item_rank.scored_candidates.contributions_by_channel(item_rank.candidate_index)
        breakdown = score_breakdown(item_rank.scored_candidates, item_rank.candidate_index, words=catalogue.words)
    candidate_scores = dict(item_rank.candidate.scores) if item_rank.candidate else {}
    channels = {}
    for name in dict.fromkeys([*contributions, *candidate_scores, *channel_ranks]):
        score, rank, _ = channel_ranks.get(name, (candidate_scores.get(name, 0.0), None, -1))
        channels[name] = ChannelRank(score, rank, contributions.get(name))
    channels = dict(sorted(channels.items(), key=lambda pair: -abs(pair[1].contribution or 0.0)))
    anchor = catalogue.row(item_rank.candidate.anchor) if item_rank.candidate and item_rank.candidate.anchor else None
    attention = _attention(recommender, item_rank.shopper.profile, row)
    changes: tuple[Counterfactual, ...] = ()
    notes = _category_cap_note(recommender, query, item_rank, row)
    if counterfactual:
        anchor_indices = [channel_ranks[name][2] for name in channels if name in channel_ranks]
        channel_anchors = [int(item_rank.candidate_query.rows[index]) for index in anchor_indices if index >= 0]
        relevant = [*([] if anchor is None else [anchor]), *(attended for attended, _ in attention), *channel_anchors]
        changes, more_notes = counterfactuals(recommender, query, item, item_rank, relevant)
        notes = (*notes, *more_notes)
    removed_by = tuple(rule_text(rule, catalogue.words) for rule in item_rank.left_out)
    return Why(
        item=item,
        rank=item_rank.rank,
        of=item_rank.of,
        score=round(item_rank.score, 4) if item_rank.score is not None and item_rank.rank else None,
        channels=channels,
        anchor=None if anchor is None else catalogue.records([anchor])[0],
        left_out=removed_by[0] if removed_by else None,
        blend=_blend(recommender),
        attention=tuple(zip(catalogue.records([attended for attended, _ in attention]), [share for _, share in attention], strict=True)),
        removed_by=removed_by,
        features=breakdown,
        counterfactuals=changes,
        notes=notes,
    )


def _blend(recommender: Recommender) -> str:
    """Return how the candidates are ordered, as shown in results."""
    if not recommender.blend_ranker.trained:
        return "learned on other stores"
    return f"learned, {'with' if recommender.uses_llm_weight else 'without'} the LLM's vote"


def _attention(recommender: Recommender, profile: Profile, row: int) -> list[tuple[int, float]]:
    """Return the rows of the `MAX_ATTENTION_ITEMS` history items with the largest attention of the graph model, with their shares."""
    channel = recommender.blend_ranker.retriever.further.get("graph")
    if not isinstance(channel, GraphChannel) or not len(profile.rows):
        return []
    shares = channel.model.attention(profile.rows, profile.weights, int(recommender.catalogue.category[row]))
    largest = np.argsort(-shares, kind="stable")[:MAX_ATTENTION_ITEMS]
    return list(zip(profile.rows[largest].tolist(), shares[largest].tolist(), strict=True))


def _category_cap_note(recommender: Recommender, query: Query, item_rank: ItemRank, row: int) -> tuple[str, ...]:
    """Return a note if the item is among the `k` best but its category is full in a list of `k`."""
    if item_rank.rank is None or item_rank.rank > query.k:
        return ()
    if row in cap_per_category(item_rank.order.tolist(), recommender.catalogue, query.rules.max_per_category, query.k):
        return ()
    name = recommender.catalogue.category_name(row)
    return (f"a list of {query.k} is without it: no category takes more than half as long as others can fill it, and {name} has its share",)
