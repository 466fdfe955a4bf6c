"""The channel `factors`: implicit ALS matrix factorization with a text-regression prior on the item factors.

An item's factors are not shrunk to zero but to a linear map of its text embedding, which is fitted to the factors of the items with users.
So an item with many users is placed by them, one with two users near items with similar text, and an item added later has factors at once.
A shopper's factors are solved for from the history at query time. The model knows no order and no categories.

Sources: Hu, Koren and Volinsky, ICDM 2008 (the loss); Wang and Blei, KDD 2011 (the text prior); Takács, Pilászy and Tikk, RecSys 2011
(conjugate gradients in place of an exact solution per user); Rendle et al., RecSys 2022 (how much the penalty matters).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...data.atomic_files import replacing_folder
from ...data.errors import StaleIndexError, storage_errors
from ..items.ragged import RaggedArray

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from .base import CandidateQuery, ChannelScores, ChannelTrainingView, ServedItems, TrainingContext

MODEL, ITEM_IDS, CARD = "model.safetensors", "items.parquet", "card.json"
CHUNK = 1 << 17
"""Interactions whose factors are multiplied at once."""


@dataclass(frozen=True, slots=True)
class FactorizationConfig:
    """Training configuration of the factorization."""

    size: int = 96
    """Dimensions of the factors."""
    confidence: float = 10.0
    """Weight of an observed interaction relative to a missing one."""
    penalty: float = 30.0
    """L2 penalty on user factors, and on the distance of item factors from their text prior."""
    text: bool = True
    """Whether to use the text prior; without it, item factors are shrunk to zero."""
    ridge: float = 1.0
    """Ridge penalty of the map from text embeddings to item factors."""
    rounds: int = 10
    """Alternations of solving for the users and for the items."""
    steps: int = 3
    """Conjugate gradient steps of each."""
    seed: int = 0
    """Random seed of the initial factors."""


@dataclass(frozen=True)
class ItemFactors:
    """Fitted item factors.

    Attributes:
        items: (items, size) factors.
        text_map: (dimensions, size) linear map from text embeddings to the prior of the factors.
        offset: (size,) offset of that map.
        config: Training configuration.
    """

    items: NDArray[np.float32]
    text_map: NDArray[np.float32]
    offset: NDArray[np.float32]
    config: FactorizationConfig

    def from_text(self, text_vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the factors that the text prior expects.

        Args:
            text_vectors: (items, dimensions) text embeddings; zero rows, for items without a text, yield zeros.
        """
        prior = text_vectors @ self.text_map + self.offset
        prior[~text_vectors.any(axis=1)] = 0
        return np.asarray(prior, dtype=np.float32)


