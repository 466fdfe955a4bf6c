"""Where a training stands, on disk: what a killed run needs to go on as if nothing had happened.

Safetensors and JSON in one folder that is replaced whole. Order of examples and dropout follow from seed and step, so no generator's
state is kept. Knows nothing of the model.
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
class State:
    """Everything that changes while a training runs.

    Attributes:
        step: updates made. zero_shot, best_measure: of the validation before training, and the best so far. best_step: when.
        misses: validations since then. loss: smoothed, nats; None before the first step. room: tokens of one pack.
        users: examples learned from. training_seconds: spent on them. seconds: spent on everything.
        weights, best: the adapter now, and at its best. moments: the optimizer's, `NUMBER.NAME`.
    """

    step: int = 0
    zero_shot: float = 0.0
    best_measure: float = 0.0
    best_step: int = 0
    misses: int = 0
    loss: float | None = None
    room: int = 0
    users: int = 0
    training_seconds: float = 0.0
    seconds: float = 0.0
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    moments: dict[str, torch.Tensor] = field(default_factory=dict)


def save(out: Path, run: Mapping[str, Any], state: State) -> None:
    """Writes a checkpoint into `out`, in place of the last one.

    Args: run: what tells this training from any other (configuration, examples, base); JSON.
    Raises: StorageError: the disk is full, or refuses to be written.
    """
    from safetensors.torch import save_file

    with storage_errors(f"the checkpoint in {out}"), replacing_folder(out / FOLDER) as fresh:
        for name in _TENSORS:
            save_file({key: tensor.contiguous() for key, tensor in getattr(state, name).items()}, fresh / f"{name}.safetensors")
        numbers = {name: value for name, value in vars(state).items() if name not in _TENSORS}
        (fresh / _FILE).write_text(json.dumps({"run": dict(run), "state": numbers}, indent=1) + "\n", "utf-8")


def load(out: Path, run: Mapping[str, Any]) -> State | None:
    """The last checkpoint in `out`; None where there is none, or only one of another training or one that cannot be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = out / FOLDER
    if not (folder / _FILE).is_file():
        return None
    try:
        kept = json.loads((folder / _FILE).read_text("utf-8"))
        if kept["run"] != json.loads(json.dumps(dict(run))):
            logger.info("%s is of another configuration or other examples: starting anew", folder)
            return None
        state = State(**kept["state"])
        state.weights, state.best, state.moments = (load_file(folder / f"{name}.safetensors") for name in _TENSORS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        logger.warning("%s cannot be read (%s): starting anew", folder, error)
        return None
    return state
