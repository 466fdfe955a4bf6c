"""How an adapter is trained: every number that may be chosen, and what it may be."""

from __future__ import annotations

from dataclasses import dataclass

from ... import prompts
from ...data.errors import SettingsError
from ...llm.ranking.packed_scorer import PACK_TOKENS


@dataclass(frozen=True, slots=True)
class Config:
    """How an adapter is trained.

    Raises: SettingsError: a value that cannot be used.
    """

    rank: int = 8
    """Of the LoRA matrices."""
    alpha: float = 16.0
    """Scale of the adapter: its output is multiplied by alpha / rank."""
    blocks: int | None = 10
    """Of the model's transformer blocks, how many are adapted, the last ones; None is all. No gradient goes below them: with 10 of 30 a
    step takes little more than half the time, and learned as much."""
    dropout: float = 0.0
    """Share of an adapter's inputs dropped while it is trained, 0 up to 1. On a CPU it costs a fifth of the time: one thread draws it."""
    lr: float = 2e-3
    """Highest learning rate, reached after the warmup; lower it if the training diverges."""
    epochs: int = 1
    """How often every example is seen, unless the patience ends first."""
    batch: int = 4
    """Shoppers per step, over all processes together."""
    warmup: float = 0.06
    """Share of the steps over which the learning rate rises; then it falls along a cosine to 0."""
    weight_decay: float = 0.01
    """Of AdamW."""
    max_grad_norm: float = 1.0
    """Longest gradient; a longer one is shortened to it."""
    pack_tokens: int = PACK_TOKENS
    """Longest sequence of one forward; halved by itself when the memory does not suffice."""
    gradient_checkpointing: bool = False
    """Computes each layer again instead of keeping its values: less memory, a third slower."""
    seed: int = 0
    """Of the first weights, the order of the examples and the dropout."""
    patience: int = 3
    """Validations without a better NDCG@10 after which the training ends."""
    validate_every: int = 50
    """Steps between validations; the last step is always followed by one."""
    checkpoint_every: int = 25
    """Steps between checkpoints: what a killed run loses at most."""
    cross: float = 3.0
    """Weight for whoever makes the examples to give those whose target is from a category new to the shopper; 1 for the others."""
    prompt: int = 3
    """Version of the prompt `rank`."""

    def __post_init__(self) -> None:
        whole = ("rank", "epochs", "batch", "pack_tokens", "patience", "validate_every", "checkpoint_every")
        for name, fits in {
            **{name: getattr(self, name) >= 1 for name in whole},
            **{name: getattr(self, name) > 0 for name in ("alpha", "lr", "max_grad_norm", "cross")},
            **{name: 0 <= getattr(self, name) < 1 for name in ("dropout", "warmup")},
            "weight_decay": self.weight_decay >= 0,
            "blocks": self.blocks is None or self.blocks >= 1,
            "seed": self.seed >= 0,
        }.items():
            if not fits:
                raise SettingsError(f"{name} of a training cannot be {getattr(self, name)}")
        try:
            prompts.load("rank", self.prompt)
        except FileNotFoundError:
            raise SettingsError(f"there is no version {self.prompt} of the prompt `rank`") from None
