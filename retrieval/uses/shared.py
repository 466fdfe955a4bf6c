"""The use that a candidate shares with a history, with the sentences that name it: the evidence for "both go on camping weekends".

Knows no wording; names and sentences are untrusted text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .store import StoreUses, Use, UseSentence


@dataclass(frozen=True, slots=True)
class SharedUse:
    """A use of both a history item and a candidate.

    Attributes:
        use: The use.
        anchor: Id of the history item.
        anchor_sentences: Sentences that name the use of the history item, verbatim, reviews first.
        candidate_sentences: The same for the candidate.
    """

    use: Use
    anchor: str
    anchor_sentences: tuple[UseSentence, ...]
    candidate_sentences: tuple[UseSentence, ...]


def best_shared_use(uses: StoreUses, history: Sequence[str], candidate: str) -> SharedUse | None:
    """Return the best use that a candidate shares with an item of the history; None if there is none.

    The texts of at least one of the two name it. The most certain use first: named by both, then by the lower end of the lift's interval,
    then the one with the fewest items, then the latest history item.

    Args:
        uses: Uses of the store.
        history: Item ids, oldest first.
        candidate: Item id.
    """
    best: tuple[tuple[int, float, int, int], SharedUse] | None = None
    for use in uses.of_item(candidate):
        named, near = set(use.items), set(use.near_items)
        for position, item_id in enumerate(history):
            by_name = (item_id in named) + (candidate in named)
            if item_id != candidate and by_name and {item_id, candidate} <= named | near:
                rank = (by_name, use.support.low, -len(named), position)
                if best is None or rank > best[0]:
                    best = rank, SharedUse(use, item_id, use.sentences_of(item_id), use.sentences_of(candidate))
    return best[1] if best else None
