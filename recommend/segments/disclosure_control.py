"""Which figures of an answer may be told: none that points at few, alone or by subtracting two answers."""

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
    """What may be shown.

    Attributes:
        needs: places in the step, best first. reach: of those, the ones whose reach may be shown. items: per need, the places in its items'
            step whose figures may be shown. suppressed: needs that were left out.
    """

    needs: tuple[int, ...]
    reach: frozenset[int]
    items: Mapping[int, tuple[int, ...]]
    suppressed: int


def disclose(
    releases: QueryAuditLog,
    catalogue: Catalogue,
    question: str,
    users: NDArray[np.int64],
    step: TransitionStats,
    best: Sequence[int],
    items: TransitionStats | None,
    inside: Mapping[int, Sequence[int]],
    k: int,
) -> DisclosedCells:
    """Chooses the first `k` needs that may be told, and records them as told.

    Args:
        question: as it was asked, for the message to whoever comes too near it later. users: of the cohort.
        best: places in the step that would be shown, best first.
        items: the step to items. inside: per place of `best`, the places in `items` that would be shown with it.
    Raises: SuppressedError: the cohort itself is too small, or too near one that was told of.
    """
    least = releases.min_users
    # The base rate is told beside the figure: those outside the cohort who went there must not be few either.
    apart = step.baseline_users - step.users
    fit = [
        i
        for i in best
        if _disclosable(int(step.users[i]), int(step.totals[i]), least) and step.baseline_users[i] >= least and not 0 < apart[i] < least
    ]
    shown = fit[:k]
    names = {i: cell_name(step, catalogue.tree.paths[int(step.codes[i])]) for i in shown}
    cells: dict[str, CountCell] = {}
    reach: dict[int, str] = {}
    inner: dict[int, dict[int, str]] = {}
    for i in shown:
        name = names[i]
        cells[name] = CountCell(int(step.users[i]))
        had, outside = int(step.cohort_users[i]), int(step.store_users[i] - step.cohort_users[i])
        if _disclosable(had, int(step.totals[i]), least) and not 0 < outside < least and not 0 < had - step.users[i] < least:
            reach[i] = f"had {catalogue.tree.words(int(step.codes[i]))}"
            cells[reach[i]] = CountCell(had)
        if items is not None:
            inner[i] = {
                j: f"{name} / {catalogue.id(int(items.codes[j]))}"
                for j in inside[i]
                if _disclosable(int(items.users[j]), int(items.baseline_users[j]), least)
            }
            cells |= {label: CountCell(int(items.users[j]), parent=name) for j, label in inner[i].items()}
    hidden = releases.admit_query(question, users, cells)
    open_ = tuple(i for i in shown if names[i] not in hidden)
    return DisclosedCells(
        open_,
        frozenset(i for i in open_ if i in reach and reach[i] not in hidden),
        {i: tuple(j for j, label in inner.get(i, {}).items() if label not in hidden) for i in open_},
        len(best) - len(fit) + len(shown) - len(open_),
    )


def cell_name(step: TransitionStats, category: Category) -> str:
    """What the figure of a category is called among all that were told, whoever tells it."""
    return f"{step.kind} {SEPARATOR.join(category)}"


def _disclosable(users: int, of: int, least: int) -> bool:
    """Whether so many of so many point at nobody: neither they nor the others are few."""
    return users >= least and not 0 < of - users < least
