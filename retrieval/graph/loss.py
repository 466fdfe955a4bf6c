"""One step of the graph's training: a batch of examples to a loss.

Nothing is learned from an answer that is in the question. A user's own pairs of history and target are taken off all that is counted before
the user's example is scored: exactly off the direct links and the target's users, and off the edges of the neighbourhood that a batch draws
(there the pairs of all examples of the batch, which makes an edge lighter by at most those few users).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .edges import ItemLinks, UserItemEdges, entries_at, top_per_row
from .examples import CategoryEntryExamples, TargetLeakEdges
from .layers import sample_layers
from .model import LINKS, SHARPNESS, GraphConfig, age_weights, link_weights
from .neighbor_sampling import TypedEdges

if TYPE_CHECKING:
    import polars as pl
    import torch
    from numpy.typing import NDArray
    from scipy import sparse

    from ..items.catalogue import Catalogue
    from ..items.interactions import Order
    from ..items.ragged import RaggedArray


@dataclass(frozen=True)
class GraphTrainingContext:
    """What a training works with.

    Attributes:
        features: (items, features) texts' vectors and further columns. owned, links, neighbours: of the users whose edges count.
        known: (items,) users of each item as the links have it.
    """

    features: NDArray[np.float32]
    catalogue: Catalogue
    user_items: UserItemEdges
    links: ItemLinks
    edges: TypedEdges

    @classmethod
    def from_edges(
        cls,
        features: NDArray[np.float32],
        catalogue: Catalogue,
        user_items: UserItemEdges,
        relations: pl.DataFrame | None,
        config: GraphConfig,
    ) -> GraphTrainingContext:
        """The world of some users."""
        links = ItemLinks.from_edges(user_items, config.partners, config.shrinkage)
        return cls(features, catalogue, user_items, links, TypedEdges.from_links(links, relations, catalogue, config.neighbours))


class GraphLoss:
    """The losses of batches of examples.

    Attributes:
        examples: what is learned. head: (categories,) int64 the head of each target category; the first is that of all with few examples.
        heads: how many there are. body: the model, which the caller sets.
    """

    def __init__(
        self, context: GraphTrainingContext, examples: CategoryEntryExamples, order: Order, config: GraphConfig, rng: np.random.Generator
    ) -> None:
        self.context, self.examples, self.config, self.rng = context, examples, config, rng
        self.sharpness = SHARPNESS[order]
        self.features = tensor(context.features)
        times = np.bincount(examples.category, minlength=len(context.catalogue.nodes))
        several = np.flatnonzero(times >= config.few)
        self.head = np.zeros(len(times), dtype=np.int64)
        self.head[several] = 1 + np.arange(len(several))
        self.heads = 1 + len(several)
        self.network: Any = None
        self.links = [getattr(context.links, name) for name in LINKS] if config.direct else []
        self.leaks = TargetLeakEdges.from_examples(examples, context.user_items, context.links)
        self.leak_starts = np.searchsorted(self.leaks.example, np.arange(len(examples) + 1))
        targets = np.bincount(examples.targets.rows, minlength=len(context.catalogue)).astype(np.float64)
        # Half by how often an item is a target, half alike: what is drawn is as popular as what is right, and nothing is never drawn.
        share = 0.5 * targets / max(targets.sum(), 1) + 0.5 / max(len(targets), 1)
        self.sampling_probability = np.minimum(1, config.negatives * share) if len(targets) > config.negatives else np.ones(len(targets))

    def loss(self, numbers: NDArray[np.int64]) -> torch.Tensor:
        import torch
        from torch.nn.functional import softplus

        world, scalars = self.context, self.network.scalars
        part = self.examples.subset(numbers)
        weights = age_weights(part.histories)
        voted = [
            (part.histories.matrix(len(self.sampling_probability), link_weights(part.histories, weights, sharpness)) @ pairs).tocsr()
            for pairs, sharpness in zip(self.links, self.sharpness, strict=False)
        ]
        hard = top_per_row(_sum_matrices(voted), self.config.hard) if voted else None
        drawn = np.flatnonzero(self.rng.random(len(self.sampling_probability)) < self.sampling_probability)
        candidates = np.unique(np.concatenate([part.targets.rows, drawn, hard.indices if hard is not None else drawn]).astype(np.int64))
        entries = np.unique(part.histories.rows.astype(np.int64))
        nodes = np.union1d(candidates, entries)
        own = _ranges(self.leak_starts[numbers], self.leak_starts[numbers + 1])
        rows, layers = sample_layers(
            world.edges,
            nodes,
            self.config.layers,
            self.config.drawn,
            self.rng,
            self.leaks.edge_weights(own, len(self.sampling_probability)),
        )
        target, history = self.network(self.features[torch.from_numpy(rows)], layers)
        target = target[torch.from_numpy(np.searchsorted(nodes, candidates))]
        place = torch.from_numpy(np.searchsorted(nodes, part.histories.rows.astype(np.int64)))
        head = torch.from_numpy(self.head[part.category])
        vectors, owner = history[place], torch.from_numpy(part.histories.row_index)
        age = scalars[0] * tensor(np.log(weights))
        user = _attention_pool(age, vectors, self.network.keys[head][owner], owner, len(part))
        user = user + torch.bmm(self.network.turn[head], user[:, :, None])[:, :, 0]
        look = _attention_pool(age, vectors, self.network.keys[-1].expand(len(place), -1), owner, len(part))
        category = world.catalogue.category[candidates].astype(np.int64)
        codes = torch.from_numpy(category)
        scores = scalars[1].exp() * user @ target.T + (look @ self.network.category.T + self.network.category_bias)[:, codes]
        scores = scores + scalars[6] * tensor(np.log1p(world.links.user_weights[candidates]))
        right = self._batch_targets(part, numbers, own, weights, candidates)
        right_ones = membership(part.targets, candidates)
        later = self._later_leaks(part, weights, candidates) * ~right_ones
        linked = self.rng.random((len(part), 1)) >= self.config.alone
        for number, (name, found) in enumerate(zip(LINKS, voted, strict=False)):
            said = (found[:, candidates].toarray() - (later if name == "together" else 0)) * linked
            said[right.example, right.column] -= right.leaked_votes[name]  # below 0, made 0, where the example has none
            scores = scores + scalars[2 + number] * torch.log1p(tensor(np.maximum(said, 0)) / scalars[4 + number].exp())
        found = scores[right.example, right.column]
        # A user's own purchase is taken off what its target is known by.
        users = world.links.user_weights[candidates[right.column]]
        found = found + scalars[6] * tensor(np.log1p(np.maximum(users - right.user_weight, 0)) - np.log1p(users))
        others = scores + tensor(self._correction(candidates, drawn, hard))
        inside = torch.from_numpy((category == part.category[:, None]) & ~right_ones)
        known = np.zeros((len(part), len(world.catalogue.nodes)), dtype=bool)
        known[part.histories.row_index, world.catalogue.category[part.histories.rows]] = True
        outside = torch.from_numpy(~known[:, category] & ~right_ones)
        example = torch.from_numpy(right.example)
        share = tensor(1 / part.targets.lengths[right.example] / len(part))
        loss = torch.zeros(())
        for mask, counts in ((inside, 1 - self.config.across), (outside, self.config.across)):
            against = torch.logsumexp(others.masked_fill(~mask, -1e9), dim=1)
            loss = loss + counts * (softplus(against[example] - found) * share).sum()
        turns: torch.Tensor = self.network.turn[torch.unique(head)]
        return loss + 0.01 * turns.square().sum()

    def _later_leaks(self, part: CategoryEntryExamples, weights: NDArray[np.float64], candidates: NDArray[np.int64]) -> NDArray[np.float32]:
        """(examples, candidates) what a user's own pairs put into the votes for what else the user had, or more where pairs were cut."""
        owned, root = self.context.user_items.matrix, np.sqrt(np.maximum(self.context.links.user_weights, 1e-6))
        rows, owner = part.histories.rows.astype(np.int64), part.histories.row_index
        said = link_weights(part.histories, weights, self.sharpness[0]) * entries_at(owned, part.user[owner], rows) / root[rows]
        strength = np.bincount(owner, weights=said, minlength=len(part))
        mine = (owned[part.user][:, candidates]).toarray() / root[candidates]
        return np.asarray(strength[:, None] * mine, dtype=np.float32)

    def _correction(self, candidates: NDArray[np.int64], drawn: NDArray[np.int64], hard: sparse.csr_array | None) -> NDArray[np.float64]:
        """What makes sums over the candidates sums over all items on average: what was drawn counts once over its chance.

        Each example's strongest votes always take part in its own sum, or it would mostly miss what it mostly consists of; what is in the
        batch for another example alone counts nothing. Returns: (candidates,) or (examples, candidates) logarithms.
        """
        usual = np.full(len(candidates), -1e9)
        usual[np.searchsorted(candidates, drawn)] = -np.log(self.sampling_probability[drawn])
        if hard is None:
            return usual
        found = np.repeat(usual[None], hard.shape[0], axis=0)
        found[np.repeat(np.arange(hard.shape[0]), np.diff(hard.indptr)), np.searchsorted(candidates, hard.indices)] = 0
        return found

    def _batch_targets(
        self,
        part: CategoryEntryExamples,
        numbers: NDArray[np.int64],
        own: NDArray[np.int64],
        weights: NDArray[np.float64],
        candidates: NDArray[np.int64],
    ) -> _BatchTargets:
        """The right answers of a batch, and what their own users put into their direct links."""
        base = np.repeat(self.examples.targets.starts[numbers] - part.targets.starts[:-1], np.diff(self.leak_starts)[numbers])
        entry_base = np.repeat(self.examples.histories.starts[numbers] - part.histories.starts[:-1], np.diff(self.leak_starts)[numbers])
        target, entry = self.leaks.target[own] - base, self.leaks.entry[own] - entry_base
        found = {}
        for name, sharpness in zip(LINKS, self.sharpness, strict=True):
            amounts = link_weights(part.histories, weights, sharpness)[entry] * getattr(self.leaks, name)[own]
            found[name] = np.bincount(target, weights=amounts, minlength=len(part.targets.rows)).astype(np.float32)
        example = part.targets.row_index
        weight = np.asarray(self.context.user_items.matrix[part.user[example], part.targets.rows.astype(np.int64)]).reshape(-1) ** 2
        return _BatchTargets(example, np.searchsorted(candidates, part.targets.rows.astype(np.int64)), found, weight)


