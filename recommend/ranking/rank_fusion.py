"""From the channels' candidates to one order: the LLM's margins join the other channels, and all are fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...data.records import Candidate
from ...retrieval.retriever import fuse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def with_margins(pool: Sequence[Candidate], margins: NDArray[np.float32]) -> list[Candidate]:
    """The pool with the LLM's margins, (candidates,), as one more channel."""
    return [
        Candidate(candidate.item_id, {**candidate.scores, "llm": round(float(margin), 4)}, candidate.anchor)
        for candidate, margin in zip(pool, margins, strict=True)
    ]


def blend(pool: Sequence[Candidate], votes: Mapping[str, float]) -> list[tuple[Candidate, float]]:
    """The pool by fused rank, best first, with its score: 1 when first in every channel that proposed anything.

    Args: votes: what each channel counts.
    """
    names = sorted({name for candidate in pool for name in candidate.scores})
    channels = {name: {i: candidate.scores[name] for i, candidate in enumerate(pool) if name in candidate.scores} for name in names}
    fused = fuse(channels, votes)
    best = sum(fuse({name: {0: 1.0} for name in names}, votes).values()) or 1.0
    return [(pool[i], fused[i] / best) for i in sorted(fused, key=lambda i: (-fused[i], pool[i].item_id))]
