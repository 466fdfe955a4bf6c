"""The loop of a training: steps, validations and checkpoints, the same for the same seed however often it is interrupted.

Knows the examples only as something that has a weight, and what they teach only as a `Task`; `checkpoints` and `adapters` write.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from ... import prompts
from ...data.atomic_files import sha256
from ...data.errors import SettingsError, TrainingError
from ...data.settings import Settings
from ...llm.models import adapters
from ...llm.models.language_model import LanguageModel, fingerprint, quiet_libraries
from . import checkpoints
from .config import Config
from .distributed import Processes
from .listwise_loss import DIVERGED, Listwise

SMOOTHING = 0.9
"""What the smoothed loss keeps of itself at each step."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands after a step: of `total` steps; `loss` is smoothed, in nats; `seconds_left` if nothing ends it early."""

    step: int
    total: int
    loss: float
    seconds_left: float


class Weighted(Protocol):
    """What is learned from."""

    @property
    def weight(self) -> float:
        """How much it counts beside others."""
        ...


class Task(Protocol):
    """What a model learns.

    Attributes: name: of its prompt and its adapter. unit: of what is measured. room: tokens of one forward; smaller when the memory did
        not suffice.
    """

    name: str
    unit: str
    room: int

    @classmethod
    def of(cls, llm: LanguageModel, room: int) -> Self:
        """The task for a model."""
        ...

    @staticmethod
    def said(example: Any) -> list[object]:
        """All that is read of an example, as JSON."""
        ...

    def accumulate(self, examples: Sequence[Any], whole: float) -> float:
        """Adds the gradients of the weighted losses over `whole` to the trained parameters, and returns the sum of those losses, nats."""
        ...

    def measure(self, examples: Sequence[Any], *, tuned: bool = True) -> float:
        """The sum over the examples of how well each is done, 0 to 1, with the adapter or without."""
        ...


