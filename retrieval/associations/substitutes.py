"""Which items shoppers choose between: to be left out of what somebody "also needs".

Two items are substitutes when somebody declared them so, or when they stand on the same shelf (leaf category) and either read nearly
alike or are looked at together and then hardly ever bought together. A case for a phone shares nearly every word with the phone, but
stands on another shelf. Where an item has no category, reading alike has to do.

That two were bought together is no evidence against it on its own: every pair that behaviour proposes was bought together, and shoppers
do replace things and buy several kinds of one. It counts against the number of those who looked at both, so only where a store keeps looks.

Does not know what a thing is for: a battery and its charger with like names on one shelf are substitutes to it unless looks or a declared
relation say otherwise, and two makes of one thing with unlike names are not. People agree far better with each other than with it, and the
part that goes by looks was never measured on a real store. `benchmarks/substitutes.py` has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray
    from scipy import sparse

    from ..items.category_tree import Categories

ALIKE = 0.69
"""Mean of name likeness and cosine from which two items read alike: where half of 2,800 pairs labelled by people agrees best (kappa)."""
ALIKE_BY_NAME = 0.63
"""The same for the name alone, where a vector is missing."""
FEW, MANY = 0.5, 2.0
"""Bought together at most half, or at least twice, as often as pairs that as many users looked at: compared, or meant for each other."""
UNLIKELY = 0.01
"""Chance under which such a rate counts as real."""
BLOCK = 16_384
"""Pairs whose texts are compared at once: two blocks of vectors, about 50 MB."""
SUBSTITUTE_RELATIONS = ("substitute_of", "alternative_to", "replaces")
"""Relations that declare a substitute, in either direction. Any other relation says that two things belong together."""


@dataclass(frozen=True)
class Substitutes:
    """Which pairs of items shoppers choose between.

    Attributes:
        shelf: (items,) the narrowest category of each, -1 for none.
        letters: (items, letter pairs) ones where a name has two letters side by side. name_size: (items,) how many it has.
        vectors: (items, dimensions) unit rows; a zero row where there is none. has_vector: (items,)
        declared: 1 for pairs that are substitutes by a relation, -1 for those that belong together by one.
        behaviour: 1 for pairs that shoppers compare, -1 for those that they buy with each other, going by looks and purchases.
    """

    shelf: NDArray[np.int32]
    letters: sparse.csr_array
    name_size: NDArray[np.int64]
    vectors: NDArray[np.float32]
    has_vector: NDArray[np.bool_]
    declared: Verdicts
    behaviour: Verdicts

    @classmethod
    def build(
        cls,
        items: pl.DataFrame,
        categories: Categories,
        vectors: NDArray[np.float32] | None = None,
        *,
        viewed: sparse.csr_array | None = None,
        bought: sparse.csr_array | None = None,
        relations: pl.DataFrame | None = None,
    ) -> Substitutes:
        """What is needed to tell the substitutes of a catalogue.

        Args:
            items: columns item_id, title; a row per item. categories: of the same rows.
            vectors: (items, dimensions) unit vectors of the items' texts, a zero row where unknown; None: names alone.
            viewed / bought: (items, items) users who looked at both, and those of them who bought both (see `looks.looked_and_bought`).
            relations: columns head, relation, tail of item ids; others are passed over.
        Raises: ValueError: the shapes do not belong together, or one of `viewed` and `bought` comes without the other.
        """
        n = len(items)
        vectors = np.zeros((n, 0), dtype=np.float32) if vectors is None else vectors
        if len(categories.of_item) != n or len(vectors) != n:
            raise ValueError(f"{n} items, but categories of {len(categories.of_item)} and vectors of {len(vectors)}")
        if (viewed is None) != (bought is None):
            raise ValueError("looks say nothing without purchases, nor purchases without looks: give both or neither")
        letters = _letters(items["title"])
        return cls(
            shelf=categories.at(max(categories.levels, 1)),
            letters=letters,
            name_size=np.diff(letters.indptr).astype(np.int64),
            vectors=vectors,
            has_vector=np.einsum("id,id->i", vectors, vectors) > 0.5,
            declared=_declared(items, relations),
            behaviour=_compared(viewed, bought) if viewed is not None and bought is not None else Verdicts.none(n),
        )

    def label(self, left: NDArray[np.int64], right: NDArray[np.int64], *, block: int = BLOCK) -> NDArray[np.bool_]:
        """(pairs,) whether the items of each pair are substitutes, whichever comes first; an item is none for itself.

        Args: left, right: (pairs,) item rows. block: pairs whose texts are compared at once; changes nothing but memory.
        """
        left, right = np.asarray(left, dtype=np.int64), np.asarray(right, dtype=np.int64)
        shelves = self.shelf[left], self.shelf[right]
        unknown = (shelves[0] < 0) | (shelves[1] < 0)
        same = (shelves[0] == shelves[1]) & ~unknown
        behaviour, declared = self.behaviour.of(left, right), self.declared.of(left, right)
        found: NDArray[np.bool_] = same & (behaviour > 0)
        ask = np.flatnonzero(((same & (behaviour == 0)) | (unknown & (behaviour >= 0))) & (declared == 0))
        found[ask] = self.alike(left[ask], right[ask], block=block)
        found[declared != 0] = declared[declared != 0] > 0
        found[left == right] = False
        return found

    def alike(self, left: NDArray[np.int64], right: NDArray[np.int64], *, block: int = BLOCK) -> NDArray[np.bool_]:
        """(pairs,) whether two items read nearly alike, their shelves aside; never where one has no name.

        Args: as for `label`."""
        out = np.empty(len(left), dtype=bool)
        for start in range(0, len(left), block):
            a, b = left[start : start + block], right[start : start + block]
            likeness = self.name_likeness(a, b)
            both = self.has_vector[a] & self.has_vector[b]
            alike = ~both & (likeness >= ALIKE_BY_NAME)
            both &= likeness >= 2 * ALIKE - 1  # below that no cosine helps
            cosine = np.einsum("id,id->i", self.vectors[a[both]], self.vectors[b[both]])
            alike[both] = (likeness[both] + cosine) / 2 >= ALIKE
            out[start : start + block] = alike
        return out

    def name_likeness(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        """(pairs,) how much of two names is the same, 0 to 1: letter pairs in both, over the mean of those in each.

        Letters and not words, because not every script sets words apart. Source: Dice, Ecology 1945.
        """
        shared = np.asarray(self.letters[left].multiply(self.letters[right]).sum(axis=1), dtype=np.float64).ravel()
        sizes = np.maximum(self.name_size[left] + self.name_size[right], 1)
        return np.asarray(2 * shared / sizes)


@dataclass(frozen=True)
class Verdicts:
    """What is known of single pairs, whichever item comes first.

    Attributes:
        key: (pairs,) int64 smaller row * items + larger row, ascending and distinct. verdict: (pairs,) int8 1 or -1. items: how many.
    """

    key: NDArray[np.int64]
    verdict: NDArray[np.int8]
    items: int

    @classmethod
    def none(cls, items: int) -> Verdicts:
        """Nothing is known."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int8), items)

    @classmethod
    def merge(cls, left: NDArray[np.int64], right: NDArray[np.int64], verdict: NDArray[np.int8], items: int) -> Verdicts:
        """The verdicts on pairs in any order; of several on one pair the highest holds."""
        key, place = np.unique(np.minimum(left, right) * items + np.maximum(left, right), return_inverse=True)
        highest = np.full(len(key), -1, dtype=np.int8)
        np.maximum.at(highest, place, verdict)
        return cls(key, highest, items)

    def of(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int8]:
        """(pairs,) the verdict on each, 0 where there is none."""
        if not len(self.key):
            return np.zeros(len(left), dtype=np.int8)
        key = np.minimum(left, right) * self.items + np.maximum(left, right)
        place = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return np.where(self.key[place] == key, self.verdict[place], 0).astype(np.int8)


