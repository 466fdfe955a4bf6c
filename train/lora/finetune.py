"""Training an adapter: LoRA, resumable, the same weights for the same seed. To rank, by a listwise loss on packed prompts; or to word.

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

from ...data.atomic_files import sweep
from ...data.errors import TrainingError, storage_errors
from ...data.settings import Settings
from .config import Config
from .distributed import Processes
from .listwise_loss import Example, Listwise
from .trainer import Progress, Task, Training, Weighted

__all__ = ["MIN_EXAMPLES", "Config", "Example", "Progress", "Report", "train"]

MIN_EXAMPLES = 20
"""Fewer would be learned by heart within an epoch."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a training came to.

    Attributes:
        adapter: its folder. zero_shot, measured: of the validation, by the base alone and with the adapter that was kept; in `unit`.
        best_step: the step that was kept; 0 means that no step was better than the base, and the adapter changes nothing.
        steps: made in all. loss: smoothed at the end, nats. seconds: in all, those before an interruption included.
        seconds_per_user: of training alone. resumed_from: the step of the checkpoint that this run began with, 0 for a fresh start.
    """

    adapter: Path
    zero_shot: float
    measured: float
    unit: str
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
            f"zero_shot_{self.unit}": round(self.zero_shot, 4),
            self.unit: round(self.measured, 4),
            "examples": self.examples,
            "validation_examples": self.validation_examples,
            "steps": self.steps,
            "best_step": self.best_step,
            "seconds": round(self.seconds, 1),
            "seconds_per_user": round(self.seconds_per_user, 3),
        }


def train(
    examples: Sequence[Weighted],
    validation: Sequence[Weighted],
    settings: Settings,
    out: Path,
    config: Config | None = None,
    card: Mapping[str, Any] | None = None,
    progress: Callable[[Progress], None] | None = None,
    *,
    start: Path | None = None,
    task: type[Task] = Listwise,
) -> Report:
    """What came of training an adapter, which now stands in `out` in place of the one before.

    A run that was killed goes on from its last checkpoint when it is called again with the same examples, configuration and model, and
    ends with the weights it would have had. The old adapter stays until the new one is whole.

    Args:
        examples, validation: of different shoppers; the state that measures best on the validation is kept, by NDCG@10 where it ranks.
        settings: the base model; `nf4` is trained in bf16 where there is no GPU. card: what else the card is to say.
        progress: called after every step, by the main process only; what it raises ends the run.
        start: folder of an adapter to go on learning from, of the same base, prompt and rank; None begins with one that changes nothing.
        task: what is learned: to rank (examples are `Example`s), or to word reasons (`wording.Writer`, `Lesson`s).

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
    if settings.quantization != "fp32":
        settings = settings.with_(quantization="nf4" if torch.cuda.is_available() and settings.quantization != "bf16" else "bf16")
    with storage_errors(f"the adapter in {out}"):
        out.mkdir(parents=True, exist_ok=True)
    if processes.main:
        sweep(out)
    with processes.own_randomness():
        run = Training(examples, validation, settings, out, config, processes, digest(examples, validation, task), start, task)
        with run.llm.use_adapter(adapter=run.task.name):
            run.learn(progress)
        state = run.state
        report = Report(
            adapter=out,
            zero_shot=state.zero_shot,
            measured=state.best_measure,
            unit=task.unit,
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


def digest(examples: Sequence[Any], validation: Sequence[Any], task: type[Task] = Listwise) -> str:
    """A SHA-256 over all that a training reads of its examples, in their order."""
    found = hashlib.sha256()
    for part in (examples, validation):
        for example in part:
            found.update(json.dumps(task.said(example), ensure_ascii=True).encode() + b"\n")
        found.update(b"--\n")
    return found.hexdigest()
