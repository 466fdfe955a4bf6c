"""Default hyperparameters of LoRA fine-tuning by size of the model.

- Learning rate: 2e-3 up to 0.3 B, measured with the bundled 135 M model; 2e-4 at 7 to 13 B and 1e-4 above (QLoRA, Dettmers et al., NeurIPS
  2023). Between 0.135 and 7 B a power law joins both. It is an interpolation: no model in between has been measured.
- Blocks: the last ten up to 0.3 B, measured; above that all, as in QLoRA, where adapters on all linear layers match full fine-tuning.
- Rank: 8 up to 0.3 B, measured; 16 above. With adapters on all layers, rank hardly matters (QLoRA).
- Gradient checkpointing: on a GPU where weights and activations would not fit, with 34 bytes per token, unit of width and block
  (Korthikanti et al., MLSys 2023, without attention scores, which fused attention does not store).
- Tokens of a forward: more on a GPU, which several shoppers fill; halved when memory runs out.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ...data.settings import Settings
from ...llm.models.model_size import ModelSize
from ...llm.models.quantization import training_quantization
from .config import FinetuneConfig

SMALL = 300_000_000
"""Parameters up to which the values measured with the bundled model are used."""
MEASURED, PUBLISHED, LARGE = 135_000_000, 7_000_000_000, 13_500_000_000
"""Sizes of the bundled model and of the smallest and largest one with QLoRA's higher learning rate."""
MEASURED_LR, PUBLISHED_LR, LARGE_LR = 2e-3, 2e-4, 1e-4
RANK = 16
GPU_FORWARD_TOKENS = 8192
ACTIVATION_BYTES = 34
"""Bytes stored for the backward pass per token, unit of width and block, in 16 bits."""
WEIGHT_BYTES = {"nf4": 0.6, "bf16": 2.0, "fp32": 4.0}
"""Bytes of a base weight; those of NF4 include the embedding in 16 bits."""
MEMORY_SHARE = 0.8
"""Share of the GPU's memory that weights and activations may take."""


def recipe(parameters: int, **chosen: Any) -> FinetuneConfig:
    """Return the default hyperparameters for a model of a size.

    Args:
        parameters: Number of parameters of the model.
        chosen: Fields of `FinetuneConfig` that replace the defaults. A rank without an alpha gets twice the rank.

    Raises:
        SettingsError: A chosen value is out of range.
    """
    defaults: dict[str, Any] = {}
    if parameters > SMALL:
        defaults = {"rank": RANK, "blocks": None, "lr": learning_rate(parameters)}
    values = {**defaults, **chosen}
    if "rank" in values:
        values.setdefault("alpha", 2.0 * values["rank"])
    return FinetuneConfig(**values)


def learning_rate(parameters: int) -> float:
    """Return the default learning rate for a number of parameters, with one significant digit."""
    if parameters <= SMALL:
        return MEASURED_LR
    if parameters > LARGE:
        return LARGE_LR
    exponent = math.log(MEASURED_LR / PUBLISHED_LR) / math.log(PUBLISHED / MEASURED)
    return float(f"{max(PUBLISHED_LR, MEASURED_LR * (MEASURED / parameters) ** exponent):.1g}")


def recipe_for(settings: Settings, **chosen: Any) -> FinetuneConfig:
    """Return the default hyperparameters for the model of the settings, on the device of this machine.

    Args:
        settings: Name the model and its quantization.
        chosen: As for `recipe`.

    Raises:
        SettingsError: A chosen value is out of range.
        ModelMissingError, ModelError: See `ModelSize.read`.
    """
    import torch

    size = ModelSize.read(settings)
    if not torch.cuda.is_available():
        return recipe(size.parameters, **chosen)
    memory = torch.cuda.get_device_properties(0).total_memory
    return for_gpu(size, recipe(size.parameters, **chosen), training_quantization(settings.quantization), memory, **chosen)


def adapt(config: FinetuneConfig, settings: Settings) -> FinetuneConfig:
    """Return hyperparameters that were measured with the bundled model, adapted to the size of the settings' model.

    Raises:
        ModelMissingError, ModelError: See `ModelSize.read`.
    """
    sized = recipe_for(settings)
    by_size = {name: getattr(sized, name) for name in ("rank", "alpha", "lr", "pack_tokens", "gradient_checkpointing")}
    return replace(config, **by_size, blocks=config.blocks if sized.blocks else None)


def for_gpu(size: ModelSize, config: FinetuneConfig, quantization: str, memory: int, **chosen: Any) -> FinetuneConfig:
    """Return the hyperparameters with the tokens of a forward and the checkpointing that suit a GPU.

    Args:
        size: Size of the model.
        config: Hyperparameters.
        quantization: Quantization of the base weights.
        memory: Memory of the GPU in bytes.
        chosen: Fields that are kept as they are.
    """
    config = replace(config, **{"pack_tokens": GPU_FORWARD_TOKENS, **chosen})
    activations = ACTIVATION_BYTES * size.hidden * size.layers * config.pack_tokens
    too_large = WEIGHT_BYTES[quantization] * size.parameters + activations > MEMORY_SHARE * memory
    return replace(config, **{"gradient_checkpointing": too_large, **chosen})
