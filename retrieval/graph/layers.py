"""Torch modules of the graph: projection of item features, convolutions over typed edges, attention over a history, category heads.

Torch is imported when the classes are first needed, so a function defines them. No users, stores or losses are known here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .edges import lookup
from .neighbor_sampling import TypedEdges

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from .model import GraphConfig

ATTENTION_HEADS = 4
"""Heads of the attention between items."""
MIN_EDGE_WEIGHT = 1e-4
"""Weight at or below which an edge is dropped once the examples' own contributions are subtracted."""


@dataclass(frozen=True)
class LayerEdges:
    """Sampled edges of one layer among a few nodes; the reached nodes come first.

    Attributes:
        reached: Number of nodes that the layer computes.
        edges: (2, edges) indices of the source and the reached node.
        kind: (edges,) type.
        weight: (edges,) weight.
        norm: (edges,) symmetric normalization.
        scale: (edges,) factor that makes sums over the sample unbiased.
    """

    reached: int
    edges: torch.Tensor
    kind: torch.Tensor
    weight: torch.Tensor
    norm: torch.Tensor
    scale: torch.Tensor


def sample_layers(
    typed_edges: TypedEdges,
    items: NDArray[np.int64],
    layers: int,
    max_edges: int | None,
    rng: np.random.Generator,
    leaks: Mapping[int, tuple[NDArray[np.int64], NDArray[np.float32]]] | None = None,
) -> tuple[NDArray[np.int64], list[LayerEdges]]:
    """Return the nodes and edges that the vectors of some items depend on.

    Args:
        typed_edges: All edges.
        items: Distinct item rows.
        layers: Number of convolutions.
        max_edges: Edges sampled into each node per layer; None for all.
        rng: Generator that samples the edges.
        leaks: Weights to subtract, as returned by `TargetLeakEdges.edge_weights`.

    Returns:
        Item rows of the nodes, `items` first; the edges of the layers, those of the first layer first.
    """
    import torch

    sampled, nodes = [], items
    for _ in range(layers):
        edges, reached, scale = typed_edges.incoming(nodes, max_edges, rng)
        source, kind, weight = typed_edges.source[edges], typed_edges.kind[edges], typed_edges.weight[edges].copy()
        for leak_kind, (keys, amounts) in (leaks or {}).items():
            of_kind = kind == leak_kind
            weight[of_kind] -= lookup(keys, amounts, nodes[reached[of_kind]] * typed_edges.items + source[of_kind])
        kept = weight > MIN_EDGE_WEIGHT
        edges, reached, scale, source, kind, weight = edges[kept], reached[kept], scale[kept], source[kept], kind[kept], weight[kept]
        node_index = np.full(typed_edges.items, -1, dtype=np.int64)
        node_index[nodes] = np.arange(len(nodes))
        added = np.unique(source[node_index[source] < 0])
        node_index[added] = len(nodes) + np.arange(len(added))
        pairs = torch.from_numpy(np.stack([node_index[source], reached]))
        attributes = (torch.from_numpy(values) for values in (kind, weight, typed_edges.norm[edges], scale))
        sampled.append(LayerEdges(len(nodes), pairs, *attributes))
        nodes = np.concatenate([nodes, added])
    return nodes, sampled[::-1]


