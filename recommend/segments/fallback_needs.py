"""Needs that nobody counted: what the store declared, and what the names of categories suggest where too few users went for a count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...llm.ranking.complement_scorer import MIN_COMPLEMENT_SCORE, category_name, complement_scores
from ...prompts.sanitize import sanitize_for_prompt
from ...retrieval.items.catalogue import Catalogue
from ..evidence.declared_relations import DeclaredRelations
from ..evidence.review_excerpts import display_name
from .next_purchases import TransitionStats
from .query.query_tree import Term
from .resolved_query import ResolvedQuery
from .results import CategoryNeed, ItemNeed

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_ITEMS = 3
"""Items shown inside a need."""
MAX_TEXT_NEEDS = 3
"""Needs at most that only the names of categories speak for."""


class FallbackNeeds:
    """Needs beside those that behaviour shows.

    Args: relations: of the store. encode: texts to unit vectors, (texts, dimensions). min_users: users from whom on a category is counted.
    """

    def __init__(
        self, catalogue: Catalogue, relations: DeclaredRelations, encode: Callable[[list[str]], NDArray[np.float32]], min_users: int
    ) -> None:
        self.catalogue, self._relations, self._encode, self._min_users = catalogue, relations, encode, min_users
        self._name_vectors: NDArray[np.float32] = np.empty((0, 0), np.float32)

    def declared_needs(self, asked: ResolvedQuery, found: Sequence[CategoryNeed], k: int) -> tuple[CategoryNeed, ...]:
        """Needs that only what the store declared speaks for, most relations first."""
        declared = self.relation_counts(asked)
        have = {need.category for need in found}
        nodes = [
            node for node in np.argsort(-declared, kind="stable").tolist() if declared[node] and self.catalogue.tree.paths[node] not in have
        ]
        return tuple(
            CategoryNeed(self.catalogue.tree.paths[node], ("knowledge",), items=self._examples(asked, node))
            for node in nodes[: max(k - len(found), 0)]
        )

    def text_needs(self, asked: ResolvedQuery, found: Sequence[CategoryNeed], step: TransitionStats, k: int) -> tuple[CategoryNeed, ...]:
        """Needs that only the names speak for, in categories that too few users of the whole store went to for any count."""
        have = {need.category for need in found}
        thin = [int(node) for node in step.codes[step.baseline_users < self._min_users] if self.catalogue.tree.paths[int(node)] not in have]
        room = min(k - len(found), MAX_TEXT_NEEDS)
        if not thin or room < 1:
            return ()
        label, kind = asked.cohort_label
        meaning = asked.meanings[asked.parsed.tree] if isinstance(asked.parsed.tree, Term) else None
        owned = category_name(meaning.name) if meaning is not None and kind == "category" and not isinstance(meaning.name, str) else label
        vector = self._encode([sanitize_for_prompt(owned, 120)])[0]
        likely = complement_scores(np.stack([self._name_vector(node) for node in thin]) @ vector)
        best = [i for i in np.argsort(-likely, kind="stable").tolist() if likely[i] >= MIN_COMPLEMENT_SCORE][:room]
        suggested = ((thin[i], popular_items(self.catalogue, thin[i], asked.depth, set(), MAX_ITEMS)) for i in best)
        return tuple(CategoryNeed(self.catalogue.tree.paths[node], ("text",), items=items) for node, items in suggested)

    def relation_counts(self, asked: ResolvedQuery) -> NDArray[np.int64]:
        """(nodes,) how many relations say that the cohort's items need something of each, its own categories left out."""
        rows, node = asked.cohort_items, self.catalogue.tree.at(asked.depth)
        needed = self._relations.need_counts(rows)
        declared = np.bincount(node[node >= 0], weights=needed[node >= 0], minlength=len(self.catalogue.tree)).astype(np.int64)
        declared[np.unique(node[rows & (node >= 0)])] = 0
        return declared

    def _examples(self, asked: ResolvedQuery, node: int) -> tuple[ItemNeed, ...]:
        """The items of a category that relations name for a cohort, most relations first."""
        needed = self._relations.need_counts(asked.cohort_items)
        rows = np.flatnonzero((needed > 0) & (self.catalogue.tree.at(asked.depth) == node))
        rows = rows[np.argsort(-needed[rows], kind="stable")][:MAX_ITEMS]
        return tuple(ItemNeed(item.item_id, display_name(item)) for item in self.catalogue.records(rows.tolist()))

    def _name_vector(self, node: int) -> NDArray[np.float32]:
        """The unit vector of a category's name; all are made when the first is asked for."""
        if not len(self._name_vectors):
            names = [sanitize_for_prompt(category_name(path), 120) for path in self.catalogue.tree.paths]
            self._name_vectors = self._encode(names)
        vector: NDArray[np.float32] = self._name_vectors[node]
        return vector


def popular_items(catalogue: Catalogue, node: int, depth: int, without: set[str], n: int) -> tuple[ItemNeed, ...]:
    """The items of a category that most users of the store had, without figures."""
    rows = np.flatnonzero(catalogue.tree.at(depth) == node)
    rows = rows[np.argsort(-catalogue.users[rows], kind="stable")][: n + len(without)]
    shown = [ItemNeed(item.item_id, display_name(item)) for item in catalogue.records(rows.tolist()) if item.item_id not in without]
    return tuple(shown[:n])
