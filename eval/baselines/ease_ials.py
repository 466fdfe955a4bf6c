"""Baselines that solve for weights: EASEScorer and iALS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...retrieval.items.ragged import Runs
    from ..splits.training_data import TrainingData


@dataclass(frozen=True, slots=True)
class EASEConfig:
    """Config of `EASEScorer`."""

    penalty: float = 500.0
    """Ridge penalty, lambda of the source."""
    items: int = 12_000
    """The most had items that take part; memory and time grow with the square and the cube of it."""


class EASEScorer:
    """Each item as a linear mix of all others, in closed form.

    Items beyond the cap score 0: they neither point nor are pointed at.

    Source: Steck, WWW 2019.
    """

    def __init__(self, training: TrainingData, config: EASEConfig) -> None:
        from scipy import linalg

        self.items = training.item_count
        self.kept = np.sort(np.argsort(-training.user_counts, kind="stable")[: min(config.items, int((training.user_counts > 0).sum()))])
        part = training.matrix[:, self.kept]
        gram = (part.T @ part).toarray().astype(np.float32)
        gram[np.diag_indices_from(gram)] += config.penalty
        factor, _ = linalg.lapack.spotrf(gram, lower=1, overwrite_a=1)
        inverse, _ = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
        inverse = np.tril(inverse)
        inverse += np.tril(inverse, -1).T
        weights = inverse / -np.diag(inverse)
        weights[np.diag_indices_from(weights)] = 0
        self.weights: NDArray[np.float32] = weights.astype(np.float32)

    def scores(self, histories: Runs) -> NDArray[np.float32]:
        """(cases, items) any sign."""
        found = np.zeros((len(histories), self.items), dtype=np.float32)
        found[:, self.kept] = histories.matrix(self.items)[:, self.kept] @ self.weights
        return found


@dataclass(frozen=True, slots=True)
class IALSConfig:
    """Config of `IALSScorer`."""

    factors: int = 64
    """Dimensions of the vectors."""
    alpha: float = 10.0
    """How much more an interaction counts than none."""
    penalty: float = 0.01
    """Ridge penalty."""
    iterations: int = 10
    """Rounds of alternating least squares."""


class IALSScorer:
    """Vectors of users and items by alternating least squares; a case's vector is solved for from its history.

    Source: Hu, Koren and Volinsky, ICDM 2008, as the `implicit` library has it.

    Raises: MissingExtraError: `implicit` is not installed.
    """

    def __init__(self, training: TrainingData, config: IALSConfig, *, seed: int = 0) -> None:
        try:
            from implicit.cpu.als import AlternatingLeastSquares
        except ImportError as error:
            raise MissingExtraError('the iALS baseline needs the library implicit: pip install "crossaisle[baselines]"') from error
        from scipy import sparse
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, "blas"):  # the library has threads of its own
            model = AlternatingLeastSquares(
                factors=config.factors, regularization=config.penalty, alpha=config.alpha, iterations=config.iterations, random_state=seed
            )
            model.fit(sparse.csr_matrix(training.matrix), show_progress=False)
        self.model, self.vectors = model, np.asarray(model.item_factors, dtype=np.float32)  # (items, factors)

    def scores(self, histories: Runs) -> NDArray[np.float32]:
        """(cases, items) about 0 to 1."""
        from scipy import sparse
        from threadpoolctl import threadpool_limits

        held = histories.matrix(len(self.vectors))
        held.data[:] = 1
        with threadpool_limits(1, "blas"):
            users = self.model.recalculate_user(np.arange(len(histories)), sparse.csr_matrix(held))
        return np.asarray(users @ self.vectors.T, dtype=np.float32)
