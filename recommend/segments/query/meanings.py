"""Meanings of a name in one store: the one chosen, the alternatives, and the senses they are chosen from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ....data.records import Category
from .name_matching import MatchType
from .query_tree import TermKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NameSource = Literal["category", "brand", "title", "id"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Another possible meaning of a name.

    Attributes:
        kind: Category, brand or item.
        name: A path for a category, otherwise a brand or a title.
        users: Users of its items, summed over the items.
        ask: Text to type for this meaning: `category:"Electronics > Phones"`.
    """

    kind: TermKind
    name: str | Category
    users: int
    ask: str

    def to_dict(self) -> dict[str, Any]:
        """Return the choice for JSON; without its users, a number that no disclosure control has checked."""
        return {"kind": self.kind, "name": _for_json(self.name), "ask": self.ask}


@dataclass(frozen=True, slots=True, eq=False)
class Meaning:
    """Resolved meaning of a name.

    Attributes:
        kind: Category, brand, item, use, or text for items near the name in meaning.
        name: A path for a category, otherwise a brand, a title, a use or the text itself.
        item_mask: (items,) bool, the items that it means; at least one.
        match: How the written name matches.
        choices: Other possible meanings, most users first.
    """

    kind: TermKind
    name: str | Category
    item_mask: NDArray[np.bool_]
    match: MatchType
    choices: tuple[Choice, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the meaning for JSON: kind, name, how, number of items, and the choices if there are any."""
        fields: dict[str, Any] = {"kind": self.kind, "name": _for_json(self.name), "how": self.match, "items": int(self.item_mask.sum())}
        return {**fields, "choices": [choice.to_dict() for choice in self.choices]} if self.choices else fields


@dataclass(frozen=True, slots=True)
class NameSense:
    """One possible sense of a name.

    Attributes:
        source: Kind of name.
        number: Category node, number of a brand or a title, or item row.
        match: How the written name matches.
        users: Users of its items, summed over the items.
        rank: Order among senses of the same match; lower is better.
    """

    source: NameSource
    number: int
    match: MatchType
    users: int
    rank: float = 0.0

    @property
    def kind(self) -> TermKind:
        """Kind of the term that names it: titles and ids name items."""
        return self.source if self.source == "category" or self.source == "brand" else "item"


def _for_json(name: str | Category) -> str | list[str]:
    return name if isinstance(name, str) else list(name)
