"""The one way this project quantizes: 4-bit NF4 through bitsandbytes, multiplying in bf16 (Dettmers et al., NeurIPS 2023)."""

from __future__ import annotations

from typing import Any


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
