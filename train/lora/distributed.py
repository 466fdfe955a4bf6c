"""One training in several processes: who takes which examples, and adding up what they found. Alone it does nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class Processes:
    """The processes that `accelerate launch` started, or this one alone.

    Attributes: index: this one's number. count: of all. main: whether this is the one that writes.
    """

    def __init__(self) -> None:
        import torch
        from accelerate import PartialState

        self._state: Any = PartialState(cpu=not torch.cuda.is_available())
        self.index, self.count, self.main = self._state.process_index, self._state.num_processes, self._state.is_main_process

    def share(self, things: Sequence[T]) -> Sequence[T]:
        """This process's part of the things; together the parts are all of them."""
        return things[self.index :: self.count]

    def sum(self, number: float) -> float:
        """The sum of everyone's number."""
        import torch

        if self.count == 1:
            return number
        device = self._state.device
        return float(self._added(torch.tensor(number, dtype=torch.float64, device=device)))

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Puts the sum of everyone's gradients at each parameter; who had no examples adds nothing."""
        import torch

        if self.count == 1:
            return
        # One exchange for all: hundreds of small ones cost more than the numbers in them.
        flat = self._added(torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in parameters]))
        for parameter, part in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def _added(self, tensor: torch.Tensor) -> torch.Tensor:
        from accelerate.utils import reduce

        total: torch.Tensor = reduce(tensor, "sum")
        return total

    def wait(self) -> None:
        """Returns when all processes have come here."""
        self._state.wait_for_everyone()

    @contextlib.contextmanager
    def own_randomness(self) -> Iterator[None]:
        """Within the block torch may be seeded; after it the caller's generators are where they were."""
        import torch

        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_available() else []):
            yield
