"""Names of uses in a question: "camping weekends" are the items that a store's texts say are for camping.

Only a text that is the name of a use as a whole matches, or of two words of which one is; anything longer is free text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ....retrieval.uses.phrases import use_key
from ....retrieval.uses.wording import use_phrase
from .meanings import Meaning

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ....retrieval.items.catalogue import Catalogue
    from ....retrieval.uses.store import StoreUses


@dataclass(frozen=True)
class UseNames:
    """Uses of a store by their names.

    Attributes:
        masks: Name of a use, with its article, to its items, (items,) bool.
        by_key: Canonical words of a name to the name.
    """

    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    by_key: dict[tuple[str, ...], str] = field(default_factory=dict)

    @classmethod
    def from_uses(cls, uses: StoreUses, catalogue: Catalogue) -> UseNames:
        """Return the names of a store's uses; of two with equal words the one with more items counts.

        Args:
            uses: Uses of the store.
            catalogue: Items of the store.
        """
        names = cls()
        for use in uses.uses:
            mask = np.zeros(len(catalogue), dtype=bool)
            mask[[catalogue.rows[item] for item in use.items if item in catalogue.rows]] = True
            name = use_phrase(use)
            if mask.any() and names.by_key.setdefault(use_key(use.name), name) == name:
                names.masks.setdefault(name, mask)
        return names

    def meaning(self, text: str) -> Meaning | None:
        """Return the use that a text names; None if it names none.

        Of two words that are no use together, the first that is one counts: camping in "camping weekends".
        """
        key = use_key(text)
        if name := self.by_key.get(key):
            return Meaning("use", name, self.masks[name], "exact" if text.strip().lower() in (name, name.partition(" ")[2]) else "plural")
        for word in key if len(key) == 2 else ():
            if name := self.by_key.get((word,)):
                return Meaning("use", name, self.masks[name], "inside the name")
        return None
