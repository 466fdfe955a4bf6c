"""Training of the graph, from a snapshot's tables in memory to a `GraphModel`. Knows nothing of workspaces or files.

Users who are held out for early stopping are in no edge until training has ended; then the parameters stay and the edges are counted again,
of everybody. How an example's own answer is kept out of its question is told in `graph_steps`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
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

    from ..items.catalogue import Catalogue
    from ..items.interactions import Events, Order

Progress = Callable[[str, int, int], None]
MIN_USERS = 30
"""Users with more than one category below which there is nothing to learn from."""
VALIDATION_SHARE = 0.1
"""Share of those users that early stopping looks at."""
MAX_VALIDATION_EXAMPLES = 1000
"""Examples of theirs, at most."""
MAX_EXAMPLES = 200_000
K = 10
BLOCK = 4096
FEATURE_SCALE = 20.0
"""Spreads of a further feature that weigh as much as a text's whole vector."""
log = logging.getLogger(__name__)


def train_graph(
    interactions: pl.DataFrame,
    events: Events,
    catalogue: Catalogue,
    vectors: NDArray[np.float32],
    config: GraphConfig = GraphConfig(),
    *,
    relations: pl.DataFrame | None = None,
    further: NDArray[np.float32] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress = lambda *_: None,
) -> GraphModel:
    """A graph trained on a snapshot, or on the part of it that may be known.

    Args:
        interactions: of all kinds; they make the edges. events: those that figures are counted from; they make the examples.
        vectors: (items, dimensions) of the items' texts, zero rows where there is none. further: (items, columns) further features, finite.
        relations: the store's own table (see `RELATION_COLUMNS`), if it has one. about: what the card is to say of the data.
    Raises: TrainingError: too few users with several categories, or a loss that is no number before the first round ended.
    """
    share_cores()
    start = time.perf_counter()
    random = np.random.default_rng(config.seed)
    progress("examples", 0, 1)
    examples = CategoryEntryExamples.from_events(events, catalogue, config.history, random)
    users = np.unique(examples.user)
    if len(users) < MIN_USERS:
        raise TrainingError(
            f"{len(users):,} users have items of more than one category, the graph needs {MIN_USERS} to learn what leads to what; "
            "ingest more interactions, or, if the categories are too broad, index at a deeper category level"
        )
    further = np.zeros((len(vectors), 0), np.float32) if further is None else further
    scale = _feature_scale(further)
    features = np.concatenate([vectors, (further - scale[0]) / scale[1]], axis=1).astype(np.float32)
    held = random.permutation(users)[: min(MAX_VALIDATION_EXAMPLES, max(5, int(VALIDATION_SHARE * len(users))))]
    progress("edges", 0, 2)
    owned = UserItemEdges.from_interactions(interactions, events, catalogue, config.window)
    world = GraphTrainingContext.from_edges(features, catalogue, owned.without_users(held), relations, config)
    aside = np.isin(examples.user, held)
    learned = examples.subset(_sample(np.flatnonzero(~aside), MAX_EXAMPLES, random))
    watched = examples.subset(_sample(np.flatnonzero(aside), MAX_VALIDATION_EXAMPLES, random))
    with _seeded(config.seed):
        run = _GraphTrainer(world, learned, watched, events.order, config, random)
        figures = run.fit(progress)
        progress("edges", 1, 2)
        whole = GraphTrainingContext.from_edges(features, catalogue, owned, relations, config)
        arrays = run.arrays(whole)
    both = arrays.pop("text_target")  # what is linear in all features is so in each kind of them
    arrays |= {"text_target": both[: vectors.shape[1]].copy(), "further_target": both[vectors.shape[1] :].copy(), "further": scale}
    figures |= {
        "users": len(users),
        "examples": len(learned),
        "edges": {name: int((whole.edges.kind == kind).sum()) for kind, name in enumerate(whole.edges.kinds)},
        "seconds": round(time.perf_counter() - start, 1),
    }
    progress("edges", 2, 2)
    return GraphModel(arrays, config, {"dimensions": int(vectors.shape[1]), "about": dict(about or {}), "figures": figures})