def _letters(titles: pl.Series) -> sparse.csr_array:
    """(items, letter pairs) ones: which two letters stand side by side in a title, its edges counted as spaces."""
    import polars as pl
    from scipy import sparse

    plain = titles.fill_null("").str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    # All titles as one run of code points, each between two spaces: an empty one is nothing but a line's end.
    run = pl.select(pl.when(plain != "").then(" " + plain + " ").otherwise(pl.lit("")) + "\n").to_series().str.join("").item() or ""
    points = np.frombuffer(run.encode("utf-32-le"), dtype=np.uint32).astype(np.int64)
    row = np.cumsum(points == ord("\n")) - (points == ord("\n"))
    inside = (points[:-1] != ord("\n")) & (points[1:] != ord("\n"))
    pairs = points[:-1] << 21 | points[1:]
    pairs, row = pairs[inside], row[:-1][inside]
    known = pl.Series(pairs).unique().sort().to_numpy()
    shape = (len(titles), max(len(known), 1))
    found = sparse.csr_array((np.ones(len(pairs), dtype=np.int32), (row, np.searchsorted(known, pairs))), shape=shape)
    found.sum_duplicates()
    found.data[:] = 1  # a name has two letters side by side or not, however often
    return found


def _declared(items: pl.DataFrame, relations: pl.DataFrame | None) -> Verdicts:
    """What relations say of pairs of items; who is declared both is a substitute."""
    import polars as pl

    if relations is None or not len(relations):
        return Verdicts.none(len(items))
    rows = pl.DataFrame({"item_id": items["item_id"], "row": np.arange(len(items), dtype=np.int64)})
    name = pl.col("relation").str.strip_chars().str.to_lowercase().str.replace_all(r"[\s-]+", "_")
    told = (
        relations.select("head", "tail", name.is_in(SUBSTITUTE_RELATIONS).fill_null(False).alias("substitute"))
        .join(rows.rename({"item_id": "head", "row": "left"}), on="head")
        .join(rows.rename({"item_id": "tail", "row": "right"}), on="tail")
    )
    verdict = np.where(told["substitute"].to_numpy(), 1, -1).astype(np.int8)
    return Verdicts.merge(told["left"].to_numpy(), told["right"].to_numpy(), verdict, len(items))


