"""The trained part of the graph as torch modules: text to vectors, convolutions over typed edges, attention over a history, heads.

Torch is needed when a module's class is defined, so the classes are made by a function, once. Knows nothing of users, stores or losses.
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


@dataclass(frozen=True)
class LayerEdges:
    """One layer's edges among a few nodes, those that are reached first.

    Attributes:
        reached: how many nodes are reached. edges: (2, edges) places of source and of what is reached. kind, weight, norm, scale: (edges,)
    """

    reached: int
    edges: torch.Tensor
    kind: torch.Tensor
    weight: torch.Tensor
    norm: torch.Tensor
    scale: torch.Tensor


def sample_layers(
    edges_of: TypedEdges,
    items: NDArray[np.int64],
    layers: int,
    max_edges: int | None,
    rng: np.random.Generator,
    leaks: Mapping[int, tuple[NDArray[np.int64], NDArray[np.float32]]] | None = None,
) -> tuple[NDArray[np.int64], list[LayerEdges]]:
    """The nodes and edges that some items' vectors depend on.

    Args:
        items: distinct. most: edges drawn into each node in a layer; None is all.
        made: type of edge to (keys, reached * items + source, ascending; weight), which is taken off: what the examples of a batch made.
    Returns: item rows of the nodes, `items` first; the layers' edges, the first layer's first.
    """
    import torch

    hop_edges, nodes = [], items
    for _ in range(layers):
        edges, reached, scale = edges_of.incoming(nodes, max_edges, rng)
        source, kind, weight = edges_of.source[edges], edges_of.kind[edges], edges_of.weight[edges].copy()
        for number, (keys, amounts) in (leaks or {}).items():
            mine = kind == number
            weight[mine] -= lookup(keys, amounts, nodes[reached[mine]] * edges_of.items + source[mine])
        kept = weight > 1e-4
        edges, reached, scale, source, kind, weight = edges[kept], reached[kept], scale[kept], source[kept], kind[kept], weight[kept]
        place = np.full(edges_of.items, -1, dtype=np.int64)
        place[nodes] = np.arange(len(nodes))
        fresh = np.unique(source[place[source] < 0])
        place[fresh] = len(nodes) + np.arange(len(fresh))
        pairs = torch.from_numpy(np.stack([place[source], reached]))
        parts = (torch.from_numpy(part) for part in (kind, weight, edges_of.norm[edges], scale))
        hop_edges.append(LayerEdges(len(nodes), pairs, *parts))
        nodes = np.concatenate([nodes, fresh])
    return nodes, hop_edges[::-1]


@cache
def modules() -> Any:
    """The classes, as attributes: `Normalised`, `Attending`, `Body`."""
    import torch
    from torch import nn

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses torch.jit.script, which torch calls deprecated
        from torch_geometric.nn import GATv2Conv, MessagePassing

    class Normalised(MessagePassing):  # type: ignore[misc]  # untyped library
        """sigma(sum over j of e_ij / sqrt(d_i d_j) W h_j), with e_ij the edge's weight times what its type counts, which is learned.

        Source: Kipf and Welling, ICLR 2017, without self-loops: a node's own vector is added outside. d is of all
            edges, not of those drawn.
        """

        def __init__(self, size: int, kinds: int) -> None:
            super().__init__(aggr="add")
            self.weight = nn.Linear(size, size, bias=False)
            self.kind = nn.Parameter(torch.zeros(kinds))

        def forward(self, nodes: torch.Tensor, hop: LayerEdges) -> torch.Tensor:
            """(reached, size)"""
            counts = hop.weight * hop.norm * hop.scale * self.kind.exp()[hop.kind]
            turned = self.weight(nodes)
            return torch.relu(self.propagate(hop.edges, x=(turned, turned[: hop.reached]), counts=counts))

        def message(self, x_j: Any, counts: Any) -> Any:  # the library reads these types, when torch is not in this module
            """(edges, size)"""
            return counts[:, None] * x_j

    class Attending(nn.Module):
        """The same with weights that depend on both nodes, and on the edge's type and weight. Source: Brody et al., ICLR 2022 (GATv2)."""

        def __init__(self, size: int, kinds: int) -> None:
            super().__init__()
            self.inner = GATv2Conv(
                size, size // ATTENTION_HEADS, heads=ATTENTION_HEADS, edge_dim=kinds + 2, add_self_loops=False, bias=False, residual=False
            )
            self.kinds = kinds

        def forward(self, nodes: torch.Tensor, hop: LayerEdges) -> torch.Tensor:
            """(reached, size)"""
            typed = nn.functional.one_hot(hop.kind, self.kinds).float()
            about = torch.cat([typed, torch.log1p(hop.weight)[:, None], (hop.weight * hop.norm)[:, None]], dim=1)
            return torch.relu(self.inner((nodes, nodes[: hop.reached]), hop.edges, about))

    class Body(nn.Module):
        """Everything that is trained; see `GraphModel` for what each parameter does to a score."""

        def __init__(self, features: int, config: GraphConfig, kinds: int, heads: int, categories: int) -> None:
            super().__init__()
            size, kind = config.size, Normalised if config.convolution == "normalised" else Attending
            self.enter = nn.Linear(features, size, bias=False)
            self.layers = nn.ModuleList([kind(size, kinds) for _ in range(config.layers)])
            self.target, self.history = nn.Linear(size, size, bias=False), nn.Linear(size, size, bias=False)
            self.drop, self.bare = nn.Dropout(config.dropout), config.bare
            self.turn = nn.Parameter(torch.zeros(heads, size, size))
            self.keys = nn.Parameter(torch.zeros(heads + 1, size))
            self.category = nn.Parameter(torch.zeros(categories, size))
            self.category_bias = nn.Parameter(torch.zeros(categories))
            # gamma, log tau, alpha together, alpha follows, log epsilon together, log epsilon follows, beta
            self.scalars = nn.Parameter(torch.tensor([1.0, 1.5, 0.5, 0.5, -6.0, -5.0, 0.3]))

        def forward(self, features: torch.Tensor, hops: list[LayerEdges]) -> tuple[torch.Tensor, torch.Tensor]:
            """Unit vectors (items, size) of the first layer's reached items: as targets, and as parts of a history."""
            nodes = self.enter(features)
            for layer, hop in zip(self.layers, hops, strict=True):
                said = self.drop(layer(nodes, hop))
                if self.training and self.bare:  # as new items are, so that a text alone places an item as well
                    said = said * (torch.rand(hop.reached, 1) >= self.bare)
                nodes = nodes[: hop.reached] + said
            return nn.functional.normalize(self.target(nodes), dim=1), nn.functional.normalize(self.history(nodes), dim=1)

    class Modules:
        pass

    found: Any = Modules()
    found.Normalised, found.Attending, found.Body = Normalised, Attending, Body
    return found