@cache
def modules() -> Any:
    """Return the module classes as attributes: `NormalizedConvolution`, `AttentionConvolution`, `GraphNetwork`."""
    import torch
    from torch import nn

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library uses torch.jit.script, which torch has deprecated
        from torch_geometric.nn import GATv2Conv, MessagePassing

    class NormalizedConvolution(MessagePassing):  # type: ignore[misc]  # untyped library
        """sigma(sum over j of e_ij / sqrt(d_i d_j) W h_j), where e_ij is the edge weight times a learned factor of its type.

        Source: Kipf and Welling, ICLR 2017, without self-loops, because a node's own vector is added outside. Degrees are those of all
            edges, not of the sample.
        """

        def __init__(self, size: int, kinds: int) -> None:
            super().__init__(aggr="add")
            self.weight = nn.Linear(size, size, bias=False)
            self.kind = nn.Parameter(torch.zeros(kinds))

        def forward(self, nodes: torch.Tensor, layer: LayerEdges) -> torch.Tensor:
            """(reached, size)"""
            factors = layer.weight * layer.norm * layer.scale * self.kind.exp()[layer.kind]
            projected = self.weight(nodes)
            return torch.relu(self.propagate(layer.edges, x=(projected, projected[: layer.reached]), factors=factors))

        def message(self, x_j: Any, factors: Any) -> Any:  # the library evaluates annotations, and torch is not in this module's namespace
            """(edges, size)"""
            return factors[:, None] * x_j

    class AttentionConvolution(nn.Module):
        """GATv2: weights depend on both nodes, and on the edge's type and weight. Source: Brody et al., ICLR 2022."""

        def __init__(self, size: int, kinds: int) -> None:
            super().__init__()
            self.inner = GATv2Conv(
                size, size // ATTENTION_HEADS, heads=ATTENTION_HEADS, edge_dim=kinds + 2, add_self_loops=False, bias=False, residual=False
            )
            self.kinds = kinds

        def forward(self, nodes: torch.Tensor, layer: LayerEdges) -> torch.Tensor:
            """(reached, size)"""
            one_hot = nn.functional.one_hot(layer.kind, self.kinds).float()
            attributes = torch.cat([one_hot, torch.log1p(layer.weight)[:, None], (layer.weight * layer.norm)[:, None]], dim=1)
            return torch.relu(self.inner((nodes, nodes[: layer.reached]), layer.edges, attributes))

    class GraphNetwork(nn.Module):
        """All trained parameters; see `GraphModel` for their part in a score."""

        def __init__(self, features: int, config: GraphConfig, kinds: int, heads: int, categories: int) -> None:
            super().__init__()
            size = config.size
            convolution = NormalizedConvolution if config.convolution == "normalised" else AttentionConvolution
            self.enter = nn.Linear(features, size, bias=False)
            self.layers = nn.ModuleList([convolution(size, kinds) for _ in range(config.layers)])
            self.target, self.history = nn.Linear(size, size, bias=False), nn.Linear(size, size, bias=False)
            self.drop, self.bare = nn.Dropout(config.dropout), config.bare
            self.turn = nn.Parameter(torch.zeros(heads, size, size))
            self.keys = nn.Parameter(torch.zeros(heads + 1, size))
            self.category = nn.Parameter(torch.zeros(categories, size))
            self.category_bias = nn.Parameter(torch.zeros(categories))
            # in the order of `SCALARS`
            self.scalars = nn.Parameter(torch.tensor([1.0, 1.5, 0.5, 0.5, -6.0, -5.0, 0.3]))

        def forward(self, features: torch.Tensor, layers: list[LayerEdges]) -> tuple[torch.Tensor, torch.Tensor]:
            """Unit vectors (items, size) of the nodes that the last layer reaches: as targets, and as parts of a history."""
            nodes = self.enter(features)
            for convolution, layer in zip(self.layers, layers, strict=True):
                update = self.drop(convolution(nodes, layer))
                if self.training and self.bare:  # without neighbors, as new items are, so that a text alone places an item as well
                    update = update * (torch.rand(layer.reached, 1) >= self.bare)
                nodes = nodes[: layer.reached] + update
            return nn.functional.normalize(self.target(nodes), dim=1), nn.functional.normalize(self.history(nodes), dim=1)

    class Modules:
        pass

    classes: Any = Modules()
    classes.NormalizedConvolution, classes.AttentionConvolution = NormalizedConvolution, AttentionConvolution
    classes.GraphNetwork = GraphNetwork
    return classes
