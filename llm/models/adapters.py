"""LoRA adapters on disk and in a model: a folder in the format of peft, with a card that records its base model and prompt.

LoRA layers are injected into the model in place, so references to the model stay valid. A model may hold one adapter for each task, of
which at most one is active. This module knows neither how adapters are trained nor which one a workspace uses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import prompts
from ...data.atomic_files import replacing_folder
from ...data.errors import ModelError, ModelMissingError, StaleAdapterError, storage_errors
from ...data.former_names import current_card
from .projector import MODULE as PROJECTOR
from .projector import PREFIX as PROJECTOR_PREFIX
from .projector import load_projector, save_projector
from .quantization import import_bitsandbytes

if TYPE_CHECKING:
    import torch

CARD, CONFIG, WEIGHTS = "card.json", "adapter_config.json", "adapter_model.safetensors"
RANKING, EXPLAINING = "rank", "word"
"""The tasks an adapter is trained for. A task has the name of its prompt, and its adapter in the model has the name of the task."""
PROJECTOR_KEY = "projector"
"""Key of the card: whether the adapter has a projector of behaviour."""
RETRAIN_HINT = "train a new one with `crossaisle train -w WS ranker`"
_PREFIX = "base_model.model."
"""Prefix of all parameter names in the files of peft; the model itself does not use it."""


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of an adapter.

    Raises:
        ModelMissingError: The folder holds no adapter.
        ModelError: The card cannot be read.
    """
    if missing := [name for name in (CARD, CONFIG, WEIGHTS) if not (folder / name).is_file()]:
        raise ModelMissingError(f"{folder} holds no ranking adapter ({missing[0]} is missing); {RETRAIN_HINT}")
    try:
        card = json.loads((folder / CARD).read_text("utf-8"))
    except ValueError as error:
        raise ModelError(f"{folder / CARD} cannot be read ({error}); {RETRAIN_HINT}") from error
    if not isinstance(card, dict):
        raise ModelError(f"{folder / CARD} is not a JSON object; {RETRAIN_HINT}")
    return current_card(card)


