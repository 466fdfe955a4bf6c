"""Wordings of the relations that a store declares between its items."""

from __future__ import annotations

from collections.abc import Mapping

RELATION_WORDS: Mapping[str, tuple[str, str]] = {
    "accessory_of": ("is an accessory of", "has as an accessory"),
    "part_of": ("is a part of", "has as a part"),
    "spare_part_of": ("is a spare part of", "has as a spare part"),
    "refill_of": ("is a refill of", "has as a refill"),
    "consumable_of": ("is a consumable of", "has as a consumable"),
    "fits": ("fits", "is fitted by"),
    "compatible_with": ("is compatible with", "is compatible with"),
    "used_with": ("is used with", "is used with"),
    "goes_with": ("goes with", "goes with"),
    "needs": ("needs", "is needed by"),
    "requires": ("requires", "is required by"),
}
"""Relation to its wording from head to tail and from tail to head."""
OTHER_RELATION_WORDS = "is listed by the store with"
"""Wording of all other relations, in both directions; stated only of items that the channel of the declared relations scores."""