class _GraphTrainer:
    """One training."""

    def __init__(
        self,
        world: GraphTrainingContext,
        learned: CategoryEntryExamples,
        held: CategoryEntryExamples,
        order: Order,
        config: GraphConfig,
        random: np.random.Generator,
    ) -> None:
        self.context, self.validation, self.config, self.rng = world, held, config, random
        self.loss = GraphLoss(world, learned, order, config, random)
        kinds, categories = len(world.edges.kinds), len(world.catalogue.nodes)
        self.network: Any = modules().Body(world.features.shape[1], config, kinds, self.loss.heads, categories)
        self.loss.network = self.network

    def fit(self, progress: Progress) -> dict[str, Any]:
        """Trains until the held-out users are ranked no better, and leaves the best state in `body`; figures of the training."""
        import torch

        self._initialise()
        optimizer = torch.optim.AdamW(self._parameter_groups(), lr=self.config.rate)
        steps = math.ceil(min(len(self.loss.examples), self.config.examples) / self.config.batch)
        best, best_state, since, rounds, stopped = -1.0, None, 0, [], "rounds"
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
            reached = self.validation_ndcg()
            rounds.append({"loss": round(float(np.mean(losses)), 4), "ndcg@10": round(reached, 5)})
            log.info("round %d: %s", epoch + 1, rounds[-1])
            if reached > best:
                best, since = reached, 0
                best_state = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
            else:
                since += 1
            if since >= self.config.patience:
                stopped = "no better"
                break
        if best_state is None:
            raise TrainingError(
                f"the loss was no number before the first round ended, at a learning rate of {self.config.rate:g}; "
                "lower the rate, and see that the further features of items, if there are any, are finite and not huge"
            )
        self.network.load_state_dict(best_state)
        return {"ndcg@10": round(best, 5), "held_out_examples": len(self.validation), "rounds": rounds, "stopped": stopped}

    def _initialise(self) -> None:
        """Targets and histories start from the same view of the texts, so that what reads alike starts alike."""
        import torch

        with torch.no_grad():
            self.network.history.weight.copy_(self.network.target.weight)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        slow = [self.network.scalars]
        rest = [value for value in self.network.parameters() if value is not self.network.scalars]
        return [{"params": rest, "weight_decay": self.config.decay}, {"params": slow, "weight_decay": 0.0, "lr": 0.03}]

    # ------------------------------------------------------------------ what comes of it

    def validation_ndcg(self) -> float:
        """NDCG@10 of the held-out users' examples, among all items outside the history's categories."""
        graph = GraphModel(self.arrays(self.context), self.config, {})
        category, found = self.context.catalogue.category, []
        for start in range(0, len(self.validation), 256):
            part = self.validation.subset(np.arange(start, min(start + 256, len(self.validation))))
            scores = graph.scores_of(part.histories)
            known = np.zeros((len(part), len(self.context.catalogue.nodes)), dtype=bool)
            known[part.histories.row_index, category[part.histories.rows]] = True
            scores[known[:, category]] = -np.inf
            k = min(K, scores.shape[1])
            top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            top = np.take_along_axis(top, np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable"), axis=1)
            hit = membership(part.targets, np.arange(scores.shape[1]))[np.arange(len(part))[:, None], top]
            gain = 1 / np.log2(np.arange(k) + 2)
            ideal = np.cumsum(gain)[np.minimum(part.targets.lengths, k) - 1]
            found.append((hit * gain).sum(axis=1) / ideal)
        return float(np.concatenate(found).mean()) if found else 0.0

    def arrays(self, world: GraphTrainingContext) -> dict[str, NDArray[Any]]:
        """What a `GraphModel` answers from."""
        import torch

        body, size, items = self.network.eval(), self.config.size, len(world.catalogue)
        found: dict[str, NDArray[Any]] = {name: np.empty((items, size), np.float16) for name in ("target", "history")}
        with torch.no_grad():
            for start in range(0, items, BLOCK):
                block = np.arange(start, min(start + BLOCK, items))
                rows, layers = sample_layers(world.edges, block, self.config.layers, None, self.rng)
                vectors = body(self.loss.features[torch.from_numpy(rows)], layers)
                for name, part in zip(("target", "history"), vectors, strict=True):
                    found[name][block] = part.numpy().astype(np.float16)
            for name in ("turn", "keys", "category", "category_bias", "scalars"):
                found[name] = getattr(body, name).detach().numpy().copy()
            found["text_target"] = (body.target.weight @ body.enter.weight).T.contiguous().numpy()
        assert found["scalars"].shape == (len(SCALARS),)
        found |= {"head": self.loss.head, "item_category": world.catalogue.category.astype(np.int64), "users": world.links.user_weights}
        found["sharpness"] = np.asarray(self.loss.sharpness)
        for name in LINKS if self.config.direct else ():
            pairs = getattr(world.links, name)
            found[f"{name}_values"] = pairs.data.astype(np.float16)
            found[f"{name}_partners"], found[f"{name}_starts"] = pairs.indices.astype(np.int32), pairs.indptr.astype(np.int64)
        return found


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draws by the seed and sums in one order, whatever the number of threads; afterwards torch is as it was."""
    import torch

    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warned)


def _sample(numbers: NDArray[np.int64], most: int, random: np.random.Generator) -> NDArray[np.int64]:
    return numbers if len(numbers) <= most else np.sort(random.choice(numbers, most, replace=False))


def _feature_scale(columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """(2, columns) what is taken off, and what is divided by: beside a unit vector a column must not shout."""
    spread = columns.std(axis=0)
    return np.asarray(np.stack([columns.mean(axis=0), np.where(spread > 0, spread, 1) * FEATURE_SCALE]), dtype=np.float32)
