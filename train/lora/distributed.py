"""Distributed training: sharding of examples and reduction of sums and gradients; without effect in a single process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class DistributedContext:
    """The processes started by `accelerate launch`, or this process alone.

    Attributes:
        rank: Number of this process.
        world_size: Number of processes.
        is_main: Whether this process writes files.
    """

    def __init__(self) -> None:
        import torch
        from accelerate import PartialState

        self._state: Any = PartialState(cpu=not torch.cuda.is_available())
        self.rank, self.world_size, self.is_main = self._state.process_index, self._state.num_processes, self._state.is_main_process

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's share of the items; the shares of all processes are disjoint and complete."""
        return items[self.rank :: self.world_size]

    def all_reduce_sum(self, number: float) -> float:
        """Return the sum of a number over all processes."""
        import torch

        if self.world_size == 1:
            return number
        device = self._state.device
        return float(self._reduce(torch.tensor(number, dtype=torch.float64, device=device)))

    def all_reduce_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace each gradient by its sum over all processes; a missing gradient counts as 0."""
        import torch

        if self.world_size == 1:
            return
        # One reduction for all gradients: hundreds of small ones are dominated by their latency.
        flat = self._reduce(torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in parameters]))
        for parameter, part in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def _reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        from accelerate.utils import reduce

        total: torch.Tensor = reduce(tensor, "sum")
        return total

    def wait(self) -> None:
        """Block until all processes have reached this call."""
        self._state.wait_for_everyone()

    @contextlib.contextmanager
    def isolated_rng(self) -> Iterator[None]:
        """Restore the state of torch's random generators after the block."""
        import torch

        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_available() else []):
            yield
