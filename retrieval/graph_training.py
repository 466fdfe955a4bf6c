"""Training of the graph, from a snapshot's tables in memory to a `Graph`. Knows nothing of workspaces or files.

Nothing is learned from an answer that is in the question. A user's own pairs of history and target are taken off all that is counted before
the user's example is scored: exactly off the direct links and the target's users, and off the edges of the neighbourhood that a batch draws
(there the pairs of all examples of the batch, which makes an edge lighter by at most those few users). Users who are held out for early
stopping are in no edge until training has ended; then the parameters stay and the edges are counted again, of everybody.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.errors import TrainingError
from ..data.threads import share_cores
from .graph import LINKS, SCALARS, SHARPNESS, Graph, GraphConfig, aged, votes
from .graph_edges import Links, Neighbours, Owned, strongest
from .graph_examples import Examples, Own
from .graph_layers import hops, modules
from .runs import Runs

if TYPE_CHECKING:
    import polars as pl
    import torch
    from numpy.typing import NDArray
    from scipy import sparse

    from .catalogue import Catalogue
    from .events import Events, Order

Progress = Callable[[str, int, int], None]
MIN_USERS = 30
"""Users with more than one category below which there is nothing to learn from."""
HELD_OUT = 0.1
"""Share of those users that early stopping looks at."""
MOST_HELD_OUT = 2000
"""Examples of theirs, at most."""
MOST_EXAMPLES = 200_000
K = 10
BLOCK = 4096
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class World:
    """What a training works with.

    Attributes:
        features: (items, features) texts' vectors and further columns. owned, links, neighbours: of the users whose edges count.
        known: (items,) users of each item as the links have it.
    """

    features: NDArray[np.float32]
    catalogue: Catalogue
    owned: Owned
    links: Links
    neighbours: Neighbours

    @classmethod
    def of(cls, features: NDArray[np.float32], catalogue: Catalogue, owned: Owned, relations: pl.DataFrame | None, config: GraphConfig) -> World:
        """The world of some users."""
        links = Links.of(owned, config.partners, config.shrinkage)
        return cls(features, catalogue, owned, links, Neighbours.of(links, relations, catalogue, config.neighbours))


def train(
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
) -> Graph:
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
    examples = Examples.of(events, catalogue, config.history, random)
    users = np.unique(examples.user)
    if len(users) < MIN_USERS:
        raise TrainingError(
            f"{len(users):,} users have items of more than one category, the graph needs {MIN_USERS} to learn what leads to what; "
            "ingest more interactions, or, if the categories are too broad, index at a deeper category level"
        )
    features = vectors if further is None else np.concatenate([vectors, _standard(further)], axis=1)
    held = random.permutation(users)[: min(MOST_HELD_OUT, max(5, int(HELD_OUT * len(users))))]
    progress("edges", 0, 2)
    owned = Owned.of(interactions, events, catalogue, config.window)
    world = World.of(features, catalogue, owned.without(held), relations, config)
    aside = np.isin(examples.user, held)
    learned = examples.part(_some(np.flatnonzero(~aside), MOST_EXAMPLES, random))
    watched = examples.part(_some(np.flatnonzero(aside), MOST_HELD_OUT, random))
    with _seeded(config.seed):
        run = _Run(world, learned, watched, events.order, config, random)
        figures = run.fit(progress)
        progress("edges", 1, 2)
        whole = World.of(features, catalogue, owned, relations, config)
        arrays = run.arrays(whole)
    figures |= {
        "users": len(users),
        "examples": len(learned),
        "edges": {name: int((whole.neighbours.kind == kind).sum()) for kind, name in enumerate(whole.neighbours.kinds)},
        "seconds": round(time.perf_counter() - start, 1),
    }
    progress("edges", 2, 2)
    return Graph(arrays, config, {"dimensions": int(vectors.shape[1]), "about": dict(about or {}), "figures": figures})


class _Run:
    """One training."""

    def __init__(
        self, world: World, learned: Examples, held: Examples, order: Order, config: GraphConfig, random: np.random.Generator
    ) -> None:
        self.sharpness = SHARPNESS[order]
        self.world, self.learned, self.held, self.config, self.random = world, learned, held, config, random
        categories = len(world.catalogue.nodes)
        times = np.bincount(learned.category, minlength=categories)
        own = np.flatnonzero(times >= config.few)
        self.head = np.full(categories, 0, dtype=np.int64)  # the first head is that of the categories of few examples
        self.head[own] = 1 + np.arange(len(own))
        self.features = _tensor(world.features)
        body = modules().Body(world.features.shape[1], config, len(world.neighbours.kinds), 1 + len(own), categories)
        self.body: Any = body
        self.own = Own.of(learned, world.owned, world.links)
        self.pairs = np.searchsorted(self.own.example, np.arange(len(learned) + 1))
        targets = np.bincount(learned.targets.rows, minlength=len(world.catalogue)).astype(np.float64)
        # Half as much by how often an item is a target, half alike: what is drawn is as popular as what is right, and nothing is never drawn.
        share = 0.5 * targets / max(targets.sum(), 1) + 0.5 / max(len(targets), 1)
        self.drawn = np.minimum(1, config.negatives * share) if len(targets) > config.negatives else np.ones(len(targets))
        self.links = [getattr(world.links, name) for name in LINKS] if config.direct else []

    def fit(self, progress: Progress) -> dict[str, Any]:
        """Trains until the held-out users are ranked no better, and leaves the best state in `body`; figures of the training."""
        import torch

        self._first()
        optimizer = torch.optim.AdamW(self._groups(), lr=self.config.rate)
        steps = math.ceil(min(len(self.learned), self.config.examples) / self.config.batch)
        best, best_state, since, rounds, stopped = -1.0, None, 0, [], "rounds"
        for epoch in range(self.config.epochs):
            order = self.random.permutation(len(self.learned))[: self.config.examples]
            losses = []
            self.body.train()
            for step in range(steps):
                progress(f"training, round {epoch + 1} of at most {self.config.epochs}", step, steps)
                loss = self._loss(np.sort(order[step * self.config.batch : (step + 1) * self.config.batch]))
                losses.append(float(loss.detach()))
                if not math.isfinite(losses[-1]):
                    break
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.body.parameters(), 1.0)
                optimizer.step()
            if not math.isfinite(losses[-1]):
                stopped = "a loss that is no number"
                break
            reached = self.quality()
            rounds.append({"loss": round(float(np.mean(losses)), 4), "ndcg@10": round(reached, 5)})
            log.info("round %d: %s", epoch + 1, rounds[-1])
            if reached > best:
                best, since = reached, 0
                best_state = {name: value.detach().clone() for name, value in self.body.state_dict().items()}
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
        self.body.load_state_dict(best_state)
        return {"ndcg@10": round(best, 5), "held_out_examples": len(self.held), "rounds": rounds, "stopped": stopped}

    def _first(self) -> None:
        """Targets and histories start from the same view of the texts, so that what reads alike starts alike."""
        import torch

        with torch.no_grad():
            self.body.history.weight.copy_(self.body.target.weight)

    def _groups(self) -> list[dict[str, Any]]:
        slow = [self.body.scalars]
        rest = [value for value in self.body.parameters() if value is not self.body.scalars]
        return [{"params": rest, "weight_decay": self.config.decay}, {"params": slow, "weight_decay": 0.0, "lr": 0.03}]

    # ------------------------------------------------------------------ one step

    def _loss(self, numbers: NDArray[np.int64]) -> torch.Tensor:
        import torch
        from torch.nn.functional import softplus

        world, scalars = self.world, self.body.scalars
        part = self.learned.part(numbers)
        weights = aged(part.histories)
        voted = [
            (part.histories.matrix(len(self.drawn), votes(part.histories, weights, sharpness)) @ pairs).tocsr()
            for pairs, sharpness in zip(self.links, self.sharpness, strict=False)
        ]
        hard = strongest(_sum(voted), self.config.hard) if voted else None
        drawn = np.flatnonzero(self.random.random(len(self.drawn)) < self.drawn)
        candidates = np.unique(np.concatenate([part.targets.rows, drawn, hard.indices if hard is not None else drawn]).astype(np.int64))
        entries = np.unique(part.histories.rows.astype(np.int64))
        nodes = np.union1d(candidates, entries)
        own = _ranges(self.pairs[numbers], self.pairs[numbers + 1])
        rows, layers = hops(
            world.neighbours, nodes, self.config.layers, self.config.drawn, self.random, self.own.made(own, len(self.drawn))
        )
        target, history = self.body(self.features[torch.from_numpy(rows)], layers)
        target = target[torch.from_numpy(np.searchsorted(nodes, candidates))]
        place = torch.from_numpy(np.searchsorted(nodes, part.histories.rows.astype(np.int64)))
        head = torch.from_numpy(self.head[part.category])
        vectors, owner = history[place], torch.from_numpy(part.histories.owner)
        age = scalars[0] * _tensor(np.log(weights))
        user = _attended(age, vectors, self.body.keys[head][owner], owner, len(part))
        user = user + torch.bmm(self.body.turn[head], user[:, :, None])[:, :, 0]
        look = _attended(age, vectors, self.body.keys[-1].expand(len(place), -1), owner, len(part))
        category = world.catalogue.category[candidates].astype(np.int64)
        codes = torch.from_numpy(category)
        scores = scalars[1].exp() * user @ target.T + (look @ self.body.category.T + self.body.category_bias)[:, codes]
        scores = scores + scalars[6] * _tensor(np.log1p(world.links.users[candidates]))
        right = self._right(part, numbers, own, weights, candidates)
        linked = self.random.random((len(part), 1)) >= self.config.alone
        for number, (name, found) in enumerate(zip(LINKS, voted, strict=False)):
            said = found[:, candidates].toarray() * linked
            said[right.example, right.place] -= right.own[name]  # below 0, made 0, where the example has none
            scores = scores + scalars[2 + number] * torch.log1p(_tensor(np.maximum(said, 0)) / scalars[4 + number].exp())
        found = scores[right.example, right.place]
        # A user's own purchase is taken off what its target is known by.
        users = world.links.users[candidates[right.place]]
        found = found + scalars[6] * _tensor(np.log1p(np.maximum(users - right.weight, 0)) - np.log1p(users))
        others = scores + _tensor(self._correction(candidates, drawn, hard))
        had = _marked(part.had, candidates)
        inside = torch.from_numpy((category == part.category[:, None]) & ~had)
        known = np.zeros((len(part), len(world.catalogue.nodes)), dtype=bool)
        known[part.histories.owner, world.catalogue.category[part.histories.rows]] = True
        outside = torch.from_numpy(~known[:, category] & ~had)
        example = torch.from_numpy(right.example)
        share = _tensor(1 / part.targets.lengths[right.example] / len(part))
        loss = torch.zeros(())
        for mask, counts in ((inside, 1 - self.config.across), (outside, self.config.across)):
            against = torch.logsumexp(others.masked_fill(~mask, -1e9), dim=1)
            loss = loss + counts * (softplus(against[example] - found) * share).sum()
        return loss + 0.01 * self.body.turn[torch.unique(head)].square().sum()

    def _correction(self, candidates: NDArray[np.int64], drawn: NDArray[np.int64], hard: sparse.csr_array | None) -> NDArray[np.float64]:
        """What makes sums over the candidates sums over all items on average: what was drawn counts once over its chance.

        Each example's strongest votes always take part in its own sum, or the sums would mostly miss what they mostly consist of; what is in
        the batch for another example alone counts nothing. Returns: (candidates,) or (examples, candidates) logarithms.
        """
        usual = np.full(len(candidates), -1e9)
        usual[np.searchsorted(candidates, drawn)] = -np.log(self.drawn[drawn])
        if hard is None:
            return usual
        found = np.repeat(usual[None], hard.shape[0], axis=0)
        found[np.repeat(np.arange(hard.shape[0]), np.diff(hard.indptr)), np.searchsorted(candidates, hard.indices)] = 0
        return found

    def _right(
        self, part: Examples, numbers: NDArray[np.int64], own: NDArray[np.int64], weights: NDArray[np.float64], candidates: NDArray[np.int64]
    ) -> _Right:
        """The right answers of a batch, and what their own users put into their direct links."""
        base = np.repeat(self.learned.targets.starts[numbers] - part.targets.starts[:-1], np.diff(self.pairs)[numbers])
        entry_base = np.repeat(self.learned.histories.starts[numbers] - part.histories.starts[:-1], np.diff(self.pairs)[numbers])
        target, entry = self.own.target[own] - base, self.own.entry[own] - entry_base
        found = {}
        for name, sharpness in zip(LINKS, self.sharpness, strict=True):
            amounts = votes(part.histories, weights, sharpness)[entry] * getattr(self.own, name)[own]
            found[name] = np.bincount(target, weights=amounts, minlength=len(part.targets.rows)).astype(np.float32)
        example = part.targets.owner
        weight = np.asarray(self.world.owned.matrix[part.user[example], part.targets.rows.astype(np.int64)]).reshape(-1) ** 2
        return _Right(example, np.searchsorted(candidates, part.targets.rows.astype(np.int64)), found, weight)

    # ------------------------------------------------------------------ what comes of it

    def quality(self) -> float:
        """NDCG@10 of the held-out users' examples, among all items outside the history's categories."""
        graph = Graph(self.arrays(self.world), self.config, {})
        category, found = self.world.catalogue.category, []
        for start in range(0, len(self.held), 256):
            part = self.held.part(np.arange(start, min(start + 256, len(self.held))))
            scores = graph.scores_of(part.histories)
            known = np.zeros((len(part), len(self.world.catalogue.nodes)), dtype=bool)
            known[part.histories.owner, category[part.histories.rows]] = True
            scores[known[:, category]] = -np.inf
            k = min(K, scores.shape[1])
            top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            top = np.take_along_axis(top, np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable"), axis=1)
            hit = _marked(part.targets, np.arange(scores.shape[1]))[np.arange(len(part))[:, None], top]
            gain = 1 / np.log2(np.arange(k) + 2)
            ideal = np.cumsum(gain)[np.minimum(part.targets.lengths, k) - 1]
            found.append((hit * gain).sum(axis=1) / ideal)
        return float(np.concatenate(found).mean()) if found else 0.0

    def arrays(self, world: World) -> dict[str, NDArray[Any]]:
        """What a `Graph` answers from."""
        import torch

        body, size, items = self.body.eval(), self.config.size, len(world.catalogue)
        found: dict[str, NDArray[Any]] = {name: np.empty((items, size), np.float16) for name in ("target", "history")}
        with torch.no_grad():
            for start in range(0, items, BLOCK):
                block = np.arange(start, min(start + BLOCK, items))
                rows, layers = hops(world.neighbours, block, self.config.layers, None, self.random)
                vectors = body(self.features[torch.from_numpy(rows)], layers)
                for name, part in zip(("target", "history"), vectors, strict=True):
                    found[name][block] = part.numpy().astype(np.float16)
            for name in ("turn", "keys", "category", "category_bias", "scalars"):
                found[name] = getattr(body, name).detach().numpy().copy()
            found["text_target"] = (body.target.weight @ body.enter.weight).T.contiguous().numpy()
        assert found["scalars"].shape == (len(SCALARS),)
        found |= {"head": self.head, "item_category": world.catalogue.category.astype(np.int64), "users": world.links.users}
        found["sharpness"] = np.asarray(self.sharpness)
        for name in LINKS if self.config.direct else ():
            pairs = getattr(world.links, name)
            found[f"{name}_values"] = pairs.data.astype(np.float16)
            found[f"{name}_partners"], found[f"{name}_starts"] = pairs.indices.astype(np.int32), pairs.indptr.astype(np.int64)
        return found


@dataclass(frozen=True)
class _Right:
    """(targets,) example and place among the candidates of each right answer; its own user's votes by link, and weight among its users."""

    example: NDArray[np.int64]
    place: NDArray[np.int64]
    own: Mapping[str, NDArray[np.float32]]
    weight: NDArray[np.float32]


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


