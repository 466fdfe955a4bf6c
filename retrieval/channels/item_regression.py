"""The channel `item_regression`: every item as a linear combination of the other items of a history, in closed form (EASE).

Unlike item-kNN it discounts what several history items say in common. It covers the items with the most users; the rest is left to the
other channels. It knows no order, no text and no categories.

Source: Steck, WWW 2019.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...data.atomic_files import replacing_folder
from ...data.errors import StaleIndexError, TrainingError, storage_errors
from ..items.ragged import RaggedArray
from .behavioural import ItemSimilarity

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from .base import CandidateQuery, ChannelScores, ChannelTrainingView, ServedItems, TrainingContext

MODEL, ITEM_IDS, CARD = "model.safetensors", "items.parquet", "card.json"


@dataclass(frozen=True, slots=True)
class ItemRegressionConfig:
    """Training configuration of the regression."""

    penalty: float = 500.0
    """Ridge penalty, lambda in the source."""
    items: int = 6000
    """Number of items with the most users in the model; memory grows with its square and time with its cube. On a store of 26,586 items,
    twice as many ranked no better."""
    max_weights: int = 1000
    """Weights kept per item, those of largest magnitude; with 300 the NDCG on films fell by 2 to 5 %."""


class ItemRegression:
    """The regression weights as a channel over one catalogue: a `TrainableChannel`."""

    name: ClassVar[str] = "item_regression"

    def __init__(
        self, weights: sparse.csr_array, config: ItemRegressionConfig, ids: Sequence[str] = (), card: Mapping[str, Any] | None = None
    ) -> None:
        """Wrap item weights.

        Args:
            weights: (items, items) weight of the column's item for a history with the row's.
            config: Training configuration.
            ids: (items,) item ids, which are stored with the weights.
            card: Content of the card: entries about the data, and the metrics under `figures`.
        """
        self.weights, self.config, self.ids, self.card = weights, config, ids, card or {}
        self._similarity = ItemSimilarity(weights)

    def __len__(self) -> int:
        return int(self.weights.shape[0])

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Penalty, and the configurations tried with their NDCG@10."""
        metrics: Mapping[str, Any] = self.card.get("figures", {})
        return metrics

    @classmethod
    def fit(cls, view: ChannelTrainingView, context: TrainingContext) -> ItemRegression:
        """Return the channel fitted to the histories of a view.

        Raises:
            TrainingError: No item has users.
        """
        config = context.configs.get(cls.name, ItemRegressionConfig())
        weights = regression_weights(RaggedArray(view.events.starts, view.events.row), len(view.catalogue), config)
        metrics = {"tried": list(context.trials.get(cls.name, ())), "penalty": config.penalty}
        return cls(weights, config, view.catalogue.ids, {**context.about, "figures": metrics})

    def save(self, folder: Path) -> None:
        """Replace a folder with the weights, the ids of their items and their card.

        Raises:
            StorageError: The folder cannot be written.
        """
        import polars as pl
        from safetensors.numpy import save_file

        arrays = {"indptr": self.weights.indptr, "indices": self.weights.indices, "data": self.weights.data}
        with storage_errors(f"the weights in {folder}"), replacing_folder(folder) as staging:
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, staging / MODEL)
            pl.DataFrame({"item_id": pl.Series(self.ids, dtype=pl.String)}).write_parquet(staging / ITEM_IDS)
            (staging / CARD).write_text(json.dumps({**self.card, "config": asdict(self.config)}, indent=1), "utf-8")

    @classmethod
    def load(cls, folder: Path, items: ServedItems) -> ItemRegression:
        """Return the channel of a folder over a catalogue; items unknown to the training have no weights.

        Raises:
            StaleIndexError: It cannot be read.
        """
        import polars as pl
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
        from scipy import sparse

        try:
            config = ItemRegressionConfig(**json.loads((folder / CARD).read_text("utf-8"))["config"])
            arrays = load_file(folder / MODEL)
            trained_ids = pl.read_parquet(folder / ITEM_IDS)["item_id"].to_list()
            count = len(trained_ids)
            trained = sparse.csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=(count, count))
            trained.check_format()
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
            raise StaleIndexError(f"{folder} cannot be read ({type(error).__name__}); run `crossaisle train -w {folder.parent}`") from error
        size = len(items.ids)
        row_of = {item_id: row for row, item_id in enumerate(items.ids)}
        rows = np.asarray([row_of.get(item_id, -1) for item_id in trained_ids], dtype=np.int64)  # (trained,)
        source, target = np.repeat(rows, np.diff(trained.indptr)), rows[trained.indices] if count else np.empty(0, np.int64)
        known = (source >= 0) & (target >= 0)
        weights = sparse.csr_array((trained.data[known], (source[known], target[known])), shape=(size, size))
        return cls(weights, config, items.ids)

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return sums of weights, of either sign, and the anchors."""
        return self._similarity.scores(query)


def regression_weights(histories: RaggedArray, items: int, config: ItemRegressionConfig) -> sparse.csr_array:
    """Return (items, items) float32 weights.

    Args:
        histories: (users,) item rows.
        items: Number of items.
        config: Training configuration.

    Raises:
        TrainingError: No item has users.
    """
    from scipy import sparse

    user_items = histories.matrix(items)
    user_items.data[:] = 1
    user_counts = np.bincount(user_items.indices, minlength=items)
    rows = np.sort(np.argsort(-user_counts, kind="stable")[: min(config.items, int((user_counts > 0).sum()))])
    if not len(rows):
        raise TrainingError("there are no interactions to fit the regression to")
    part = user_items[:, rows].tocsr()
    inverse = _inverse(part, config.penalty)
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices_from(weights)] = 0
    if config.max_weights < len(rows):
        magnitude = np.abs(weights)
        threshold = np.partition(magnitude, len(rows) - config.max_weights, axis=1)[:, len(rows) - config.max_weights, None]
        weights[magnitude < threshold] = 0
    source, target = np.nonzero(weights)
    return sparse.csr_array((weights[source, target].astype(np.float32), (rows[source], rows[target])), shape=(items, items))


def _inverse(user_items: sparse.csr_array, penalty: float) -> NDArray[np.float32]:
    """(items, items) inverse of X'X + penalty I. With fewer users than items it is computed from XX', by the Woodbury identity."""
    users, items = user_items.shape
    if users >= items:
        return regularized_inverse(user_items.T @ user_items, penalty)
    by_users = regularized_inverse(user_items @ user_items.T, penalty)  # (users, users)
    inverse = -(user_items.T @ (by_users @ user_items))
    inverse[np.diag_indices_from(inverse)] += 1
    return np.asarray(inverse / penalty, dtype=np.float32)


def regularized_inverse(gram: sparse.csr_array, penalty: float) -> NDArray[np.float32]:
    """Return the inverse of a Gram matrix plus `penalty` times the identity, by Cholesky decomposition.

    Args:
        gram: (n, n) symmetric and positive semi-definite.
        penalty: Above 0.
    """
    from scipy import linalg

    matrix = gram.toarray().astype(np.float32)
    matrix[np.diag_indices_from(matrix)] += penalty
    factor, _ = linalg.lapack.spotrf(matrix, lower=1, overwrite_a=1)
    inverse, _ = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    inverse = np.tril(inverse)
    inverse += np.tril(inverse, -1).T
    return np.asarray(inverse, dtype=np.float32)
