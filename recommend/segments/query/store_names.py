"""All names of one store: its categories, brands, titles and item ids, indexed for lookup, and the items that each means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from ....data.records import Category
from ....retrieval.items.catalogue import Catalogue
from ....retrieval.items.category_tree import CategoryTree
from .meanings import Choice, NameSense, NameSource
from .name_matching import (
    NO_ROWS,
    MatchType,
    NameIndex,
    category_heads,
    group_by_name,
    normalize_name,
    singular_key,
    title_postings,
    word_stem,
)
from .query_tree import Term, TermKind, to_text

if TYPE_CHECKING:
    from numpy.typing import NDArray


class StoreNames:
    """Names of a store.

    Attributes:
        catalogue: Items of the store.
        categories: Category tree of the catalogue.
        indexes: Name index of each source but ids.
        heads: Pairs (number of other words in the name, node) by the head of a category name.
        users: (names,) users of the items of each name, by source.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue, self.categories = catalogue, catalogue.tree
        items, users, paths = catalogue.items, catalogue.users.astype(np.int64), self.categories.paths
        path_tails = ((" > ".join(path[start:]), node) for node, path in enumerate(paths) for start in reversed(range(len(path))))
        self._titles: list[str] = items["title"].fill_null("").to_list()
        brands: list[str] = items["brand"].fill_null("").to_list() if "brand" in items.columns else [""] * len(items)
        self._leaf = self.categories.at(max(self.categories.levels, 1)).astype(np.int64)
        self._row_of_id = {key.casefold(): row for key, row in reversed(catalogue.rows.items())}
        self._brand_of, self._brand_rows = group_by_name(brands)
        self._title_of, self._title_rows = group_by_name(self._titles)
        self.users: dict[NameSource, NDArray[np.int64]] = {
            "category": _category_users(self.categories, self._leaf, users),
            "brand": np.bincount(self._brand_of, users, minlength=len(self._brand_rows)).astype(np.int64),
            "title": np.bincount(self._title_of, users, minlength=len(self._title_rows)).astype(np.int64),
            "id": users,
        }
        self.indexes: dict[NameSource, NameIndex] = {
            "category": NameIndex(path_tails),
            "brand": NameIndex((brands[row], number) for number, row in enumerate(self._brand_rows)),
            "title": NameIndex((self._titles[row], number) for number, row in enumerate(self._title_rows)),
        }
        self.heads: dict[str, list[tuple[int, int]]] = {}
        self._nodes_with_stem: dict[str, set[int]] = {}  # word stem -> nodes with the word anywhere in their path
        for node, path in enumerate(paths):
            for head, other_words in category_heads(path[-1]):
                self.heads.setdefault(head, []).append((other_words, node))
            for stem in {word_stem(word) for name in path for word in normalize_name(name).split()}:
                self._nodes_with_stem.setdefault(stem, set()).add(node)
        self._title_postings = title_postings(self._titles)

    def is_name(self, text: str) -> bool:
        """Whether the words are a name as they are, in singular or plural; for the parser, before it splits at and, or, not and commas."""
        normalized = normalize_name(text)
        if not normalized:
            return False
        if text.strip().casefold() in self._row_of_id:
            return True
        names = [name for index in self.indexes.values() for name in index.by_key.get(singular_key(normalized), ())]
        if "," not in re.sub(r"\d,\d", "", text) or " and " in normalized:
            return bool(names)
        # "phone, cases" are two names, even if a category is called "Phone Cases".
        return any(name in index.with_comma for index in self.indexes.values() for name in names)

    def sources(self, kind: TermKind | None) -> list[NameSource]:
        """Return the sources of names for a term of some kind, all if it is None."""
        return [source for source in self.indexes if kind in (None, "item" if source == "title" else source)]

    def row_of_id(self, text: str) -> int | None:
        """Return the row of the item with an id; upper and lower case are distinguished only between ids that differ in nothing else."""
        row = self._row_of_id.get(text.strip().casefold())
        return None if row is None else self.catalogue.rows.get(text.strip(), row)

    def sense(self, source: NameSource, number: int, match: MatchType, rank: float = 0.0) -> NameSense:
        """Return a sense with the users of its items."""
        return NameSense(source, number, match, int(self.users[source][number]), rank)

    def name(self, sense: NameSense) -> str | Category:
        """Return the name of a sense as the store writes it; the id for an item without a title."""
        if sense.source == "category":
            return self.categories.paths[sense.number]
        if sense.source == "brand":
            return str(self.catalogue.items.item(int(self._brand_rows[sense.number]), "brand"))
        row = sense.number if sense.source == "id" else int(self._title_rows[sense.number])
        return self._titles[row] or self.catalogue.id(row)

    def item_mask(self, sense: NameSense) -> NDArray[np.bool_]:
        """Return the items of a sense, (items,) bool."""
        if sense.source == "category":
            return self.categories.under(sense.number)
        if sense.source == "id":
            return np.asarray(np.arange(len(self.catalogue)) == sense.number)
        return np.asarray((self._brand_of if sense.source == "brand" else self._title_of) == sense.number)

    def choice(self, sense: NameSense) -> Choice:
        """Return a sense as an alternative with the text that selects it."""
        name = self.name(sense)
        text = self.categories.words(sense.number) if sense.source == "category" else str(name)
        if sense.kind == "item" and len(rows := np.flatnonzero(self.item_mask(sense))) == 1:
            text = self.catalogue.id(int(rows[0]))
        return Choice(sense.kind, name, sense.users, to_text(Term(text, sense.kind)))

    def ancestors(self, node: int) -> list[int]:
        """Return the category nodes above a node, nearest first."""
        nodes: list[int] = []
        while (node := int(self.categories.parent[node])) >= 0:
            nodes.append(node)
        return nodes

    def titles_with_all(self, stems: set[str]) -> list[int]:
        """Return the numbers of the titles that have all of some word stems, ascending."""
        postings = sorted((self._title_postings.get(stem, NO_ROWS) for stem in stems), key=len)
        rows = postings[0] if postings else NO_ROWS
        for other in postings[1:]:
            rows = np.intersect1d(rows, other, assume_unique=True)
        numbers: list[int] = np.unique(self._title_of[rows]).tolist()
        return numbers

    def items_with(self, stem: str) -> NDArray[np.bool_]:
        """Return the items with a word stem in their title or category path, (items,) bool."""
        # One more than there are nodes: -1, the leaf of an item without a category, is the last.
        with_stem = np.zeros(len(self.categories) + 1, dtype=bool)
        with_stem[list(self._nodes_with_stem.get(stem, ()))] = True
        mask = with_stem[self._leaf]
        mask[self._title_postings.get(stem, NO_ROWS)] = True
        return mask


def _category_users(categories: CategoryTree, leaf: NDArray[np.int64], users: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the users of all items in a node or below it, summed, (nodes,)."""
    sums = np.bincount(leaf[leaf >= 0], users[leaf >= 0], minlength=len(categories)).astype(np.int64)
    for node in np.argsort(-categories.depth, kind="stable"):
        if (parent := categories.parent[node]) >= 0:
            sums[parent] += sums[node]
    return sums
