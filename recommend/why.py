"""Why an item is recommended to a shopper, or why not: where it stands in each channel, what each adds, and which rule decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.errors import EmptyHistoryError
from ..data.records import Item, Query, Rules
from ..retrieval.graph import GraphChannel
from .rules import check, eligible, turned_away

if TYPE_CHECKING:
    from .profile import Profile
    from .recommender import Recommender

LOOKED_AT = 3
"""History items that are named with the graph's attention."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an item stands in one channel.

    Attributes: score: the channel's own. rank: among all that the rules allow, 1 the best. adds: to the blend's score; None without one.
    """

    score: float
    rank: int | None
    adds: float | None


@dataclass(frozen=True, slots=True)
class Why:
    """What decided about an item.

    Attributes:
        rank: among `of` candidates, 1 the best; None if it was none of them. score: as a recommendation has it.
        channels: channel, or `profile`, to where the item stands in it. behind: the history item that stands behind it.
        left_out: the rule that turned it away, in words. blend: what ordered the candidates.
        attention: the history items that the graph looks at most for a category like this item's, with their shares, of 1 in all; empty
            without a graph.
    """

    item: Item
    rank: int | None
    of: int
    score: float | None
    channels: Mapping[str, Standing]
    behind: Item | None
    left_out: str | None
    blend: str
    attention: tuple[tuple[Item, float], ...] = ()

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
                name: {"score": round(one.score, 4), "rank": one.rank, "adds": one.adds if one.adds is None else round(one.adds, 4)}
                for name, one in self.channels.items()
            },
            "behind": self.behind.item_id if self.behind else None,
            "left_out": self.left_out,
            "blend": self.blend,
            "attention": [{"item_id": item.item_id, "share": round(share, 4)} for item, share in self.attention],
        }


def why(
    recommender: Recommender, item_id: str, *, user_id: str | None = None, items: tuple[str, ...] = (), rules: Rules | None = None
) -> Why:
    """Why an item is recommended, or why not; nothing is asked of the LLM.

    Args: as `Recommender.recommend` has them.
    Raises: UnknownUserError, UnknownItemError; EmptyHistoryError: neither a user nor items.
    """
    rules = rules or Rules()
    check(rules)
    if user_id is None and not items:
        raise EmptyHistoryError("there is nothing to go by: give a user or items")
    catalogue = recommender.catalogue
    row = catalogue.row(item_id)
    shopper = recommender.shopper(Query(user_id, items, None, rules, 1))
    mask, _ = eligible(rules, catalogue, shopper.rows, shopper.owned)
    seeds = shopper.profile.seeds()
    left_out = turned_away(rules, catalogue, shopper.rows, shopper.owned, row)
    other = rules.scope == "other"
    trained = recommender.trained
    retriever = trained.retriever if trained else recommender.retriever
    standing = retriever.standing(seeds, mask, row)
    adds: dict[str, float] = {}
    if trained:
        ranked = recommender.read(trained.rank(seeds, shopper.profile, mask, other_than_anchor=other), seeds)
        order = sorted(trained.candidates(ranked, seeds), key=lambda pair: -pair[1])
        places = {int(found): place for place, found in enumerate(ranked.found.rows)}
        if row in places:
            adds = ranked.by_channel(places[row])
    else:
        order = recommender.fused(seeds, mask, other_than_anchor=other)
    rank = next((place for place, (candidate, _) in enumerate(order, start=1) if candidate.item_id == item_id), None)
    candidate, score = order[rank - 1] if rank else (None, None)
    told = dict(candidate.scores) if candidate else {}
    channels = {}
    for name in dict.fromkeys([*adds, *told, *standing]):
        of_channel, place = standing.get(name, (told.get(name, 0.0), None))
        channels[name] = Standing(of_channel, place, adds.get(name))
    behind = catalogue.records([catalogue.row(candidate.anchor)])[0] if candidate and candidate.anchor else None
    return Why(
        catalogue.records([row])[0],
        rank,
        len(order),
        round(score, 4) if score is not None else None,
        dict(sorted(channels.items(), key=lambda pair: -abs(pair[1].adds or 0.0))),
        behind,
        left_out,
        "learned" if trained else "fused by rank, without the LLM",
        _attention(recommender, shopper.profile, row),
    )


def _attention(recommender: Recommender, profile: Profile, row: int) -> tuple[tuple[Item, float], ...]:
    """The `LOOKED_AT` history items that the graph looks at most."""
    channel = recommender.trained.retriever.further.get("graph") if recommender.trained else None
    if not isinstance(channel, GraphChannel) or not len(profile.rows):
        return ()
    catalogue = recommender.catalogue
    shares = channel.graph.attention(profile.rows, profile.weights, int(catalogue.category[row]))
    most = np.argsort(-shares, kind="stable")[:LOOKED_AT]
    return tuple(zip(catalogue.records(profile.rows[most].tolist()), shares[most].tolist(), strict=True))
