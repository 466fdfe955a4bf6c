"""Linear and latent-factor baselines: EASE and iALS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.ragged import RaggedArray
    from ..splits.training_data import TrainingData


@dataclass(frozen=True, slots=True)
class EASEConfig:
    """Hyperparameters of `EASEScorer`."""

    penalty: float = 500.0
    """Ridge penalty, lambda in the source."""
    items: int = 12_000
    """Number of most popular items in the model; memory grows with its square and time with its cube."""


class EASEScorer:
    """EASE: each item as a linear combination of all others, in closed form.

    Items outside the `items` most popular ones score 0 and contribute nothing.

    Source: Steck, WWW 2019.
    """

    def __init__(self, training: TrainingData, config: EASEConfig) -> None:
        from scipy import linalg

        self.item_count = training.item_count
        model_size = min(config.items, int((training.user_counts > 0).sum()))
        self.model_items = np.sort(np.argsort(-training.user_counts, kind="stable")[:model_size])
        interactions = training.matrix[:, self.model_items]
        gram = (interactions.T @ interactions).toarray().astype(np.float32)
        gram[np.diag_indices_from(gram)] += config.penalty
        factor, _ = linalg.lapack.spotrf(gram, lower=1, overwrite_a=1)
        inverse, _ = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
        inverse = np.tril(inverse)
        inverse += np.tril(inverse, -1).T
        weights = inverse / -np.diag(inverse)
        weights[np.diag_indices_from(weights)] = 0
        self.weights: NDArray[np.float32] = weights.astype(np.float32)

    def scores(self, histories: RaggedArray) -> NDArray[np.float32]:
        """Return (cases, items) scores of either sign."""
        scores = np.zeros((len(histories), self.item_count), dtype=np.float32)
        scores[:, self.model_items] = histories.matrix(self.item_count)[:, self.model_items] @ self.weights
        return scores


@dataclass(frozen=True, slots=True)
class IALSConfig:
    """Hyperparameters of `IALSScorer`."""

    factors: int = 64
    """Number of latent dimensions."""
    alpha: float = 10.0
    """Confidence of an interaction, relative to 1 for no interaction."""
    penalty: float = 0.01
    """L2 penalty."""
    iterations: int = 10
    """Number of alternating least squares iterations."""


class IALSScorer:
    """iALS: matrix factorization by implicit alternating least squares, with the user vector of a case solved from its history.

    Raises:
        MissingExtraError: The `implicit` library is not installed.

    Source: Hu, Koren and Volinsky, ICDM 2008, as implemented by the `implicit` library.
    """

    def __init__(self, training: TrainingData, config: IALSConfig, *, seed: int = 0) -> None:
        try:
            from implicit.cpu.als import AlternatingLeastSquares
        except ImportError as error:
            raise MissingExtraError('the iALS baseline requires the implicit library: pip install "crossaisle[baselines]"') from error
        from scipy import sparse
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, "blas"):  # implicit has its own threads
            model = AlternatingLeastSquares(
                factors=config.factors, regularization=config.penalty, alpha=config.alpha, iterations=config.iterations, random_state=seed
            )
            model.fit(sparse.csr_matrix(training.matrix), show_progress=False)
        self.model, self.vectors = model, np.asarray(model.item_factors, dtype=np.float32)  # (items, factors)

    def scores(self, histories: RaggedArray) -> NDArray[np.float32]:
        """Return (cases, items) scores, about 0 to 1."""
        from scipy import sparse
        from threadpoolctl import threadpool_limits

        interactions = histories.matrix(len(self.vectors))
        interactions.data[:] = 1
        with threadpool_limits(1, "blas"):
            users = self.model.recalculate_user(np.arange(len(histories)), sparse.csr_matrix(interactions))
        return np.asarray(users @ self.vectors.T, dtype=np.float32)
