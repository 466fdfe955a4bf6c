"""Projector of behaviour: maps numbers about a history and its candidates to soft tokens that a language model reads beside the text.

Two small networks, one for the history and one for a candidate, with standardized inputs. They are part of the model while they are trained
and used, and a file beside the adapter otherwise. An untrained projector maps everything to the average embedding, which says nothing.
Knows neither what the numbers mean nor where they come from.

Sources: Zhang et al., CoLLM, TKDE 2025; Liao et al., LLaRA, SIGIR 2024 (collaborative embeddings as tokens of a language model).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.errors import ModelError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

FILE = "projector.safetensors"
"""File in the adapter's folder."""
MODULE = "behaviour_projector"
"""Name of the projector in the model."""
PREFIX = f"{MODULE}."
"""Prefix of the names of its parameters."""
WIDTH = 128
"""Units of the hidden layer of each network."""
MIN_SCALE = 1e-3
"""Smallest standard deviation that an input is divided by."""


@dataclass(frozen=True, slots=True)
class ProjectorInputs:
    """What a projector reads.

    Attributes:
        factors: Number of factors of a history and of a candidate, which come first.
        features: Names of the features of a candidate, which follow its factors.
        factors_id: Id of the factorization that the factors come from; those of another one mean something else.
    """

    factors: int
    features: Sequence[str]
    factors_id: str = ""

    @property
    def history_size(self) -> int:
        """Numbers about a history: its factors, and the log of its length."""
        return self.factors + 1

    @property
    def candidate_size(self) -> int:
        """Numbers about a candidate."""
        return self.factors + len(self.features)


@dataclass(frozen=True, slots=True)
class Standardization:
    """Means and standard deviations of the inputs over the training examples: (history size,) and (candidate size,) of each."""

    history_mean: NDArray[np.float32]
    history_scale: NDArray[np.float32]
    candidate_mean: NDArray[np.float32]
    candidate_scale: NDArray[np.float32]

    @classmethod
    def fit(cls, histories: NDArray[np.float32], candidates: NDArray[np.float32]) -> Standardization:
        """Return the statistics of inputs. Args: histories: (examples, history size). candidates: (candidates, candidate size)."""
        statistics = [
            value.astype(np.float32)
            for inputs in (histories, candidates)
            for value in (inputs.mean(axis=0), np.maximum(inputs.std(axis=0), MIN_SCALE))
        ]
        return cls(*statistics)


def attach_projector(model: Any, inputs: ProjectorInputs, standardization: Standardization) -> list[torch.nn.Parameter]:
    """Add an untrained projector to a model, and return its parameters.

    Args:
        model: The transformers model.
        inputs: What the projector reads.
        standardization: Statistics of the inputs.
    """
    import torch

    embeddings = model.get_input_embeddings().weight
    hidden, device = int(embeddings.shape[1]), embeddings.device
    projector = torch.nn.Module()
    for name, size in (("history", inputs.history_size), ("candidate", inputs.candidate_size)):
        last = torch.nn.Linear(WIDTH, hidden)
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
        projector.add_module(name, torch.nn.Sequential(torch.nn.Linear(size, WIDTH), torch.nn.GELU(), last))
    for name, value in asdict(standardization).items():
        projector.register_buffer(name, torch.from_numpy(np.asarray(value, np.float32)))
    # The average embedding; what is projected is added to it, in multiples of the embeddings' own spread.
    sample = embeddings.detach().float()
    projector.register_buffer("center", sample.mean(dim=0))
    projector.register_buffer("spread", sample.std())
    projector.inputs = inputs  # type: ignore[assignment]  # a plain attribute
    model.add_module(MODULE, projector.to(device, torch.float32))
    return list(projector.parameters())


def projector_inputs(model: Any) -> ProjectorInputs | None:
    """Return what the projector of a model reads; None if the model has none."""
    projector = getattr(model, MODULE, None)
    return None if projector is None else projector.inputs


def soft_tokens(model: Any, history: NDArray[np.float32], candidates: NDArray[np.float32]) -> torch.Tensor:
    """Return the soft tokens of a history and of its candidates, (1 + candidates, hidden) float32.

    Args:
        model: A model with a projector.
        history: (history size,) numbers about the history.
        candidates: (candidates, candidate size) numbers about the candidates.
    """
    import torch

    projector = getattr(model, MODULE)
    parts = []
    for name, values in (("history", history[None]), ("candidate", candidates)):
        numbers = torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(projector.center.device)
        standardized = (numbers - getattr(projector, f"{name}_mean")) / getattr(projector, f"{name}_scale")
        parts.append(getattr(projector, name)(standardized.clamp(-5, 5)))
    tokens: torch.Tensor = torch.cat(parts) * projector.spread + projector.center
    return tokens


def save_projector(folder: Path, model: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Write the projector of a model into a folder. Args: weights: Its parameters, under their names in the model."""
    from safetensors.torch import save_file

    projector = getattr(model, MODULE)
    statistics = {name: getattr(projector, name).cpu().contiguous() for name in Standardization.__slots__}
    tensors = {name.removeprefix(PREFIX): value for name, value in weights.items()}
    save_file({**tensors, **statistics}, folder / FILE, metadata={"inputs": json.dumps(asdict(projector.inputs))})


def load_projector(model: Any, folder: Path) -> None:
    """Add the projector of a folder to a model.

    Raises:
        ModelError: The file is missing or damaged, or is of a model with other embeddings.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / FILE, framework="pt") as file:
            fields = json.loads(file.metadata()["inputs"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        inputs = ProjectorInputs(int(fields["factors"]), tuple(fields["features"]), str(fields["factors_id"]))
        statistics = Standardization(*(tensors.pop(name).numpy() for name in Standardization.__slots__))
        attach_projector(model, inputs, statistics)
        getattr(model, MODULE).load_state_dict(tensors, strict=False)
        expected = {name for name, _ in getattr(model, MODULE).named_parameters()}
        if tensors.keys() != expected:
            raise ValueError("its layers do not match")
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"the projector in {folder / FILE} cannot be loaded ({(str(error) or type(error).__name__).splitlines()[0]}); "
            "train a new adapter with `crossaisle train -w WS ranker`"
        ) from error
    getattr(model, MODULE).requires_grad_(False)
