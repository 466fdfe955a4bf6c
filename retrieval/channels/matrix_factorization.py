"""The channel `factors`: users and items as vectors whose product says who had what, each item's drawn towards what its text lets expect.

Alternating least squares over what users had and had not, with a prior: an item's vector is not shrunk to zero but to a linear image of its
text, which is fitted to the vectors of the items that were had. So an item that many had lies where they put it, one that two had lies near
what reads like it, and one that came later has a vector at once. A shopper's vector is solved for from the history when it is asked for.
Knows no order and no category.

Sources: Hu, Koren and Volinsky, ICDM 2008 (the loss); Wang and Blei, KDD 2011 (the prior from text); Takács, Pilászy and Tikk, RecSys 2011
(conjugate gradients in place of a solution for each user); Rendle et al., RecSys 2022 (how much hangs on the penalty).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.atomic_files import replacing_folder
from ...data.errors import StaleIndexError, storage_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from ..items.ragged import Runs
    from .base import CandidateQuery, ChannelScores

FOLDER, MODEL, ITEMS, CARD = "factors", "model.safetensors", "items.parquet", "card.json"
CHUNK = 1 << 17
"""Interactions whose vectors are multiplied at once."""


@dataclass(frozen=True, slots=True)
class FactorizationConfig:
    """How the vectors are fitted."""

    size: int = 96
    """Dimensions of the vectors."""
    confidence: float = 10.0
    """How many times as much counts what a user had as what they had not."""
    penalty: float = 30.0
    """On the squared length of a user's vector, and on the squared distance of an item's from what its text lets expect."""
    text: bool = True
    """Whether texts let anything expect; without, every item is drawn to zero."""
    ridge: float = 1.0
    """Penalty of the map from texts to vectors."""
    rounds: int = 10
    """Of solving for the users, then for the items."""
    steps: int = 3
    """Of conjugate gradients in each."""
    seed: int = 0
    """Of the first vectors."""


@dataclass(frozen=True)
class ItemFactors:
    """What is learned of one catalogue.

    Attributes:
        items: (items, size) their vectors. image, offset: (dimensions, size) and (size,), what a text lets expect: text @ image + offset.
        config: how they were fitted.
    """

    items: NDArray[np.float32]
    text_map: NDArray[np.float32]
    offset: NDArray[np.float32]
    config: FactorizationConfig

    def from_text(self, text_vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(items, size) vectors from texts alone. Args: texts: (items, dimensions); zeros, where there is no text, give zeros."""
        found = text_vectors @ self.text_map + self.offset
        found[~text_vectors.any(axis=1)] = 0
        return np.asarray(found, dtype=np.float32)


