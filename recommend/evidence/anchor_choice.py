"""Which item of the history a reason names: the one that says most about why the shopper may need the recommended item.

The history item that contributes most to the score is a reason by count alone. Another one, whose shoppers went for the recommended item
significantly often as well, may share a use with it, a reviewer may speak of it, or what the recommended item is for may fit it; then the
reason names that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...retrieval.associations.rules import SIGNIFICANCE_LEVEL, fisher_p_value
from ...retrieval.uses.shared import SharedUse, best_shared_use
from .review_excerpts import display_name
from .use_facts import closest_named_use

if TYPE_CHECKING:
    from ...data.records import Association, Item
    from ...retrieval.associations.item_users import ItemUsers
    from ...retrieval.items.catalogue import Catalogue
    from ...retrieval.uses.store import StoreUses, Use
    from .quotations import Quotation, Quotations

MIN_ITEM_SUPPORT = 3
"""Minimum number of shoppers of both items for a statistic to be shown; with fewer, it describes those shoppers rather than the pair."""
MAX_HISTORY, MAX_LINKED = 100, 8
"""Latest history items that are considered, and how many of them, those with the highest lift."""


@dataclass(frozen=True, slots=True)
class AnchorChoice:
    """The history item that a reason names.

    Attributes:
        anchor: The item.
        shared: A use of both items; None without one.
        quotation: A quotation that speaks to the anchor; None without one.
        purpose: What the recommended item is for, if that fits the anchor and the two share no use; None without one.
    """

    anchor: Item
    shared: SharedUse | None = None
    quotation: Quotation | None = None
    purpose: Use | None = None


def significant_pair(item_users: ItemUsers, source: int, target: int) -> Association | None:
    """Return the counts of two items if significantly many shoppers of the first have the second, None otherwise. Args: two rows."""
    pair = item_users.pair(source, target)
    is_significant = pair and pair.support >= MIN_ITEM_SUPPORT and pair.lift > 1 and fisher_p_value(pair) <= SIGNIFICANCE_LEVEL
    return pair if is_significant else None


@dataclass(frozen=True)
class AnchorChooser:
    """Chooses the history item for each reason.

    Attributes:
        catalogue: The items.
        item_users: Co-purchase counts.
        quotations: Finds quotations.
        uses: What the items are for; None if that is not mined.
    """

    catalogue: Catalogue
    item_users: ItemUsers
    quotations: Quotations
    uses: StoreUses | None = None

    def choose(self, item: Item, leading: Item, history: Sequence[int]) -> AnchorChoice:
        """Return the history item to name.

        Args:
            item: The recommended item.
            leading: The history item that contributes most to its score.
            history: Rows of the history, oldest first.
        """
        linked = [leading, *self._linked(item, leading, history)]
        names = [display_name(anchor) for anchor in linked]
        quotation = self.quotations.praise(item.item_id, display_name(item), names)
        if self.uses is not None and (shared := self._shared_use(item, linked)):
            anchor = next(anchor for anchor in linked if anchor.item_id == shared.anchor)
            speaks = quotation if quotation and linked[quotation.topic] is anchor else None
            return AnchorChoice(anchor, shared, speaks)
        candidates = [linked[quotation.topic]] if quotation else linked
        purpose = self._purpose(item, [display_name(anchor) for anchor in candidates])
        anchor = candidates[purpose[1]] if purpose else candidates[0]
        return AnchorChoice(anchor, None, quotation, purpose[0] if purpose else None)

    def _purpose(self, item: Item, names: Sequence[str]) -> tuple[Use, int] | None:
        """Return a use of the item that fits one of several history items, and the index of that item; None without one."""
        return closest_named_use(self.uses, item.item_id, names, self.quotations.vectors) if self.uses is not None else None

    def _linked(self, item: Item, leading: Item, history: Sequence[int]) -> list[Item]:
        """Return other history items of another category whose shoppers significantly often have the item, highest lift first."""
        row, category = self.catalogue.row(item.item_id), self.catalogue.category
        excluded = {row, self.catalogue.row(leading.item_id)}
        lifts: dict[int, float] = {}
        for own in history[-MAX_HISTORY:]:
            if own in excluded or category[own] == category[row]:
                continue
            if pair := significant_pair(self.item_users, own, row):
                lifts[own] = pair.lift
        return self.catalogue.records(sorted(lifts, key=lambda own: (-lifts[own], own))[:MAX_LINKED])

    def _shared_use(self, item: Item, linked: Sequence[Item]) -> SharedUse | None:
        """Return a use of the item and the leading history item, or else of the item and another one; None without one."""
        assert self.uses is not None
        leading, *others = [anchor.item_id for anchor in linked]
        return best_shared_use(self.uses, [leading], item.item_id) or best_shared_use(self.uses, others[::-1], item.item_id)
