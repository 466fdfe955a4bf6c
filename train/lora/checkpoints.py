"""Checkpoints of a training run: everything an interrupted run needs to continue with the same result.

Safetensors and JSON in one folder that is replaced atomically. The order of the examples and the dropout follow from seed and step, so
the state of random generators is not stored. Knows nothing of the model.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.atomic_files import replacing_folder
from ...data.errors import storage_errors

if TYPE_CHECKING:
    import torch

FOLDER = ".checkpoint"
_FILE = "state.json"
_TENSORS = ("weights", "best", "moments")

logger = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """Everything that changes during training. The field names are keys of the checkpoint.

    Attributes:
        step: Number of updates made.
        zero_shot: Validation metric of the base model.
        best_measure: Best validation metric so far.
        best_step: Step of the best validation metric.
        misses: Number of validations since then.
        curve: Step and metric of each validation.
        loss: Smoothed loss in nats, None before the first step.
        room: Maximum number of tokens of one forward pass.
        users: Number of examples processed.
        training_seconds: Time spent on them.
        seconds: Total time.
        weights: Current weights of the adapter.
        best: Best weights of the adapter.
        moments: State of the optimizer, by `NUMBER.NAME`.
    """

    step: int = 0
    zero_shot: float = 0.0
    best_measure: float = 0.0
    best_step: int = 0
    misses: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)
    loss: float | None = None
    room: int = 0
    users: int = 0
    training_seconds: float = 0.0
    seconds: float = 0.0
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    moments: dict[str, torch.Tensor] = field(default_factory=dict)


def save(out: Path, run: Mapping[str, Any], state: TrainingState) -> None:
    """Write a checkpoint to the folder `out`, replacing the previous one.

    Args:
        out: Folder of the adapter.
        run: Identity of the run (configuration, examples, base model), JSON-compatible.
        state: The state.

    Raises:
        StorageError: The disk is full or not writable.
    """
    from safetensors.torch import save_file

    with storage_errors(f"the checkpoint in {out}"), replacing_folder(out / FOLDER) as fresh:
        for name in _TENSORS:
            save_file({key: tensor.contiguous() for key, tensor in getattr(state, name).items()}, fresh / f"{name}.safetensors")
        scalars = {name: value for name, value in vars(state).items() if name not in _TENSORS}
        (fresh / _FILE).write_text(json.dumps({"run": dict(run), "state": scalars}, indent=1) + "\n", "utf-8")


def load(out: Path, run: Mapping[str, Any]) -> TrainingState | None:
    """Return the last checkpoint in the folder `out`; None if there is none, it is unreadable, or it belongs to another run."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = out / FOLDER
    if not (folder / _FILE).is_file():
        return None
    try:
        content = json.loads((folder / _FILE).read_text("utf-8"))
        if content["run"] != json.loads(json.dumps(dict(run))):
            logger.info("%s belongs to another configuration or other examples: training restarts", folder)
            return None
        state = TrainingState(**content["state"])
        state.weights, state.best, state.moments = (load_file(folder / f"{name}.safetensors") for name in _TENSORS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        logger.warning("%s cannot be read (%s): training restarts", folder, error)
        return None
    return state
