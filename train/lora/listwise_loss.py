"""Ranking one shopper's candidates as a task to learn: the loss, its gradients within the memory there is, and the measure.

The loss is the softmax cross-entropy of the bought item among the candidates, over the margins that serving ranks by, from prompts
that serving renders. Knows nothing of optimizers, of steps or of disks.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import TrainingError
from ...data.records import Item
from ...llm.ranking.packed_scorer import split_into_packs
from ...llm.ranking.ranker import Ranker

if TYPE_CHECKING:
    import torch

    from ...llm.models.language_model import LanguageModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Example:
    """One shopper's moment of choice.

    Attributes:
        history: what they had, oldest first. candidates: what they could have taken, at least two.
        target: the place of the one they took, from 0. facts: one per candidate, as `Ranker.scores` takes them, or None.
        weight: how much it counts beside others, more than 0; cross-category targets are worth more to whoever says so here.
    """

    history: Sequence[Item]
    candidates: Sequence[Item]
    target: int
    facts: Sequence[str | None] | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if len(self.candidates) < 2 or not 0 <= self.target < len(self.candidates):
            raise ValueError(f"the target {self.target} is none of {len(self.candidates)} candidates, or there is nothing to choose from")
        if self.facts is not None and len(self.facts) != len(self.candidates):
            raise ValueError(f"{len(self.facts)} facts for {len(self.candidates)} candidates")
        if not (self.weight > 0 and math.isfinite(self.weight)):
            raise ValueError(f"a weight must be more than 0, not {self.weight}")


class Listwise:
    """The loss of examples and its gradients.

    Attributes: room: tokens of one pack; halved when the memory does not suffice, since packs are then computed one after another.
    """

    name, unit = "rank", "ndcg@10"

    def __init__(self, ranker: Ranker, room: int) -> None:
        self.ranker, self.room = ranker, room

    @classmethod
    def of(cls, llm: LanguageModel, room: int) -> Listwise:
        """The task of ranking for a model."""
        return cls(Ranker(llm), room)

    @staticmethod
    def said(example: Example) -> list[object]:
        """All that is read of an example, as JSON."""
        told = [[[item.item_id, item.title, *item.category] for item in items] for items in (example.history, example.candidates)]
        return [*told, example.target, list(example.facts or []), example.weight]

    def measure(self, examples: Sequence[Example], *, tuned: bool = True) -> float:
        """The sum of the examples' NDCG@10 (see `ndcg`). Args: tuned: whether with the adapter."""
        before, self.ranker.scorer.adapter = self.ranker.scorer.adapter, tuned
        try:
            return ndcg(self.ranker, examples)
        finally:
            self.ranker.scorer.adapter = before

    def loss(self, example: Example) -> torch.Tensor:
        """The cross-entropy of one example in nats, a scalar with gradients."""
        import torch
        from torch.utils.checkpoint import checkpoint

        prefix, candidates = self.ranker.encode(example.history, None, example.candidates, example.facts)
        scorer = self.ranker.scorer
        room = min(max(self.room, len(prefix) + max(map(len, candidates))), self.ranker.llm.context)
        packs = [
            [candidates[i] for i in pack] for pack in split_into_packs(len(prefix), [len(candidate) for candidate in candidates], room)
        ]
        if len(packs) == 1:
            margins = scorer.forward(prefix, packs[0])
        else:  # the softmax joins the packs, so each is computed again when its gradients are due: one in memory at a time
            margins = torch.cat([checkpoint(scorer.forward, prefix, pack, use_reentrant=False) for pack in packs])
        return torch.nn.functional.cross_entropy(margins[None], torch.tensor([example.target], device=margins.device))

    def accumulate(self, examples: Sequence[Example], whole: float) -> float:
        """Adds the gradients of the examples' weighted losses to the trained parameters, and returns the sum of those losses.

        Args: whole: the weight of the full batch, by which everything is divided.
        Raises: TrainingError: the memory does not suffice even for one candidate at a time.
        """
        total = 0.0
        for example in examples:
            total += self._fitting(example, example.weight / whole)
        return total

    def _fitting(self, example: Example, weight: float) -> float:
        """The weighted loss of one example; its gradients are added whole or not at all."""
        import torch

        parameters = [parameter for parameter in self.ranker.llm.model.parameters() if parameter.requires_grad]
        while True:
            try:
                loss = self.loss(example) * weight
                gradients = torch.autograd.grad(loss, parameters, allow_unused=True)  # an expert that no token came to
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                self._narrow(example, error)
            else:
                break
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return float(loss.detach())

    def _narrow(self, example: Example, error: Exception) -> None:
        prefix, candidates = self.ranker.encode(example.history, None, example.candidates, example.facts)
        whole, one = len(prefix) + sum(map(len, candidates)), len(prefix) + max(map(len, candidates))
        if self.room <= one:
            raise TrainingError(
                "the memory does not suffice for training even with one candidate at a time; set gradient_checkpointing, lower rank, "
                "or name a smaller model with --llm"
            ) from error
        self.room = max(one, min(self.room, whole) // 2)
        logger.warning("out of memory: going on with packs of %d tokens", self.room)


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that there is no memory left, on a GPU or on the CPU."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def ndcg(ranker: Ranker, examples: Sequence[Example]) -> float:
    """The sum over the examples of NDCG@10 with one relevant item: 1/log2(1 + rank), 0 beyond the tenth.

    An item that scores as high as the target counts as before it, so a model that scores all alike earns the least.

    Raises: TrainingError: a score is no number.
    """
    total = 0.0
    for example in examples:
        scores = ranker.scores(example.history, None, example.candidates, example.facts)
        if not np.isfinite(scores).all():
            raise TrainingError(DIVERGED)
        rank = int((scores >= scores[example.target]).sum())
        total += 1 / math.log2(1 + rank) if rank <= 10 else 0.0
    return total


DIVERGED = "the training diverged: a loss or score is no finite number any more; lower the learning rate (lr) and run it again"
