"""Training of the graph, from tables in memory to a `GraphModel`. No workspaces or files are known here.

The users held out for early stopping have no edges until training has ended; then the parameters are kept and the edges of all users are
counted. `loss` describes how an example's own answer is kept out of its input.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import TrainingError
from ...data.threads import share_cores
from .edges import UserItemEdges
from .examples import CategoryEntryExamples
from .layers import modules, sample_layers
from .loss import GraphLoss, GraphTrainingContext, membership
from .model import LINKS, SCALARS, GraphConfig, GraphModel

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from ..channels.base import Progress
    from ..items.catalogue import Catalogue
    from ..items.interactions import Events, Order

logger = logging.getLogger(__name__)
MIN_USERS = 30
"""Users with several categories below which nothing is trained."""
VALIDATION_SHARE, MAX_VALIDATION_EXAMPLES = 0.1, 1000
"""Share of those users for early stopping, and the largest number of their examples."""
MAX_EXAMPLES = 200_000
"""Largest number of training examples."""
K = 10
"""Cutoff of the NDCG for early stopping."""
BLOCK = 4096
"""Items whose vectors are computed at once."""
SCALAR_RATE = 0.03
"""Learning rate of the scalars."""


def train_graph(
    interactions: pl.DataFrame,
    events: Events,
    catalogue: Catalogue,
    vectors: NDArray[np.float32],
    config: GraphConfig = GraphConfig(),
    *,
    relations: pl.DataFrame | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress = lambda *_: None,
) -> GraphModel:
    """Return a graph model trained on a snapshot, or on a part of it.

    Args:
        interactions: Interactions of all kinds, which become the edges.
        events: Events that counts are made from, which become the examples.
        catalogue: Catalogue of the items.
        vectors: (items, dimensions) text embeddings, zero rows for items without a text.
        config: Training configuration.
        relations: The store's declared relations (see `RELATION_COLUMNS`); None without any.
        about: Entries of the card about the data.
        progress: Progress callback.

    Raises:
        TrainingError: Too few users have several categories, or the loss became NaN in the first epoch.
    """
    share_cores()
    start = time.perf_counter()
    rng = np.random.default_rng(config.seed)
    progress("examples", 0, 1)
    examples = CategoryEntryExamples.from_events(events, catalogue, config.history, rng)
    users = np.unique(examples.user)
    if len(users) < MIN_USERS:
        raise TrainingError(
            f"{len(users):,} users have items of more than one category, the graph needs {MIN_USERS}; "
            "ingest more interactions, or, if the categories are too broad, index at a deeper category level"
        )
    validation_users = rng.permutation(users)[: min(MAX_VALIDATION_EXAMPLES, max(5, int(VALIDATION_SHARE * len(users))))]
    progress("edges", 0, 2)
    user_items = UserItemEdges.from_interactions(interactions, events, catalogue, config.window)
    context = GraphTrainingContext.from_edges(vectors, catalogue, user_items.without_users(validation_users), relations, config)
    in_validation = np.isin(examples.user, validation_users)
    training = examples.subset(_sample(np.flatnonzero(~in_validation), MAX_EXAMPLES, rng))
    validation = examples.subset(_sample(np.flatnonzero(in_validation), MAX_VALIDATION_EXAMPLES, rng))
    with _deterministic(config.seed):
        trainer = _GraphTrainer(context, training, validation, events.order, config, rng)
        metrics = trainer.fit(progress)
        progress("edges", 1, 2)
        full_context = GraphTrainingContext.from_edges(vectors, catalogue, user_items, relations, config)
        arrays = trainer.arrays(full_context)
    metrics |= {
        "users": len(users),
        "examples": len(training),
        "edges": {name: int((full_context.edges.kind == kind).sum()) for kind, name in enumerate(full_context.edges.kinds)},
        "seconds": round(time.perf_counter() - start, 1),
    }
    progress("edges", 2, 2)
    return GraphModel(arrays, config, {"dimensions": int(vectors.shape[1]), "about": dict(about or {}), "figures": metrics})


class _GraphTrainer:
    """One training run."""

    def __init__(
        self,
        context: GraphTrainingContext,
        training: CategoryEntryExamples,
        validation: CategoryEntryExamples,
        order: Order,
        config: GraphConfig,
        rng: np.random.Generator,
    ) -> None:
        self.context, self.validation, self.config, self.rng = context, validation, config, rng
        self.loss = GraphLoss(context, training, order, config, rng)
        kinds, categories = len(context.edges.kinds), len(context.catalogue.nodes)
        self.network: Any = modules().GraphNetwork(context.features.shape[1], config, kinds, self.loss.heads, categories)
        self.loss.network = self.network

    def fit(self, progress: Progress) -> dict[str, Any]:
        """Train until the validation NDCG stops rising, restore the best state, and return the metrics."""
        import torch

        self._initialise()
        optimizer = torch.optim.AdamW(self._parameter_groups(), lr=self.config.rate)
        steps = math.ceil(min(len(self.loss.examples), self.config.examples) / self.config.batch)
        best_ndcg, best_state, epochs_since_best, epochs, stopped = -1.0, None, 0, [], "rounds"
        for epoch in range(self.config.epochs):
            order = self.rng.permutation(len(self.loss.examples))[: self.config.examples]
            losses = []
            self.network.train()
            for step in range(steps):
                progress(f"training, round {epoch + 1} of at most {self.config.epochs}", step, steps)
                loss = self.loss.loss(np.sort(order[step * self.config.batch : (step + 1) * self.config.batch]))
                losses.append(float(loss.detach()))
                if not math.isfinite(losses[-1]):
                    break
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                optimizer.step()
            if not math.isfinite(losses[-1]):
                stopped = "a loss that is no number"
                break
            ndcg = self.validation_ndcg()
            epochs.append({"loss": round(float(np.mean(losses)), 4), "ndcg@10": round(ndcg, 5)})
            logger.info("epoch %d: %s", epoch + 1, epochs[-1])
            if ndcg > best_ndcg:
                best_ndcg, epochs_since_best = ndcg, 0
                best_state = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
            else:
                epochs_since_best += 1
            if epochs_since_best >= self.config.patience:
                stopped = "no better"
                break
        if best_state is None:
            raise TrainingError(
                f"the loss became NaN in the first epoch, at a learning rate of {self.config.rate:g}; lower the rate (`GraphConfig.rate`)"
            )
        self.network.load_state_dict(best_state)
        return {"ndcg@10": round(best_ndcg, 5), "held_out_examples": len(self.validation), "rounds": epochs, "stopped": stopped}

    def _initialise(self) -> None:
        """Give targets and histories the same initial projection, so that similar texts have similar vectors at first."""
        import torch

        with torch.no_grad():
            self.network.history.weight.copy_(self.network.target.weight)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        scalars = [self.network.scalars]
        others = [parameter for parameter in self.network.parameters() if parameter is not self.network.scalars]
        return [{"params": others, "weight_decay": self.config.decay}, {"params": scalars, "weight_decay": 0.0, "lr": SCALAR_RATE}]

    # ------------------------------------------------------------------ results

    def validation_ndcg(self) -> float:
        """Return the NDCG@10 of the validation examples among all items outside the history's categories."""
        model = GraphModel(self.arrays(self.context), self.config, {})
        category, values = self.context.catalogue.category, []
        for start in range(0, len(self.validation), 256):
            examples = self.validation.subset(np.arange(start, min(start + 256, len(self.validation))))
            scores = model.scores_of(examples.histories)
            known_categories = np.zeros((len(examples), len(self.context.catalogue.nodes)), dtype=bool)
            known_categories[examples.histories.row_index, category[examples.histories.rows]] = True
            scores[known_categories[:, category]] = -np.inf
            k = min(K, scores.shape[1])
            top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            top = np.take_along_axis(top, np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable"), axis=1)
            is_hit = membership(examples.targets, np.arange(scores.shape[1]))[np.arange(len(examples))[:, None], top]
            gain = 1 / np.log2(np.arange(k) + 2)
            ideal = np.cumsum(gain)[np.minimum(examples.targets.lengths, k) - 1]
            values.append((is_hit * gain).sum(axis=1) / ideal)
        return float(np.concatenate(values).mean()) if values else 0.0

    def arrays(self, context: GraphTrainingContext) -> dict[str, NDArray[Any]]:
        """Return the arrays of a `GraphModel` over the edges of a context."""
        import torch

        network, size, items = self.network.eval(), self.config.size, len(context.catalogue)
        arrays: dict[str, NDArray[Any]] = {name: np.empty((items, size), np.float16) for name in ("target", "history")}
        with torch.no_grad():
            for start in range(0, items, BLOCK):
                block = np.arange(start, min(start + BLOCK, items))
                rows, layers = sample_layers(context.edges, block, self.config.layers, None, self.rng)
                vectors = network(self.loss.features[torch.from_numpy(rows)], layers)
                for name, values in zip(("target", "history"), vectors, strict=True):
                    arrays[name][block] = values.numpy().astype(np.float16)
            for name in ("turn", "keys", "category", "category_bias", "scalars"):
                arrays[name] = getattr(network, name).detach().numpy().copy()
        assert arrays["scalars"].shape == (len(SCALARS),)
        arrays |= {"head": self.loss.head, "sharpness": np.asarray(self.loss.sharpness), "users": context.links.user_weights}
        arrays["item_category"] = context.catalogue.category.astype(np.int64)
        for name in LINKS if self.config.direct else ():
            pairs = getattr(context.links, name)
            arrays[f"{name}_values"] = pairs.data.astype(np.float16)
            arrays[f"{name}_partners"], arrays[f"{name}_starts"] = pairs.indices.astype(np.int32), pairs.indptr.astype(np.int64)
        return arrays


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """Seed torch and make it deterministic, whatever the number of threads; its state is restored afterwards."""
    import torch

    enabled, warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(enabled, warn_only=warn_only)


def _sample(indices: NDArray[np.int64], limit: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most `limit` of the indices, ascending."""
    return indices if len(indices) <= limit else np.sort(rng.choice(indices, limit, replace=False))
