"""The loss of a batch of examples.

No example is trained on its own answer: what its user contributes to the links between its history and its targets is subtracted before the
example is scored. It is subtracted exactly from the direct links and from the targets' users. From the sampled edges of a batch, the
contributions of all its examples are subtracted, which makes an edge lighter by at most those few users.
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

EXCLUDED = -1e9
"""Logit of a candidate that does not take part in a softmax."""
TURN_PENALTY = 0.01
"""L2 penalty of the category heads."""


@dataclass(frozen=True)
class GraphTrainingContext:
    """Features and edges of a training.

    Attributes:
        features: (items, dimensions) text embeddings.
        catalogue: Catalogue of the items.
        user_items: Edges of the users that are counted.
        links: Links of these users.
        edges: Typed edges of these users and of the relations.
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
        """Return the context of user-item edges and relations."""
        links = ItemLinks.from_edges(user_items, config.partners, config.shrinkage)
        return cls(features, catalogue, user_items, links, TypedEdges.from_links(links, relations, catalogue, config.neighbours))


class GraphLoss:
    """The losses of batches of examples.

    Attributes:
        examples: Training examples.
        head: (categories,) int64 head of each target category; head 0 is shared by all categories with few examples.
        heads: Number of heads.
        network: The network, which the caller sets.
    """

    def __init__(
        self, context: GraphTrainingContext, examples: CategoryEntryExamples, order: Order, config: GraphConfig, rng: np.random.Generator
    ) -> None:
        """Prepare the losses.

        Args:
            context: Features and edges.
            examples: Training examples.
            order: Order of the events.
            config: Training configuration.
            rng: Generator that samples candidates and edges.
        """
        self.context, self.examples, self.config, self.rng = context, examples, config, rng
        self.sharpness = SHARPNESS[order]
        self.features = tensor(context.features)
        example_counts = np.bincount(examples.category, minlength=len(context.catalogue.nodes))
        with_own_head = np.flatnonzero(example_counts >= config.few)
        self.head = np.zeros(len(example_counts), dtype=np.int64)
        self.head[with_own_head] = 1 + np.arange(len(with_own_head))
        self.heads = 1 + len(with_own_head)
        self.network: Any = None
        self.links = [getattr(context.links, name) for name in LINKS] if config.direct else []
        self.leaks = TargetLeakEdges.from_examples(examples, context.user_items, context.links)
        self.leak_starts = np.searchsorted(self.leaks.example, np.arange(len(examples) + 1))
        targets = np.bincount(examples.targets.rows, minlength=len(context.catalogue)).astype(np.float64)
        # Half in proportion to the targets and half uniform: negatives are as popular as targets, and every item is sampled sometimes.
        share = 0.5 * targets / max(targets.sum(), 1) + 0.5 / max(len(targets), 1)
        self.sampling_probability = np.minimum(1, config.negatives * share) if len(targets) > config.negatives else np.ones(len(targets))

    def loss(self, indices: NDArray[np.int64]) -> torch.Tensor:
        """Return the loss of the examples with these indices, in nats."""
        import torch
        from torch.nn.functional import softplus

        context, network, scalars = self.context, self.network, self.network.scalars
        examples = self.examples.subset(indices)
        weights = age_weights(examples.histories)
        items = len(self.sampling_probability)
        link_votes = [
            (examples.histories.matrix(items, link_weights(examples.histories, weights, sharpness)) @ pairs).tocsr()
            for pairs, sharpness in zip(self.links, self.sharpness, strict=False)
        ]
        hard = top_per_row(_sum_matrices(link_votes), self.config.hard) if link_votes else None
        sampled = np.flatnonzero(self.rng.random(items) < self.sampling_probability)
        hard_rows = hard.indices if hard is not None else sampled
        candidates = np.unique(np.concatenate([examples.targets.rows, sampled, hard_rows]).astype(np.int64))
        nodes = np.union1d(candidates, np.unique(examples.histories.rows.astype(np.int64)))
        leak_pairs = _ranges(self.leak_starts[indices], self.leak_starts[indices + 1])
        rows, layers = sample_layers(
            context.edges, nodes, self.config.layers, self.config.drawn, self.rng, self.leaks.edge_weights(leak_pairs, items)
        )
        target_vectors, history_vectors = network(self.features[torch.from_numpy(rows)], layers)
        target_vectors = target_vectors[torch.from_numpy(np.searchsorted(nodes, candidates))]
        entry_vectors = history_vectors[torch.from_numpy(np.searchsorted(nodes, examples.histories.rows.astype(np.int64)))]
        owner = torch.from_numpy(examples.histories.row_index)
        head = torch.from_numpy(self.head[examples.category])
        age = scalars[0] * tensor(np.log(weights))
        user = _attention_pool(age, entry_vectors, network.keys[head][owner], owner, len(examples))
        user = user + torch.bmm(network.turn[head], user[:, :, None])[:, :, 0]
        category_query = _attention_pool(age, entry_vectors, network.keys[-1].expand(len(entry_vectors), -1), owner, len(examples))
        category = context.catalogue.category[candidates].astype(np.int64)
        category_scores = category_query @ network.category.T + network.category_bias
        scores = scalars[1].exp() * user @ target_vectors.T + category_scores[:, torch.from_numpy(category)]
        scores = scores + scalars[6] * tensor(np.log1p(context.links.user_weights[candidates]))
        batch_targets = self._batch_targets(examples, indices, leak_pairs, weights, candidates)
        is_target = membership(examples.targets, candidates)
        other_leaks = self._other_leaks(examples, weights, candidates) * ~is_target
        use_links = self.rng.random((len(examples), 1)) >= self.config.alone
        for index, (name, matrix) in enumerate(zip(LINKS, link_votes, strict=False)):
            votes = (matrix[:, candidates].toarray() - (other_leaks if name == "together" else 0)) * use_links
            votes[batch_targets.example, batch_targets.column] -= batch_targets.leaked_votes[name]  # clipped at 0 below
            scores = scores + scalars[2 + index] * torch.log1p(tensor(np.maximum(votes, 0)) / scalars[4 + index].exp())
        target_scores = scores[batch_targets.example, batch_targets.column]
        # The user's own purchase is subtracted from the target's number of users.
        users = context.links.user_weights[candidates[batch_targets.column]]
        without_user = np.maximum(users - batch_targets.user_weight, 0)
        target_scores = target_scores + scalars[6] * tensor(np.log1p(without_user) - np.log1p(users))
        corrected = scores + tensor(self._sampling_correction(candidates, sampled, hard))
        in_category = torch.from_numpy((category == examples.category[:, None]) & ~is_target)
        known_categories = np.zeros((len(examples), len(context.catalogue.nodes)), dtype=bool)
        known_categories[examples.histories.row_index, context.catalogue.category[examples.histories.rows]] = True
        in_new_category = torch.from_numpy(~known_categories[:, category] & ~is_target)
        example = torch.from_numpy(batch_targets.example)
        share = tensor(1 / examples.targets.lengths[batch_targets.example] / len(examples))
        loss = torch.zeros(())
        for mask, factor in ((in_category, 1 - self.config.across), (in_new_category, self.config.across)):
            negatives = torch.logsumexp(corrected.masked_fill(~mask, EXCLUDED), dim=1)
            loss = loss + factor * (softplus(negatives[example] - target_scores) * share).sum()
        turns: torch.Tensor = network.turn[torch.unique(head)]
        return loss + TURN_PENALTY * turns.square().sum()

    def _other_leaks(
        self, examples: CategoryEntryExamples, weights: NDArray[np.float64], candidates: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """(examples, candidates) upper bound of what a user contributes to the votes for the user's items that are no targets."""
        user_items, root = self.context.user_items.matrix, np.sqrt(np.maximum(self.context.links.user_weights, 1e-6))
        rows, owner = examples.histories.rows.astype(np.int64), examples.histories.row_index
        weighted = link_weights(examples.histories, weights, self.sharpness[0])
        votes = weighted * entries_at(user_items, examples.user[owner], rows) / root[rows]
        total = np.bincount(owner, weights=votes, minlength=len(examples))
        own_items = (user_items[examples.user][:, candidates]).toarray() / root[candidates]
        return np.asarray(total[:, None] * own_items, dtype=np.float32)

    def _sampling_correction(
        self, candidates: NDArray[np.int64], sampled: NDArray[np.int64], hard: sparse.csr_array | None
    ) -> NDArray[np.float64]:
        """Log importance weights that make sums over the candidates unbiased estimates of sums over all items.

        A sampled item has weight 1 / probability. The items with the largest votes of an example always take part in its own sum, with
        weight 1, because they dominate it. Candidates that are in the batch for another example only are excluded.

        Returns:
            (candidates,) or (examples, candidates) logarithms.
        """
        log_weights = np.full(len(candidates), EXCLUDED)
        log_weights[np.searchsorted(candidates, sampled)] = -np.log(self.sampling_probability[sampled])
        if hard is None:
            return log_weights
        per_example = np.repeat(log_weights[None], hard.shape[0], axis=0)
        per_example[np.repeat(np.arange(hard.shape[0]), np.diff(hard.indptr)), np.searchsorted(candidates, hard.indices)] = 0
        return per_example

    def _batch_targets(
        self,
        examples: CategoryEntryExamples,
        indices: NDArray[np.int64],
        leak_pairs: NDArray[np.int64],
        weights: NDArray[np.float64],
        candidates: NDArray[np.int64],
    ) -> _BatchTargets:
        """The targets of a batch, and what their own users contribute to their direct links."""
        pair_counts = np.diff(self.leak_starts)[indices]
        target_base = np.repeat(self.examples.targets.starts[indices] - examples.targets.starts[:-1], pair_counts)
        entry_base = np.repeat(self.examples.histories.starts[indices] - examples.histories.starts[:-1], pair_counts)
        target, entry = self.leaks.target[leak_pairs] - target_base, self.leaks.entry[leak_pairs] - entry_base
        leaked_votes = {}
        for name, sharpness in zip(LINKS, self.sharpness, strict=True):
            amounts = link_weights(examples.histories, weights, sharpness)[entry] * getattr(self.leaks, name)[leak_pairs]
            leaked_votes[name] = np.bincount(target, weights=amounts, minlength=len(examples.targets.rows)).astype(np.float32)
        example, rows = examples.targets.row_index, examples.targets.rows.astype(np.int64)
        user_weight = np.asarray(self.context.user_items.matrix[examples.user[example], rows]).reshape(-1) ** 2
        return _BatchTargets(example, np.searchsorted(candidates, rows), leaked_votes, user_weight)


@dataclass(frozen=True)
class _BatchTargets:
    """Targets of a batch.

    Attributes:
        example: (targets,) example of each target.
        column: (targets,) index of the target among the candidates.
        leaked_votes: Kind of link to (targets,) votes that come from the example's own user.
        user_weight: (targets,) contribution of that user to the target's users.
    """

    example: NDArray[np.int64]
    column: NDArray[np.int64]
    leaked_votes: Mapping[str, NDArray[np.float32]]
    user_weight: NDArray[np.float32]


def _attention_pool(age: torch.Tensor, vectors: torch.Tensor, keys: torch.Tensor, owner: torch.Tensor, owners: int) -> torch.Tensor:
    """(owners, size) sums of vectors, weighted by a softmax over each owner of age plus the product with the key."""
    import torch

    logits = age + (vectors * keys).sum(dim=1)
    largest = torch.full((owners,), -torch.inf).scatter_reduce(0, owner, logits.detach(), "amax")
    exponentials = (logits - largest[owner]).exp()
    share = exponentials / torch.zeros(owners).index_add(0, owner, exponentials)[owner]
    return torch.zeros(owners, vectors.shape[1]).index_add(0, owner, share[:, None] * vectors)


def membership(arrays: RaggedArray, items: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return (rows, items) which items each row of a ragged array contains.

    Args:
        arrays: Ragged array of item rows.
        items: Ascending item rows.
    """
    contains = np.zeros((len(arrays), len(items)), dtype=bool)
    position = np.minimum(np.searchsorted(items, arrays.rows), len(items) - 1)
    is_listed = items[position] == arrays.rows
    contains[arrays.row_index[is_listed], position[is_listed]] = True
    return contains


def _sum_matrices(matrices: Sequence[sparse.csr_array]) -> sparse.csr_array:
    total = matrices[0]
    for matrix in matrices[1:]:
        total = total + matrix
    return total.tocsr()


def _ranges(start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """The concatenated ranges from `start` to `end`."""
    lengths = end - start
    return np.asarray(np.arange(int(lengths.sum())) + np.repeat(start - np.cumsum(lengths) + lengths, lengths), dtype=np.int64)


def tensor(array: NDArray[Any]) -> torch.Tensor:
    """Return an array as a float32 tensor."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
