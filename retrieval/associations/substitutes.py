"""Substitute detection: pairs of items that shoppers choose between, excluded from needs.

Two items are substitutes when a relation declares it, or when they are in the same leaf category and have nearly the same text, or are
viewed together and rarely bought together. A phone case shares nearly all words with its phone but is in another category. For items
without a category, text similarity decides alone.

A co-purchase alone is no evidence against substitution: every pair proposed from behaviour was bought together, and shoppers replace
items and buy several of a kind. It counts relative to the number of co-viewers, so only for stores with views.

Does not know what an item is for: a battery and its charger with similar names in one category are classified as substitutes unless
views or a declared relation contradict, and two brands of one thing with different names are not. Agreement with human labels is far below
the agreement between people, and the rule for views was never measured on a real store; see `benchmarks/substitutes.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..items.relations import SUBSTITUTE_RELATIONS, relation_name

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray
    from scipy import sparse

    from ..items.category_tree import CategoryTree

ALIKE = 0.69
"""Threshold on the mean of name similarity and cosine; best kappa on half of 2,800 human-labelled pairs."""
MIN_NAME_SIMILARITY = 0.63
"""Threshold on the name similarity alone, where a vector is missing."""
FEW, MANY = 0.5, 2.0
"""Ratios of observed to expected co-purchases among co-viewers: at most `FEW` means substitutes, at least `MANY` complements."""
UNLIKELY = 0.01
"""p-value below which such a ratio is significant."""
BLOCK = 16_384
"""Pairs compared at once: two blocks of vectors, about 50 MB."""


@dataclass(frozen=True)
class Substitutes:
    """Classifier of substitute pairs over one catalogue.

    Attributes:
        shelf: (items,) leaf category of each item, -1 for none.
        letters: (items, bigrams) character bigrams of each name, 0 or 1.
        name_size: (items,) number of distinct bigrams.
        vectors: (items, dimensions) unit rows; a zero row where there is none.
        has_vector: (items,) mask of items with a vector.
        declared: 1 for declared substitutes, -1 for declared complements.
        behaviour: 1 for substitutes, -1 for complements according to views and purchases.
    """

    shelf: NDArray[np.int32]
    letters: sparse.csr_array
    name_size: NDArray[np.int64]
    vectors: NDArray[np.float32]
    has_vector: NDArray[np.bool_]
    declared: PairLabels
    behaviour: PairLabels

    @classmethod
    def build(
        cls,
        items: pl.DataFrame,
        categories: CategoryTree,
        vectors: NDArray[np.float32] | None = None,
        *,
        viewed: sparse.csr_array | None = None,
        bought: sparse.csr_array | None = None,
        relations: pl.DataFrame | None = None,
    ) -> Substitutes:
        """Build the classifier of a catalogue.

        Args:
            items: columns item_id, title; one row per item.
            categories: category tree of the same rows.
            vectors: (items, dimensions) unit text vectors, a zero row where unknown; None uses names alone.
            viewed: (items, items) users who viewed both, see `co_views.co_view_counts`.
            bought: (items, items) those of them who bought both.
            relations: columns head, relation, tail of item ids; unknown ids are skipped.
        Raises: ValueError: inconsistent shapes, or only one of `viewed` and `bought`.
        """
        n = len(items)
        vectors = np.zeros((n, 0), dtype=np.float32) if vectors is None else vectors
        if len(categories.of_item) != n or len(vectors) != n:
            raise ValueError(f"{n} items, but categories of {len(categories.of_item)} and vectors of {len(vectors)}")
        if (viewed is None) != (bought is None):
            raise ValueError("`viewed` and `bought` must be given together")
        letters = _letters(items["title"])
        return cls(
            shelf=categories.at(max(categories.levels, 1)),
            letters=letters,
            name_size=np.diff(letters.indptr).astype(np.int64),
            vectors=vectors,
            has_vector=np.einsum("id,id->i", vectors, vectors) > 0.5,
            declared=_declared(items, relations),
            behaviour=_compared(viewed, bought) if viewed is not None and bought is not None else PairLabels.none(n),
        )

    def label(self, left: NDArray[np.int64], right: NDArray[np.int64], *, block: int = BLOCK) -> NDArray[np.bool_]:
        """(pairs,) mask of substitute pairs; symmetric, and false for an item with itself.

        Args:
            left: (pairs,) item rows.
            right: (pairs,) item rows.
            block: pairs compared at once; affects memory only.
        """
        left, right = np.asarray(left, dtype=np.int64), np.asarray(right, dtype=np.int64)
        shelves = self.shelf[left], self.shelf[right]
        unknown = (shelves[0] < 0) | (shelves[1] < 0)
        same = (shelves[0] == shelves[1]) & ~unknown
        behaviour, declared = self.behaviour.of(left, right), self.declared.of(left, right)
        substitute: NDArray[np.bool_] = same & (behaviour > 0)
        ask = np.flatnonzero(((same & (behaviour == 0)) | (unknown & (behaviour >= 0))) & (declared == 0))
        substitute[ask] = self.similar_text(left[ask], right[ask], block=block)
        substitute[declared != 0] = declared[declared != 0] > 0
        substitute[left == right] = False
        return substitute

    def similar_text(self, left: NDArray[np.int64], right: NDArray[np.int64], *, block: int = BLOCK) -> NDArray[np.bool_]:
        """(pairs,) mask of pairs with nearly the same text, regardless of category; false for items without a name.

        Args: as for `label`.
        """
        out = np.empty(len(left), dtype=bool)
        for start in range(0, len(left), block):
            a, b = left[start : start + block], right[start : start + block]
            similarity = self.name_similarity(a, b)
            both = self.has_vector[a] & self.has_vector[b]
            alike = ~both & (similarity >= MIN_NAME_SIMILARITY)
            both &= similarity >= 2 * ALIKE - 1  # below that no cosine helps
            cosine = np.einsum("id,id->i", self.vectors[a[both]], self.vectors[b[both]])
            alike[both] = (similarity[both] + cosine) / 2 >= ALIKE
            out[start : start + block] = alike
        return out

    def name_similarity(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        """(pairs,) Dice similarity of the character bigrams of two names, 0 to 1.

        Characters rather than words, since not every script separates words. Source: Dice, Ecology 1945.
        """
        shared = np.asarray(self.letters[left].multiply(self.letters[right]).sum(axis=1), dtype=np.float64).ravel()
        sizes = np.maximum(self.name_size[left] + self.name_size[right], 1)
        return np.asarray(2 * shared / sizes)


@dataclass(frozen=True)
class PairLabels:
    """Labels of unordered pairs.

    Attributes:
        key: (pairs,) int64 smaller row * items + larger row, ascending and distinct.
        verdict: (pairs,) int8, 1 for substitutes, -1 for complements.
        items: number of items.
    """

    key: NDArray[np.int64]
    verdict: NDArray[np.int8]
    items: int

    @classmethod
    def none(cls, items: int) -> PairLabels:
        """Empty labels."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int8), items)

    @classmethod
    def merge(cls, left: NDArray[np.int64], right: NDArray[np.int64], verdict: NDArray[np.int8], items: int) -> PairLabels:
        """Labels of pairs in any order; the highest of several labels of one pair is used."""
        key, place = np.unique(np.minimum(left, right) * items + np.maximum(left, right), return_inverse=True)
        highest = np.full(len(key), -1, dtype=np.int8)
        np.maximum.at(highest, place, verdict)
        return cls(key, highest, items)

    def of(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int8]:
        """(pairs,) label of each pair, 0 for none."""
        if not len(self.key):
            return np.zeros(len(left), dtype=np.int8)
        key = np.minimum(left, right) * self.items + np.maximum(left, right)
        place = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return np.where(self.key[place] == key, self.verdict[place], 0).astype(np.int8)


