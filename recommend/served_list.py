"""An answer as the log of events keeps it: what stood where, what led to it, and what its reason rested on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..data.events.records import ServedItem
from .ranking.trained_ranker import ANCHOR_CHANNELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..data.records import Explanation, Recommendation
    from ..retrieval.items.catalogue import Catalogue

NO_EVIDENCE = "none"
"""Of an explanation that abstained."""


def shown_items(places: Sequence[Recommendation], catalogue: Catalogue) -> tuple[ServedItem, ...]:
    """The places of an answer, first place first, for `EventLog.served`.

    The leading channel is the one whose history item is named as the one behind the item: of the channels that proposed it the first of
    `BEHIND`. An item that no channel of those proposed has none.
    """
    return tuple(
        ServedItem(
            one.item.item_id,
            leading_channel(one),
            catalogue.category_name(catalogue.row(one.anchor)) or None if one.anchor else None,
            catalogue.category_name(catalogue.row(one.item.item_id)) or None,
            leading_evidence_kind(one.explanation),
            one.propensity,
        )
        for one in places
    )


def leading_channel(found: Recommendation) -> str | None:
    """The channel that led to an item."""
    return next((name for name in ANCHOR_CHANNELS if name in found.channels), None)


def leading_evidence_kind(explanation: Explanation | None) -> str | None:
    """The kind of evidence that the first claim of a reason rests on, `NOTHING` where it abstains; None without one."""
    if explanation is None or not explanation.text:
        return None if explanation is None else NO_EVIDENCE
    kinds = {fact.evidence_id: fact.kind for fact in explanation.evidence}
    named = [kinds[claim.evidence_id] for claim in explanation.claims if claim.evidence_id in kinds]
    return next(iter([*named, *(fact.kind for fact in explanation.evidence)]), NO_EVIDENCE)
