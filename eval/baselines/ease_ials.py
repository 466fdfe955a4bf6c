"""Linear and latent-factor baselines: EASE and iALS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import MissingExtraError
from ...retrieval.channels.item_regression import regularized_inverse

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

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

    Items outside the `items` most popular ones score 0 and contribute nothing. With fewer users than items in the model, the inverse of the
    source is computed from a (users, users) matrix, which is smaller; the scores are equal up to rounding.

    Source: Steck, WWW 2019.
    """

    def __init__(self, training: TrainingData, config: EASEConfig) -> None:
        self.item_count = training.item_count
        model_size = min(config.items, int((training.user_counts > 0).sum()))
        self.model_items = np.sort(np.argsort(-training.user_counts, kind="stable")[:model_size])
        interactions = training.matrix[:, self.model_items].tocsr()
        solve = _UserInverse if interactions.shape[0] < model_size else _ItemWeights
        self.solution: _UserInverse | _ItemWeights = solve(interactions, config.penalty)

    def scores(self, histories: RaggedArray) -> NDArray[np.float32]:
        """Return (cases, items) scores of either sign."""
        scores = np.zeros((len(histories), self.item_count), dtype=np.float32)
        scores[:, self.model_items] = self.solution.scores(histories.matrix(self.item_count)[:, self.model_items].tocsr())
        return scores


class _ItemWeights:
    """EASE as (items, items) weights: B = I - P / diag(P), with P = inverse(X'X + penalty I)."""

    def __init__(self, interactions: sparse.csr_array, penalty: float) -> None:
        inverse = regularized_inverse(interactions.T @ interactions, penalty)
        weights = inverse / -np.diag(inverse)
        weights[np.diag_indices_from(weights)] = 0
        self.weights: NDArray[np.float32] = weights.astype(np.float32, copy=False)

    def scores(self, histories: sparse.csr_array) -> NDArray[np.float32]:
        """(cases, items) h B of each history h."""
        return np.asarray(histories @ self.weights)


class _UserInverse:
    """EASE from Q = inverse(XX' + penalty I), (users, users): by the Woodbury identity, P = (I - X'QX) / penalty."""

    def __init__(self, interactions: sparse.csr_array, penalty: float) -> None:
        self.interactions, item_users = interactions, interactions.T.tocsr()
        self.item_users = item_users @ regularized_inverse(interactions @ interactions.T, penalty)  # (items, users) X'Q
        self.diagonal = 1 - np.asarray(item_users.multiply(self.item_users).sum(axis=1))  # (items,) penalty times the diagonal of P

    def scores(self, histories: sparse.csr_array) -> NDArray[np.float32]:
        """(cases, items) h B = h - h P / diag(P) of each history h."""
        items = histories.toarray()
        return np.asarray(items - (items - (histories @ self.item_users) @ self.interactions) / self.diagonal, dtype=np.float32)


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
