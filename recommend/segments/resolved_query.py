"""A question resolved in one store: the meaning of its names, its filters and its cohort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...prompts.sanitize import sanitize_for_prompt
from .cohorts import Cohort, Population
from .query.filters import Filters
from .query.grammar import ParsedQuestion
from .query.meanings import Meaning
from .query.query_tree import Term, TermKind, negated_terms, to_text

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ResolvedQuery:
    """A question with everything that its answer depends on.

    Attributes:
        text: The question as the user wrote it.
        parsed: Its direction and its tree of names.
        meanings: Meaning of each name.
        item_masks: (items,) bool for each name; filters on items are applied to the names that are not negated.
        filters: Filters of the cohort.
        population: Users and events that the question is about: the store's, or those of the period.
        cohort: Users that the question describes.
        depth: Level of the categories in the answer, 1 = broadest.
    """

    text: str
    parsed: ParsedQuestion
    meanings: Mapping[Term, Meaning]
    item_masks: Mapping[Term, NDArray[np.bool_]]
    filters: Filters
    population: Population
    cohort: Cohort
    depth: int

    @property
    def reverse(self) -> bool:
        """Whether the question is who would need what it names."""
        return self.parsed.direction == "reverse"

    @property
    def canonical_key(self) -> str:
        """Text that is equal for questions with equal answers; the privacy budget stores noisy answers under it."""
        names = {to_text(term): [meaning.kind, str(meaning.name)] for term, meaning in self.meanings.items()}
        return f"{self.parsed.direction} {to_text(self.parsed.tree)} {names} {self.filters.to_dict()} level {self.depth}"

    @property
    def cohort_label(self) -> tuple[str, TermKind]:
        """Name of what the cohort has in common, and its kind; `text` for several names."""
        if isinstance(self.parsed.tree, Term):
            meaning = self.meanings[self.parsed.tree]
            return (meaning.name if isinstance(meaning.name, str) else meaning.name[-1]), meaning.kind
        return to_text(self.parsed.tree), "text"

    @property
    def cohort_items(self) -> NDArray[np.bool_]:
        """Items that define the cohort, those of all names that are not negated, (items,) bool."""
        negated = negated_terms(self.parsed.tree)
        return np.asarray(np.logical_or.reduce([mask for term, mask in self.item_masks.items() if term not in negated]))

    def interpretation(self) -> tuple[dict[str, Any], ...]:
        """Return the meaning of each name, for JSON; `"not": true` for negated names."""
        negated = negated_terms(self.parsed.tree)
        return tuple({**meaning.to_dict(), **({"not": True} if term in negated else {})} for term, meaning in self.meanings.items())

    def summary(self) -> str:
        """Return the meanings and filters in words, for error messages."""
        parts = []
        for meaning in self.interpretation():
            name = meaning["name"] if isinstance(meaning["name"], str) else " > ".join(meaning["name"])
            parts.append(f"{'not ' if meaning.get('not') else ''}{meaning['kind']} {sanitize_for_prompt(name, 80)}")
        return ", ".join([*parts, *(f"{name} {value}" for name, value in self.filters.to_dict().items())])
