"""The channel `text_behaviour`: what shoppers of the items nearest to a text go on to.

A text query has no history, so behaviour could say nothing about it. The items nearest to the text by embedding stand in for one, weighted
by their cosine, and the matrix factorization predicts what their shoppers prefer. The nearest items themselves are proposed as well. On
pairs of items that are bought together, this ranks better than the cosine alone (`benchmarks/text_behaviour.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..index.vector_index import ITEMS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..index.vector_index import VectorSearch
    from ..items.catalogue import Catalogue
    from .matrix_factorization import MatrixFactorization

NAME = "text_behaviour"
NEAREST_ITEMS = 5
"""Items that stand in for a history."""
MIN_USERS = 3
"""Minimum users of such an item; behaviour says little about others."""
TEMPERATURE = 0.05
"""Difference in cosine at which the weight of an item falls to 1/e."""


@dataclass(frozen=True)
class NearestItems:
    """The items that stand in for the history of a text.

    Attributes:
        rows: (items,) rows, nearest first.
        weights: (items,) from 1, for the nearest, to 0.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class TextBehaviour:
    """The channel over one catalogue.

    Attributes:
        catalogue: the items.
        index: vectors of the items.
        load: returns the factorization when it is first needed; None for a store without one.
    """

    catalogue: Catalogue
    index: VectorSearch
    load: Callable[[], MatrixFactorization | None]

    @cached_property
    def factorization(self) -> MatrixFactorization | None:
        """The channel `factors`; None for a store without one."""
        return self.load()

    def nearest_items(self, text_vectors: NDArray[np.float32], excluded: Set[int] = frozenset()) -> NearestItems:
        """Return the items nearest to any of some texts.

        Args:
            text_vectors: (texts, dimensions) unit vectors.
            excluded: rows that do not stand in.
        """
        catalogue, rows = self.catalogue, self.catalogue.rows

        def wanted(_: int, ids: list[str]) -> list[bool]:
            found = [rows.get(item_id) for item_id in ids]
            return [row is not None and row not in excluded and int(catalogue.users[row]) >= MIN_USERS for row in found]

        cosines: dict[int, float] = {}
        for page in self.index.nearest(ITEMS, text_vectors, wanted, NEAREST_ITEMS, rounds=3):
            for item_id, cosine in page:
                cosines[rows[item_id]] = max(cosine, cosines.get(rows[item_id], -1.0))
        best = sorted(cosines, key=lambda row: (-cosines[row], row))[:NEAREST_ITEMS]
        values = np.asarray([cosines[row] for row in best], dtype=np.float64)
        return NearestItems(np.asarray(best, dtype=np.int64), np.exp((values - values.max(initial=-1.0)) / TEMPERATURE))

    def scores(self, text_vectors: NDArray[np.float32], excluded: Set[int] = frozenset()) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return (items,) scores, 0 for none, and (items,) rows of the nearest item that contributes most to each, -1 for none.

        Args:
            text_vectors: (texts, dimensions) unit vectors; may be empty.
            excluded: rows that do not stand in for a history.
        """
        count, factorization = len(self.catalogue), self.factorization if len(text_vectors) else None
        nothing = np.zeros(count, np.float32), np.full(count, -1, dtype=np.int64)
        if factorization is None:
            return nothing
        nearest = self.nearest_items(text_vectors, excluded)
        if not len(nearest.rows):
            return nothing
        factors = factorization.history_factors(nearest.rows, nearest.weights)
        scores = np.zeros(count, np.float32)
        scores[: len(factorization)] = np.maximum(factorization.items @ factors, 0)
        contributions = factorization.contributions(nearest.rows, nearest.weights)  # (nearest, items)
        anchors = np.full(count, -1, dtype=np.int64)
        anchors[: len(factorization)] = np.where(scores[: len(factorization)] > 0, nearest.rows[contributions.argmax(axis=0)], -1)
        return scores, anchors
