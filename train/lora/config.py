"""Configuration of LoRA fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass

from ... import prompts
from ...data.errors import SettingsError
from ...llm.models.projector import ProjectorInputs
from ...llm.ranking.packed_scorer import PACK_TOKENS
from ...llm.ranking.ranker import BEHAVIOUR_VERSIONS


@dataclass(frozen=True, slots=True)
class FinetuneConfig:
    """Hyperparameters of LoRA fine-tuning. The field names are keys of an adapter's card.

    Raises:
        SettingsError: A value is out of range.
    """

    rank: int = 8
    """Rank of the LoRA matrices."""
    alpha: float = 16.0
    """Scale of the adapter: its output is multiplied by alpha / rank."""
    blocks: int | None = 10
    """Number of transformer blocks to adapt, counted from the last one; None for all. Gradients stop below them: with 10 of 30, a step
    takes little more than half the time, with the same quality."""
    dropout: float = 0.0
    """Dropout of the adapter's inputs, 0 to 1 (exclusive). On a CPU it costs a fifth of the time, because one thread generates it."""
    lr: float = 2e-3
    """Maximum learning rate, reached after the warmup; lower it if the training diverges."""
    epochs: int = 1
    """Number of epochs, unless early stopping ends the training."""
    batch: int = 4
    """Examples per step, over all processes."""
    warmup: float = 0.06
    """Share of the steps with a rising learning rate; afterwards it follows a cosine to 0."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    max_grad_norm: float = 1.0
    """Gradients with a larger norm are clipped to it."""
    pack_tokens: int = PACK_TOKENS
    """Maximum number of tokens of one forward pass; halved automatically when memory runs out."""
    gradient_checkpointing: bool = False
    """Recompute activations instead of storing them: less memory, a third slower."""
    seed: int = 0
    """Seed of the initial weights, the order of the examples and the dropout."""
    patience: int = 3
    """Early stopping: number of validations without improvement."""
    validate_every: int = 50
    """Steps between validations; the last step is always validated."""
    checkpoint_every: int = 25
    """Steps between checkpoints: the maximum that an interrupted run loses."""
    cross: float = 3.0
    """Weight of examples whose target is from a category new to the shopper, for the code that makes the examples; others have 1."""
    prompt: int = 4
    """Version of the prompt."""
    behaviour: ProjectorInputs | None = None
    """Numbers about behaviour that the model reads as soft tokens, with a prompt that has a place for them; None for texts alone."""

    def __post_init__(self) -> None:
        positive_integers = ("rank", "epochs", "batch", "pack_tokens", "patience", "validate_every", "checkpoint_every")
        for name, valid in {
            **{name: getattr(self, name) >= 1 for name in positive_integers},
            **{name: getattr(self, name) > 0 for name in ("alpha", "lr", "max_grad_norm", "cross")},
            **{name: 0 <= getattr(self, name) < 1 for name in ("dropout", "warmup")},
            "weight_decay": self.weight_decay >= 0,
            "blocks": self.blocks is None or self.blocks >= 1,
            "seed": self.seed >= 0,
        }.items():
            if not valid:
                raise SettingsError(f"invalid value for {name} of the fine-tuning: {getattr(self, name)}")
        if self.behaviour is not None and self.prompt not in BEHAVIOUR_VERSIONS:
            raise SettingsError(f"version {self.prompt} of the prompt `rank` has no place for behaviour; use {max(BEHAVIOUR_VERSIONS)}")
        try:
            prompts.load("rank", self.prompt)
        except FileNotFoundError:
            raise SettingsError(f"there is no version {self.prompt} of the prompt `rank`") from None
