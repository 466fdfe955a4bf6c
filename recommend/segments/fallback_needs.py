"""Needs without evidence from behaviour: declared relations, and similar category names where too few users bought for a count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...llm.ranking.complement_scorer import MIN_COMPLEMENT_SCORE, category_name, complement_scores
from ...prompts.sanitize import sanitize_for_prompt
from ...retrieval.items.catalogue import Catalogue
from ...retrieval.items.relations import DeclaredRelations
from ..evidence.review_excerpts import display_name
from .next_purchases import TransitionStats
from .query.query_tree import Term
from .resolved_query import ResolvedQuery
from .results import CategoryNeed, ItemNeed

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_ITEMS = 3
"""Maximum number of items shown for a need."""
MAX_TEXT_NEEDS = 3
"""Maximum number of needs that rest on category names alone."""


class FallbackNeeds:
    """Needs that complete those found in behaviour.

    Args:
        catalogue: Items of the store.
        relations: Relations that the store declares.
        encode: Encodes texts as unit vectors, (texts, dimensions).
        min_users: Number of users from which a category is counted instead.
    """

    def __init__(
        self, catalogue: Catalogue, relations: DeclaredRelations, encode: Callable[[list[str]], NDArray[np.float32]], min_users: int
    ) -> None:
        self.catalogue, self._relations, self._encode, self._min_users = catalogue, relations, encode, min_users
        self._name_vectors: NDArray[np.float32] = np.empty((0, 0), np.float32)

    def declared_needs(self, query: ResolvedQuery, needs: Sequence[CategoryNeed], k: int) -> tuple[CategoryNeed, ...]:
        """Return needs that rest on declared relations alone, most relations first, to complete `needs` up to `k`."""
        counts, paths = self.relation_counts(query), self.catalogue.tree.paths
        present = {need.category for need in needs}
        nodes = [node for node in np.argsort(-counts, kind="stable").tolist() if counts[node] and paths[node] not in present]
        return tuple(
            CategoryNeed(paths[node], ("knowledge",), items=self._declared_items(query, node)) for node in nodes[: max(k - len(needs), 0)]
        )

    def text_needs(self, query: ResolvedQuery, needs: Sequence[CategoryNeed], stats: TransitionStats, k: int) -> tuple[CategoryNeed, ...]:
        """Return needs that rest on category names alone, in categories with too few users in the whole store for any count."""
        paths = self.catalogue.tree.paths
        present = {need.category for need in needs}
        sparse = [int(node) for node in stats.codes[stats.baseline_users < self._min_users] if paths[int(node)] not in present]
        limit = min(k - len(needs), MAX_TEXT_NEEDS)
        if not sparse or limit < 1:
            return ()
        label, kind = query.cohort_label
        meaning = query.meanings[query.parsed.tree] if isinstance(query.parsed.tree, Term) else None
        owned = category_name(meaning.name) if meaning is not None and kind == "category" and not isinstance(meaning.name, str) else label
        vector = self._encode([sanitize_for_prompt(owned, 120)])[0]
        scores = complement_scores(np.stack([self._name_vector(node) for node in sparse]) @ vector)
        best = [i for i in np.argsort(-scores, kind="stable").tolist() if scores[i] >= MIN_COMPLEMENT_SCORE][:limit]
        return tuple(
            CategoryNeed(paths[sparse[i]], ("text",), items=popular_items(self.catalogue, sparse[i], query.depth, set(), MAX_ITEMS))
            for i in best
        )

    def relation_counts(self, query: ResolvedQuery) -> NDArray[np.int64]:
        """Return how many relations declare that the cohort's items need something of each category, its own excluded, (nodes,)."""
        mask, node = query.cohort_items, self.catalogue.tree.at(query.depth)
        item_counts = self._relations.need_counts(mask)
        counts = np.bincount(node[node >= 0], weights=item_counts[node >= 0], minlength=len(self.catalogue.tree)).astype(np.int64)
        counts[np.unique(node[mask & (node >= 0)])] = 0
        return counts

    def _declared_items(self, query: ResolvedQuery, node: int) -> tuple[ItemNeed, ...]:
        """Return the items of a category that relations declare for a cohort, most relations first."""
        counts = self._relations.need_counts(query.cohort_items)
        rows = np.flatnonzero((counts > 0) & (self.catalogue.tree.at(query.depth) == node))
        rows = rows[np.argsort(-counts[rows], kind="stable")][:MAX_ITEMS]
        return tuple(ItemNeed(item.item_id, display_name(item)) for item in self.catalogue.records(rows.tolist()))

    def _name_vector(self, node: int) -> NDArray[np.float32]:
        """Return the unit vector of a category's name; the first call encodes all names."""
        if not len(self._name_vectors):
            names = [sanitize_for_prompt(category_name(path), 120) for path in self.catalogue.tree.paths]
            self._name_vectors = self._encode(names)
        vector: NDArray[np.float32] = self._name_vectors[node]
        return vector


def popular_items(catalogue: Catalogue, node: int, depth: int, excluded: set[str], n: int) -> tuple[ItemNeed, ...]:
    """Return the `n` items of a category with the most users, without figures and without the excluded item ids."""
    rows = np.flatnonzero(catalogue.tree.at(depth) == node)
    rows = rows[np.argsort(-catalogue.users[rows], kind="stable")][: n + len(excluded)]
    items = [ItemNeed(item.item_id, display_name(item)) for item in catalogue.records(rows.tolist()) if item.item_id not in excluded]
    return tuple(items[:n])