def read_lora_rank(folder: Path) -> int:
    """Return the rank of the LoRA matrices of an adapter.

    Raises:
        ModelError: The configuration cannot be read.
    """
    try:
        return int(json.loads((folder / CONFIG).read_text("utf-8"))["r"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / CONFIG} cannot be read ({error}); {RETRAIN_HINT}") from error


def check_compatibility(folder: Path, base: str, fingerprint: str, task: str = RANKING) -> int:
    """Return the version of the prompt that an adapter was trained for, after checking that the adapter fits a model.

    Args:
        folder: The adapter.
        base: Name of the model that gets the adapter.
        fingerprint: `fingerprint` of that model.
        task: Task of the adapter.

    Raises:
        StaleAdapterError: The adapter was trained on another model, for another task or for an unknown prompt version.
        ModelMissingError, ModelError: See `read_card`.
    """
    card = read_card(folder)
    if card.get("base_fingerprint") != fingerprint:
        raise StaleAdapterError(
            f"the adapter in {folder} was trained on {card.get('base')!r}, whose weights are not those of {base!r}; "
            f"use that model, or {RETRAIN_HINT}"
        )
    return _prompt_version(folder, card, task)


def merged_prompt_version(folder: Path) -> int:
    """Return the version of the prompt `rank` that the weights of a model were trained for: 1 unless an adapter was merged into them."""
    card = _card_or_empty(folder)
    return _prompt_version(folder, card, RANKING) if card.get("merged") else 1


def is_merged_from(model: Path, adapter: Path) -> bool:
    """Whether the folder `model` holds a base model with this adapter merged into it."""
    merged, own = _card_or_empty(model), _card_or_empty(adapter)
    identity = ("base_fingerprint", "examples_hash", "settings", "prompt")
    return bool(own) and bool(merged.get("merged")) and all(merged.get(name) == own.get(name) for name in identity)


def has_projector(folder: Path) -> bool:
    """Whether the card of an adapter, or of a model that one was merged into, says that it has a projector of behaviour."""
    return bool(_card_or_empty(folder).get(PROJECTOR_KEY))


def _card_or_empty(folder: Path) -> dict[str, Any]:
    """The card of a folder; empty if it has none, or a file of another program in its place."""
    try:
        card = json.loads((folder / CARD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def _prompt_version(folder: Path, card: Mapping[str, Any], task: str) -> int:
    match = re.fullmatch(rf"{task}\.v(\d+)", str(card.get("prompt")))
    try:
        return prompts.load(task, int(match[1] if match else 0)).version
    except FileNotFoundError:
        raise StaleAdapterError(
            f"the adapter in {folder} was trained for the prompt {card.get('prompt')!r}, which this version of crossaisle does not have; "
            f"{RETRAIN_HINT}"
        ) from None


def inject_lora(
    model: Any, base: str, *, rank: int, alpha: float, dropout: float, blocks: int | None = None, task: str = RANKING
) -> list[torch.nn.Parameter]:
    """Inject new LoRA layers into all linear layers of a model's text decoder but the head, and freeze the base weights.

    The layers have the dtype of the model: with float32 layers in a bf16 model, the casts of the activations cost more than the layers.

    Args:
        model: The transformers model.
        base: Name of the model, recorded in the adapter's configuration.
        rank: Rank of the LoRA matrices.
        alpha: Scale: the output of the adapter is multiplied by alpha / rank.
        dropout: Dropout of the adapter's inputs.
        blocks: Number of transformer blocks to adapt, counted from the last one; None for all.
        task: Name of the adapter.

    Returns:
        The parameters to train.

    Source: Hu et al., ICLR 2022; all kinds of linear layers after Dettmers et al., NeurIPS 2023.
    """
    import_bitsandbytes()
    from peft import LoraConfig, inject_adapter_in_model

    text_config = model.config.get_text_config()
    depth = int(getattr(text_config, "num_hidden_layers", 0))
    layers = list(range(depth - blocks, depth)) if blocks and blocks < depth else None
    is_multimodal = text_config is not model.config
    targets: str | list[str] = _linear_layer_names(model) if layers else "all-linear"  # which cannot be combined with layer numbers
    if is_multimodal:  # the towers for images and sounds stay as they are
        targets, layers = _text_layer_names(model, depth - blocks if layers and blocks else 0), None

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # peft accepts a float
        lora_dropout=dropout,
        target_modules=targets,
        layers_to_transform=layers,
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
    )
    model.requires_grad_(False)
    inject_adapter_in_model(config, model, adapter_name=task)
    return _with_model_dtype(model, task)


def _with_model_dtype(model: Any, task: str) -> list[torch.nn.Parameter]:
    """The LoRA layers of a task, converted to the dtype of the model."""
    parameters = list(_adapter_parameters(model, task).values())
    for parameter in parameters:
        parameter.data = parameter.data.to(model.dtype)
    return parameters


def _linear_layer_names(model: Any) -> list[str]:
    """Return the last components of the names of all linear layers but the head."""
    import torch

    head = model.get_output_embeddings()
    names = (name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and module is not head)
    return sorted({name.rpartition(".")[2] for name in names})


def _text_layer_names(model: Any, first_block: int) -> list[str]:
    """Return the full names of the linear layers of a multimodal model's text decoder, from a block on."""
    import torch

    decoder = model.get_decoder()
    prefix = next(name for name, module in model.named_modules() if module is decoder)
    linear = [name for name, module in decoder.named_modules() if isinstance(module, torch.nn.Linear)]
    blocks = {name: re.search(r"(?:^|\.)layers\.(\d+)\.", name) for name in linear}
    return [f"{prefix}.{name}" for name, block in blocks.items() if block and int(block[1]) >= first_block]


def load_weights(model: Any, folder: Path, task: str = RANKING) -> None:
    """Load the weights of a folder into LoRA layers that are already in the model.

    Raises:
        ModelError: The file is damaged, or its layers do not match those of the model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        set_state_dict(model, load_file(folder / WEIGHTS), task)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"the adapter in {folder} cannot be loaded ({str(error).splitlines()[0]}); {RETRAIN_HINT}") from error


def load_adapter(model: Any, folder: Path, task: str = RANKING) -> None:
    """Inject a trained adapter into the model that it was trained on.

    Raises:
        ModelError: The files are damaged.
    """
    import_bitsandbytes()
    import torch
    from peft import LoraConfig, inject_adapter_in_model
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config: Any = LoraConfig.from_pretrained(str(folder))
        with torch.random.fork_rng(devices=[]):  # peft initializes the layers at random before they are loaded
            inject_adapter_in_model(config, model, adapter_name=task)
            _with_model_dtype(model, task)
        set_state_dict(model, load_file(folder / WEIGHTS), task)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"the adapter in {folder} cannot be loaded ({(str(error) or type(error).__name__).splitlines()[0]}); {RETRAIN_HINT}"
        ) from error
    if has_projector(folder):
        load_projector(model, folder)
    model.eval()


def get_state_dict(model: Any, weights: Sequence[torch.Tensor] | None = None, task: str = RANKING) -> dict[str, torch.Tensor]:
    """Return a copy of the adapter's weights in float32 on the CPU, under the names of peft.

    Args:
        model: The model with the adapter.
        weights: Values to use in place of the model's own, in the order of `inject_lora`.
        task: Name of the adapter.
    """
    import torch

    parameters = _adapter_parameters(model, task)
    values = parameters.values() if weights is None else weights
    return {name: value.detach().to("cpu", torch.float32, copy=True).contiguous() for name, value in zip(parameters, values, strict=True)}


def set_state_dict(model: Any, weights: Mapping[str, torch.Tensor], task: str = RANKING) -> None:
    """Copy weights as returned by `get_state_dict` into the adapter.

    Raises:
        ValueError: A name or a shape does not match the model.
    """
    import torch

    parameters = _adapter_parameters(model, task)
    if parameters.keys() != weights.keys() or any(parameters[name].shape != weights[name].shape for name in parameters):
        raise ValueError("its layers do not match those of the model")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])


def _adapter_parameters(model: Any, task: str) -> dict[str, Any]:
    """The LoRA layers under their names in peft, and after them the projector of behaviour if the model has one."""
    lora, projector = {}, {}
    for name, parameter in model.named_parameters():
        if f".lora_A.{task}." in name or f".lora_B.{task}." in name:
            lora[_PREFIX + name.replace(f".{task}.", ".")] = parameter
        elif name.startswith(PROJECTOR_PREFIX) and task == RANKING:
            projector[name] = parameter
    return lora | projector


def activate(model: Any, task: str | None) -> None:
    """Activate the adapter of a task and deactivate all others; None deactivates all."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.enable_adapters(task is not None)
            if task is not None:
                module.set_adapter([task])


def merge_and_unload(model: Any) -> None:
    """Add the LoRA layers to the base weights, and remove them and the projector from the model."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())
    del model.peft_config
    if hasattr(model, PROJECTOR):  # it stays a file of its own
        delattr(model, PROJECTOR)


def save_adapter(out: Path, model: Any, weights: Mapping[str, torch.Tensor], card: Mapping[str, Any], task: str = RANKING) -> None:
    """Write an adapter to the folder `out`: the two files of peft and the card. An existing folder is replaced atomically.

    Raises:
        StorageError: The disk is full or not writable.
    """
    from safetensors.torch import save_file

    with storage_errors(f"the adapter in {out}"), replacing_folder(out) as fresh:
        config = model.peft_config[task]
        fields = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
        (fresh / CONFIG).write_text(json.dumps({**fields, "inference_mode": True}, indent=1, sort_keys=True) + "\n", "utf-8")
        # bf16 halves the size; its rounding error is far below that of a 4-bit base model.
        lora = {name: tensor.bfloat16() for name, tensor in weights.items() if not name.startswith(PROJECTOR_PREFIX)}
        save_file(lora, fresh / WEIGHTS, metadata={"format": "pt"})
        projector = {name: tensor for name, tensor in weights.items() if name.startswith(PROJECTOR_PREFIX)}
        if projector:
            save_projector(fresh, model, projector)
        card = {**card, PROJECTOR_KEY: bool(projector)}
        (fresh / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", "utf-8")
