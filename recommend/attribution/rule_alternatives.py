"""Other rules than those of a query: the least that lets an item through, and narrower ones under which it may stand higher.

Each alternative is said twice, in words and as options of the command line, so that whoever reads it can try it. Ranks nothing.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...data.records import Item, Rules
from ..constraints import eligibility as ruled
from .item_rank import category_cap_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...retrieval.items.catalogue import Catalogue

ROUND = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
"""Round numbers from one power of ten to the next: limits that somebody might set."""


@dataclass(frozen=True, slots=True)
class RuleAlternative:
    """Other rules, and what is other about them in words that begin a sentence: "among Kitchen alone"."""

    rules: Rules
    words: str


def relax_rules(rules: Rules, broken: Sequence[str], item: Item, catalogue: Catalogue) -> RuleAlternative | None:
    """The rules without what turns an item away, and nothing else; None where that is no rule but the item itself.

    Args: broken: what turns it away, as `rules.violated_rules` and `placing.place` have it.
    """
    words = []
    for left_out in broken:
        if left_out == ruled.OWNED:
            rules = replace(rules, exclude_owned=False)
            words.append("what the shopper has")
        elif left_out == ruled.KNOWN_CATEGORY:
            rules = replace(rules, scope="other")
            words.append("known categories")
        elif left_out == ruled.NOT_IN_INCLUDED_CATEGORIES:
            name = _category(item, catalogue)
            rules = replace(rules, include_categories=(*rules.include_categories, name))
            words.append(name)
        elif left_out == ruled.EXCLUDED_CATEGORY:
            path = {name.lower() for name in item.category}
            out = [name for name in rules.exclude_categories if name.lower() in path]
            rules = replace(rules, exclude_categories=tuple(name for name in rules.exclude_categories if name not in out))
            words += out
        elif left_out == ruled.OUT_OF_PRICE_RANGE:
            rules, said = _other_price(rules, item)
            words.append(said)
        elif left_out == ruled.OTHER_BRAND:
            rules = replace(rules, brands=(*rules.brands, item.brand) if item.brand else ())
            words.append(f"the brand {item.brand}" if item.brand else "any brand")
        elif left_out == ruled.OUT_OF_STOCK:
            rules = replace(rules, in_stock=False)
            words.append("what is out of stock")
        elif rules.max_per_category is not None and left_out == category_cap_reason(rules.max_per_category):
            rules = replace(rules, max_per_category=None)
            words.append("any number of its category")
        else:  # no title, no category
            return None
    return RuleAlternative(rules, f"with {' and '.join(words)} allowed") if words else None


def narrow_rules(rules: Rules, item: Item, catalogue: Catalogue) -> list[RuleAlternative]:
    """Narrower rules that the item satisfies: a round price limit at or above its price, its category, its brand, what is in stock."""
    found = []
    if item.price:
        limit = round_up(item.price)
        if rules.max_price is None or limit < rules.max_price:
            found.append(RuleAlternative(replace(rules, max_price=limit), f"at a price of at most {limit:g}"))
    name = _category(item, catalogue)
    if name:
        found.append(RuleAlternative(replace(rules, include_categories=(name,)), f"among {name} alone"))
    if item.brand:
        found.append(RuleAlternative(replace(rules, brands=(item.brand,)), f"among the brand {item.brand} alone"))
    if item.in_stock is not False:
        found.append(RuleAlternative(replace(rules, in_stock=True), "among what is in stock"))
    return [one for one in found if one.rules != rules]


def cli_options(rules: Rules, without: Sequence[str] = ()) -> str:
    """The rules as options of `recommend` and `why`, quoted for a shell; nothing for what is the default."""
    default = Rules()
    parts: list[str] = []
    for item in without:
        parts += ["--without", item]
    if rules.scope != default.scope:
        parts += ["--scope", rules.scope]
    for option, names in (
        ("--include-category", rules.include_categories),
        ("--exclude-category", rules.exclude_categories),
        ("--brand", rules.brands),
    ):
        for name in names:
            parts += [option, name]
    for option, number in (
        ("--min-price", rules.min_price),
        ("--max-price", rules.max_price),
        ("--max-per-category", rules.max_per_category),
    ):
        if number is not None:
            parts += [option, repr(number) if number != int(number) else str(int(number))]
    parts += ["--in-stock"] if rules.in_stock else []
    parts += [] if rules.exclude_owned else ["--include-owned"]
    return shlex.join(parts)


def round_up(price: float) -> float:
    """The next of `ROUND`, times a power of ten, that is no less than a price above 0: 36.90 -> 40."""
    power = 10.0 ** math.floor(math.log10(price))
    return next(limit for limit in (round(step * power, 10) for step in (*ROUND, 15)) if limit >= price)


def _round_below(price: float) -> float:
    power = 10.0 ** math.floor(math.log10(price))
    return next(limit for limit in (round(step * power, 10) for step in (*reversed(ROUND), 0)) if limit <= price)


def _other_price(rules: Rules, item: Item) -> tuple[Rules, str]:
    """The rules with the price range widened to a round number that lets the item in; with none for an item without a price."""
    if item.price is None:
        return replace(rules, min_price=None, max_price=None), "any price"
    if rules.max_price is not None and item.price > rules.max_price:
        limit = round_up(item.price)
        return replace(rules, max_price=limit), f"a price of up to {limit:g}"
    limit = _round_below(item.price) if item.price > 0 else 0.0
    return replace(rules, min_price=limit or None), f"a price from {limit:g} on"


def _category(item: Item, catalogue: Catalogue) -> str:
    """The name of an item's category at the level that counts."""
    return catalogue.category_name(catalogue.row(item.item_id))
