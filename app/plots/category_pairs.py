"""Pairs of categories prepared for display: names, statistics and tooltips, shared by the static pictures and the console.

Withheld pairs have no statistics here, so no picture can disclose them. Knows nothing of layout, colours or a drawing library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...recommend.category_map.matrix import CategoryMap
from ...retrieval.items.category_tree import SEPARATOR
from ..terminal.render import printable
from .lift_scale import format_lift, format_lift_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CATEGORIES = 40
"""Categories on an axis that stay readable."""
MAX_FULLY_LABELLED = 20
"""Up to this number of categories every disclosed cell is labelled with its lift; with more, only significant cells are."""
_VERB_PHRASES = {
    "bought": ("bought from", "buy from"),
    "rated": ("rated {items} of", "rate {items} of"),
    "looked at": ("looked at", "look at"),
}


@dataclass(frozen=True, slots=True)
class CategoryPair:
    """A pair source -> target whose statistics may be disclosed.

    Attributes:
        source: Index of the first category in the category map.
        target: Index of the second category.
        source_name: Full name of the first category (see `full_name`).
        target_name: Full name of the second category.
        users: Users of the first category who went on to the second.
        source_users: Users of the first category, as text (see `format_users`).
        share: `users` per user of the first category, 0 to 1.
        base_rate: The same share after any other category, 0 to 1.
        lift: How many times as often as usual, 0 or more.
        lift_low: Lower bound of the 95 % interval of the lift.
        lift_high: Upper bound; None if there is none.
        significant: Whether the false-discovery rate is below 5 %.
    """

    source: int
    target: int
    source_name: str
    target_name: str
    users: int
    source_users: str
    share: float
    base_rate: float
    lift: float
    lift_low: float
    lift_high: float | None
    significant: bool

    @classmethod
    def from_map(cls, category_map: CategoryMap, source: int, target: int) -> CategoryPair:
        """The pair at a row and column of a category map; its lift must be finite."""
        cell = source, target
        high = float(category_map.lift_high[cell])
        return cls(
            source,
            target,
            full_name(category_map.paths[source]),
            full_name(category_map.paths[target]),
            int(category_map.support[cell]),
            format_users(int(category_map.users[source]), category_map.min_users),
            float(category_map.share[cell]),
            float(category_map.base_rate[cell]),
            float(category_map.lift[cell]),
            float(category_map.lift_low[cell]),
            high if math.isfinite(high) else None,
            bool(category_map.significant[cell]),
        )

    @classmethod
    def from_json(cls, category_map: Mapping[str, Any], pair: Mapping[str, Any]) -> CategoryPair:
        """A pair of a category map as JSON (see `category_map_to_dict`)."""
        source, target = category_map["categories"][pair["source"]], category_map["categories"][pair["target"]]
        low, high = pair["lift_interval"]
        return cls(
            pair["source"],
            pair["target"],
            full_name(source["name"]),
            full_name(target["name"]),
            pair["users"],
            format_users(source["users"], category_map["privacy"]["min_users"]),
            pair["share"],
            pair["base_rate"],
            pair["lift"],
            low,
            high,
            pair["sure"],
        )

    @property
    def interval(self) -> str:
        """The 95 % interval of the lift as text."""
        return format_lift_interval(self.lift_low, self.lift_high)

    @property
    def certainty(self) -> str:
        """Whether the lift is significant, in words."""
        return "sure" if self.significant else "could be chance"

    def tooltip(self, people: str) -> str:
        """All statistics in three lines.

        Args:
            people: Plural noun for the people of the store, such as "users" or "learners".
        """
        return (
            f"{self.source_name} → {self.target_name}\n"
            f"{self.users:,} of {self.source_users} {people}: {self.share:.1%}, usually {self.base_rate:.1%}\n"
            f"{format_lift(self.lift)}× as often (95 % interval {self.interval}), {self.certainty}"
        )


def disclosed_mask(category_map: CategoryMap) -> NDArray[np.bool_]:
    """(categories, categories) True where the statistics of a pair may be disclosed and are known."""
    return np.isfinite(category_map.lift) & ~np.eye(len(category_map.paths), dtype=np.bool_)


def full_name(path: Sequence[str]) -> str:
    """The path of a category as one line, without characters that hide or reverse text."""
    parts = (" ".join(filter(None, map(printable, part.split()))) for part in path)
    return SEPARATOR.join(filter(None, parts)) or "(no name)"


def format_users(users: int, min_users: int) -> str:
    """The number of users of a category; "under N" below the k-anonymity threshold."""
    return f"{users:,}" if users >= min_users else f"under {min_users}"


def withheld_text(min_users: int, people: str) -> str:
    """Why a cell has no statistics. `people` as in `CategoryPair.tooltip`."""
    return f"withheld (fewer than {min_users} {people}) or unknown"


def axis_phrases(category_map: CategoryMap) -> tuple[str, str]:
    """What rows and columns stand for: ("has bought from", "goes on to buy from")."""
    words, verb = category_map.words, category_map.verb
    if words.describes(verb):
        things = "from" if words.takes_categories(verb) else f"{words.items} from"
        past, infinitive = f"{words.participle} {things}", f"{words.base} {things}"
    else:
        past, infinitive = map(words.fill, _VERB_PHRASES.get(verb, (f"{verb} {{items}} of", "")))
    if category_map.order == "none":
        return f"has {past}", f"has also {past}"
    return f"has {past}", f"goes on to {infinitive}" if infinitive else f"has later {past}"
