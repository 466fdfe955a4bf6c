"""Training loop of LoRA fine-tuning: steps, validations and checkpoints, reproducible from the seed however often it is interrupted.

Knows examples only by their weight, and the objective only as a `TrainingTask`; `checkpoints` and `adapters` write the files.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from ... import prompts
from ...data.atomic_files import sha256
from ...data.errors import SettingsError, TrainingError
from ...data.settings import Settings
from ...llm.models import adapters
from ...llm.models.language_model import LanguageModel
from ...llm.models.library_output import quiet_libraries
from ...llm.models.model_source import fingerprint
from . import checkpoints
from .config import FinetuneConfig
from .distributed import DistributedContext
from .listwise_loss import DIVERGED, ListwiseRankingTask

if TYPE_CHECKING:
    import torch

SMOOTHING = 0.9
"""Decay of the exponential moving average of the loss."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Progress after a step.

    Attributes:
        step: Number of steps made.
        total: Number of steps in all.
        loss: Smoothed loss in nats.
        seconds_left: Remaining time without early stopping.
    """

    step: int
    total: int
    loss: float
    seconds_left: float


class WeightedExample(Protocol):
    """A training example."""

    @property
    def weight(self) -> float:
        """Weight relative to other examples."""
        ...


class TrainingTask(Protocol):
    """The objective of a training run.

    Attributes:
        name: Name of its prompt and of its adapter.
        unit: Name of the validation metric.
        max_forward_tokens: Maximum number of tokens of one forward pass; reduced when memory runs out.
    """

    name: str
    unit: str
    max_forward_tokens: int

    @classmethod
    def for_model(cls, llm: LanguageModel, max_forward_tokens: int) -> Self:
        """Return the task for a model."""
        ...

    @staticmethod
    def as_json(example: Any) -> list[object]:
        """Return all fields of an example that affect training, as JSON-compatible values."""
        ...

    def add_parameters(self, config: FinetuneConfig, examples: Sequence[Any], /) -> list[torch.nn.Parameter]:
        """Add to the model what is trained besides the LoRA layers, and return its parameters."""
        ...

    def advance(self, share: float) -> None:
        """Prepare for what follows this share of the training, 0 to 1. Called before every step and every evaluation."""
        ...

    def accumulate_gradients(self, examples: Sequence[Any], total_weight: float) -> float:
        """Add the gradients of the weighted losses, divided by `total_weight`, and return the sum of these losses in nats."""
        ...

    def evaluate(self, examples: Sequence[Any], *, tuned: bool = True) -> float:
        """Return the sum over the examples of the validation metric, 0 to 1 each, with or without the adapter."""
        ...


class LoraTrainer:
    """One training run, from its start or its last checkpoint to its end.

    Args:
        examples: Training examples.
        validation: Validation examples.
        settings: Name the base model and its quantization.
        out: Folder of the adapter.
        config: Hyperparameters.
        context: The processes that train together.
        examples_hash: Hash of all examples.
        start: Adapter to continue training from, None for a new one.
        task: The objective.

    Attributes:
        card: Entries of the adapter's card that identify the run.
        state: The state.
        resumed_from: Step of the checkpoint that the run resumed from, 0 for a new run.
    """

    def __init__(
        self,
        examples: Sequence[WeightedExample],
        validation: Sequence[WeightedExample],
        settings: Settings,
        out: Path,
        config: FinetuneConfig,
        context: DistributedContext,
        examples_hash: str,
        start: Path | None = None,
        task: type[TrainingTask] = ListwiseRankingTask,
    ) -> None:
        import torch

        start_hash = _start_adapter_hash(start, settings, config, task.name) if start is not None else None

        self.examples, self.validation, self.out, self.config, self.context = examples, validation, out, config, context
        self.steps_per_epoch = -(-len(examples) // config.batch)
        self.total = config.epochs * self.steps_per_epoch
        self.llm = LanguageModel.load(settings)
        self.card = {
            "base": settings.llm,
            "base_fingerprint": fingerprint(settings.llm, settings.home),
            "prompt": prompts.load(task.name, config.prompt).id,
            "quantization": settings.quantization,
            "settings": asdict(config),
            "examples_hash": examples_hash,
            "start": start_hash,
        }
        self.identity = {**self.card, "processes": context.world_size}
        torch.manual_seed(config.seed)
        with quiet_libraries():
            self.parameters = adapters.inject_lora(
                self.llm.model,
                settings.llm,
                rank=config.rank,
                alpha=config.alpha,
                dropout=config.dropout,
                blocks=config.blocks,
                task=task.name,
            )
        if start is not None:
            adapters.load_weights(self.llm.model, start, task.name)
        self.llm.register_adapter(task.name, config.prompt)
        if config.gradient_checkpointing:
            # The second name is that of earlier versions of transformers.
            enable = getattr(self.llm.model, "activation_checkpointing_enable", None) or self.llm.model.gradient_checkpointing_enable
            enable({"use_reentrant": False})
        self.task = task.for_model(self.llm, config.pack_tokens)
        self.parameters += self.task.add_parameters(config, examples)
        # Updates are often smaller than the resolution of bf16: they accumulate in float32 master weights, which are rounded for the model.
        self.master_weights = [torch.nn.Parameter(parameter.detach().float().clone()) for parameter in self.parameters]
        self.optimizer = torch.optim.AdamW(self.master_weights, lr=config.lr, weight_decay=config.weight_decay)
        checkpoint = checkpoints.load(out, self.identity)
        self.resumed_from = checkpoint.step if checkpoint else 0
        self.state = checkpoint or checkpoints.TrainingState(room=config.pack_tokens)
        self._started, self._previous_seconds = time.perf_counter(), self.state.seconds

    # ------------------------------------------------------------------ the loop

    def train(self, progress: Callable[[TrainingProgress], None] | None) -> None:
        """Make the remaining steps, with validations and checkpoints. Args: progress: called after every step by the main process."""
        state, config = self.state, self.config
        self._restore() if self.resumed_from else self._measure_baseline()
        started, first = time.perf_counter(), state.step
        while state.step < self.total and state.misses < config.patience:
            loss = self._compute_gradients()
            if not math.isfinite(loss):
                raise TrainingError(DIVERGED)
            # Saved only after this loss has shown that the weights of the last step are finite.
            if state.step % config.checkpoint_every == 0 and state.step > self.resumed_from:
                self._save_checkpoint()
            self._update_weights()
            state.step += 1
            state.loss = loss if state.loss is None else SMOOTHING * state.loss + (1 - SMOOTHING) * loss
            if state.step % config.validate_every == 0 or state.step == self.total:
                self._validate()
            if progress and self.context.is_main:
                seconds_per_step = (time.perf_counter() - started) / (state.step - first)
                progress(TrainingProgress(state.step, self.total, state.loss, seconds_per_step * (self.total - state.step)))

    def _measure_baseline(self) -> None:
        state = self.state
        state.best_measure = state.zero_shot = self._evaluate()  # a new adapter does not change the model
        if self.card["start"]:
            state.zero_shot = self._evaluate(tuned=False)
        state.best = adapters.get_state_dict(self.llm.model, task=self.task.name)

    def _compute_gradients(self) -> float:
        """Compute the gradients of the next batch, and return its mean loss."""
        import torch

        state, config = self.state, self.config
        start = time.perf_counter()
        epoch, number = divmod(state.step, self.steps_per_epoch)
        order = np.random.default_rng([config.seed, epoch]).permutation(len(self.examples))
        batch = [self.examples[i] for i in order[number * config.batch : (number + 1) * config.batch]]
        torch.manual_seed(int(np.random.SeedSequence([config.seed, state.step, self.context.rank]).generate_state(1)[0]))
        self.llm.model.train()
        self.task.advance(state.step / self.total)
        for parameter in self.parameters:
            parameter.grad = None
        loss = self.task.accumulate_gradients(self.context.shard(batch), sum(example.weight for example in batch))
        loss = self.context.all_reduce_sum(loss)
        self.context.all_reduce_gradients(self.parameters)
        state.users += len(batch)
        state.training_seconds += time.perf_counter() - start
        return loss

    def _update_weights(self) -> None:
        import torch

        step, config = self.state.step, self.config
        warmup_steps = max(1, round(config.warmup * self.total))
        decay = (step - warmup_steps) / max(1, self.total - warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * ((step + 1) / warmup_steps if step < warmup_steps else (1 + math.cos(math.pi * decay)) / 2)
        for master, parameter in zip(self.master_weights, self.parameters, strict=True):
            master.grad = None if parameter.grad is None else parameter.grad.float()
        norm = torch.nn.utils.clip_grad_norm_(self.master_weights, config.max_grad_norm)
        if not math.isfinite(float(norm)):
            raise TrainingError(DIVERGED)
        self.optimizer.step()
        self._copy_master_weights()

    def _copy_master_weights(self) -> None:
        """Copy the master weights to the model, rounded to its dtype."""
        import torch

        with torch.no_grad():
            for parameter, master in zip(self.parameters, self.master_weights, strict=True):
                parameter.copy_(master)

    def _validate(self) -> None:
        state, metric = self.state, self._evaluate()
        state.curve.append((state.step, round(metric, 4)))
        logger.info("step %d of %d: %s %.4f", state.step, self.total, self.task.unit, metric)
        if metric > state.best_measure:
            state.best_measure, state.best_step, state.misses = metric, state.step, 0
            state.best = adapters.get_state_dict(self.llm.model, task=self.task.name)
        else:
            state.misses += 1

    def _evaluate(self, *, tuned: bool = True) -> float:
        """Return the mean validation metric."""
        self.llm.model.eval()
        self.task.advance(self.state.step / self.total)
        return self.context.all_reduce_sum(self.task.evaluate(self.context.shard(self.validation), tuned=tuned)) / len(self.validation)

    # ------------------------------------------------------------------ checkpoints

    def _save_checkpoint(self) -> None:
        state = self.state
        state.room, state.seconds = self.task.max_forward_tokens, self.seconds()
        if self.context.is_main:
            state.weights = adapters.get_state_dict(self.llm.model, self.master_weights, self.task.name)
            state.moments = {
                f"{number}.{name}": value.detach().cpu()
                for number, moments in self.optimizer.state_dict()["state"].items()
                for name, value in moments.items()
            }
            checkpoints.save(self.out, self.identity, state)
            state.weights, state.moments = {}, {}

    def _restore(self) -> None:
        import torch

        state = self.state
        logger.info("resuming from step %d of %d", state.step, self.total)
        adapters.set_state_dict(self.llm.model, state.weights, self.task.name)
        with torch.no_grad():
            for master, name in zip(self.master_weights, adapters.get_state_dict(self.llm.model, task=self.task.name), strict=True):
                master.copy_(state.weights[name])
        moments: dict[int, dict[str, Any]] = {}
        for key, value in state.moments.items():
            number, name = key.split(".")
            moments.setdefault(int(number), {})[name] = value
        self.optimizer.load_state_dict({"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.task.max_forward_tokens = state.room
        state.weights, state.moments = {}, {}

    def seconds(self) -> float:
        """Return the total time of the run, including the time before an interruption."""
        return self._previous_seconds + time.perf_counter() - self._started

    def save_best(self, card: Mapping[str, Any]) -> None:
        """Write the best weights as the adapter in `out`; returns in every process when they are written."""
        if self.context.is_main:
            adapters.save_adapter(self.out, self.llm.model, self.state.best, card, self.task.name)
        self.context.wait()


def _start_adapter_hash(start: Path, settings: Settings, config: FinetuneConfig, task: str) -> str:
    """Return the SHA-256 of the weights of an adapter to continue training from.

    Raises:
        SettingsError: The adapter has another rank, or was trained for another prompt version.
        StaleAdapterError: The adapter was trained on another base model.
    """
    version = adapters.check_compatibility(start, settings.llm, fingerprint(settings.llm, settings.home), task)
    rank = adapters.read_lora_rank(start)
    if (rank, version) != (config.rank, config.prompt):
        raise SettingsError(
            f"the adapter in {start} has rank {rank} and was trained for {task}.v{version}; a training of rank {config.rank} for "
            f"{task}.v{config.prompt} cannot continue from it"
        )
    return sha256(start / adapters.WEIGHTS)
