"""Quantization: 4-bit NF4 through bitsandbytes (Dettmers et al., NeurIPS 2023), and the precision of matrix products on each device.

On a CPU with bf16 matrix units (AMX), bf16 weights are several times faster than unpacking 4-bit weights and keep the ranking of the
unquantized model (`benchmarks/results/packed_ranking.json`); `auto` chooses bf16 there. On an x86 CPU that multiplies no bf16, fp32 weights
rank about as fast as 4-bit ones (`packed_ranking-2-cores-avx2.json`), and exactly; `auto` chooses fp32 there.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

BITSANDBYTES = "bitsandbytes"
"""Method of checkpoints that bitsandbytes has quantized."""
MIN_MEMORY_RATIO = 4
"""bf16 and fp32 are chosen only if memory is at least this many times the size of the weights: caches, activations and the store need the
rest."""


def choose_quantization(
    model: Path, *, cuda: bool, amx: bool | None = None, native_bf16: bool | None = None, memory: int | None = None
) -> str:
    """Return `bf16` or `fp32` if it is faster and fits in memory, else `nf4`.

    Args:
        model: Folder with safetensors. The size of a model that is not a folder (a hub id) is unknown, so it gets `nf4`.
        cuda: Whether the model is placed on a GPU.
        amx: Whether the CPU has bf16 matrix units; detected by default.
        native_bf16: Whether the CPU multiplies bf16; detected by default.
        memory: Memory of the machine in bytes; detected by default.
    """
    weights = sum(file.stat().st_size for file in model.glob("*.safetensors")) if model.is_dir() else 0
    if cuda or not weights:
        return "nf4"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if memory is None else memory
    if has_amx_bf16() if amx is None else amx:
        return "bf16" if MIN_MEMORY_RATIO * weights <= memory else "nf4"
    if multiplies_bf16() if native_bf16 is None else native_bf16:
        return "nf4"
    return "fp32" if MIN_MEMORY_RATIO * 2 * weights <= memory else "nf4"  # files hold 16 bits


@cache
def has_amx_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU has bf16 matrix units, according to Linux; False on other systems."""
    try:
        text = cpuinfo.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    flags = (line.partition(":")[2].split() for line in text.splitlines() if line.startswith("flags"))
    return "amx_bf16" in next(flags, ())


def stored_quantization(source: str) -> str | None:
    """Return the method that a checkpoint is quantized with, such as `gptq`, `awq`, `fp8` or `bitsandbytes`; None for plain weights.

    Args:
        source: Folder or hub id of a model.

    Raises:
        OSError, ValueError: As of `AutoConfig.from_pretrained`.
    """
    from transformers import AutoConfig

    stored = getattr(AutoConfig.from_pretrained(source, trust_remote_code=False), "quantization_config", None)
    if stored is None:
        return None
    method = stored.get("quant_method", "unknown") if isinstance(stored, dict) else getattr(stored, "quant_method", "unknown")
    return str(getattr(method, "value", method))


def multiplies_bf16() -> bool:
    """Whether the device multiplies bf16 matrices natively: a GPU, or a CPU with AVX-512 BF16 or matrix units.

    An x86 CPU without them imitates bf16, several times slower than float32 (`benchmarks/results/packed_ranking-2-cores-avx2.json`). Other
    kinds of CPU, which are not measured, count as native.
    """
    import torch

    if torch.cuda.is_available() or platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()) or has_amx_bf16()


def compute_dtype(quantization: str) -> torch.dtype:
    """Return the data type in which a model with this quantization computes: as named, or the fastest on the device for `nf4`."""
    import torch

    if quantization == "nf4":
        return torch.bfloat16 if multiplies_bf16() else torch.float32
    return torch.float32 if quantization == "fp32" else torch.bfloat16


def training_quantization(quantization: str) -> str:
    """Return the quantization of the frozen base weights in a training: NF4 on CUDA, else bf16, or fp32 on a CPU that imitates bf16.

    Args:
        quantization: As set: `fp32` and `bf16` are kept.
    """
    import torch

    if quantization in ("fp32", "bf16"):
        return quantization
    if torch.cuda.is_available():
        return "nf4"
    return "bf16" if multiplies_bf16() else "fp32"


def nf4_config() -> Any:
    """Return the NF4 configuration for `from_pretrained`. The data type of its matrix products is that of `compute_dtype`."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute_dtype("nf4")
    )


def set_nf4_compute_dtype(model: Any) -> None:
    """Let a model whose NF4 weights are stored compute as `compute_dtype` says for this machine.

    transformers loads it as it was stored: its other weights keep their data type, whatever `dtype` says.
    """
    import torch
    from bitsandbytes.nn.modules import Linear4bit

    dtype = compute_dtype("nf4")
    torch.nn.Module.to(model, dtype)  # the packed weights are integers, which it leaves alone
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.compute_dtype, module.compute_type_is_set = dtype, True


def import_bitsandbytes() -> None:
    """Import bitsandbytes without the compiler for kernels that are not used on the CPU, which saves a second at start.

    bitsandbytes decorates its fallback kernels with `torch.compile`, which imports all of inductor. The default backend is restored
    afterwards, so the compilation settings of the calling program do not change.
    """
    import torch

    previous = torch.compiler.get_default_backend()
    torch.compiler.set_default_backend("eager")
    try:
        import bitsandbytes  # noqa: F401
    finally:
        torch.compiler.set_default_backend(previous)
