"""Quantization: 4-bit NF4 through bitsandbytes with bf16 matrix products (Dettmers et al., NeurIPS 2023).

On a CPU with bf16 matrix units (AMX), bf16 weights are several times faster than unpacking 4-bit weights and keep the ranking of the
unquantized model (`benchmarks/results/packed_ranking.json`); `auto` chooses bf16 there.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

MIN_MEMORY_RATIO = 4
"""bf16 is chosen only if memory is at least this many times the size of the weights: caches, activations and the store need the rest."""


def choose_quantization(model: Path, *, cuda: bool, amx: bool | None = None, memory: int | None = None) -> str:
    """Return `bf16` if it is faster and fits in memory, else `nf4`.

    Args:
        model: Folder with safetensors. The size of a model that is not a folder (a hub id) is unknown, so it gets `nf4`.
        cuda: Whether the model is placed on a GPU.
        amx: Whether the CPU has bf16 matrix units; detected by default.
        memory: Memory of the machine in bytes; detected by default.
    """
    weights = sum(file.stat().st_size for file in model.glob("*.safetensors")) if model.is_dir() else 0
    if cuda or not weights or not (has_amx_bf16() if amx is None else amx):
        return "nf4"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if memory is None else memory
    return "bf16" if MIN_MEMORY_RATIO * weights <= memory else "nf4"


@cache
def has_amx_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU has bf16 matrix units, according to Linux; False on other systems."""
    try:
        text = cpuinfo.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    flags = (line.partition(":")[2].split() for line in text.splitlines() if line.startswith("flags"))
    return "amx_bf16" in next(flags, ())


def nf4_config() -> Any:
    """Return the NF4 configuration for `from_pretrained`.

    The compute type is set because bitsandbytes otherwise multiplies in float32, which is several times slower.
    """
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )


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
