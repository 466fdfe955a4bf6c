"""LoRA fine-tuning of a language model, resumable and reproducible: for ranking with a listwise loss, or for explanations.

    train(examples, validation, settings, shop / "adapter")

The base weights stay frozen: bf16 or fp32 on the CPU, NF4 on CUDA (QLoRA: Dettmers et al., NeurIPS 2023). `accelerate launch` runs it
on several GPUs, each with its share of every batch. Knows nothing of workspaces or of the origin of the examples. Only one run
at a time may write to a folder.
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
from ...llm.models.quantization import training_quantization
from .config import FinetuneConfig
from .distributed import DistributedContext
from .listwise_loss import ListwiseExample, ListwiseRankingTask
from .recipe import recipe_for
from .trainer import LoraTrainer, TrainingProgress, TrainingTask, WeightedExample

__all__ = ["MIN_EXAMPLES", "FinetuneConfig", "FinetuneReport", "ListwiseExample", "TrainingProgress", "train"]

MIN_EXAMPLES = 20
"""Minimum number of examples: fewer are memorized within an epoch."""


@dataclass(frozen=True, slots=True)
class FinetuneReport:
    """Result of a training run.

    Attributes:
        adapter: Folder of the adapter.
        zero_shot: Validation metric of the base model.
        measured: Validation metric of the adapter.
        unit: Name of the validation metric.
        curve: Step and validation metric of each validation.
        best_step: Step whose weights were kept; 0 if no step improved on the base model, so that the adapter changes nothing.
        steps: Number of steps made.
        loss: Smoothed loss at the end, in nats.
        examples: Number of training examples.
        validation_examples: Number of validation examples.
        seconds: Total time, including the time before an interruption.
        seconds_per_user: Training time per example, without validations.
        resumed_from: Step of the checkpoint that the run resumed from, 0 for a new run.
    """

    adapter: Path
    zero_shot: float
    measured: float
    unit: str
    curve: Sequence[tuple[int, float]]
    best_step: int
    steps: int
    loss: float
    examples: int
    validation_examples: int
    seconds: float
    seconds_per_user: float
    resumed_from: int

    def figures(self) -> dict[str, Any]:
        """Return the statistics for the adapter's card."""
        return {
            f"zero_shot_{self.unit}": round(self.zero_shot, 4),
            self.unit: round(self.measured, 4),
            "examples": self.examples,
            "validation_examples": self.validation_examples,
            "steps": self.steps,
            "best_step": self.best_step,
            "curve": [list(point) for point in self.curve],
            "seconds": round(self.seconds, 1),
            "seconds_per_user": round(self.seconds_per_user, 3),
        }


def train(
    examples: Sequence[WeightedExample],
    validation: Sequence[WeightedExample],
    settings: Settings,
    out: Path,
    config: FinetuneConfig | None = None,
    card: Mapping[str, Any] | None = None,
    progress: Callable[[TrainingProgress], None] | None = None,
    *,
    start: Path | None = None,
    task: type[TrainingTask] = ListwiseRankingTask,
) -> FinetuneReport:
    """Train an adapter and write it to the folder `out`, replacing a previous one.

    An interrupted run resumes from its last checkpoint when it is called again with the same examples, configuration and model, and ends
    with the same weights as without the interruption. The previous adapter stays until the new one is complete.

    Args:
        examples: Training examples.
        validation: Validation examples of other shoppers; the weights with the best validation metric are kept.
        settings: Name the base model; its quantization becomes that of `training_quantization`.
        out: Folder of the adapter.
        config: Hyperparameters; None for those of `recipe_for`.
        card: Further entries of the adapter's card.
        progress: Called after every step, in the main process only; an exception that it raises ends the run.
        start: Folder of an adapter to continue training from, with the same base model, prompt and rank; None starts a new one.
        task: The objective: `ListwiseRankingTask` with `ListwiseExample`s, or `wording_loss.WordingTask` with its `WordingExample`s.

    Returns:
        The report of the run.

    Raises:
        TrainingError: Too few examples, a loss that is not finite, or not enough memory.
        SettingsError: The start adapter has another rank or prompt.
        StaleAdapterError: The start adapter has another base model.
        ModelError, ModelMissingError: See `LanguageModel.load`.
        StorageError: The disk is full.
    """
    config = config or recipe_for(settings)
    if len(examples) < MIN_EXAMPLES:
        raise TrainingError(f"{len(examples)} examples are too few to train on; at least {MIN_EXAMPLES} are required")
    if not validation:
        raise TrainingError("there are no validation examples; at least 1 is required, of a shopper without training examples")
    context = DistributedContext()
    settings = settings.with_(quantization=training_quantization(settings.quantization))
    with storage_errors(f"the adapter in {out}"):
        out.mkdir(parents=True, exist_ok=True)
    if context.is_main:
        sweep(out)
    with context.isolated_rng():
        run = LoraTrainer(examples, validation, settings, out, config, context, examples_digest(examples, validation, task), start, task)
        with run.llm.use_adapter(adapter=run.task.name):
            run.train(progress)
        state = run.state
        report = FinetuneReport(
            adapter=out,
            zero_shot=state.zero_shot,
            measured=state.best_measure,
            unit=task.unit,
            curve=state.curve,
            best_step=state.best_step,
            steps=state.step,
            loss=state.loss if state.loss is not None else math.nan,
            examples=len(examples),
            validation_examples=len(validation),
            seconds=run.seconds(),
            seconds_per_user=state.training_seconds / max(1, state.users),
            resumed_from=run.resumed_from,
        )
        run.save_best({**run.card, "figures": report.figures(), **(card or {})})
        return report


def examples_digest(examples: Sequence[Any], validation: Sequence[Any], task: type[TrainingTask] = ListwiseRankingTask) -> str:
    """Return a SHA-256 over everything in the examples that affects training, in their order."""
    digest = hashlib.sha256()
    for part in (examples, validation):
        for example in part:
            digest.update(json.dumps(task.as_json(example), ensure_ascii=True).encode() + b"\n")
        digest.update(b"--\n")
    return digest.hexdigest()
