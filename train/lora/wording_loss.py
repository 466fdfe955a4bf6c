"""Training task of explanations: cross-entropy of handwritten wordings given their briefs.

Knows nothing of optimizers, steps or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...llm.explain.slots import slots_to_letters
from ...llm.models import adapters

if TYPE_CHECKING:
    import torch

    from ...llm.explain.briefs import BriefRenderer, ExplanationBrief
    from ...llm.models.language_model import LanguageModel
    from .config import FinetuneConfig


@dataclass(frozen=True, slots=True)
class WordingExample:
    """One wording as a training example.

    Attributes:
        prompt: Token ids of the brief.
        answer: Token ids of the wording and the end-of-sequence token.
        weight: Weight relative to other examples.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    weight: float = 1.0


def wording_example(renderer: BriefRenderer, brief: ExplanationBrief, wording: str) -> WordingExample:
    """Return the training example for a brief and its wording, a text with `{slot}` placeholders."""
    llm = renderer.llm
    return WordingExample(
        tuple(llm.encode("".join(renderer.render(brief)))), (*llm.encode(slots_to_letters(wording)), llm.tokenizer.eos_token_id)
    )


class WordingTask:
    """The training task for explanations.

    Args:
        llm: The model.
        max_forward_tokens: Maximum number of tokens of one forward pass, padding included.
    """

    name, unit = adapters.EXPLAINING, "token_chance"

    def __init__(self, llm: LanguageModel, max_forward_tokens: int) -> None:
        self.llm, self.max_forward_tokens = llm, max_forward_tokens

    @classmethod
    def for_model(cls, llm: LanguageModel, max_forward_tokens: int) -> WordingTask:
        """Return the task for a model."""
        return cls(llm, max_forward_tokens)

    @staticmethod
    def as_json(example: WordingExample) -> list[object]:
        """Return all fields of an example that affect training, as JSON-compatible values."""
        return [list(example.prompt), list(example.answer), example.weight]

    def add_parameters(self, _config: FinetuneConfig, _examples: Sequence[WordingExample], /) -> list[torch.nn.Parameter]:
        """Return no parameters: only the LoRA layers are trained."""
        return []

    def advance(self, share: float) -> None:
        """Nothing depends on the share of the training."""

    def evaluate(self, examples: Sequence[WordingExample], *, tuned: bool = True) -> float:
        """Return the sum over the examples of the mean probability of an answer token, exp(-loss), 0 to 1.

        Args:
            examples: The examples.
            tuned: Whether the adapter is active.
        """
        import torch

        with torch.inference_mode(), self.llm.use_adapter(adapter=self.name if tuned else False):
            return sum(float(torch.exp(-self.loss(batch)).sum()) for batch in self._batches(examples))

    def accumulate_gradients(self, examples: Sequence[WordingExample], total_weight: float) -> float:
        """Add the gradients of the weighted losses to the trained parameters, and return the sum of these losses in nats.

        Args:
            examples: The examples.
            total_weight: Weight of the full batch; all losses are divided by it.
        """
        import torch

        total = 0.0
        for batch in self._batches(examples):
            weights = torch.tensor([example.weight / total_weight for example in batch], device=self.llm.device)
            loss = (self.loss(batch) * weights).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def _batches(self, examples: Sequence[WordingExample]) -> list[Sequence[WordingExample]]:
        """Return the examples in as few batches as `max_forward_tokens` allows."""
        width = max((len(example.prompt) + len(example.answer) for example in examples), default=1)
        size = max(1, self.max_forward_tokens // width)
        return [examples[i : i + size] for i in range(0, len(examples), size)]

    def loss(self, examples: Sequence[WordingExample]) -> torch.Tensor:
        """Return the mean cross-entropy of each answer's tokens in nats, shape (examples,)."""
        import torch

        width = max(len(example.prompt) + len(example.answer) for example in examples)
        pad = self.llm.tokenizer.pad_token_id
        rows = [[*example.prompt, *example.answer] for example in examples]
        ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])  # (examples, width)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        model, device = self.llm.model, self.llm.device
        hidden = model.model(ids.to(device), attention_mask=mask.to(device), use_cache=False).last_hidden_state  # (examples, width, size)
        row_indices = [row for row, example in enumerate(examples) for _ in example.answer]
        # A position predicts the next token, so the answer is predicted from the last position of the prompt on.
        positions = [len(example.prompt) - 1 + i for example in examples for i in range(len(example.answer))]
        logits = model.lm_head(hidden[row_indices, positions]).float()  # (answer tokens, vocabulary)
        targets = torch.tensor([token for example in examples for token in example.answer], device=device)
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        return torch.stack([part.mean() for part in torch.split(losses, [len(example.answer) for example in examples])])
