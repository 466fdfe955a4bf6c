"""Disclosure control of segment results: suppresses figures of fewer than min_users users, alone or by differencing two answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.privacy.disclosure import CountCell
from ...data.privacy.query_audit import QueryAuditLog
from ...data.records import Category
from ...retrieval.items.category_tree import SEPARATOR
from .next_purchases import TransitionStats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class DisclosedCells:
    """Figures that may be shown.

    Attributes:
        needs: Indices into the transition statistics, best first.
        reach: Those of `needs` with a reach that may be shown.
        items: For each need, indices into the statistics of items with figures that may be shown.
        suppressed: Number of needs left out.
    """

    needs: tuple[int, ...]
    reach: frozenset[int]
    items: Mapping[int, tuple[int, ...]]
    suppressed: int


def disclose(
    audit_log: QueryAuditLog,
    catalogue: Catalogue,
    question: str,
    users: NDArray[np.int64],
    stats: TransitionStats,
    best: Sequence[int],
    item_stats: TransitionStats | None,
    items: Mapping[int, Sequence[int]],
    k: int,
) -> DisclosedCells:
    """Choose the first `k` needs that may be shown, and record their counts in the query audit log.

    Args:
        audit_log: Counts that were disclosed before.
        catalogue: Items of the store.
        question: The question as the user wrote it, for the error message of a later question that is too similar.
        users: User numbers of the cohort.
        stats: Transitions to, or from, categories.
        best: Indices into `stats` of the needs to show, best first.
        item_stats: Transitions to items; None for a reverse question.
        items: For each of `best`, indices into `item_stats` of the items to show with it.
        k: Maximum number of needs.

    Raises:
        SuppressedError: The cohort is too small, or differs by too few users from an earlier one.
    """
    min_users = audit_log.min_users
    # The base rate is shown beside the count, so the users outside the cohort who made the transition must not be few either.
    others = stats.baseline_users - stats.users
    disclosable = [
        i
        for i in best
        if _disclosable(int(stats.users[i]), int(stats.totals[i]), min_users)
        and stats.baseline_users[i] >= min_users
        and not 0 < others[i] < min_users
    ]
    chosen = disclosable[:k]
    names = {i: cell_name(stats, catalogue.tree.paths[int(stats.codes[i])]) for i in chosen}
    cells: dict[str, CountCell] = {}
    reach_names: dict[int, str] = {}
    item_names: dict[int, dict[int, str]] = {}
    for i in chosen:
        cells[names[i]] = CountCell(int(stats.users[i]))
        inside, outside = int(stats.cohort_users[i]), int(stats.store_users[i] - stats.cohort_users[i])
        if (
            _disclosable(inside, int(stats.totals[i]), min_users)
            and not 0 < outside < min_users
            and not 0 < inside - stats.users[i] < min_users
        ):
            reach_names[i] = f"had {catalogue.tree.words(int(stats.codes[i]))}"
            cells[reach_names[i]] = CountCell(inside)
        if item_stats is not None:
            item_names[i] = {
                j: f"{names[i]} / {catalogue.id(int(item_stats.codes[j]))}"
                for j in items[i]
                if _disclosable(int(item_stats.users[j]), int(item_stats.baseline_users[j]), min_users)
            }
            cells |= {name: CountCell(int(item_stats.users[j]), parent=names[i]) for j, name in item_names[i].items()}
    hidden = audit_log.admit_query(question, users, cells)
    needs = tuple(i for i in chosen if names[i] not in hidden)
    return DisclosedCells(
        needs,
        frozenset(i for i in needs if i in reach_names and reach_names[i] not in hidden),
        {i: tuple(j for j, name in item_names.get(i, {}).items() if name not in hidden) for i in needs},
        len(best) - len(disclosable) + len(chosen) - len(needs),
    )


def cell_name(stats: TransitionStats, category: Category) -> str:
    """Return the name of a category's count in the query audit log, the same for every kind of answer."""
    return f"{stats.kind} {SEPARATOR.join(category)}"


def _disclosable(users: int, total: int, min_users: int) -> bool:
    """Whether neither `users` nor the rest of `total` is a small group."""
    return users >= min_users and not 0 < total - users < min_users