def _compared(viewed: sparse.csr_array, bought: sparse.csr_array) -> Verdicts:
    """Which pairs are bought together far less, or far more, than pairs usually are that as many users looked at.

    Both tails are those of a Poisson count: its mean is the users who looked at both times the store's usual share of them who bought both.
    """
    from scipy import sparse
    from scipy.special import gammainc, gammaincc

    if viewed.shape != bought.shape:
        raise ValueError(f"looks of {viewed.shape} items, but purchases of {bought.shape}")
    looked = sparse.coo_array(sparse.triu(viewed.maximum(viewed.T), k=1))
    left, right = (np.asarray(part, dtype=np.int64) for part in looked.coords)
    if not len(left):
        return Verdicts.none(int(viewed.shape[0]))
    both = np.asarray(sparse.csr_array(bought.maximum(bought.T))[left, right], dtype=np.float64)
    users = np.asarray(looked.data, dtype=np.float64)
    usual = users * (both.sum() / max(users.sum(), 1.0))
    seldom = (both <= FEW * usual) & (gammaincc(both + 1, usual) <= UNLIKELY)
    often = (both >= MANY * usual) & (both > 0) & (gammainc(np.maximum(both, 1), usual) <= UNLIKELY)
    verdict = seldom.astype(np.int8) - often.astype(np.int8)
    known = verdict != 0
    return Verdicts.merge(left[known], right[known], verdict[known], int(viewed.shape[0]))
