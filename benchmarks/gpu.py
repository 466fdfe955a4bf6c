"""Packed ranking and LoRA steps of 0.6 to 8 B models on a GPU, each beside its roofline. Random weights: speed only.

    python benchmarks/gpu.py [--tiny --out FOLDER]

Models of the published Qwen3 dimensions are made on the device in bf16 and, with bitsandbytes, in NF4; nothing is downloaded. Every part
has a time limit, all together stay below eight minutes, and what fails or does not fit is recorded as "not measured" with the reason.
`--tiny` runs the same program on tiny models, also on a CPU, to test it. Without a GPU and `--tiny` nothing is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import signal
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import RESULTS, write
from roofline import Device, Shape, forward_work, measure_device, seconds_of, training_work

from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.library_output import quiet_libraries
from crossaisle.llm.ranking.packed_scorer import PackedScorer
from crossaisle.llm.ranking.packs import Pack
from crossaisle.llm.ranking.prefix_cache import PrefixCache

SHAPES = {
    "0.6B": Shape(1024, 3072, 28, 16, 8),
    "1.7B": Shape(2048, 6144, 28, 16, 8),
    "4B": Shape(2560, 9728, 36, 32, 8),
    "8B": Shape(4096, 12_288, 36, 32, 8, tied=False),
}
"""Qwen3 technical report, arXiv 2505.09388, and the published configurations."""
TINY = {"tiny": Shape(64, 128, 2, 4, 2, head_dim=16, vocabulary=500)}
RANK = 16
"""Rank of the LoRA matrices, in all linear layers."""
SECONDS = {"0.6B": 30, "1.7B": 30, "4B": 45, "8B": 60, "tiny": 240}
"""Time limit of a model in one precision."""
FLEX_SECONDS = 25
"""Time limit of a model with FlexAttention, compilation included. With twice the limits above: 430 s in all."""

Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Load:
    """What is ranked and trained.

    Attributes:
        prefix: Tokens of a shopper's history.
        length: Tokens of a candidate.
        candidates: Numbers of candidates to rank; training uses the first.
        shoppers: Numbers of shoppers in one forward.
        timed: Minimum number of timed calls, and the seconds after which no further one starts.
    """

    prefix: int = 300
    length: int = 30
    candidates: tuple[int, int] = (20, 100)
    shoppers: tuple[int, int] = (1, 8)
    timed: tuple[int, float] = (3, 1.5)

    def packs(self, shoppers: int, candidates: int, vocabulary: int) -> list[Pack]:
        """Return packs of random tokens."""
        draw = np.random.default_rng(0)
        return [
            Pack(draw.integers(10, vocabulary, self.prefix).tolist(), draw.integers(10, vocabulary, (candidates, self.length)).tolist())
            for _ in range(shoppers)
        ]


TINY_LOAD = Load(20, 4, (3, 5), (1, 2), (1, 0.0))


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Measurements of one shape. Attributes: shape; load; limits: those of the device; device: its name."""

    shape: Shape
    load: Load
    limits: Device
    device: str


class Words:
    """A tokenizer of whole words, hashed: random weights have no vocabulary of their own."""

    def __init__(self, size: int) -> None:
        self.size = size

    def encode(self, text: str, **_: bool) -> list[int]:
        """Return one id per word."""
        return [10 + zlib.crc32(word.encode()) % (self.size - 10) for word in text.split()]


class FlexScorer(PackedScorer):
    """Packed scoring with FlexAttention, which skips blocks of tokens that do not see each other."""

    def _additive_mask(self, visible: torch.Tensor) -> Any:
        from torch.nn.attention.flex_attention import create_block_mask

        packs, length, _ = visible.shape
        return create_block_mask(lambda pack, _, q, k: visible[pack, q, k], packs, None, length, length, device=str(visible.device))


# ------------------------------------------------------------------ models with random weights


