"""The product's own systems: every channel alone, the blend of all, and the blend without each channel.

They go through the product's own functions, case by case, over a retriever that knows nothing held out. A channel ranks what it proposes;
the blend ranks its pool, of which the LLM reads the first `POOL`, and behind them stands what is left of the fused order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.records import Candidate
from ...recommend.profiles.profile import ItemFacts, Profile
from ...recommend.recommender import POOL
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
"""How far a ranking goes: candidate recall is told at 50, 100 and 200."""
BUILTIN_CHANNELS = ("semantic", "associations", "popularity")
BLEND, LLM = "blend", "llm"
ItemRowLists = Mapping[str, Sequence[int]]
"""System to item rows, best first."""


@dataclass(frozen=True)
class CaseCandidates:
    """What the channels found for one case.

    Attributes:
        channels: each channel's list. pools: system to the candidates that the LLM would read. rest: system to the rows behind them.
        history: rows that the prompt may tell of.
    """

    channels: ItemRowLists
    pools: Mapping[str, Sequence[Candidate]]
    rest: ItemRowLists
    history: NDArray[np.int64]


def blend_without(channel: str) -> str:
    """The name of the blend without a channel."""
    return f"{BLEND} without {channel}"


def system_kinds(*, llm: bool) -> dict[str, str]:
    """Every system's name and kind: channel, blend or ablation.

    Without an LLM the blend is that of the channels alone, and bears the name `blend without llm`.
    """
    found = dict.fromkeys(BUILTIN_CHANNELS, "channel")
    if not llm:
        return {**found, blend_without(LLM): BLEND, **{f"{blend_without(LLM)} or {name}": "ablation" for name in BUILTIN_CHANNELS}}
    return {
        **found,
        LLM: "channel",
        BLEND: BLEND,
        blend_without(LLM): "ablation",
        **{blend_without(name): "ablation" for name in BUILTIN_CHANNELS},
    }


def find_candidates(cases: Cases, eligible: EligibleItems, retriever: Retriever, start: int = 0) -> Iterator[CaseCandidates]:
    """What the channels find for each case from `start` on, in order."""
    facts = ItemFacts.of(retriever.catalogue)
    for number in range(start, len(cases)):
        mask = eligible.mask(cases, slice(number, number + 1))[0]
        history = cases.histories[number].astype(np.int64)
        seeds = purchase_profile(history, facts).candidate_query()
        deep = retriever.channels(seeds, mask, RANKING_DEPTH)
        served = retriever.channels(seeds, mask, max(PER_CHANNEL, POOL))
        catalogue = retriever.catalogue
        channels = {name: _by_score(found, catalogue)[:RANKING_DEPTH] for name, found in deep.items()}
        pools, rest = {}, {}
        for exclusions in (None, *BUILTIN_CHANNELS):
            kept = {name: found for name, found in served.items() if name != exclusions}
            order = retriever.pool(kept, seeds, RANKING_DEPTH)
            system = blend_without(exclusions) if exclusions else BLEND
            pools[system], rest[system] = order[:POOL], [catalogue.row(candidate.item_id) for candidate in order[POOL:]]
        yield CaseCandidates(channels, pools, rest, history)


def rank_without_llm(found: CaseCandidates, retriever: Retriever) -> dict[str, list[int]]:
    """The blend of the channels, and of the channels without each one."""
    lists = {}
    for system, pool in found.pools.items():
        name = blend_without(LLM) if system == BLEND else f"{blend_without(LLM)} or {system.removeprefix(blend_without(''))}"
        lists[name] = _ordered(pool, found.rest[system], retriever)
    return lists


def logit_margins(found: CaseCandidates, ranker: Ranker, retriever: Retriever) -> dict[int, float]:
    """The LLM's margin of every candidate in any of the pools, by row: one packed forward for all of them."""
    catalogue = retriever.catalogue
    rows = sorted({catalogue.row(candidate.item_id) for pool in found.pools.values() for candidate in pool})
    scores = ranker.scores(catalogue.records(found.history.tolist()), None, catalogue.records(rows))
    return dict(zip(rows, (float(score) for score in scores), strict=True))


def rank_with_llm(found: CaseCandidates, scores: Mapping[int, float], retriever: Retriever) -> dict[str, list[int]]:
    """The LLM alone, the blend with it, and the blend with it but without each channel."""
    catalogue = retriever.catalogue
    lists = {}
    for system, pool in found.pools.items():
        told = np.asarray([scores[catalogue.row(candidate.item_id)] for candidate in pool], dtype=np.float32)
        lists[system] = _ordered(with_channel(pool, LLM, told), found.rest[system], retriever)
    alone = [catalogue.row(candidate.item_id) for candidate in found.pools[BLEND]]
    lists[LLM] = sorted(alone, key=lambda row: (-scores[row], catalogue.id(row)))
    return lists


def purchase_profile(history: NDArray[np.integer[Any]], facts: ItemFacts) -> Profile:
    """The profile of a case's history, all of whose items were bought; no moment is told."""
    size = len(history)
    return Profile(history.astype(np.int64), np.zeros(size, np.int8), np.full(size, NEVER), facts)


def _by_score(found: Mapping[int, tuple[float, int]], catalogue: Catalogue) -> list[int]:
    return sorted(found, key=lambda row: (-found[row][0], catalogue.id(row)))


def _ordered(pool: Sequence[Candidate], rest: Sequence[int], retriever: Retriever) -> list[int]:
    votes = channel_weights(CandidateQuery(np.empty(0, np.int64), np.empty(0), np.empty((0, 0), np.float32)))
    return [retriever.catalogue.row(candidate.item_id) for candidate, _ in fuse_candidates(pool, votes)] + list(rest)
