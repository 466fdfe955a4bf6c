"""Weighted reciprocal-rank fusion of the channels' candidate lists.

Used where no learned blend orders the candidates. Knows ranks only: a channel's scores count by their order, whatever their scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..data.records import Candidate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .channels.base import CandidateQuery

RRF_K = 20
"""Constant of reciprocal-rank fusion. The source uses 60 for lists of a thousand documents; these lists have 20 to 50 items."""
CHANNEL_WEIGHTS = {"associations": 2.0, "relations": 2.0, "semantic": 1.0, "popularity": 0.5, "llm": 0.5, "text_behaviour": 4.0}
"""Weight of each channel. Measured (`benchmarks/fusion_weights.py`) on shoppers of the demo store with a category held out, where
associations alone rank best and an untrained LLM adds nothing. The intervals of the mixes overlap, so these are a prior until a blend is
trained. The weight of declared relations is not measured: the store's own word counts as much as its associations. What
shoppers of the items nearest to a text go on to counts as much as the text itself (`benchmarks/text_behaviour.py`)."""


def channel_weights(query: CandidateQuery) -> Mapping[str, float]:
    """Weights of the channels for a query; with a text query, the semantic channel gets twice the weight of the associations."""
    return {**CHANNEL_WEIGHTS, "semantic": 2 * CHANNEL_WEIGHTS["associations"]} if len(query.text_vectors) else CHANNEL_WEIGHTS


def reciprocal_rank_fusion(channels: Mapping[str, Mapping[int, float]], weights: Mapping[str, float] = CHANNEL_WEIGHTS) -> dict[int, float]:
    """Fused score of every item that a channel proposes: the sum of weight / (`RRF_K` + rank) over the channels.

    Args:
        channels: channel to its scores by item row; equal scores share the best of their ranks.
        weights: weight of each channel.
    Source: Cormack, Clarke and Büttcher, SIGIR 2009.
    """
    fused: dict[int, float] = {}
    for name, scores in channels.items():
        ranks: dict[float, int] = {}
        for rank, score in enumerate(sorted(scores.values(), reverse=True), start=1):
            ranks.setdefault(score, rank)
        for row, score in scores.items():
            fused[row] = fused.get(row, 0.0) + weights[name] / (RRF_K + ranks[score])
    return fused


def with_channel(candidates: Sequence[Candidate], name: str, scores: NDArray[np.floating[Any]]) -> list[Candidate]:
    """The candidates with one more channel. Args: name: of the channel. scores: (candidates,) its scores, kept to 4 digits."""
    return [
        replace(candidate, scores={**candidate.scores, name: round(float(score), 4)})
        for candidate, score in zip(candidates, scores, strict=True)
    ]


def fuse_candidates(candidates: Sequence[Candidate], weights: Mapping[str, float]) -> list[tuple[Candidate, float]]:
    """The candidates by fused score, best first, each with its score: 1 for the first of every channel that proposed anything.

    Args: weights: weight of each channel.
    """
    names = sorted({name for candidate in candidates for name in candidate.scores})
    channels = {name: {i: candidate.scores[name] for i, candidate in enumerate(candidates) if name in candidate.scores} for name in names}
    fused = reciprocal_rank_fusion(channels, weights)
    best = sum(reciprocal_rank_fusion({name: {0: 1.0} for name in names}, weights).values()) or 1.0
    return [(candidates[i], fused[i] / best) for i in sorted(fused, key=lambda i: (-fused[i], candidates[i].item_id))]
