"""Training task of the ranker: listwise loss, gradients within the available memory, and NDCG@10.

The loss is the softmax cross-entropy of the purchased item, or of a teacher's target distribution, among the candidates, computed from the
same prompts and logit margins as serving. Candidates that already have a score, from the other channels, are ranked by the sum of that
score and the scaled margin: the model learns what the score misses. The scale rises from 0, so that training starts with the order of the
scores alone. Knows nothing of optimizers or files.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import TrainingError
from ...data.records import Item
from ...llm.models import adapters
from ...llm.models.projector import Standardization, attach_projector
from ...llm.ranking.packs import Pack, SoftInputs, split_into_packs
from ...llm.ranking.ranker import Ranker

if TYPE_CHECKING:
    import torch

    from ...llm.models.language_model import LanguageModel
    from .config import FinetuneConfig

MARGIN_SCALE, RAMP_SHARE = 0.5, 0.2
"""Scale of the margins where candidates have a score, and the share of the training over which it rises from 0 to that."""
DIVERGED = "the training diverged: a loss or score is not finite; lower the learning rate (lr) and run it again"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ListwiseExample:
    """One choice of a shopper.

    Attributes:
        history: Items of the shopper, oldest first.
        candidates: Items to choose from, at least two.
        target: Index of the purchased candidate.
        facts: One sentence per candidate as for `Ranker.scores`, or None.
        weight: Weight relative to other examples, greater than 0.
        scores: Score of each candidate by the other channels, a logit in nats, to which the margin is added; None without any.
        need: The shopper's text query.
        behaviour: Numbers about the history and the candidates for soft tokens, None without any.
        target_shares: Target distribution over the candidates, by which a teacher's grades are learned; None for the target alone. The
            metric uses `target` in either case.

    Raises:
        ValueError: The target is not a candidate, the number of facts, scores or shares is wrong, the weight is not positive, or the shares
            are no distribution.
    """

    history: Sequence[Item]
    candidates: Sequence[Item]
    target: int
    facts: Sequence[str | None] | None = None
    weight: float = 1.0
    scores: Sequence[float] | None = None
    need: str | None = None
    behaviour: SoftInputs | None = None
    target_shares: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if len(self.candidates) < 2 or not 0 <= self.target < len(self.candidates):
            raise ValueError(f"target {self.target} of {len(self.candidates)} candidates: needs at least two, and an index of one of them")
        if self.facts is not None and len(self.facts) != len(self.candidates):
            raise ValueError(f"{len(self.facts)} facts for {len(self.candidates)} candidates")
        if self.scores is not None and len(self.scores) != len(self.candidates):
            raise ValueError(f"{len(self.scores)} scores for {len(self.candidates)} candidates")
        if self.behaviour is not None and len(self.behaviour.candidates) != len(self.candidates):
            raise ValueError(f"behaviour of {len(self.behaviour.candidates)} for {len(self.candidates)} candidates")
        if not (self.weight > 0 and math.isfinite(self.weight)):
            raise ValueError(f"a weight must be greater than 0, not {self.weight}")
        shares = self.target_shares
        if shares is not None and (len(shares) != len(self.candidates) or not min(shares) >= 0 or not abs(sum(shares) - 1) < 1e-6):
            raise ValueError(f"target shares must be {len(self.candidates)} numbers of 0 or more with sum 1, not {list(shares)}")


class ListwiseRankingTask:
    """The training task for ranking.

    Args:
        ranker: The ranker to train.
        max_forward_tokens: Maximum number of tokens of one forward; halved when memory runs out, since forwards are computed one at a time.
        batched: Whether several examples share a forward; None if the model is not on a CPU, where that is no faster.
    """

    name, unit = adapters.RANKING, "ndcg@10"

    def __init__(self, ranker: Ranker, max_forward_tokens: int, *, batched: bool | None = None) -> None:
        self.ranker, self.max_forward_tokens, self.margin_scale = ranker, max_forward_tokens, 0.0
        self.batched = ranker.llm.device.type != "cpu" if batched is None else batched

    @classmethod
    def for_model(cls, llm: LanguageModel, max_forward_tokens: int) -> ListwiseRankingTask:
        """Return the task for a model."""
        return cls(Ranker(llm), max_forward_tokens)

    @staticmethod
    def as_json(example: ListwiseExample) -> list[object]:
        """Return all fields of an example that affect training, as JSON-compatible values."""
        items = [[[item.item_id, item.title, *item.category] for item in part] for part in (example.history, example.candidates)]
        scores, soft = list(example.scores or []), example.behaviour
        behaviour = None if soft is None else hashlib.sha256(soft.history.tobytes() + soft.candidates.tobytes()).hexdigest()
        further = [value for value in (behaviour, example.target_shares and list(example.target_shares)) if value is not None]
        return [*items, example.target, list(example.facts or []), example.weight, scores, example.need, *further]

    def add_parameters(self, config: FinetuneConfig, examples: Sequence[ListwiseExample], /) -> list[torch.nn.Parameter]:
        """Add a projector of the examples' behaviour to the model if the configuration names its inputs, and return its parameters.

        Raises:
            TrainingError: No example has behaviour.
        """
        if config.behaviour is None:
            return []
        behaviour = [example.behaviour for example in examples if example.behaviour is not None]
        if not behaviour:
            raise TrainingError("no example has numbers about behaviour, which the configuration asks for")
        statistics = Standardization.fit(
            np.stack([each.history for each in behaviour]), np.concatenate([each.candidates for each in behaviour])
        )
        return attach_projector(self.ranker.llm.model, config.behaviour, statistics)

    def advance(self, share: float) -> None:
        """Set the scale of the margins for this share of the training, 0 to 1."""
        self.margin_scale = MARGIN_SCALE * min(1.0, share / RAMP_SHARE)

    def evaluate(self, examples: Sequence[ListwiseExample], *, tuned: bool = True) -> float:
        """Return the sum of the examples' NDCG@10. Args: tuned: whether the adapter is active."""
        previous, self.ranker.scorer.adapter = self.ranker.scorer.adapter, tuned
        try:
            return summed_ndcg(self.ranker, examples, self.margin_scale)
        finally:
            self.ranker.scorer.adapter = previous

    def loss(self, example: ListwiseExample) -> torch.Tensor:
        """Return the cross-entropy of one example in nats, a scalar with gradients."""
        return self._losses([self._encode(example)])[0]

    def accumulate_gradients(self, examples: Sequence[ListwiseExample], total_weight: float) -> float:
        """Add the gradients of the weighted losses to the trained parameters, and return the sum of these losses in nats.

        Examples of similar length share a forward, with at most `max_forward_tokens` tokens and padding, if `batched`.

        Args:
            examples: The examples.
            total_weight: Weight of the full batch; all losses are divided by it.

        Raises:
            TrainingError: Memory runs out even with one candidate at a time.
        """
        waiting = [self._encode(example) for example in examples]
        if self.batched:
            waiting.sort(key=lambda entry: entry.pack.tokens)
        total = 0.0
        while waiting:
            group = self._next_group(waiting)
            loss = self._add_gradients(group, total_weight)
            if loss is not None:
                total += loss
                waiting = waiting[len(group) :]
        return total

    def _encode(self, example: ListwiseExample) -> _EncodedExample:
        pack = self.ranker.encode(example.history, example.need, example.candidates, example.facts, example.behaviour)
        return _EncodedExample(example, pack)

    def _next_group(self, waiting: Sequence[_EncodedExample]) -> Sequence[_EncodedExample]:
        """Return the first examples, in the order of their lengths, that fit one forward; at least one."""
        size = 1
        while self.batched and size < len(waiting) and (size + 1) * waiting[size].pack.tokens <= self.max_forward_tokens:
            size += 1
        return waiting[:size]

    def _losses(self, group: Sequence[_EncodedExample]) -> list[torch.Tensor]:
        """Return the cross-entropy of each example: several fit one forward, or one that may need several packs."""
        import torch
        from torch.utils.checkpoint import checkpoint

        scorer, pack = self.ranker.scorer, group[0].pack
        limit = min(max(self.max_forward_tokens, group[0].minimum), self.ranker.llm.context)
        parts = split_into_packs(len(pack.prefix), [len(candidate) for candidate in pack.candidates], limit)
        if len(group) > 1 or len(parts) == 1:
            margins = scorer.forward_batch([each.pack for each in group])
        else:  # the softmax spans all packs, so each is recomputed in the backward pass: only one is in memory at a time
            margins = [torch.cat([checkpoint(scorer.forward, pack.take(part), use_reentrant=False) for part in parts])]
        return [self._cross_entropy(each.example, own) for each, own in zip(group, margins, strict=True)]

    def _cross_entropy(self, example: ListwiseExample, margins: torch.Tensor) -> torch.Tensor:
        """Return the loss for the margins of the candidates, shape (candidates,)."""
        import torch

        if example.scores is not None:
            margins = self.margin_scale * margins + torch.tensor(example.scores, dtype=margins.dtype, device=margins.device)
        if example.target_shares is not None:
            shares = torch.tensor(example.target_shares, dtype=margins.dtype, device=margins.device)
            return torch.nn.functional.cross_entropy(margins[None], shares[None])
        return torch.nn.functional.cross_entropy(margins[None], torch.tensor([example.target], device=margins.device))

    def _add_gradients(self, group: Sequence[_EncodedExample], total_weight: float) -> float | None:
        """Add the gradients of some examples, of all or of none, and return their weighted loss; None if memory has run out."""
        import torch

        parameters = [parameter for parameter in self.ranker.llm.model.parameters() if parameter.requires_grad]
        try:
            losses = zip(group, self._losses(group), strict=True)
            loss = torch.stack([loss * (each.example.weight / total_weight) for each, loss in losses]).sum()
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)  # unused: an expert without tokens
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            self._halve_forward(group, error)
            gradients = None
        if gradients is None:  # outside of the handler, whose error keeps the tensors of the forward alive
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            return None
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return float(loss.detach())

    def _halve_forward(self, group: Sequence[_EncodedExample], error: Exception) -> None:
        """Halve the tokens of a forward: first to fewer examples, then to fewer candidates of one."""
        longest, minimum = max(each.pack.tokens for each in group), max(each.minimum for each in group)
        if len(group) == 1 and self.max_forward_tokens <= minimum:
            raise TrainingError(
                "not enough memory for training even with one candidate at a time; set gradient_checkpointing, lower rank, "
                "or name a smaller model with --llm"
            ) from error
        floor = longest if len(group) > 1 else minimum
        self.max_forward_tokens = max(floor, min(self.max_forward_tokens, len(group) * longest) // 2)
        logger.warning("out of memory: continuing with packs of %d tokens", self.max_forward_tokens)


@dataclass(frozen=True, slots=True)
class _EncodedExample:
    """An example and its pack of all candidates."""

    example: ListwiseExample
    pack: Pack

    @property
    def minimum(self) -> int:
        """Tokens of a pack with the longest candidate alone."""
        return len(self.pack.prefix) + max(map(len, self.pack.candidates))


def out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory has run out, on a GPU or on the CPU."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def summed_ndcg(ranker: Ranker, examples: Sequence[ListwiseExample], margin_scale: float = 1.0) -> float:
    """Return the sum over the examples of NDCG@10 with one relevant item: 1/log2(1 + rank), 0 beyond rank 10.

    Ties count against the target, so a model that scores all candidates alike gets the lowest value.

    Args:
        ranker: Scores the candidates.
        examples: The examples.
        margin_scale: Scale of the margins where candidates have a score of their own.

    Raises:
        TrainingError: A score is not finite.
    """
    total = 0.0
    for example in examples:
        scores = ranker.scores(example.history, example.need, example.candidates, example.facts, example.behaviour).astype(np.float64)
        if example.scores is not None:
            scores = margin_scale * scores + np.asarray(example.scores)
        if not np.isfinite(scores).all():
            raise TrainingError(DIVERGED)
        rank = int((scores >= scores[example.target]).sum())
        total += 1 / math.log2(1 + rank) if rank <= 10 else 0.0
    return total