class Training:
    """One training from its start, or its last checkpoint, to its end.

    Attributes: about: what the card says of it. state: where it stands. resumed_from: the step it began with.
    """

    def __init__(
        self,
        examples: Sequence[Weighted],
        validation: Sequence[Weighted],
        settings: Settings,
        out: Path,
        config: Config,
        processes: Processes,
        examples_hash: str,
        start: Path | None = None,
        task: type[Task] = Listwise,
    ) -> None:
        import torch

        begun = _beginning(start, settings, config, task.name) if start is not None else None

        self.examples, self.validation, self.out, self.config, self.processes = examples, validation, out, config, processes
        self.steps_per_epoch = -(-len(examples) // config.batch)
        self.total = config.epochs * self.steps_per_epoch
        self.llm = LanguageModel.load(settings)
        self.about = {
            "base": settings.llm,
            "base_fingerprint": fingerprint(settings.llm, settings.home),
            "prompt": prompts.load(task.name, config.prompt).id,
            "quantization": settings.quantization,
            "settings": asdict(config),
            "examples_hash": examples_hash,
            "start": begun,
        }
        self.identity = {**self.about, "processes": processes.count}
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
            # The second is the name of earlier versions.
            enable = getattr(self.llm.model, "activation_checkpointing_enable", None) or self.llm.model.gradient_checkpointing_enable
            enable({"use_reentrant": False})
        # What a step adds is often less than bf16 can tell apart: it is added up in float32, and rounded for the model to compute with.
        self.masters = [torch.nn.Parameter(parameter.detach().float().clone()) for parameter in self.parameters]
        self.optimizer = torch.optim.AdamW(self.masters, lr=config.lr, weight_decay=config.weight_decay)
        self.task = task.of(self.llm, config.pack_tokens)
        kept = checkpoints.load(out, self.identity)
        self.resumed_from = kept.step if kept else 0
        self.state = kept or checkpoints.State(room=config.pack_tokens)
        self.began, self.before = time.perf_counter(), self.state.seconds

    # ------------------------------------------------------------------ the loop

    def learn(self, progress: Callable[[Progress], None] | None) -> None:
        """Runs the steps that are left, validating and keeping checkpoints on the way."""
        state, config = self.state, self.config
        self._restore() if self.resumed_from else self._begin()
        since, first = time.perf_counter(), state.step
        while state.step < self.total and state.misses < config.patience:
            loss = self._gradients()
            if not math.isfinite(loss):
                raise TrainingError(DIVERGED)
            # Only now is it known that the weights of the last step still give a number: a checkpoint before would not be a good one.
            if state.step % config.checkpoint_every == 0 and state.step > self.resumed_from:
                self._checkpoint()
            self._update()
            state.step += 1
            state.loss = loss if state.loss is None else SMOOTHING * state.loss + (1 - SMOOTHING) * loss
            if state.step % config.validate_every == 0 or state.step == self.total:
                self._validate()
            if progress and self.processes.main:
                pace = (time.perf_counter() - since) / (state.step - first)
                progress(Progress(state.step, self.total, state.loss, pace * (self.total - state.step)))

    def _begin(self) -> None:
        state = self.state
        state.best_measure = state.zero_shot = self._measure()  # a new adapter changes nothing yet
        if self.about["start"]:
            state.zero_shot = self._measure(tuned=False)
        state.best = adapters.get_state_dict(self.llm.model, task=self.task.name)

    def _gradients(self) -> float:
        """The mean loss of the next batch; its gradients stand at the parameters."""
        import torch

        state, config = self.state, self.config
        start = time.perf_counter()
        epoch, place = divmod(state.step, self.steps_per_epoch)
        order = np.random.default_rng([config.seed, epoch]).permutation(len(self.examples))
        batch = [self.examples[i] for i in order[place * config.batch : (place + 1) * config.batch]]
        torch.manual_seed(int(np.random.SeedSequence([config.seed, state.step, self.processes.index]).generate_state(1)[0]))
        self.llm.model.train()
        for parameter in self.parameters:
            parameter.grad = None
        loss = self.task.accumulate(self.processes.share(batch), sum(example.weight for example in batch))
        loss = self.processes.sum(loss)
        self.processes.sum_gradients(self.parameters)
        state.users += len(batch)
        state.training_seconds += time.perf_counter() - start
        return loss

    def _update(self) -> None:
        import torch

        step, config = self.state.step, self.config
        rising = max(1, round(config.warmup * self.total))
        done = (step - rising) / max(1, self.total - rising)
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * ((step + 1) / rising if step < rising else (1 + math.cos(math.pi * done)) / 2)
        for master, parameter in zip(self.masters, self.parameters, strict=True):
            master.grad = None if parameter.grad is None else parameter.grad.float()
        norm = torch.nn.utils.clip_grad_norm_(self.masters, config.max_grad_norm)
        if not math.isfinite(float(norm)):
            raise TrainingError(DIVERGED)
        self.optimizer.step()
        self._round()

    def _round(self) -> None:
        """Gives the model the weights as it computes with them."""
        import torch

        with torch.no_grad():
            for parameter, master in zip(self.parameters, self.masters, strict=True):
                parameter.copy_(master)

    def _validate(self) -> None:
        state, found = self.state, self._measure()
        logger.info("step %d of %d: measured %.4f", state.step, self.total, found)
        if found > state.best_measure:
            state.best_measure, state.best_step, state.misses = found, state.step, 0
            state.best = adapters.get_state_dict(self.llm.model, task=self.task.name)
        else:
            state.misses += 1

    def _measure(self, *, tuned: bool = True) -> float:
        self.llm.model.eval()
        return self.processes.sum(self.task.measure(self.processes.share(self.validation), tuned=tuned)) / len(self.validation)

    # ------------------------------------------------------------------ what is kept

    def _checkpoint(self) -> None:
        state = self.state
        state.room, state.seconds = self.task.room, self.seconds()
        if self.processes.main:
            state.weights = adapters.get_state_dict(self.llm.model, self.masters, self.task.name)
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
        logger.info("going on from step %d of %d", state.step, self.total)
        adapters.set_state_dict(self.llm.model, state.weights, self.task.name)
        with torch.no_grad():
            for master, name in zip(self.masters, adapters.get_state_dict(self.llm.model, task=self.task.name), strict=True):
                master.copy_(state.weights[name])
        moments: dict[int, dict[str, Any]] = {}
        for key, value in state.moments.items():
            number, name = key.split(".")
            moments.setdefault(int(number), {})[name] = value
        self.optimizer.load_state_dict({"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.task.room = state.room
        state.weights, state.moments = {}, {}

    def seconds(self) -> float:
        """Spent in all, before an interruption too."""
        return self.before + time.perf_counter() - self.began

    def write(self, card: Mapping[str, Any]) -> None:
        """Makes the best state the adapter in `out`; returns when it stands there for every process."""
        if self.processes.main:
            adapters.save_adapter(self.out, self.llm.model, self.state.best, card, self.task.name)
        self.processes.wait()


def _beginning(start: Path, settings: Settings, config: Config, task: str) -> str:
    """SHA-256 of the weights of an adapter to go on learning from.

    Raises: SettingsError: it has another rank, or was trained for another prompt. StaleAdapterError: or on another base.
    """
    version = adapters.check_compatibility(start, settings.llm, fingerprint(settings.llm, settings.home), task)
    rank = adapters.read_lora_rank(start)
    if (rank, version) != (config.rank, config.prompt):
        raise SettingsError(
            f"the adapter in {start} has rank {rank} and was trained for {task}.v{version}; a training of rank {config.rank} for "
            f"{task}.v{config.prompt} cannot go on from it"
        )
    return sha256(start / adapters.WEIGHTS)