@dataclass(frozen=True)
class _BatchTargets:
    """(targets,) example and place among the candidates of each right answer; its own user's votes by link, and weight among its users."""

    example: NDArray[np.int64]
    column: NDArray[np.int64]
    leaked_votes: Mapping[str, NDArray[np.float32]]
    user_weight: NDArray[np.float32]


def _attention_pool(age: torch.Tensor, vectors: torch.Tensor, keys: torch.Tensor, owner: torch.Tensor, cases: int) -> torch.Tensor:
    """(cases, size) vectors summed by a softmax of age and product with the key, within each owner."""
    import torch

    logits = age + (vectors * keys).sum(dim=1)
    most = torch.full((cases,), -torch.inf).scatter_reduce(0, owner, logits.detach(), "amax")
    raised = (logits - most[owner]).exp()
    share = raised / torch.zeros(cases).index_add(0, owner, raised)[owner]
    return torch.zeros(cases, vectors.shape[1]).index_add(0, owner, share[:, None] * vectors)


def membership(runs: RaggedArray, items: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(runs, items) which of some items, ascending, each run holds."""
    found = np.zeros((len(runs), len(items)), dtype=bool)
    place = np.minimum(np.searchsorted(items, runs.rows), len(items) - 1)
    there = items[place] == runs.rows
    found[runs.row_index[there], place[there]] = True
    return found


def _sum_matrices(parts: Sequence[sparse.csr_array]) -> sparse.csr_array:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total.tocsr()


def _ranges(start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    lengths = end - start
    return np.asarray(np.arange(int(lengths.sum())) + np.repeat(start - np.cumsum(lengths) + lengths, lengths), dtype=np.int64)


def tensor(array: NDArray[Any]) -> torch.Tensor:
    """The same as float32."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
