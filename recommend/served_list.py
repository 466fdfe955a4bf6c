"""A recommended list in the format of the event log: items, leading channels, categories, evidence kinds and propensities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..data.events.records import ServedItem
from .ranking.blend_ranker import ANCHOR_CHANNELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..data.records import Explanation, Recommendation
    from ..retrieval.items.catalogue import Catalogue

NO_EVIDENCE = "none"
"""Evidence kind of an explanation without text."""


def served_items(recommendations: Sequence[Recommendation], catalogue: Catalogue) -> tuple[ServedItem, ...]:
    """Return the entries of a list, first position first, for `EventLog.append_served_list`.

    The leading channel of an item is the one whose history item is its anchor: of the channels that proposed the item, the first in
    `ANCHOR_CHANNELS`; None if there is none.
    """
    return tuple(
        ServedItem(
            recommendation.item.item_id,
            leading_channel(recommendation),
            catalogue.category_name(catalogue.row(recommendation.anchor)) or None if recommendation.anchor else None,
            catalogue.category_name(catalogue.row(recommendation.item.item_id)) or None,
            leading_evidence_kind(recommendation.explanation),
            recommendation.propensity,
        )
        for recommendation in recommendations
    )


def leading_channel(recommendation: Recommendation) -> str | None:
    """Return the channel that led to an item; None if there is none."""
    return next((name for name in ANCHOR_CHANNELS if name in recommendation.channels), None)


def leading_evidence_kind(explanation: Explanation | None) -> str | None:
    """Return the kind of evidence for the first claim of an explanation, `NO_EVIDENCE` if it has no text; None without an explanation."""
    if explanation is None or not explanation.text:
        return None if explanation is None else NO_EVIDENCE
    kinds = {fact.evidence_id: fact.kind for fact in explanation.evidence}
    claim_kinds = [kinds[claim.evidence_id] for claim in explanation.claims if claim.evidence_id in kinds]
    return next(iter([*claim_kinds, *(fact.kind for fact in explanation.evidence)]), NO_EVIDENCE)