def _attended(age: torch.Tensor, vectors: torch.Tensor, keys: torch.Tensor, owner: torch.Tensor, cases: int) -> torch.Tensor:
    """(cases, size) vectors summed by a softmax of age and product with the key, within each owner."""
    import torch

    logits = age + (vectors * keys).sum(dim=1)
    most = torch.full((cases,), -torch.inf).scatter_reduce(0, owner, logits.detach(), "amax")
    raised = (logits - most[owner]).exp()
    share = raised / torch.zeros(cases).index_add(0, owner, raised)[owner]
    return torch.zeros(cases, vectors.shape[1]).index_add(0, owner, share[:, None] * vectors)


def _marked(runs: Runs, items: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(runs, items) which of some items, ascending, each run holds."""
    found = np.zeros((len(runs), len(items)), dtype=bool)
    place = np.minimum(np.searchsorted(items, runs.rows), len(items) - 1)
    there = items[place] == runs.rows
    found[runs.owner[there], place[there]] = True
    return found


def _sum(parts: Sequence[sparse.csr_array]) -> sparse.csr_array:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total.tocsr()


def _ranges(start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    lengths = end - start
    return np.arange(int(lengths.sum())) + np.repeat(start - np.cumsum(lengths) + lengths, lengths)


def _some(numbers: NDArray[np.int64], most: int, random: np.random.Generator) -> NDArray[np.int64]:
    return numbers if len(numbers) <= most else np.sort(random.choice(numbers, most, replace=False))


def _standard(columns: NDArray[np.float32]) -> NDArray[np.float32]:
    spread = columns.std(axis=0)
    return np.asarray((columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1) / 20, dtype=np.float32)


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