class MatrixFactorization:
    """The item factors as a channel over one catalogue: a `TrainableChannel`."""

    name: ClassVar[str] = "factors"

    def __init__(self, factors: ItemFactors, ids: Sequence[str] = (), card: Mapping[str, Any] | None = None) -> None:
        """Wrap item factors.

        Args:
            factors: Factors of the catalogue's items.
            ids: (items,) item ids, which are stored with the factors.
            card: Content of the card: entries about the data, and the metrics under `figures`.
        """
        self.factors, self.ids, self.card = factors, ids, card or {}
        self.items, self.config = factors.items, factors.config

    def __len__(self) -> int:
        return len(self.items)

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Penalty, and the penalties tried with their NDCG@10 on validation users."""
        metrics: Mapping[str, Any] = self.card.get("figures", {})
        return metrics

    @classmethod
    def fit(cls, view: ChannelTrainingView, context: TrainingContext) -> MatrixFactorization:
        """Return the channel fitted to the histories of a view."""
        config = replace(context.configs.get(cls.name, FactorizationConfig()), seed=context.seed)
        factors = fit_factors(RaggedArray(view.events.starts, view.events.row), view.vectors, config)
        metrics = {"tried": list(context.trials.get(cls.name, ())), "penalty": config.penalty}
        return cls(factors, view.catalogue.ids, {**context.about, "figures": metrics})

    def save(self, folder: Path) -> None:
        """Replace a folder with the factors, the ids of their items and their card.

        Raises:
            StorageError: The folder cannot be written.
        """
        import polars as pl
        from safetensors.numpy import save_file

        arrays = {"items": self.factors.items, "image": self.factors.text_map, "offset": self.factors.offset}
        with storage_errors(f"the factors in {folder}"), replacing_folder(folder) as staging:
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, staging / MODEL)
            pl.DataFrame({"item_id": pl.Series(self.ids, dtype=pl.String)}).write_parquet(staging / ITEM_IDS)
            (staging / CARD).write_text(json.dumps({**self.card, "config": asdict(self.config)}, indent=1), "utf-8")

    @classmethod
    def load(cls, folder: Path, items: ServedItems) -> MatrixFactorization:
        """Return the channel of a folder over a catalogue; items unknown to the training get the factors of their text.

        Raises:
            StaleIndexError: It was trained on embeddings of another size, or cannot be read.
        """
        import polars as pl
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        remedy = f"run `crossaisle train -w {folder.parent}`"
        try:
            config = FactorizationConfig(**json.loads((folder / CARD).read_text("utf-8"))["config"])
            arrays = load_file(folder / MODEL)
            factors = ItemFactors(arrays["items"], arrays["image"], arrays["offset"], config)
            trained_ids = pl.read_parquet(folder / ITEM_IDS)["item_id"].to_list()
            dimensions, size = factors.text_map.shape
            if factors.items.shape != (len(trained_ids), size) or factors.offset.shape != (size,):
                raise ValueError("the shapes of the arrays do not fit together")
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
            raise StaleIndexError(f"{folder} cannot be read ({type(error).__name__}); {remedy}") from error
        vectors = items.vectors
        if dimensions != vectors.shape[1]:
            raise StaleIndexError(
                f"{folder} was trained on text vectors of {dimensions} dimensions, the index has {vectors.shape[1]}; {remedy}"
            )
        trained_row = {item_id: row for row, item_id in enumerate(trained_ids)}
        rows = np.asarray([trained_row.get(item_id, -1) for item_id in items.ids], dtype=np.int64)
        aligned = factors.items[rows] if len(trained_ids) else np.zeros((len(items.ids), size), np.float32)
        aligned[rows < 0] = factors.from_text(vectors[rows < 0])
        return cls(replace(factors, items=aligned), items.ids)

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return the predicted preference for each item, about 0 to 1, and the anchors."""
        return self.item_scores(query), self.anchors(query, np.arange(len(self)))

    def item_scores(self, query: CandidateQuery) -> NDArray[np.float32]:
        """(items,) scores without anchors."""
        return self._predict(query.rows, query.undecayed_weights)

    def anchors(self, query: CandidateQuery, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(rows,) anchors of some items."""
        if not len(query.rows):
            return np.full(len(rows), -1, dtype=np.int64)
        contributions = self.contributions(query.rows, query.undecayed_weights, rows)
        return np.where(contributions.sum(axis=0) > 0, contributions.argmax(axis=0), -1).astype(np.int64)

    def contributions(
        self, history_rows: NDArray[np.int64], weights: NDArray[np.float64], rows: NDArray[np.int64] | slice = slice(None)
    ) -> NDArray[np.float32]:
        """Return (history, rows) what each item of a history contributes to the predictions, which are their sums.

        Args:
            history_rows: (history,) item rows.
            weights: (history,) of the items.
            rows: The items to predict, by default all.
        """
        matrix, history_factors, confidence = self._normal_equations(history_rows, weights)
        return np.asarray((history_factors * confidence[:, None]) @ np.linalg.solve(matrix, self.items[rows].T), dtype=np.float32)

    def scores_of(self, histories: RaggedArray) -> NDArray[np.float32]:
        """(cases, items) scores of histories whose items have equal weights."""
        scores = np.empty((len(histories), len(self)), np.float32)
        for case in range(len(histories)):
            rows = np.unique(histories[case].astype(np.int64))
            scores[case] = self._predict(rows, np.ones(len(rows)))
        return scores

    def history_factors(self, rows: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return (size,) the factors of a shopper, solved for from a history; zeros without one.

        Args:
            rows: (history,) item rows.
            weights: (history,) of the items.
        """
        matrix, history_factors, confidence = self._normal_equations(rows, weights)
        return np.asarray(np.linalg.solve(matrix, confidence @ history_factors), dtype=np.float32)

    def _predict(self, rows: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.asarray(np.maximum(self.items @ self.history_factors(rows, weights), 0), dtype=np.float32)

    def _normal_equations(
        self, rows: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Normal equations of a shopper's factors: (size, size) matrix, (history, size) item factors, (history,) confidence."""
        history_factors = self.items[rows]
        confidence = np.maximum(self.config.confidence * weights, 1).astype(np.float32)
        matrix = self._gram + (history_factors * (confidence - 1)[:, None]).T @ history_factors
        return np.asarray(matrix, dtype=np.float32), history_factors, confidence

    @cached_property
    def _gram(self) -> NDArray[np.float32]:
        return _gram(self.items, self.config)


def fit_factors(histories: RaggedArray, text_vectors: NDArray[np.float32], config: FactorizationConfig | None = None) -> ItemFactors:
    """Return the item factors.

    Args:
        histories: (users,) item rows of each user.
        text_vectors: (items, dimensions) unit vectors, zeros for an item without a text.
        config: Training configuration; None for the default.
    """
    config = config or FactorizationConfig()
    user_items = histories.matrix(len(text_vectors))
    user_items.data[:] = 1
    item_users = user_items.T.tocsr()
    user_counts = np.diff(item_users.indptr)
    rng = np.random.default_rng(config.seed)
    item_factors = (0.01 * rng.standard_normal((len(text_vectors), config.size))).astype(np.float32)
    item_factors[user_counts == 0] = 0
    user_factors = np.zeros((user_items.shape[0], config.size), np.float32)
    zeros, prior = np.zeros_like(user_factors), np.zeros_like(item_factors)
    factors = ItemFactors(
        item_factors, np.zeros((text_vectors.shape[1], config.size), np.float32), np.zeros(config.size, np.float32), config
    )
    text_prior = _TextPrior(text_vectors, user_counts, config) if config.text else None
    for _ in range(config.rounds):
        user_factors = _solve(user_items, item_factors, user_factors, zeros, config)
        item_factors = _solve(item_users, user_factors, item_factors, prior, config)
        factors = replace(factors, items=item_factors)
        if text_prior is not None:
            factors = text_prior.fit(factors)
            prior = factors.from_text(text_vectors)
    return factors


class _TextPrior:
    """Ridge regression from text embeddings to item factors; an item with n users has weight n / (n + 1)."""

    def __init__(self, text_vectors: NDArray[np.float32], user_counts: NDArray[np.integer[Any]], config: FactorizationConfig) -> None:
        self.weights = np.where(text_vectors.any(axis=1), user_counts / (user_counts + 1), 0).astype(np.float32)  # (items,)
        self.total_weight = max(float(self.weights.sum()), 1e-9)
        self.mean = self.weights @ text_vectors / self.total_weight
        self.centered = (text_vectors - self.mean) * np.sqrt(self.weights)[:, None]
        self.gram = self.centered.T @ self.centered + config.ridge * np.eye(text_vectors.shape[1], dtype=np.float32)

    def fit(self, factors: ItemFactors) -> ItemFactors:
        """Return the factors with the text map fitted to them."""
        mean = self.weights @ factors.items / self.total_weight
        text_map = np.linalg.solve(self.gram, self.centered.T @ ((factors.items - mean) * np.sqrt(self.weights)[:, None]))
        return replace(factors, text_map=text_map.astype(np.float32), offset=(mean - self.mean @ text_map).astype(np.float32))


def _gram(vectors: NDArray[np.float32], config: FactorizationConfig) -> NDArray[np.float32]:
    return np.asarray(vectors.T @ vectors + config.penalty * np.eye(vectors.shape[1], dtype=np.float32), dtype=np.float32)


def _solve(
    observed: sparse.csr_array,
    column_factors: NDArray[np.float32],
    start: NDArray[np.float32],
    prior: NDArray[np.float32],
    config: FactorizationConfig,
) -> NDArray[np.float32]:
    """Conjugate gradients for the factors of all rows at once.

    Args:
        observed: (rows, columns) matrix of the observed interactions.
        column_factors: (columns, size) factors of the columns.
        start: (rows, size) initial factors.
        prior: (rows, size) factors that the solution is shrunk to.
        config: Training configuration.

    Returns:
        (rows, size) factors.
    """
    gram, extra_confidence = _gram(column_factors, config), np.float32(config.confidence - 1)
    entry_rows = np.repeat(np.arange(observed.shape[0]), np.diff(observed.indptr))

    def apply(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The matrices of the normal equations times a vector for each row."""
        return np.asarray(vectors @ gram + extra_confidence * _weighted_sums(observed, entry_rows, vectors, column_factors))

    factors = start.copy()
    residual = np.float32(config.confidence) * (observed @ column_factors) + np.float32(config.penalty) * prior - apply(factors)
    direction, squared_norm = residual.copy(), (residual * residual).sum(axis=1)
    for _ in range(config.steps):
        image = apply(direction)
        step = squared_norm / np.maximum((direction * image).sum(axis=1), 1e-20)
        factors += step[:, None] * direction
        residual -= step[:, None] * image
        previous, squared_norm = squared_norm, (residual * residual).sum(axis=1)
        direction = residual + (squared_norm / np.maximum(previous, 1e-20))[:, None] * direction
    return factors


def _weighted_sums(
    observed: sparse.csr_array, entry_rows: NDArray[np.int64], vectors: NDArray[np.float32], column_factors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(rows, size) for each row, the sum of its columns' factors, each times its product with the row's vector."""
    from scipy import sparse

    products = np.empty(len(entry_rows), np.float32)
    for begin in range(0, len(entry_rows), CHUNK):
        part = slice(begin, begin + CHUNK)
        products[part] = np.einsum("ij,ij->i", vectors[entry_rows[part]], column_factors[observed.indices[part]])
    return np.asarray(sparse.csr_array((products, observed.indices, observed.indptr), shape=observed.shape) @ column_factors)
