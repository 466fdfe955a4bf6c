"""What the language model did for an answer, in figures and in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..data.records import LLMUse

if TYPE_CHECKING:
    from ..llm.models.usage import LLMUsage

BLEND, RANKS = "the blend", "the channels' ranks"
"""What the LLM ranks with: the blend for a history, the fused ranks of the channels for a text query."""


class Reading(NamedTuple):
    """What the LLM read to rank one query.

    Attributes:
        order: `BLEND` or `RANKS`.
        candidates: number of candidates that it read.
        weight: mean weight of its scores.
        reason: why it read none, in one clause; empty if it was to read.
    """

    order: str
    candidates: int
    weight: float
    reason: str


def llm_use(llm: str | None, adapter: str | None, reading: Reading, usage: LLMUsage) -> LLMUse:
    """Return what the LLM did for an answer.

    Args:
        llm: name of the model; None without one.
        adapter: id of the adapter that it read with; None without one.
        reading: what it read for the order.
        usage: tokens that it read and texts that it wrote.
    """
    if reading.candidates:
        name = f"{llm} with this store's adapter" if adapter else llm
        summary = f"ranked by {reading.order} and {name} (weight {reading.weight:.2g}, {reading.candidates} read)"
    else:
        summary = f"the LLM did not read: {reading.reason or 'there were no candidates'}"
    return LLMUse(llm, adapter, reading.candidates, round(reading.weight, 4), usage.tokens_in, usage.texts_generated, summary)
