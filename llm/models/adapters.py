"""Adapters on disk and in a model: a folder in peft's own format with a card beside it that says what it belongs to.

The LoRA layers are put into the model in place, so whoever holds the model keeps holding it, and they are switched on and off; one for
each task may be there, of which at most one is on. Knows nothing of how an adapter is trained, nor which one a workspace uses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import prompts
from ...data.atomic_files import replacing_folder
from ...data.errors import ModelError, ModelMissingError, StaleAdapterError, storing
from .quantization import import_bitsandbytes

if TYPE_CHECKING:
    import torch

CARD, CONFIG, WEIGHTS = "card.json", "adapter_config.json", "adapter_model.safetensors"
RANK, WORD = "rank", "word"
"""The tasks that an adapter is trained for, by the name of their prompt."""
MEND = "`crossaisle train -w WS ranker` makes a new one"
_PREFIX = "base_model.model."
"""What peft puts before every name in its files; the model itself does not."""


def read_card(folder: Path) -> dict[str, Any]:
    """What an adapter's card says.

    Raises: ModelMissingError: the folder holds no adapter. ModelError: its card cannot be read.
    """
    if missing := [name for name in (CARD, CONFIG, WEIGHTS) if not (folder / name).is_file()]:
        raise ModelMissingError(f"{folder} holds no ranking adapter ({missing[0]} is not there); {MEND}")
    try:
        card = json.loads((folder / CARD).read_text("utf-8"))
    except ValueError as error:
        raise ModelError(f"{folder / CARD} cannot be read ({error}); {MEND}") from error
    if not isinstance(card, dict):
        raise ModelError(f"{folder / CARD} is no card; {MEND}")
    return card


def read_rank(folder: Path) -> int:
    """The rank of an adapter's matrices. Raises: ModelError: its configuration cannot be read."""
    try:
        return int(json.loads((folder / CONFIG).read_text("utf-8"))["r"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / CONFIG} cannot be read ({error}); {MEND}") from error


def check(folder: Path, base: str, fingerprint: str, task: str = RANK) -> int:
    """The version of its task's prompt that an adapter was trained for.

    Args: base: the name of the model it is to be put into. fingerprint: that model's, of `models.fingerprint`.
    Raises:
        StaleAdapterError: it was trained on another model, for another task, or for a prompt that is not known.
        ModelMissingError, ModelError: see `read_card`.
    """
    card = read_card(folder)
    if card.get("base_fingerprint") != fingerprint:
        raise StaleAdapterError(
            f"the adapter in {folder} was trained on {card.get('base')!r}, whose weights are not those of {base!r}; "
            f"use that model, or train again: {MEND}"
        )
    return _version(folder, card, task)


def merged_version(folder: Path) -> int:
    """The version of the prompt `rank` that a model's own weights were trained for: 1 unless an adapter was merged into them."""
    try:
        card = json.loads((folder / CARD).read_text("utf-8"))
    except (OSError, ValueError):  # none, or somebody else's
        return 1
    return _version(folder, card, RANK) if isinstance(card, dict) and card.get("merged") else 1


def merged_from(model: Path, folder: Path) -> bool:
    """Whether a folder holds a base that this very adapter was merged into."""
    try:
        merged, own = (json.loads((home / CARD).read_text("utf-8")) for home in (model, folder))
    except (OSError, ValueError):
        return False
    same = ("base_fingerprint", "examples_hash", "settings", "prompt")
    return isinstance(merged, dict) and bool(merged.get("merged")) and all(merged.get(name) == own.get(name) for name in same)


def _version(folder: Path, card: Mapping[str, Any], task: str) -> int:
    named = re.fullmatch(rf"{task}\.v(\d+)", str(card.get("prompt")))
    try:
        return prompts.load(task, int(named[1] if named else 0)).version
    except FileNotFoundError:
        raise StaleAdapterError(
            f"the adapter in {folder} was trained for the prompt {card.get('prompt')!r}, which this version of crossaisle does not have; "
            f"{MEND}"
        ) from None


def inject(
    model: Any, base: str, *, rank: int, alpha: float, dropout: float, blocks: int | None = None, task: str = RANK
) -> list[torch.nn.Parameter]:
    """Puts new LoRA layers on the linear layers of a model, all but the head; the base is frozen. Returns: what is to be trained.

    They compute as the model does: in bf16 where it does, for casting every activation to float32 and back costs more than they do.

    Args: blocks: of the model's transformer blocks, how many get them, the last ones; None is all.
    Source: Hu et al., ICLR 2022; on all kinds of layers as Dettmers et al., NeurIPS 2023, found best.
    """
    import_bitsandbytes()
    from peft import LoraConfig, inject_adapter_in_model

    depth = int(getattr(model.config, "num_hidden_layers", 0))
    chosen = list(range(depth - blocks, depth)) if blocks and blocks < depth else None

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # a fraction is as good
        lora_dropout=dropout,
        target_modules=_linear(model) if chosen else "all-linear",  # peft takes no numbers of layers with "all-linear"
        layers_to_transform=chosen,
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
    )
    model.requires_grad_(False)
    inject_adapter_in_model(config, model, adapter_name=task)
    trained = list(_trained(model, task).values())
    for parameter in trained:
        parameter.data = parameter.data.to(model.dtype)
    return trained


