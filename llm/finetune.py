"""Training a ranking adapter: LoRA by a listwise loss on packed prompts, resumable, the same weights for the same seed.

    train(examples, validation, settings, shop / "adapter")

The base stays as it is: bf16 on the CPU, NF4 on CUDA (QLoRA: Dettmers et al., NeurIPS 2023). `accelerate launch` runs it on several
GPUs, each taking its share of every batch. Knows nothing of workspaces, nor of who makes the examples; one run at a time may write to
a folder.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.errors import TrainingError, storing
from ..data.files import sweep
from ..data.records import Item
from ..data.settings import Settings
from .listwise import Example
from .processes import Processes
from .recipe import Config
from .training import Progress, Training

__all__ = ["MIN_EXAMPLES", "Config", "Example", "Progress", "Report", "train"]

MIN_EXAMPLES = 20
"""Fewer would be learned by heart within an epoch."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a training came to.

    Attributes:
        adapter: its folder. zero_shot_ndcg, ndcg: NDCG@10 of the validation, of the base alone and with the adapter that was kept.
        best_step: the step that was kept; 0 means that no step was better than the base, and the adapter changes nothing.
        steps: made in all. loss: smoothed at the end, nats. seconds: in all, those before an interruption included.
        seconds_per_user: of training alone. resumed_from: the step of the checkpoint that this run began with, 0 for a fresh start.
    """

    adapter: Path
    zero_shot_ndcg: float
    ndcg: float
    best_step: int
    steps: int
    loss: float
    examples: int
    validation_examples: int
    seconds: float
    seconds_per_user: float
    resumed_from: int

    def figures(self) -> dict[str, float]:
        """What the card records."""
        return {
            "zero_shot_ndcg@10": round(self.zero_shot_ndcg, 4),
            "ndcg@10": round(self.ndcg, 4),
            "examples": self.examples,
            "validation_examples": self.validation_examples,
            "steps": self.steps,
            "best_step": self.best_step,
            "seconds": round(self.seconds, 1),
            "seconds_per_user": round(self.seconds_per_user, 3),
        }


def train(
    examples: Sequence[Example],
    validation: Sequence[Example],
    settings: Settings,
    out: Path,
    config: Config | None = None,
    card: Mapping[str, Any] | None = None,
    progress: Callable[[Progress], None] | None = None,
    *,
    start: Path | None = None,
) -> Report:
    """What came of training an adapter, which now stands in `out` in place of the one before.

    A run that was killed goes on from its last checkpoint when it is called again with the same examples, configuration and model, and
    ends with the weights it would have had. The old adapter stays until the new one is whole.

    Args:
        examples, validation: of different shoppers; the state with the best NDCG@10 on the validation is kept.
        settings: the base model; `nf4` is trained in bf16 where there is no GPU. card: what else the card is to say.
        progress: called after every step, by the main process only; what it raises ends the run.
        start: folder of an adapter to go on learning from, of the same base, prompt and rank; None begins with one that changes nothing.

    Raises:
        TrainingError: too few examples, a loss that is no number, or too little memory.
        SettingsError: the adapter to start from has another rank or prompt. StaleAdapterError: or another base.
        ModelError, ModelMissingError: see `LanguageModel.load`. StorageError: the disk is full.
    """
    config = config or Config()
    if len(examples) < MIN_EXAMPLES:
        raise TrainingError(f"{len(examples)} examples are too few to train on; at least {MIN_EXAMPLES} are wanted")
    if not validation:
        raise TrainingError("there are no validation examples; at least 1 is wanted, of a shopper who is not among the others")
    import torch

    processes = Processes()
    if settings.quantization == "nf4" and not torch.cuda.is_available():
        settings = settings.with_(quantization="bf16")
    with storing(f"the adapter in {out}"):
        out.mkdir(parents=True, exist_ok=True)
    if processes.main:
        sweep(out)
    with processes.own_randomness():
        run = Training(examples, validation, settings, out, config, processes, digest(examples, validation), start)
        with run.llm.weights(adapter=True):
            run.learn(progress)
        state = run.state
        report = Report(
            adapter=out,
            zero_shot_ndcg=state.zero_shot,
            ndcg=state.best_ndcg,
            best_step=state.best_step,
            steps=state.step,
            loss=state.loss if state.loss is not None else math.nan,
            examples=len(examples),
            validation_examples=len(validation),
            seconds=run.seconds(),
            seconds_per_user=state.training_seconds / max(1, state.users),
            resumed_from=run.resumed_from,
        )
        run.write({**run.about, "figures": report.figures(), **(card or {})})
        return report


def digest(examples: Sequence[Example], validation: Sequence[Example]) -> str:
    """A SHA-256 over all that a training reads of its examples, in their order."""

    def said(item: Item) -> list[Any]:
        return [item.item_id, item.title, *item.category]

    found = hashlib.sha256()
    for part in (examples, validation):
        for example in part:
            told = [[said(item) for item in example.history], [said(item) for item in example.candidates]]
            line = [*told, example.target, list(example.facts or []), example.weight]
            found.update(json.dumps(line, ensure_ascii=True).encode() + b"\n")
        found.update(b"--\n")
    return found.hexdigest()
