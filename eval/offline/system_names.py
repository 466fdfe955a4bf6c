"""Names of the product's systems in an evaluation, and the length of their rankings."""

from __future__ import annotations

RANKING_DEPTH = 200
"""Length of a ranking."""
BLEND, LLM = "blend", "llm"
"""Names of the blend and of the LLM in a report."""


def blend_without(channel: str) -> str:
    """Return the name of the blend without a channel."""
    return f"{BLEND} without {channel}"
