"""Behaviour of training questions, which the LLM reads as soft tokens, computed without the users of the questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import StaleTrainingError
from ...llm.models.projector import ProjectorInputs
from ...recommend.ranking.behaviour import soft_inputs

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ...llm.ranking.packs import SoftInputs
    from ...recommend.ranking.features import FeatureMatrix
    from ..fold_factors import FoldFactors

FILE = "behaviour.safetensors"
"""File in the blend's folder."""


@dataclass(frozen=True)
class BehaviourExamples:
    """Behaviour of the questions of `RankerExamples`, in their order.

    Attributes:
        factors_id: Id of the factorization in whose space the factors are.
        history_factors: (queries, size) factors of each history.
        item_factors: (entries, size) factors of items, one entry for each item and fold that occurs.
        entry: (candidates,) entry of each candidate.
        feature_names: (features) of the blend.
        features: (candidates, features).
    """

    factors_id: str
    history_factors: NDArray[np.float16]
    item_factors: NDArray[np.float16]
    entry: NDArray[np.int32]
    feature_names: Sequence[str]
    features: NDArray[np.float16]

    @property
    def inputs(self) -> ProjectorInputs:
        """What a projector reads of them."""
        return ProjectorInputs(self.item_factors.shape[1], tuple(self.feature_names), self.factors_id)

    @classmethod
    def of_candidates(
        cls,
        factors: Sequence[FoldFactors],
        fold: NDArray[np.int64],
        rows: NDArray[np.int32],
        features: FeatureMatrix,
        factors_id: str,
    ) -> BehaviourExamples:
        """Return the behaviour of candidates.

        Args:
            factors: (folds) all in the space of the factorization that serves.
            fold: (candidates,) fold of each candidate's query.
            rows: (candidates,) item rows.
            features: (candidates, features).
            factors_id: Id of the factorization that serves.
        """
        items = len(factors[0].items)
        used, entry = np.unique(fold * items + rows, return_inverse=True)
        item_factors = np.stack([factors[key // items].items[key % items] for key in used.tolist()])
        histories = np.concatenate([each.histories for each in factors])
        half = (histories.astype(np.float16), item_factors.astype(np.float16))
        return cls(factors_id, *half, entry.reshape(-1).astype(np.int32), features.names, features.values.astype(np.float16))

    def soft_inputs(self, query: int, candidates: NDArray[np.int64] | slice, history_length: int) -> SoftInputs:
        """Return the numbers about a query and some of its candidates.

        Args:
            query: Index of the query.
            candidates: Which candidates, of all queries.
            history_length: Number of items in the history.
        """
        factors = self.item_factors[self.entry[candidates]]
        return soft_inputs(self.history_factors[query], history_length, factors, self.features[candidates])

    def save(self, folder: Path) -> None:
        """Write the behaviour into a folder."""
        from safetensors.numpy import save_file

        arrays = {
            "history_factors": self.history_factors,
            "item_factors": self.item_factors,
            "entry": self.entry,
            "features": self.features,
        }
        metadata = {"factors_id": self.factors_id, "feature_names": "\n".join(self.feature_names)}
        save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, folder / FILE, metadata=metadata)


def load_behaviour(folder: Path) -> BehaviourExamples | None:
    """Return the behaviour of a blend's folder; None if it has none, as blends of former versions.

    Raises:
        StaleTrainingError: It cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    file = folder / FILE
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="numpy") as arrays:
            metadata: Mapping[str, str] = arrays.metadata()
            names = ("history_factors", "item_factors", "entry", "features")
            history_factors, item_factors, entry, features = (arrays.get_tensor(name) for name in names)
        feature_names = tuple(metadata["feature_names"].split("\n"))
        return BehaviourExamples(metadata["factors_id"], history_factors, item_factors, entry, feature_names, features)
    except (OSError, KeyError, TypeError, SafetensorError) as error:
        raise StaleTrainingError(
            f"{file} cannot be read ({type(error).__name__}); run `crossaisle train -w {folder.parent} blend`"
        ) from error