def make_model(shape: Shape, precision: str, device: str) -> LanguageModel:
    """Return a model of a shape with random weights on the device."""
    from transformers import AutoModelForCausalLM, Qwen3Config

    config = Qwen3Config(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.intermediate, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads, head_dim=shape.head_dim, max_position_embeddings=40_960,
        tie_word_embeddings=shape.tied, use_cache=False,
    )  # fmt: skip
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    with torch.device(device):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    if precision == "nf4":
        quantize(model, dtype)
    model.eval().requires_grad_(False)
    return LanguageModel("random", precision, model, Words(shape.vocabulary), 40_960)


def quantize(model: Any, dtype: torch.dtype) -> None:
    """Replace the linear layers of the blocks by NF4 ones, in place, one at a time."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    for block in model.model.layers:
        for name, linear in [(name, module) for name, module in block.named_modules() if isinstance(module, torch.nn.Linear)]:
            packed = Linear4bit(linear.in_features, linear.out_features, bias=False, compute_dtype=dtype, quant_type="nf4", device="meta")
            packed.weight = Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4").to(linear.weight.device)
            parent, _, child = name.rpartition(".")
            setattr(block.get_submodule(parent), child, packed)
    model.is_loaded_in_4bit = True  # tells peft which kind of LoRA layer to use


# ------------------------------------------------------------------ measurements


def rank(bench: Benchmark, scorer: PackedScorer, shoppers: int, candidates: int) -> Report:
    """Seconds of scoring several shoppers in one forward; the work is that without a cache of prefixes, also where there is one."""
    packs = bench.load.packs(shoppers, candidates, bench.shape.vocabulary)
    assert all(np.isfinite(margins).all() for margins in scorer.batch_logit_margins(packs))
    seconds = seconds_of(lambda: scorer.batch_logit_margins(packs), bench.device, *bench.load.timed)
    work = forward_work(bench.shape, scorer.llm.quantization, shoppers, bench.load.prefix, candidates, bench.load.length)
    return {**bench.limits.figures(work, seconds), "seconds_per_shopper": float(f"{seconds / shoppers:.4g}")}


def train(bench: Benchmark, llm: LanguageModel, shoppers: int, *, checkpointing: bool) -> Report:
    """Seconds of a LoRA step of several shoppers in one forward, and its peak memory."""
    model, scorer, load = llm.model, PackedScorer(llm), bench.load
    checkpoint_activations(model, on=checkpointing)
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    packs = load.packs(shoppers, load.candidates[0], bench.shape.vocabulary)
    target = torch.zeros(shoppers, dtype=torch.long, device=llm.device)

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(torch.stack(scorer.forward_batch(packs)), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    try:
        with peak_memory(bench.device) as memory:
            seconds = seconds_of(step, bench.device, *load.timed)
    finally:
        optimizer.zero_grad()
    work = training_work(bench.shape, llm.quantization, shoppers, load.prefix, load.candidates[0], load.length, RANK)
    tokens = shoppers * (load.prefix + load.candidates[0] * load.length)
    return {**bench.limits.figures(work, seconds), "tokens_per_second": round(tokens / seconds), **memory}


def checkpoint_activations(model: Any, *, on: bool) -> None:
    """Switch gradient checkpointing, by the name of this version of transformers or by that of earlier ones."""
    kind = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    if on:
        getattr(model, f"{kind}_checkpointing_enable")({"use_reentrant": False})
    else:
        getattr(model, f"{kind}_checkpointing_disable")()


@contextlib.contextmanager
def peak_memory(device: str) -> Iterator[Report]:
    """The largest memory of the block, in GB, filled in at its end; None on a CPU."""
    memory: Report = {"peak_memory_gb": None}
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    yield memory
    if device != "cpu":
        memory["peak_memory_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)


def measure_model(bench: Benchmark, precision: str, report: Report) -> None:
    """Fill the report with the measurements of one model in one precision."""
    llm = make_model(bench.shape, precision, bench.device)
    scorer, load = PackedScorer(llm), bench.load
    for candidates in load.candidates:
        for shoppers in load.shoppers:
            attempt(report, f"rank {candidates} x {shoppers}", lambda c=candidates, n=shoppers: rank(bench, scorer, n, c))
    again = PackedScorer(llm, prefix_cache=PrefixCache())
    attempt(report, f"rank {load.candidates[0]} x 1 again", lambda: rank(bench, again, 1, load.candidates[0]))
    attempt(report, "lora", lambda: inject(llm))
    for shoppers in load.shoppers:
        for name, checkpointing in ((f"train {shoppers}", False), (f"train {shoppers} with checkpointing", True)):
            attempt(report, name, lambda n=shoppers, c=checkpointing: train(bench, llm, n, checkpointing=c))


def measure_flex(bench: Benchmark, report: Report) -> None:
    """Fill the report with rankings by FlexAttention, in bf16, to compare with those by SDPA."""
    if bench.device == "cpu":
        raise ValueError("FlexAttention is measured on CUDA only")
    llm = make_model(bench.shape, "bf16", bench.device)
    llm.model.set_attn_implementation("flex_attention")
    scorer = FlexScorer(llm)
    for candidates in bench.load.candidates:
        attempt(report, f"rank {candidates} x 1", lambda c=candidates: rank(bench, scorer, 1, c))


def inject(llm: LanguageModel) -> Report:
    """Inject LoRA layers into all linear layers of the blocks."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    with quiet_libraries():
        inject_adapter_in_model(config, llm.model)
    trained = [parameter for parameter in llm.model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.data = parameter.data.to(llm.model.dtype)
    return {"trained_parameters": sum(parameter.numel() for parameter in trained), "rank": RANK}


# ------------------------------------------------------------------ the run


class PartTimeoutError(Exception):
    """A part has used up its time."""


def attempt(report: Report, name: str, measure: Callable[[], Report | None]) -> None:
    """Record a measurement, or the reason why there is none.

    Raises:
        PartTimeoutError: The time of the part is over.
    """
    try:
        measured = measure()
    except Exception as error:
        reason = str(error).strip().splitlines() or ["no message"]
        report[name] = f"not measured: {type(error).__name__}: {reason[0][:200]}"
        if isinstance(error, PartTimeoutError):
            raise
    else:
        if measured is not None:
            report[name] = measured
    free_memory()
    print(f"  {name}: {report.get(name, 'done')}", flush=True)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `PartTimeoutError` in the block after some seconds, and suppress it at its end."""

    def stop(*_: object) -> None:
        raise PartTimeoutError(f"the {seconds:g} s of this part are over")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except PartTimeoutError:
        print("  the time of this part is over", flush=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def free_memory() -> None:
    """Return unused memory to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiny", action="store_true", help="tiny models, to test the program; requires --out")
    parser.add_argument("--out", type=Path, help="folder of the result (default: benchmarks/results)")
    arguments = parser.parse_args()
    if arguments.tiny and arguments.out is None:
        parser.error("a run of --tiny is no result: give a folder with --out")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not arguments.tiny:
        print("nothing measured: there is no CUDA device")
        return
    start = time.perf_counter()
    load, shapes = (TINY_LOAD, TINY) if arguments.tiny else (Load(), SHAPES)
    limits = measure_device(device, side=256, copied=2**20) if arguments.tiny else measure_device(device, side=8192, copied=2**32)
    figures: Report = {
        "weights": "random weights: speed only",
        "load": {**asdict(load), "rank": RANK},
        "torch": torch.__version__,
        "compute": "fp32" if device == "cpu" else "bf16",
        "device": {"tflop_per_second": round(limits.operations / 1e12, 4), "gb_per_second": round(limits.bandwidth / 1e9, 1)},
        **{name: {"parameters": shape.parameters, "bf16": {}, "nf4": {}, "flex": {}} for name, shape in shapes.items()},
    }
    for part in ("bf16", "nf4", "flex"):
        for name, shape in shapes.items():
            print(f"{name} {part}", flush=True)
            bench, report = Benchmark(shape, load, limits, device), figures[name][part]
            with time_limit(FLEX_SECONDS if part == "flex" else SECONDS[name]):
                if part == "flex":
                    attempt(report, "model", lambda b=bench, r=report: measure_flex(b, r))
                else:
                    attempt(report, "model", lambda b=bench, p=part, r=report: measure_model(b, p, r))
            free_memory()
    figures["seconds"] = round(time.perf_counter() - start, 1)
    write("gpu", figures, arguments.out or RESULTS)


if __name__ == "__main__":
    main()
