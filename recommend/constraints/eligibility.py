"""What may be recommended: a query's rules over the catalogue, as one mask of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import QueryError
from ...data.records import Rules
from ...retrieval.items.catalogue import Catalogue
from .price_range import check_range, in_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_TITLE, NO_CATEGORY = "without a title", "without a category"
OWNED, DISMISSED, KNOWN = "owned already", "dismissed by the shopper", "of a category that the shopper knows"
NOT_INCLUDED, EXCLUDED = "outside the included categories", "of an excluded category"
PRICE, BRAND, STOCK = "outside the price range", "of another brand", "out of stock"
"""What each rule leaves out, in words."""
NOTHING: NDArray[np.int64] = np.empty(0, np.int64)


def check(rules: Rules) -> None:
    """Refuses rules that contradict themselves.

    Raises: QueryError
    """
    check_range(rules.min_price, rules.max_price)
    if rules.scope not in ("new", "other"):
        raise QueryError(f"scope must be new or other, not {rules.scope!r}")
    if rules.max_per_category is not None and rules.max_per_category < 1:
        raise QueryError(f"at most {rules.max_per_category} per category leaves nothing; give 1 or more")


def known_categories(names: Iterable[str], catalogue: Catalogue) -> NDArray[np.bool_]:
    """(items,) which are in any of the categories.

    Raises: QueryError: a name that no item's path has; says which come near.
    """
    inside = np.zeros(len(catalogue), dtype=bool)
    for name in names:
        of_this = catalogue.in_categories([name])
        if not of_this.any():
            from difflib import get_close_matches

            names = catalogue.items["category"].explode().drop_nulls().unique().sort().to_list()
            near = get_close_matches(name, names, n=3, cutoff=0.5) or names[:3]
            raise QueryError(f"no item has a category {name!r}; there are for instance {', '.join(map(repr, near))}")
        inside |= of_this
    return inside


def eligible(
    rules: Rules, catalogue: Catalogue, history: NDArray[np.int64], owned: NDArray[np.int64], dismissed: NDArray[np.int64] = NOTHING
) -> tuple[NDArray[np.bool_], list[tuple[str, int]]]:
    """Which rows may be recommended, and what each rule turned away.

    Args: history: rows of everything in the history. owned: rows of what the user has. dismissed: of what the user does not want to see,
        which no rule brings back.
    Returns: mask (items,); (what was left out, how many rows of those left until then), in the order applied.
    Raises: QueryError: a category that does not exist.
    """
    mask = np.ones(len(catalogue), dtype=bool)
    removed: list[tuple[str, int]] = []
    for left_out, good in _steps(rules, catalogue, history, owned, dismissed):
        before = int(mask.sum())
        mask = mask & good
        if (gone := before - int(mask.sum())) > 0:
            removed.append((left_out, gone))
    return mask, removed


def turned_away(
    rules: Rules,
    catalogue: Catalogue,
    history: NDArray[np.int64],
    owned: NDArray[np.int64],
    row: int,
    dismissed: NDArray[np.int64] = NOTHING,
) -> tuple[str, ...]:
    """Every rule that an item does not satisfy, in the words and the order of `eligible`; none if it satisfies all."""
    return tuple(left_out for left_out, good in _steps(rules, catalogue, history, owned, dismissed) if not good[row])


def _steps(
    rules: Rules, catalogue: Catalogue, history: NDArray[np.int64], owned: NDArray[np.int64], dismissed: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each rule that says anything: what it leaves out, in words, and the items that satisfy it."""
    items = catalogue.items
    yield NO_TITLE, items["title"].str.len_chars().to_numpy() > 0
    # What has no category cannot be told to be from another one.
    yield NO_CATEGORY, np.asarray([bool(name) for name in catalogue.categories], dtype=bool)[catalogue.category]
    if rules.exclude_owned:
        have = np.zeros(len(catalogue), dtype=bool)
        have[owned] = True
        yield OWNED, ~have
    if len(dismissed):
        unwanted = np.zeros(len(catalogue), dtype=bool)
        unwanted[dismissed] = True
        yield DISMISSED, ~unwanted
    if rules.scope == "new" and len(history):
        seen = np.zeros(len(catalogue.categories), dtype=bool)
        seen[catalogue.category[history]] = True
        yield KNOWN, ~seen[catalogue.category]
    if rules.include_categories:
        yield NOT_INCLUDED, known_categories(rules.include_categories, catalogue)
    if rules.exclude_categories:
        yield EXCLUDED, ~known_categories(rules.exclude_categories, catalogue)
    yield PRICE, in_range(catalogue, rules.min_price, rules.max_price)
    if rules.brands:
        wanted = [brand.strip().lower() for brand in rules.brands]
        yield BRAND, items["brand"].str.to_lowercase().is_in(wanted).fill_null(False).to_numpy()
    if rules.in_stock:
        yield STOCK, items["in_stock"].fill_null(True).to_numpy()
