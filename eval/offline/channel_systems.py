"""The product's untrained systems: each channel alone, the blend of all channels, and the blend without each channel.

They run the product's own functions, case by case, over a retriever without the held-out data. A channel ranks its own candidates. The
blend ranks a pool of `POOL_SIZE` candidates, which the LLM scores, followed by the rest of the fused order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.records import Candidate
from ...recommend.profiles.profile import ItemAttributes, Profile
from ...recommend.recommender import POOL_SIZE
from ...retrieval.channels.base import CandidateQuery
from ...retrieval.fusion import channel_weights, fuse_candidates, with_channel
from ...retrieval.items.interactions import NEVER
from ...retrieval.retriever import PER_CHANNEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...llm.ranking.ranker import Ranker
    from ...retrieval.items.catalogue import Catalogue
    from ...retrieval.retriever import Retriever
    from ..splits.cases import Cases, EligibleItems

RANKING_DEPTH = 200
"""Length of a ranking; candidate recall of an untrained workspace is reported at 50, 100 and 200."""
BUILTIN_CHANNELS = ("semantic", "associations", "popularity")
"""Channels of every workspace, trained or not; stores with declared relations also have `relations`."""
BLEND, LLM = "blend", "llm"
"""Names of the blend and of the LLM in a report."""
ItemRowLists = Mapping[str, Sequence[int]]
"""System or channel name to item rows, best first."""


@dataclass(frozen=True)
class CaseCandidates:
    """Candidates of one case.

    Attributes:
        channels: Ranking of each channel.
        pools: System to the candidates that the LLM scores.
        rest: System to the item rows ranked after its pool.
        history: Item rows of the history, for the prompt.
    """

    channels: ItemRowLists
    pools: Mapping[str, Sequence[Candidate]]
    rest: ItemRowLists
    history: NDArray[np.int64]


def blend_without(channel: str) -> str:
    """Return the name of the blend without a channel."""
    return f"{BLEND} without {channel}"


def system_kinds(channels: Sequence[str], *, llm: bool) -> dict[str, str]:
    """Return the name and kind (channel, blend or ablation) of every system.

    Without an LLM, the blend of the channels is named `blend without llm`.

    Args:
        channels: Names of the retriever's channels.
        llm: Whether the LLM scores cases.
    """
    kinds = dict.fromkeys(channels, "channel")
    if not llm:
        return {**kinds, blend_without(LLM): BLEND, **{f"{blend_without(LLM)} or {name}": "ablation" for name in channels}}
    return {
        **kinds,
        LLM: "channel",
        BLEND: BLEND,
        blend_without(LLM): "ablation",
        **{blend_without(name): "ablation" for name in channels},
    }


def find_candidates(cases: Cases, eligible: EligibleItems, retriever: Retriever) -> Iterator[CaseCandidates]:
    """Yield the candidates of each case, in order."""
    facts, catalogue = ItemAttributes.from_catalogue(retriever.catalogue), retriever.catalogue
    for case in range(len(cases)):
        mask = eligible.mask(cases, slice(case, case + 1))[0]
        history = cases.histories[case].astype(np.int64)
        query = purchase_profile(history, facts).candidate_query()
        deep = retriever.channels(query, mask, RANKING_DEPTH)
        served = retriever.channels(query, mask, max(PER_CHANNEL, POOL_SIZE))
        channels = {name: _by_score(scored, catalogue)[:RANKING_DEPTH] for name, scored in deep.items()}
        pools, rest = {}, {}
        for omitted in (None, *retriever.channel_names):
            remaining = {name: scored for name, scored in served.items() if name != omitted}
            order = retriever.pool(remaining, query, RANKING_DEPTH)
            system = blend_without(omitted) if omitted else BLEND
            pools[system], rest[system] = order[:POOL_SIZE], [catalogue.row(candidate.item_id) for candidate in order[POOL_SIZE:]]
        yield CaseCandidates(channels, pools, rest, history)


def rank_without_llm(candidates: CaseCandidates, retriever: Retriever) -> dict[str, list[int]]:
    """Return the item rows of the blend of all channels, and of the blend without each channel."""
    lists = {}
    for system, pool in candidates.pools.items():
        name = blend_without(LLM) if system == BLEND else f"{blend_without(LLM)} or {system.removeprefix(blend_without(''))}"
        lists[name] = _rank_pool(pool, candidates.rest[system], retriever)
    return lists


def logit_margins(candidates: CaseCandidates, ranker: Ranker, retriever: Retriever) -> dict[int, float]:
    """Return the LLM's logit margin of every candidate in any pool, by item row, from one packed forward pass."""
    catalogue = retriever.catalogue
    rows = sorted({catalogue.row(candidate.item_id) for pool in candidates.pools.values() for candidate in pool})
    scores = ranker.scores(catalogue.records(candidates.history.tolist()), None, catalogue.records(rows))
    return dict(zip(rows, (float(score) for score in scores), strict=True))


def rank_with_llm(candidates: CaseCandidates, margins: Mapping[int, float], retriever: Retriever) -> dict[str, list[int]]:
    """Return the item rows of the LLM alone, of the blend with the LLM, and of that blend without each channel."""
    catalogue = retriever.catalogue
    lists = {}
    for system, pool in candidates.pools.items():
        pool_margins = np.asarray([margins[catalogue.row(candidate.item_id)] for candidate in pool], dtype=np.float32)
        lists[system] = _rank_pool(with_channel(pool, LLM, pool_margins), candidates.rest[system], retriever)
    rows = [catalogue.row(candidate.item_id) for candidate in candidates.pools[BLEND]]
    lists[LLM] = sorted(rows, key=lambda row: (-margins[row], catalogue.id(row)))
    return lists


def purchase_profile(history: NDArray[np.integer[Any]], facts: ItemAttributes) -> Profile:
    """Return the profile of a history whose items all count as purchases without a time."""
    size = len(history)
    return Profile(history.astype(np.int64), np.zeros(size, np.int8), np.full(size, NEVER), facts)


def _by_score(scored: Mapping[int, tuple[float, int]], catalogue: Catalogue) -> list[int]:
    """Item rows by descending score, ties by item id."""
    return sorted(scored, key=lambda row: (-scored[row][0], catalogue.id(row)))


def _rank_pool(pool: Sequence[Candidate], rest: Sequence[int], retriever: Retriever) -> list[int]:
    """Item rows of a pool in fused order, then the rest."""
    weights = channel_weights(CandidateQuery(np.empty(0, np.int64), np.empty(0), np.empty((0, 0), np.float32)))
    return [retriever.catalogue.row(candidate.item_id) for candidate, _ in fuse_candidates(pool, weights)] + list(rest)
