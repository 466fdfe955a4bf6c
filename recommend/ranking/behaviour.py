"""Numbers about a history and its candidates, for a language model that reads behaviour as soft tokens beside the texts.

They are the factors of the history and of the candidates, and the features that the blend ranks by. The model reads them only if its
adapter was trained on this factorization: in another one, the same factor means something else.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...data.atomic_files import sha256
from ...llm.ranking.packs import SoftInputs
from ...retrieval.channels.base import CachedChannel
from ...retrieval.channels.matrix_factorization import MODEL, MatrixFactorization
from .features import FeatureMatrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...llm.models.projector import ProjectorInputs
    from ...retrieval.channels.base import CandidateQuery, Channel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BehaviourReader:
    """Reads the behaviour of a store.

    Attributes:
        factorization: the channel `factors`.
        workspace: folder of the workspace.
    """

    factorization: MatrixFactorization
    workspace: Path

    @cached_property
    def factors_id(self) -> str:
        """Id of the factorization. Only a model that reads behaviour needs it: it takes reading the whole file."""
        return factorization_id(self.workspace)

    @classmethod
    def of_channels(cls, workspace: Path, channels: Mapping[str, Channel]) -> BehaviourReader | None:
        """Return the reader over the channels of a workspace's blend; None without factors.

        Args:
            workspace: folder of the workspace.
            channels: name to channel.
        """
        channel = channels.get(MatrixFactorization.name)
        channel = channel.channel if isinstance(channel, CachedChannel) else channel
        if not isinstance(channel, MatrixFactorization):
            return None
        return cls(channel, workspace)

    def soft_inputs(
        self, inputs: ProjectorInputs, query: CandidateQuery, rows: NDArray[np.integer], features: FeatureMatrix
    ) -> SoftInputs | None:
        """Return the numbers about a history and some candidates; None if the model was trained on other factors.

        Args:
            inputs: what the model reads.
            query: the history.
            rows: (candidates,) item rows.
            features: (candidates, features) of the blend.
        """
        if inputs.factors_id != self.factors_id:
            logger.warning("the LLM's adapter was trained with other factors, so it reads texts alone: run `crossaisle train ranker`")
            return None
        factors = self.factorization.history_factors(query.rows, query.undecayed_weights)
        return soft_inputs(factors, len(query.rows), self.factorization.items[rows], features.select(inputs.features))


def soft_inputs(
    history_factors: NDArray[np.floating], history_length: int, item_factors: NDArray[np.floating], features: NDArray[np.floating]
) -> SoftInputs:
    """Return the numbers in the order of `ProjectorInputs`.

    Args:
        history_factors: (size,).
        history_length: number of items in the history.
        item_factors: (candidates, size).
        features: (candidates, features).
    """
    history = np.concatenate([history_factors, [np.log1p(history_length)]])
    return SoftInputs(history.astype(np.float32), np.concatenate([item_factors, features], axis=1).astype(np.float32))


def factorization_id(workspace: Path) -> str:
    """Return the id of the trained factorization of a workspace; empty if there is none."""
    file = workspace / MatrixFactorization.name / MODEL
    return sha256(file)[:16] if file.exists() else ""