class MatrixFactorization:
    """The vectors as a channel over one catalogue."""

    def __init__(self, items: NDArray[np.float32], config: FactorizationConfig) -> None:
        """Args: items: (items, size)."""
        self.items, self.config = items, config

    def __len__(self) -> int:
        return len(self.items)

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """(items,) how likely each is had, about 0 to 1; (items,) the place of the history item that adds most."""
        return self.item_scores(query), self.anchors(query, np.arange(len(self)))

    def item_scores(self, query: CandidateQuery) -> NDArray[np.float32]:
        """(items,) the scores alone."""
        return self._predict(query.rows, query.undecayed_weights)

    def anchors(self, query: CandidateQuery, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(rows,) the places of some items."""
        if not len(query.rows):
            return np.full(len(rows), -1, dtype=np.int64)
        curve, had, weight = self._normal_equations(query.rows, query.undecayed_weights)
        shares = (had * weight[:, None]) @ np.linalg.solve(curve, self.items[rows].T)  # (history, rows), whose sums are the scores
        return np.where(shares.sum(axis=0) > 0, shares.argmax(axis=0), -1).astype(np.int64)

    def scores_of(self, histories: Runs) -> NDArray[np.float32]:
        """(cases, items) the scores of histories whose items all count alike."""
        found = np.empty((len(histories), len(self)), np.float32)
        for number in range(len(histories)):
            rows = np.unique(histories[number].astype(np.int64))
            found[number] = self._predict(rows, np.ones(len(rows)))
        return found

    def _predict(self, rows: NDArray[np.int64], liking: NDArray[np.float64]) -> NDArray[np.float32]:
        curve, had, weight = self._normal_equations(rows, liking)
        return np.maximum(self.items @ np.linalg.solve(curve, weight @ had), 0).astype(np.float32)

    def _normal_equations(
        self, rows: NDArray[np.int64], liking: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """What a shopper's vector is solved for from: (size, size) the curve; (history, size) vectors; (history,) what each counts."""
        had = self.items[rows]
        weight = np.maximum(self.config.confidence * liking, 1).astype(np.float32)
        curve = self._gram + (had * (weight - 1)[:, None]).T @ had
        return np.asarray(curve, dtype=np.float32), had, weight

    @cached_property
    def _gram(self) -> NDArray[np.float32]:
        return _gram(self.items, self.config)


def fit_factors(histories: Runs, text_vectors: NDArray[np.float32], config: FactorizationConfig | None = None) -> ItemFactors:
    """The vectors of the items.

    Args: pasts: one run of item rows a user. texts: (items, dimensions) unit vectors, zeros for an item without a text.
    """
    config = config or FactorizationConfig()
    user_items = histories.matrix(len(text_vectors))
    user_items.data[:] = 1
    by_item = user_items.T.tocsr()
    users = np.diff(by_item.indptr)
    draw = np.random.default_rng(config.seed)
    item_factors = (0.01 * draw.standard_normal((len(text_vectors), config.size))).astype(np.float32)
    item_factors[users == 0] = 0
    user_factors = np.zeros((user_items.shape[0], config.size), np.float32)
    zeros, prior = np.zeros_like(user_factors), np.zeros_like(item_factors)
    factors = ItemFactors(
        item_factors, np.zeros((text_vectors.shape[1], config.size), np.float32), np.zeros(config.size, np.float32), config
    )
    text_prior = _TextPrior(text_vectors, users, config) if config.text else None
    for _ in range(config.rounds):
        user_factors = _solve(user_items, item_factors, user_factors, zeros, config)
        item_factors = _solve(by_item, user_factors, item_factors, prior, config)
        factors = ItemFactors(item_factors, factors.text_map, factors.offset, config)
        if text_prior is not None:
            factors = text_prior.fit(factors)
            prior = factors.from_text(text_vectors)
    return factors


class _TextPrior:
    """The map from texts to vectors: a ridge regression in which an item counts the more, up to 1, the more users had it."""

    def __init__(self, texts: NDArray[np.float32], users: NDArray[np.integer[Any]], config: FactorizationConfig) -> None:
        self.share = np.where(texts.any(axis=1), users / (users + 1), 0).astype(np.float32)  # (items,)
        self.whole = max(float(self.share.sum()), 1e-9)
        self.middle = self.share @ texts / self.whole
        self.centred = (texts - self.middle) * np.sqrt(self.share)[:, None]
        self.curve = self.centred.T @ self.centred + config.ridge * np.eye(texts.shape[1], dtype=np.float32)

    def fit(self, found: ItemFactors) -> ItemFactors:
        """The same vectors with what texts let expect of them."""
        mean = self.share @ found.items / self.whole
        image = np.linalg.solve(self.curve, self.centred.T @ ((found.items - mean) * np.sqrt(self.share)[:, None]))
        return ItemFactors(found.items, image.astype(np.float32), (mean - self.middle @ image).astype(np.float32), found.config)


def _gram(vectors: NDArray[np.float32], config: FactorizationConfig) -> NDArray[np.float32]:
    return np.asarray(vectors.T @ vectors + config.penalty * np.eye(vectors.shape[1], dtype=np.float32), dtype=np.float32)


def _solve(
    had: sparse.csr_array, others: NDArray[np.float32], start: NDArray[np.float32], prior: NDArray[np.float32], config: FactorizationConfig
) -> NDArray[np.float32]:
    """(rows, size) the vectors that fit best which columns each row of a matrix has, given the columns' vectors.

    Args: start: where to look from. prior: what each is drawn to.
    """
    gram, more = _gram(others, config), np.float32(config.confidence - 1)
    owner = np.repeat(np.arange(had.shape[0]), np.diff(had.indptr))

    def bent(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(vectors @ gram + more * _weighted_sums(had, owner, vectors, others))

    found = start.copy()
    left = np.float32(config.confidence) * (had @ others) + np.float32(config.penalty) * prior - bent(found)
    ahead, square = left.copy(), (left * left).sum(axis=1)
    for _ in range(config.steps):
        curve = bent(ahead)
        length = square / np.maximum((ahead * curve).sum(axis=1), 1e-20)
        found += length[:, None] * ahead
        left -= length[:, None] * curve
        before, square = square, (left * left).sum(axis=1)
        ahead = left + (square / np.maximum(before, 1e-20))[:, None] * ahead
    return found


def _weighted_sums(
    had: sparse.csr_array, owner: NDArray[np.int64], vectors: NDArray[np.float32], others: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(rows, size) for each row the sum of its columns' vectors, each times its product with the row's own.

    Args: owner: the row of each entry of the matrix.
    """
    from scipy import sparse

    product = np.empty(len(owner), np.float32)
    for begin in range(0, len(owner), CHUNK):
        part = slice(begin, begin + CHUNK)
        product[part] = np.einsum("ij,ij->i", vectors[owner[part]], others[had.indices[part]])
    return np.asarray(sparse.csr_array((product, had.indices, had.indptr), shape=had.shape) @ others)


def save_factors(parent: Path, fitted: ItemFactors, ids: Sequence[str], card: Mapping[str, Any]) -> None:
    """Replaces the folder of the vectors, whole. Args: ids: (items,) whose vectors they are."""
    import polars as pl
    from safetensors.numpy import save_file

    home = parent / FOLDER
    with storage_errors(f"the factors in {home}"), replacing_folder(home) as fresh:
        arrays = {name: np.ascontiguousarray(getattr(fitted, name)) for name in ("items", "image", "offset")}
        save_file(arrays, fresh / MODEL)
        pl.DataFrame({"item_id": pl.Series(ids, dtype=pl.String)}).write_parquet(fresh / ITEMS)
        (fresh / CARD).write_text(json.dumps({**card, "config": asdict(fitted.config)}, indent=1), "utf-8")


def load_factors(parent: Path, ids: Sequence[str], texts: NDArray[np.float32]) -> MatrixFactorization | None:
    """The channel of a workspace, None where none was trained; an item that came later has the vector that its text lets expect.

    Args: ids: (items,) of the catalogue in use. texts: (items, dimensions) their text vectors.
    Raises: StaleIndexError: it was trained on another embedder's vectors, or cannot be read.
    """
    import polars as pl
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    home, mend = parent / FOLDER, f"run `crossaisle train -w {parent}`"
    if not home.exists():
        return None
    try:
        config = FactorizationConfig(**json.loads((home / CARD).read_text("utf-8"))["config"])
        arrays = load_file(home / MODEL)
        fitted = ItemFactors(arrays["items"], arrays["image"], arrays["offset"], config)
        known = pl.read_parquet(home / ITEMS)["item_id"].to_list()
        dimensions, size = fitted.text_map.shape
        if fitted.items.shape != (len(known), size) or fitted.offset.shape != (size,):
            raise ValueError("the shapes do not fit each other")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise StaleIndexError(f"{home} cannot be read ({type(error).__name__}); {mend}") from error
    if dimensions != texts.shape[1]:
        raise StaleIndexError(f"{home} was trained on text vectors of {dimensions} dimensions, the index has {texts.shape[1]}; {mend}")
    place = {key: row for row, key in enumerate(known)}
    rows = np.asarray([place.get(key, -1) for key in ids], dtype=np.int64)
    items = fitted.items[rows] if len(known) else np.zeros((len(ids), size), np.float32)
    items[rows < 0] = fitted.from_text(texts[rows < 0])
    return MatrixFactorization(items, config)
