"""List-level constraints: category caps and slots reserved for new items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from ...data.store_words import DEFAULT_WORDS, StoreWords
from .eligibility import rule_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...data.records import Query
    from ...retrieval.items.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class ListSelection:
    """Selects the recommended list from ranked candidates under the list-level rules of a query."""

    catalogue: Catalogue
    query: Query

    def select(self, order: Sequence[int]) -> list[int]:
        """Return the item rows to show, at most `query.k`. Args: order: rows of all candidates, best first."""
        top = cap_per_category(order, self.catalogue, self.query.rules.max_per_category, self.query.k)
        if not self.query.new_items:
            return top
        return reserve_new_item_slots(top, order, self.catalogue.users <= self.query.new_up_to, self.query.new_items, self.query.k)

    def unsatisfied(self, top: Sequence[int], eligible: NDArray[np.bool_], removed: Sequence[tuple[str, int]]) -> tuple[str, ...]:
        """Return sentences about what the query asks for and the list does not have.

        Args:
            top: rows of the list.
            eligible: (items,) bool of the items that satisfy the rules.
            removed: what each rule excludes, and how many items (see `eligible_items`).
        """
        sentences = (self._too_few(len(top), int(eligible.sum()), removed), self._too_few_new(top))
        return tuple(sentence for sentence in sentences if sentence)

    def _too_few(self, length: int, eligible: int, removed: Sequence[tuple[str, int]]) -> str | None:
        """Return why the list is shorter than `query.k`; None if it is not."""
        k, cap, words = self.query.k, self.query.rules.max_per_category, self.catalogue.words
        if length >= k:
            return None
        if eligible > length and cap is not None:
            return f"{length} of {k}: at most {cap} per category was asked for"
        if eligible > length:
            return f"{length} of {k}: the channels proposed no more of the {eligible:,} {words.items} that satisfy the rules"
        strictest = max(removed, key=lambda rule: rule[1], default=None)
        because = f"; left out most: {rule_text(strictest[0], words)} ({strictest[1]:,} {words.items})" if strictest else ""
        return f"{length} of {k}: {eligible:,} of {len(self.catalogue):,} {words.items} satisfy the rules{because}"

    def _too_few_new(self, top: Sequence[int]) -> str | None:
        """Return why the list has fewer new items than requested; None if it has enough."""
        new = int((self.catalogue.users[list(top)] <= self.query.new_up_to).sum())
        if new >= self.query.new_items:
            return None
        words = self.catalogue.words
        known = new_item_phrase(self.query.new_up_to, words)
        return (
            f"{new} of {self.query.new_items} new {words.items}: no other {words.item} that {known} satisfies the rules "
            "and is like the history"
        )


def reserve_new_item_slots(top: Sequence[int], order: Sequence[int], new: NDArray[np.bool_], slots: int, k: int) -> list[int]:
    """Return a list whose last slots hold the best new items; new items that are already in the list count.

    Args:
        top: rows of the list.
        order: rows of all candidates, best first.
        new: (items,) bool, which items are new.
        slots: number of reserved slots, at most `k`.
        k: length of the list.
    """
    new_in_top = {row for row in top if new[row]}
    added = list(islice((row for row in order if new[row] and row not in new_in_top), max(0, slots - len(new_in_top))))
    kept = {*islice((row for row in top if row not in new_in_top), max(0, k - len(added) - len(new_in_top)))}
    return [*(row for row in top if row in new_in_top or row in kept), *added]


def new_item_phrase(max_users: int, words: StoreWords = DEFAULT_WORDS) -> str:
    """Definition of a new item as a phrase: `nobody had yet`, `at most 2 users had`, `at most 2 learners have taken`."""
    if words.means_owning:
        did, have, has = " yet", "had", "had"
    else:
        did, have, has = f" {words.participle}", "have", "has"
    if not max_users:
        return f"nobody {has}{did}"
    did = did.replace(" yet", "")
    return f"at most {max_users} {words.people if max_users > 1 else words.person} {have if max_users > 1 else has}{did}"


def cap_per_category(order: Sequence[int], catalogue: Catalogue, max_per_category: int | None, k: int) -> list[int]:
    """Return the first `k` rows of an order with at most `max_per_category` of one category, in that order.

    With None, no category takes more than half of the list (two of five) while other categories can fill it: five sofas serve a single
    need.
    """
    selected = _first_per_category(order, catalogue, max_per_category or max(2, k // 2), k)
    if max_per_category is None and len(selected) < k:
        included = set(selected)
        selected += [row for row in order if row not in included][: k - len(selected)]
    position = {row: i for i, row in enumerate(order)}
    return sorted(selected, key=position.__getitem__)


def _first_per_category(order: Iterable[int], catalogue: Catalogue, max_per_category: int, k: int) -> list[int]:
    counts: dict[int, int] = {}
    selected: list[int] = []
    for row in order:
        if len(selected) == k:
            break
        category = int(catalogue.category[row])
        if counts.get(category, 0) < max_per_category:
            counts[category] = counts.get(category, 0) + 1
            selected.append(row)
    return selected
