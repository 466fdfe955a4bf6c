"""Why an item is recommended to a shopper, or why not: where it stands in each channel, what each adds, and which rule decided.

What it rests on is told three ways: the channels' scores and ranks, the features of the learned blend that add up to the score, and what
would be if a history item or a rule were different (see `counterfactuals`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import EmptyHistoryError
from ...data.records import Item, Query, Rules
from ...retrieval.graph.channel import GraphChannel
from ..constraints.list_selection import cap_per_category
from ..query_validation import validate_query
from .counterfactuals import Counterfactual, counterfactuals
from .feature_contributions import ScoreBreakdown, score_breakdown
from .item_rank import ItemRank, rank_item

if TYPE_CHECKING:
    from ..profiles.profile import Profile
    from ..recommender import Recommender

MAX_ATTENTION_ITEMS = 3
"""History items that are named with the graph's attention."""


@dataclass(frozen=True, slots=True)
class ChannelRank:
    """Where an item stands in one channel.

    Attributes: score: the channel's own. rank: among all that the rules allow, 1 the best. adds: to the blend's score; None without one.
    """

    score: float
    rank: int | None
    contribution: float | None


@dataclass(frozen=True, slots=True)
class Why:
    """What decided about an item.

    Attributes:
        rank: among `of` candidates, 1 the best; None if it was none of them. score: as a recommendation has it.
        channels: channel, or `profile`, to where the item stands in it. behind: the history item that stands behind it.
        left_out: the first rule that turned it away, in words. removed_by: all of them. blend: what ordered the candidates.
        attention: the history items that the graph looks at most for a category like this item's, with their shares, of 1 in all; empty
            without a graph.
        features: what the blend's features add to the score; None without a blend, or where the item is no candidate.
        counterfactuals: what would change its rank, recomputed by the same order, an LLM's vote included; empty where not asked for.
        notes: what is to be said beside, in words.
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
        """The answer as JSON holds it."""
        return {
            "item_id": self.item.item_id,
            "title": self.item.title,
            "category": list(self.item.category),
            "rank": self.rank,
            "of": self.of,
            "score": self.score,
            "channels": {
                name: {"score": round(one.score, 4), "rank": one.rank, "adds": one.contribution if one.contribution is None else round(one.contribution, 4)}
                for name, one in self.channels.items()
            },
            "features": self.features.to_dict() if self.features else None,
            "behind": self.anchor.item_id if self.anchor else None,
            "left_out": self.left_out,
            "removed_by": list(self.removed_by),
            "blend": self.blend,
            "attention": [{"item_id": item.item_id, "share": round(share, 4)} for item, share in self.attention],
            "counterfactuals": [one.to_dict() for one in self.counterfactuals],
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
    """Why an item is recommended, or why not.

    Only an LLM that has a vote in the learned order is asked, for the rank and for each counterfactual that is told; `--llm none` is
    without it. Where nothing was trained the order is that of the channels, without the LLM.

    Args: as `Recommender.recommend` has them; k: how long the list is that it might be missing from. counterfactual: whether to recompute
        what would be if something were different, which takes some ten times as long.
    Raises: UnknownUserError, UnknownItemError; EmptyHistoryError: neither a user nor items. QueryError: rules, items or k out of bounds.
    """
    if user_id is None and not items:
        raise EmptyHistoryError("there is nothing to go by: give a user or items")
    query = Query(user_id, tuple(items), None, rules or Rules(), k, without=tuple(without))
    validate_query(query)
    catalogue, trained = recommender.catalogue, recommender.blend_ranker
    row = catalogue.row(item_id)
    item = catalogue.records([row])[0]
    found = rank_item(recommender, query, row)
    retriever = trained.retriever if trained else recommender.retriever
    standing = retriever.channel_ranks(found.candidate_query, found.mask, row)
    adds = found.scored_candidates.contributions_by_channel(found.candidate_index) if found.scored_candidates and found.candidate_index is not None else {}
    told = dict(found.candidate.scores) if found.candidate else {}
    channels = {}
    for name in dict.fromkeys([*adds, *told, *standing]):
        of_channel, rank, _ = standing.get(name, (told.get(name, 0.0), None, -1))
        channels[name] = ChannelRank(of_channel, rank, adds.get(name))
    channels = dict(sorted(channels.items(), key=lambda pair: -abs(pair[1].adds or 0.0)))
    behind = catalogue.row(found.candidate.anchor) if found.candidate and found.candidate.anchor else None
    attention = _attention(recommender, found.shopper.profile, row)
    changed: tuple[Counterfactual, ...] = ()
    notes = _crowded(recommender, query, found, row)
    if counterfactual:
        places = [standing[name][2] for name in channels if name in standing]
        of_channels = [int(found.candidate_query.rows[at]) for at in places if at >= 0]
        matter = [*([] if behind is None else [behind]), *(looked for looked, _ in attention), *of_channels]
        changed, more = counterfactuals(recommender, query, item, found, matter)
        notes = (*notes, *more)
    return Why(
        item,
        found.rank,
        found.of,
        round(found.score, 4) if found.score is not None and found.rank else None,
        channels,
        None if behind is None else catalogue.records([behind])[0],
        found.left_out[0] if found.left_out else None,
        _blend(recommender),
        tuple(zip(catalogue.records([looked for looked, _ in attention]), [share for _, share in attention], strict=True)),
        found.left_out,
        score_breakdown(found.scored_candidates, found.candidate_index) if found.scored_candidates and found.candidate_index is not None else None,
        changed,
        notes,
    )


def _blend(recommender: Recommender) -> str:
    """What orders the candidates, in words."""
    if recommender.blend_ranker is None:
        return "fused by rank, without the LLM"
    if recommender.blend_ranker.llm_weight.weight > 0:
        return "learned, with the LLM's vote" if recommender.uses_llm_weight else "learned, without the LLM's vote"
    return "learned"


def _attention(recommender: Recommender, profile: Profile, row: int) -> list[tuple[int, float]]:
    """The rows of the `LOOKED_AT` history items that the graph looks at most, with their shares."""
    channel = recommender.blend_ranker.retriever.further.get("graph") if recommender.blend_ranker else None
    if not isinstance(channel, GraphChannel) or not len(profile.rows):
        return []
    shares = channel.model.attention(profile.rows, profile.weights, int(recommender.catalogue.category[row]))
    most = np.argsort(-shares, kind="stable")[:MAX_ATTENTION_ITEMS]
    return list(zip(profile.rows[most].tolist(), shares[most].tolist(), strict=True))


def _crowded(recommender: Recommender, query: Query, found: ItemRank, row: int) -> tuple[str, ...]:
    """Whether a list of `k` has not what ranks among its `k` best, because others of its category stand before it."""
    if found.rank is None or found.rank > query.k:
        return ()
    if row in cap_per_category(found.order.tolist(), recommender.catalogue, query.rules.max_per_category, query.k):
        return ()
    name = recommender.catalogue.category_name(row)
    return (f"a list of {query.k} is without it: no category takes more than half as long as others can fill it, and {name} has its share",)
