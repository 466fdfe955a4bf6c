"""Alternative rules for a query: the smallest relaxation that admits an item, and narrower rules under which it may rank higher.

Each alternative is given as words and as command-line options, so that the reader can try it. Does not rank.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...data.records import Item, Rules
from ...data.store_words import StoreWords
from ..constraints import eligibility
from .item_rank import category_cap_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...retrieval.items.catalogue import Catalogue

ROUND_STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
"""Round numbers from one power of ten to the next, for price limits."""


@dataclass(frozen=True, slots=True)
class RuleAlternative:
    """Other rules, and the difference as the beginning of a sentence: "among Kitchen alone"."""

    rules: Rules
    words: str


def _owned_words(words: StoreWords) -> str:
    return words.fill("what the {user} has") + ("" if words.means_owning else f" {words.participle}")


def relax_rules(rules: Rules, violated: Sequence[str], item: Item, catalogue: Catalogue) -> RuleAlternative | None:
    """Return the rules with the smallest change that admits an item; None if no rule excludes it, but missing data of the item.

    Args:
        rules: of the query.
        violated: the rules that the item violates, worded as in `ItemRank.left_out`.
        item: the excluded item.
        catalogue: the items.
    """
    words = []
    for rule in violated:
        if rule == eligibility.OWNED:
            rules = replace(rules, exclude_owned=False)
            words.append(_owned_words(catalogue.words))
        elif rule == eligibility.KNOWN_CATEGORY:
            rules = replace(rules, scope="other")
            words.append("known categories")
        elif rule == eligibility.NOT_IN_INCLUDED_CATEGORIES:
            name = _category(item, catalogue)
            rules = replace(rules, include_categories=(*rules.include_categories, name))
            words.append(name)
        elif rule == eligibility.EXCLUDED_CATEGORY:
            path = {name.lower() for name in item.category}
            excluded = [name for name in rules.exclude_categories if name.lower() in path]
            rules = replace(rules, exclude_categories=tuple(name for name in rules.exclude_categories if name not in excluded))
            words += excluded
        elif rule == eligibility.OUT_OF_PRICE_RANGE:
            rules, price_words = _widen_price_range(rules, item)
            words.append(price_words)
        elif rule == eligibility.OTHER_BRAND:
            rules = replace(rules, brands=(*rules.brands, item.brand) if item.brand else ())
            words.append(f"the brand {item.brand}" if item.brand else "any brand")
        elif rule == eligibility.OUT_OF_STOCK:
            rules = replace(rules, in_stock=False)
            words.append("what is out of stock")
        elif rules.max_per_category is not None and rule == category_cap_reason(rules.max_per_category):
            rules = replace(rules, max_per_category=None)
            words.append("any number of its category")
        else:  # the item has no title or no category
            return None
    return RuleAlternative(rules, f"with {' and '.join(words)} allowed") if words else None


def narrow_rules(rules: Rules, item: Item, catalogue: Catalogue) -> list[RuleAlternative]:
    """Return narrower rules that the item satisfies: a round price limit, its category, its brand, items in stock."""
    alternatives = []
    if item.price:
        limit = round_up(item.price)
        if rules.max_price is None or limit < rules.max_price:
            alternatives.append(RuleAlternative(replace(rules, max_price=limit), f"at a price of at most {limit:g}"))
    name = _category(item, catalogue)
    if name:
        alternatives.append(RuleAlternative(replace(rules, include_categories=(name,)), f"among {name} alone"))
    if item.brand:
        alternatives.append(RuleAlternative(replace(rules, brands=(item.brand,)), f"among the brand {item.brand} alone"))
    if item.in_stock is not False:
        alternatives.append(RuleAlternative(replace(rules, in_stock=True), "among what is in stock"))
    return [alternative for alternative in alternatives if alternative.rules != rules]


def cli_options(rules: Rules, without: Sequence[str] = ()) -> str:
    """Return the rules as options of `recommend` and `why`, quoted for a shell, without defaults. Args: without: ids of left-out items."""
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
    """Return the smallest round number (of `ROUND_STEPS`, times a power of ten) that is at least a positive price: 36.90 -> 40."""
    power = 10.0 ** math.floor(math.log10(price))
    return next(limit for limit in (round(step * power, 10) for step in (*ROUND_STEPS, 15)) if limit >= price)


def _round_down(price: float) -> float:
    power = 10.0 ** math.floor(math.log10(price))
    return next(limit for limit in (round(step * power, 10) for step in (*reversed(ROUND_STEPS), 0)) if limit <= price)


def _widen_price_range(rules: Rules, item: Item) -> tuple[Rules, str]:
    """Return the rules with the price range widened to a round number that admits the item, or dropped for an item without a price."""
    if item.price is None:
        return replace(rules, min_price=None, max_price=None), "any price"
    if rules.max_price is not None and item.price > rules.max_price:
        limit = round_up(item.price)
        return replace(rules, max_price=limit), f"a price of up to {limit:g}"
    limit = _round_down(item.price) if item.price > 0 else 0.0
    return replace(rules, min_price=limit or None), f"a price from {limit:g} on"


def _category(item: Item, catalogue: Catalogue) -> str:
    """Return the name of an item's category at the workspace's category level."""
    return catalogue.category_name(catalogue.row(item.item_id))
