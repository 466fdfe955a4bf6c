"""The channel `graph`: a trained graph model as a channel of candidates.

Beside the factors the blend gains nothing from it: in `benchmarks/results/blend-*.json` the ablation `blend without graph` has the same
NDCG@10 within its interval on all four stores, also for targets without or with at most two users in training (`by_target_popularity`).
`crossaisle train` therefore leaves it out unless `--channels` names it; `crossaisle train -w WS graph` trains it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..items.ragged import RaggedArray
from .model import GraphConfig, GraphModel
from .storage import load_graph, save_graph
from .trainer import train_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..channels.base import CandidateQuery, ChannelScores, ChannelTrainingView, ServedItems, TrainingContext


class GraphChannel:
    """A graph model as a `TrainableChannel` whose scores start at 0."""

    name: ClassVar[str] = "graph"

    def __init__(self, model: GraphModel) -> None:
        self.model = model

    def __len__(self) -> int:
        return len(self.model)

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Dimensions of the embeddings, and the metrics of the training under `figures`."""
        return {name: value for name, value in self.model.card.items() if name != "about"}

    @classmethod
    def fit(cls, view: ChannelTrainingView, context: TrainingContext) -> GraphChannel:
        """Return the channel trained on a view.

        Raises:
            TrainingError: Too few users have several categories, or the training diverged.
        """
        config = replace(context.configs.get(cls.name, GraphConfig()), seed=context.seed)
        model = train_graph(
            view.interactions,
            view.events,
            view.catalogue,
            view.vectors,
            config,
            relations=view.relations,
            about=context.about,
            progress=context.progress,
        )
        return cls(model)

    def save(self, folder: Path) -> None:
        """Replace a folder with the model and its card.

        Raises:
            StorageError: The folder cannot be written.
        """
        save_graph(self.model, folder)

    @classmethod
    def load(cls, folder: Path, items: ServedItems) -> GraphChannel:
        """Return the channel of a folder; it scores the items of the snapshot that it was trained on.

        Raises:
            StaleTrainingError: It was trained on another snapshot or with another embedder.
            NotTrainedError: It cannot be read.
        """
        about = {"snapshot": items.snapshot}
        return cls(load_graph(folder, dimensions=items.vectors.shape[1], items=items.snapshot_size, about=about))

    def scores(self, query: CandidateQuery) -> ChannelScores:
        """Return logits minus the lowest one, and the anchors."""
        return self.item_scores(query), self.anchors(query, np.arange(len(self)))

    def item_scores(self, query: CandidateQuery) -> NDArray[np.float32]:
        """(items,) scores without anchors."""
        history = RaggedArray(np.asarray([0, len(query.rows)]), np.asarray(query.rows, dtype=np.int32))
        logits = self.model.scores_of(history, query.weights)[0]
        return np.asarray(logits - logits.min(initial=np.inf))

    def anchors(self, query: CandidateQuery, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(rows,) anchors of some items."""
        return self.model.anchors(query.rows, query.weights, rows)