def _letters(titles: pl.Series) -> sparse.csr_array:
    """(items, bigrams) 0/1 matrix of the character bigrams of titles, padded with spaces."""
    import polars as pl
    from scipy import sparse

    plain = titles.fill_null("").str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    # All titles as one array of code points, each padded with spaces; an empty title is only a line end.
    run = pl.select(pl.when(plain != "").then(" " + plain + " ").otherwise(pl.lit("")) + "\n").to_series().str.join("").item() or ""
    points = np.frombuffer(run.encode("utf-32-le"), dtype=np.uint32).astype(np.int64)
    row = np.cumsum(points == ord("\n")) - (points == ord("\n"))
    inside = (points[:-1] != ord("\n")) & (points[1:] != ord("\n"))
    pairs = points[:-1] << 21 | points[1:]
    pairs, row = pairs[inside], row[:-1][inside]
    known = pl.Series(pairs).unique().sort().to_numpy()
    shape = (len(titles), max(len(known), 1))
    matrix = sparse.csr_array((np.ones(len(pairs), dtype=np.int32), (row, np.searchsorted(known, pairs))), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1  # presence only
    return matrix


def _declared(items: pl.DataFrame, relations: pl.DataFrame | None) -> PairLabels:
    """Labels from declared relations; a pair declared as both is a substitute."""
    import polars as pl

    if relations is None or not len(relations):
        return PairLabels.none(len(items))
    rows = pl.DataFrame({"item_id": items["item_id"], "row": np.arange(len(items), dtype=np.int64)})
    declared = (
        relations.select("head", "tail", relation_name().is_in(SUBSTITUTE_RELATIONS).fill_null(False).alias("substitute"))
        .join(rows.rename({"item_id": "head", "row": "left"}), on="head")
        .join(rows.rename({"item_id": "tail", "row": "right"}), on="tail")
    )
    verdict = np.where(declared["substitute"].to_numpy(), 1, -1).astype(np.int8)
    return PairLabels.merge(declared["left"].to_numpy(), declared["right"].to_numpy(), verdict, len(items))


def _compared(viewed: sparse.csr_array, bought: sparse.csr_array) -> PairLabels:
    """Labels from co-views and co-purchases.

    Poisson tails of the co-purchases; the mean is the number of co-viewers times the store's overall share of co-viewers who bought both.
    """
    from scipy import sparse
    from scipy.special import gammainc, gammaincc

    if viewed.shape != bought.shape:
        raise ValueError(f"co-views of shape {viewed.shape}, but co-purchases of shape {bought.shape}")
    viewed_pairs = sparse.coo_array(sparse.triu(viewed.maximum(viewed.T), k=1))
    left, right = (np.asarray(part, dtype=np.int64) for part in viewed_pairs.coords)
    if not len(left):
        return PairLabels.none(int(viewed.shape[0]))
    both = np.asarray(sparse.csr_array(bought.maximum(bought.T))[left, right], dtype=np.float64)
    users = np.asarray(viewed_pairs.data, dtype=np.float64)
    expected = users * (both.sum() / max(users.sum(), 1.0))
    seldom = (both <= FEW * expected) & (gammaincc(both + 1, expected) <= UNLIKELY)
    often = (both >= MANY * expected) & (both > 0) & (gammainc(np.maximum(both, 1), expected) <= UNLIKELY)
    verdict = seldom.astype(np.int8) - often.astype(np.int8)
    known = verdict != 0
    return PairLabels.merge(left[known], right[known], verdict[known], int(viewed.shape[0]))
