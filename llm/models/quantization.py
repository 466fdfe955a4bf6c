"""The one way this project quantizes: 4-bit NF4 through bitsandbytes, multiplying in bf16 (Dettmers et al., NeurIPS 2023).

And where it does not: a CPU with matrix units for bf16 (AMX) reads several times faster in bf16 than it unpacks 4 bits, and keeps the order
of the unquantized model (`benchmarks/results/packed_ranking.json`).
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

SHARE = 4
"""bf16 is chosen where the weights take at most one part in this many of the memory: caches, activations and the shop want the rest."""


def chosen(model: Path, *, cuda: bool, amx: bool | None = None, memory: int | None = None) -> str:
    """`bf16` where that is faster and fits, else `nf4`.

    Args: model: a folder with safetensors; of what is no folder (a hub's id) the size is unknown, so nf4. cuda: the model goes on a GPU.
        amx, memory (bytes): of the machine, unless given.
    """
    weights = sum(file.stat().st_size for file in model.glob("*.safetensors")) if model.is_dir() else 0
    if cuda or not weights or not (multiplies_bf16() if amx is None else amx):
        return "nf4"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if memory is None else memory
    return "bf16" if SHARE * weights <= memory else "nf4"


@cache
def multiplies_bf16(processor: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this machine's CPU has matrix units for bf16, as Linux tells; elsewhere no."""
    try:
        described = processor.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    flags = (line.partition(":")[2].split() for line in described.splitlines() if line.startswith("flags"))
    return "amx_bf16" in next(flags, ())


def nf4() -> Any:
    """The configuration that `from_pretrained` takes.

    Without a compute type bitsandbytes would multiply in float32, at a fraction of the speed.
    """
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )


def import_bitsandbytes() -> None:
    """Imports bitsandbytes without the compiler it would load for kernels that are not used on the CPU: a second of every start.

    It decorates its fallback kernels with `torch.compile`, which imports the whole of the inductor at once. The default backend is
    put back right after, so a program around this one compiles as it always did.
    """
    import torch

    before = torch.compiler.get_default_backend()
    torch.compiler.set_default_backend("eager")
    try:
        import bitsandbytes  # noqa: F401
    finally:
        torch.compiler.set_default_backend(before)