def _linear(model: Any) -> list[str]:
    """The last parts of the names of all linear layers but the head."""
    import torch

    head = model.get_output_embeddings()
    named = (name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and module is not head)
    return sorted({name.rpartition(".")[2] for name in named})


def fill(model: Any, folder: Path, task: str = RANK) -> None:
    """Gives LoRA layers that are in the model the weights of a folder.

    Raises: ModelError: the file is damaged, or its layers are not those of the model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        put(model, load_file(folder / WEIGHTS), task)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"the adapter in {folder} cannot be loaded ({str(error).splitlines()[0]}); {MEND}") from error


def attach(model: Any, folder: Path, task: str = RANK) -> None:
    """Puts a trained adapter into the model it was trained on.

    Raises: ModelError: the files are damaged.
    """
    import_bitsandbytes()
    import torch
    from peft import LoraConfig, inject_adapter_in_model
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config: Any = LoraConfig.from_pretrained(str(folder))
        with torch.random.fork_rng(devices=[]):  # the layers begin at random before they are filled
            inject_adapter_in_model(config, model, adapter_name=task)
            for parameter in _trained(model, task).values():
                parameter.data = parameter.data.to(model.dtype)
        put(model, load_file(folder / WEIGHTS), task)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"the adapter in {folder} cannot be loaded ({(str(error) or type(error).__name__).splitlines()[0]}); {MEND}"
        ) from error
    model.eval()


def taken(model: Any, weights: Sequence[torch.Tensor] | None = None, task: str = RANK) -> dict[str, torch.Tensor]:
    """A copy of the adapter's weights in float32 on the CPU, under peft's names.

    Args: weights: what stands in for the model's own, in the order of `inject`.
    """
    import torch

    own = _trained(model, task)
    values = own.values() if weights is None else weights
    return {name: value.detach().to("cpu", torch.float32, copy=True).contiguous() for name, value in zip(own, values, strict=True)}


def put(model: Any, weights: Mapping[str, torch.Tensor], task: str = RANK) -> None:
    """Fills the adapter with weights that `taken` gave.

    Raises: ValueError: a name or a shape is not the model's.
    """
    import torch

    own = _trained(model, task)
    if own.keys() != weights.keys() or any(own[name].shape != weights[name].shape for name in own):
        raise ValueError("its layers are not those of the model")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])


def _trained(model: Any, task: str) -> dict[str, Any]:
    return {
        _PREFIX + name.replace(f".{task}.", "."): parameter
        for name, parameter in model.named_parameters()
        if f".lora_A.{task}." in name or f".lora_B.{task}." in name
    }


def switch(model: Any, task: str | None) -> None:
    """Turns on the adapter for a task and all others off; None turns all off."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.enable_adapters(task is not None)
            if task is not None:
                module.set_adapter([task])


def fold(model: Any) -> None:
    """Adds the adapter to the weights it stands beside and takes its layers out of the model."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, module.get_base_layer())
    del model.peft_config


def write(out: Path, model: Any, weights: Mapping[str, torch.Tensor], card: Mapping[str, Any], task: str = RANK) -> None:
    """Makes `out` an adapter's folder: peft's two files and the card; whatever was there is replaced in one step.

    Raises: StorageError: the disk is full, or refuses to be written.
    """
    from safetensors.torch import save_file

    with storing(f"the adapter in {out}"), replacing_folder(out) as fresh:
        config = model.peft_config[task]
        said = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
        (fresh / CONFIG).write_text(json.dumps({**said, "inference_mode": True}, indent=1, sort_keys=True) + "\n", "utf-8")
        # In bf16: half the size, and what it rounds off is far below what 4 bits round off the base.
        save_file({name: tensor.bfloat16() for name, tensor in weights.items()}, fresh / WEIGHTS, metadata={"format": "pt"})
        (fresh / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", "utf-8")
