"""Roofline of a decoder: operations and memory traffic counted from its shape, beside the measured limits of the device.

The time of a forward is at least operations / peak rate and at least bytes / bandwidth (Williams et al., CACM 2009). Counted is what the
result needs: attention only over pairs of tokens that see each other, every weight read once, every input and output of a linear layer
moved once. Masks, norms, the embedding and the two rows of the head are not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

BYTES = {"bf16": 2.0, "nf4": 0.5 + 4 / 64, "fp32": 4.0}
"""Bytes of a stored weight; NF4 keeps one float32 scale for 64 weights."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Dimensions of a decoder with grouped-query attention and a gated MLP.

    Attributes:
        hidden: Width of the hidden states.
        intermediate: Width of the MLP.
        layers: Number of blocks.
        heads: Number of query heads.
        kv_heads: Number of key and value heads.
        tied: Whether embedding and head are one matrix.
        head_dim: Width of a head.
        vocabulary: Number of tokens.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    tied: bool = True
    head_dim: int = 128
    vocabulary: int = 151_936

    @property
    def linear_layers(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each linear layer of one block: q, k, v, o, gate, up, down."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        h, m = self.hidden, self.intermediate
        return [(h, queries), (h, keys), (h, keys), (queries, h), (h, m), (h, m), (m, h)]

    @property
    def block_weights(self) -> int:
        """Weights of the linear layers of all blocks."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linear_layers)

    @property
    def parameters(self) -> int:
        """Parameters without norms."""
        return self.block_weights + self.vocabulary * self.hidden * (1 if self.tied else 2)


@dataclass(frozen=True, slots=True)
class Work:
    """Operations (a multiplication and an addition are two) and bytes of one forward or training step."""

    operations: float
    bytes: float


def visible_pairs(prefix: int, candidates: int, length: int) -> int:
    """Return the number of (query, key) pairs of a pack in which the query sees the key."""
    return prefix * (prefix + 1) // 2 + candidates * (length * prefix + length * (length + 1) // 2)


def forward_work(shape: Shape, precision: str, packs: int, prefix: int, candidates: int, length: int) -> Work:
    """Return the work of scoring several packs in one forward."""
    tokens = packs * (prefix + candidates * length)
    attention = 4 * shape.heads * shape.head_dim * shape.layers * packs * visible_pairs(prefix, candidates, length)
    return Work(2 * shape.block_weights * tokens + attention, shape.block_weights * BYTES[precision] + _activation_bytes(shape, tokens))


def training_work(shape: Shape, precision: str, packs: int, prefix: int, candidates: int, length: int, rank: int) -> Work:
    """Return the work of a LoRA step over all linear layers: forward, gradients of activations, and those of the LoRA matrices.

    The frozen weights have no gradients, so the backward pass costs as many operations as the forward, and twice as many in attention.
    Recomputation by gradient checkpointing is not counted: it lowers the reached share.
    """
    tokens = packs * (prefix + candidates * length)
    attention = 12 * shape.heads * shape.head_dim * shape.layers * packs * visible_pairs(prefix, candidates, length)
    adapter = 6 * rank * shape.layers * sum(inputs + outputs for inputs, outputs in shape.linear_layers) * tokens
    moved = 2 * shape.block_weights * BYTES[precision] + 3 * _activation_bytes(shape, tokens)
    return Work(4 * shape.block_weights * tokens + attention + adapter, moved)


def _activation_bytes(shape: Shape, tokens: int) -> float:
    """Bytes of the inputs and outputs of all linear layers in bf16."""
    return 2.0 * tokens * shape.layers * sum(inputs + outputs for inputs, outputs in shape.linear_layers)


@dataclass(frozen=True, slots=True)
class Device:
    """Measured limits of a device: operations and bytes per second."""

    operations: float
    bandwidth: float

    def figures(self, work: Work, seconds: float) -> dict[str, Any]:
        """Return the measured seconds beside the roofline: its seconds, its limit, and the reached share, 0 to 1."""
        compute, memory = work.operations / self.operations, work.bytes / self.bandwidth
        return {
            "seconds": _rounded(seconds),
            "roofline_seconds": _rounded(max(compute, memory)),
            "limit": "compute" if compute >= memory else "memory",
            "tflop": _rounded(work.operations / 1e12),
            "gbyte": _rounded(work.bytes / 1e9),
            "tflop_per_second": _rounded(work.operations / seconds / 1e12),
            "share_of_roofline": _rounded(max(compute, memory) / seconds),
        }


def measure_device(device: str, *, side: int, copied: int) -> Device:
    """Measure the rate of a bf16 matrix product (float32 on a CPU) and of a copy, reads and writes counted.

    Args:
        device: Name of the torch device.
        side: Rows and columns of the matrices.
        copied: Bytes to copy.
    """
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    operations = 2 * side**3 / seconds_of(lambda: left @ right, device)
    source = torch.ones(copied // 4, device=device)
    target = torch.empty_like(source)
    return Device(operations, 2 * source.nbytes / seconds_of(lambda: target.copy_(source), device))


def seconds_of(run: Callable[[], Any], device: str, at_least: int = 3, up_to: float = 1.5) -> float:
    """Return the median time of a call after two warm-up calls, the device's work included.

    Args:
        run: The call.
        device: Name of the torch device.
        at_least: Minimum number of timed calls.
        up_to: Seconds after which no further call starts.
    """
    for _ in range(2):
        run()
    times: list[float] = []
    while len(times) < at_least or (sum(times) < up_to and len(times) < 50):
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def synchronize(device: str) -> None:
    """Wait for the device."""
    if device != "cpu":
        torch.cuda.synchronize()


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
