"""A question as it was understood in one store: what its names mean, and the users that it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...prompts.sanitize import sanitize_for_prompt
from .cohorts import Cohort, Population
from .need_sentences import CohortKind
from .query.filters import Filters
from .query.grammar import ParsedQuestion
from .query.meanings import Meaning
from .query.query_tree import Term, negated_terms, to_text

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ResolvedQuery:
    """A question as it was understood.

    Attributes:
        text: as it was asked. rows: (items,) bool for each name, filters on items applied to the names that are wanted.
        depth: level of the categories to answer with.
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
        """Whether it is asked who needs what is named."""
        return self.parsed.direction == "reverse"

    @property
    def canonical_key(self) -> str:
        """All that decides the figures, always spelt alike."""
        names = {to_text(term): [meaning.kind, str(meaning.name)] for term, meaning in self.meanings.items()}
        return f"{self.parsed.direction} {to_text(self.parsed.tree)} {names} {self.filters.to_dict()} level {self.depth}"

    @property
    def cohort_label(self) -> tuple[str, CohortKind]:
        """What makes the cohort, in words, and what that is."""
        if isinstance(self.parsed.tree, Term):
            meaning = self.meanings[self.parsed.tree]
            return (meaning.name if isinstance(meaning.name, str) else meaning.name[-1]), meaning.kind
        return to_text(self.parsed.tree), "text"

    def interpretation(self) -> tuple[dict[str, Any], ...]:
        """What each name was taken for, as JSON holds it."""
        out = negated_terms(self.parsed.tree)
        return tuple({**meaning.to_dict(), **({"not": True} if term in out else {})} for term, meaning in self.meanings.items())

    def summary(self) -> str:
        """What was understood, in words."""
        names = []
        for one in self.interpretation():
            name = one["name"] if isinstance(one["name"], str) else " > ".join(one["name"])
            names.append(f"{'not ' if one.get('not') else ''}{one['kind']} {sanitize_for_prompt(name, 80)}")
        return ", ".join([*names, *(f"{name} {value}" for name, value in self.filters.to_dict().items())])

    @property
    def cohort_items(self) -> NDArray[np.bool_]:
        """(items,) which make the cohort."""
        out = negated_terms(self.parsed.tree)
        return np.asarray(np.logical_or.reduce([rows for term, rows in self.item_masks.items() if term not in out]))
