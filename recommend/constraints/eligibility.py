"""Eligibility: the rules of a query as a mask over the catalogue, and the rules that an item violates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import QueryError
from ...data.records import Rules
from ...data.store_words import StoreWords
from ...retrieval.items.catalogue import Catalogue
from .price_range import price_mask, validate_price_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_TITLE, NO_CATEGORY = "without a title", "without a category"
OWNED, DISMISSED, KNOWN_CATEGORY = "owned already", "dismissed by the shopper", "of a category that the shopper knows"
NOT_IN_INCLUDED_CATEGORIES, EXCLUDED_CATEGORY = "outside the included categories", "of an excluded category"
OUT_OF_PRICE_RANGE, OTHER_BRAND, OUT_OF_STOCK = "outside the price range", "of another brand", "out of stock"
"""What each rule excludes, as shown in results."""
NO_ROWS: NDArray[np.int64] = np.empty(0, np.int64)


def validate_rules(rules: Rules) -> None:
    """Check that rules are consistent.

    Raises: QueryError: invalid price range or scope, or a limit per category below 1.
    """
    validate_price_range(rules.min_price, rules.max_price)
    if rules.scope not in ("new", "other"):
        raise QueryError(f"scope must be new or other, not {rules.scope!r}")
    if rules.max_per_category is not None and rules.max_per_category < 1:
        raise QueryError(f"at most {rules.max_per_category} per category leaves nothing; give 1 or more")


def category_mask(names: Iterable[str], catalogue: Catalogue) -> NDArray[np.bool_]:
    """Return (items,) bool: items whose category path contains any of the names.

    Raises: QueryError: a name that is in no item's path; the message suggests similar names.
    """
    mask = np.zeros(len(catalogue), dtype=bool)
    for name in names:
        matches = catalogue.in_categories([name])
        if not matches.any():
            from difflib import get_close_matches

            known_names = catalogue.items["category"].explode().drop_nulls().unique().sort().to_list()
            suggestions = get_close_matches(name, known_names, n=3, cutoff=0.5) or known_names[:3]
            raise QueryError(
                f"no {catalogue.words.item} has a category {name!r}; there are for instance {', '.join(map(repr, suggestions))}"
            )
        mask |= matches
    return mask


def eligible_items(
    rules: Rules, catalogue: Catalogue, history: NDArray[np.int64], owned: NDArray[np.int64], dismissed: NDArray[np.int64] = NO_ROWS
) -> tuple[NDArray[np.bool_], list[tuple[str, int]]]:
    """Items that may be recommended, and how many each rule excludes.

    Args:
        rules: of the query.
        catalogue: the items.
        history: rows of all items in the history.
        owned: rows of the items that the user owns.
        dismissed: rows of the items that the user dismissed; they are excluded under any rules.
    Returns: (items,) bool mask; for each rule in order of application, what it excludes and how many of the remaining items.
    Raises: QueryError: a category that does not exist.
    """
    mask = np.ones(len(catalogue), dtype=bool)
    removed: list[tuple[str, int]] = []
    for rule, satisfied in _rule_masks(rules, catalogue, history, owned, dismissed):
        before = int(mask.sum())
        mask = mask & satisfied
        if (count := before - int(mask.sum())) > 0:
            removed.append((rule, count))
    return mask, removed


def rule_text(rule: str, words: StoreWords) -> str:
    """Return what a rule excludes, in the store's words: "taken already". Args: rule: as of `eligible_items`."""
    if rule == OWNED:
        return rule if words.means_owning else words.fill("{participle} already")
    return {DISMISSED: words.fill("dismissed by the {user}"), KNOWN_CATEGORY: words.fill("of a category that the {user} knows")}.get(
        rule, rule
    )


def violated_rules(
    rules: Rules,
    catalogue: Catalogue,
    history: NDArray[np.int64],
    owned: NDArray[np.int64],
    row: int,
    dismissed: NDArray[np.int64] = NO_ROWS,
) -> tuple[str, ...]:
    """Return the rules that one item violates, worded and ordered as by `eligible_items`; empty if it is eligible."""
    return tuple(rule for rule, satisfied in _rule_masks(rules, catalogue, history, owned, dismissed) if not satisfied[row])


def _rule_masks(
    rules: Rules, catalogue: Catalogue, history: NDArray[np.int64], owned: NDArray[np.int64], dismissed: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each active rule: what it excludes, and (items,) bool of the items that satisfy it."""
    items = catalogue.items
    yield NO_TITLE, items["title"].str.len_chars().to_numpy() > 0
    # An item without a category cannot be cross-category.
    yield NO_CATEGORY, np.asarray([bool(name) for name in catalogue.categories], dtype=bool)[catalogue.category]
    if rules.exclude_owned:
        is_owned = np.zeros(len(catalogue), dtype=bool)
        is_owned[owned] = True
        yield OWNED, ~is_owned
    if len(dismissed):
        is_dismissed = np.zeros(len(catalogue), dtype=bool)
        is_dismissed[dismissed] = True
        yield DISMISSED, ~is_dismissed
    if rules.scope == "new" and len(history):
        is_known = np.zeros(len(catalogue.categories), dtype=bool)  # (categories,)
        is_known[catalogue.category[history]] = True
        yield KNOWN_CATEGORY, ~is_known[catalogue.category]
    if rules.include_categories:
        yield NOT_IN_INCLUDED_CATEGORIES, category_mask(rules.include_categories, catalogue)
    if rules.exclude_categories:
        yield EXCLUDED_CATEGORY, ~category_mask(rules.exclude_categories, catalogue)
    yield OUT_OF_PRICE_RANGE, price_mask(catalogue, rules.min_price, rules.max_price)
    if rules.brands:
        brands = [brand.strip().lower() for brand in rules.brands]
        yield OTHER_BRAND, items["brand"].str.to_lowercase().is_in(brands).fill_null(False).to_numpy()
    if rules.in_stock:
        yield OUT_OF_STOCK, items["in_stock"].fill_null(True).to_numpy()
