"""The GPU benchmark runs on tiny models without a GPU, counts the work that a model does, and records what it cannot measure."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
RANKED = ["rank 3 x 1", "rank 3 x 2", "rank 5 x 1", "rank 5 x 2", "rank 3 x 1 again"]
TRAINED = ["train 1", "train 1 with checkpointing", "train 2", "train 2 with checkpointing"]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("gpu")


def make_bench(gpu: ModuleType) -> Any:
    from roofline import Device

    return gpu.Benchmark(gpu.TINY["tiny"], gpu.TINY_LOAD, Device(1e12, 1e11), "cpu")


def test_a_tiny_run_measures_everything_but_flex_attention(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--tiny", "--out", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "gpu.json").read_text())["figures"]
    assert figures["weights"] == "random weights: speed only"
    for part in ("bf16", "nf4"):
        report = figures["tiny"][part]
        assert list(report) == [*RANKED, "lora", *TRAINED]
        for name in (*RANKED, *TRAINED):
            assert report[name]["seconds"] > 0, name
            assert report[name]["roofline_seconds"] > 0, name
        assert report["lora"]["trained_parameters"] == 2 * 16 * sum(a + b for a, b in [(64, 64)] * 2 + [(64, 32)] * 2 + [(64, 128)] * 3)
    assert "CUDA only" in figures["tiny"]["flex"]["model"]

    # The page of all benchmarks shows such a file.
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copytree(ROOT / "benchmarks" / "results", tmp_path / "benchmarks" / "results")
    shutil.copy(tmp_path / "gpu.json", tmp_path / "benchmarks" / "results" / "gpu.json")
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# A page\n")
    tables = subprocess.run([sys.executable, "scripts/benchmark_tables.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert tables.returncode == 0, tables.stdout + tables.stderr
    page = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert page.count("| tiny | bf16 | ") == page.count("| tiny | nf4 | ") == len(RANKED + TRAINED)
    assert "| tiny | flex | model | not measured: ValueError: " in page


def test_a_tiny_run_does_not_replace_a_result() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--tiny"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "give a folder with --out" in done.stderr


@pytest.mark.parametrize(("prefix", "candidates", "length"), [(1, 1, 1), (5, 3, 2), (7, 0, 4)])
def test_pairs_are_counted_as_the_mask_allows(gpu: ModuleType, prefix: int, candidates: int, length: int) -> None:
    from roofline import visible_pairs

    block = np.repeat(np.arange(candidates + 1), [prefix, *[length] * candidates])
    order = np.arange(len(block))
    visible = ((block[None] == 0) | (block[None] == block[:, None])) & (order[None] <= order[:, None])
    assert visible_pairs(prefix, candidates, length) == visible.sum()


def test_parameters_are_those_of_the_model(gpu: ModuleType) -> None:
    for shape in (gpu.TINY["tiny"], gpu.Shape(32, 48, 1, 2, 1, tied=False, head_dim=8, vocabulary=100)):
        model = gpu.make_model(shape, "bf16", "cpu").model
        assert shape.parameters == sum(weight.numel() for weight in model.parameters() if weight.dim() > 1)
        assert shape.block_weights == sum(weight.numel() for weight in model.model.layers.parameters() if weight.dim() > 1)
    sizes = {name: round(shape.parameters / 1e9, 1) for name, shape in gpu.SHAPES.items()}
    assert sizes == {"0.6B": 0.6, "1.7B": 1.7, "4B": 4.0, "8B": 8.2}


def test_operations_are_those_that_torch_counts(gpu: ModuleType) -> None:
    """Apart from attention, where torch counts all pairs, and the head."""
    from roofline import forward_work, visible_pairs
    from torch.utils.flop_counter import FlopCounterMode

    shape, load = gpu.TINY["tiny"], gpu.TINY_LOAD
    scorer = gpu.PackedScorer(gpu.make_model(shape, "bf16", "cpu"))
    for shoppers in (1, 2):
        with FlopCounterMode(display=False) as counter:
            scorer.batch_logit_margins(load.packs(shoppers, 3, shape.vocabulary))
        linear = sum(count for operation, count in counter.get_flop_counts()["Global"].items() if "attention" not in str(operation))
        head = 2 * 2 * shape.hidden * 3 * shoppers
        attention = 4 * shape.heads * shape.head_dim * shape.layers * shoppers * visible_pairs(load.prefix, 3, load.length)
        assert forward_work(shape, "bf16", shoppers, load.prefix, 3, load.length).operations == linear - head + attention


def test_the_roofline_is_the_slower_of_both_limits(gpu: ModuleType) -> None:
    from roofline import Device, Work

    device = Device(operations=100.0, bandwidth=10.0)
    assert device.figures(Work(200.0, 5.0), 4.0) == {
        "seconds": 4.0, "roofline_seconds": 2.0, "limit": "compute", "tflop": 2e-10, "gbyte": 5e-9, "tflop_per_second": 5e-11,
        "share_of_roofline": 0.5,
    }  # fmt: skip
    assert device.figures(Work(10.0, 50.0), 10.0)["limit"] == "memory"


def test_a_missing_package_is_recorded(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.nn", None)
    report: dict[str, Any] = {}
    gpu.attempt(report, "model", lambda: gpu.measure_model(make_bench(gpu), "nf4", report))
    assert list(report) == ["model"]
    assert report["model"].startswith("not measured: ModuleNotFoundError: ")


def test_a_part_ends_with_its_time(gpu: ModuleType) -> None:
    report: dict[str, Any] = {}

    def endless() -> dict[str, Any]:
        while True:
            pass

    with gpu.time_limit(0.05):
        gpu.attempt(report, "model", lambda: gpu.attempt(report, "rank", endless))
    assert report == dict.fromkeys(("rank", "model"), "not measured: PartTimeoutError: the 0.05 s of this part are over")


def test_a_gpu_is_another_kind_of_machine(gpu: ModuleType, tmp_path: Path) -> None:
    import record

    machine = {"cores": 2, "instruction_set": "avx2"}
    assert record.kind(machine) == "2-cores-avx2"
    first, second = ({**machine, "gpu": name} for name in ("NVIDIA H200", "NVIDIA A100-SXM4-80GB"))
    (tmp_path / "gpu.json").write_text(json.dumps({"machine": first}))
    assert record.result_file(tmp_path, "gpu", first).name == "gpu.json"
    assert record.result_file(tmp_path, "gpu", second).name == "gpu-nvidia-a100-sxm4-80gb.json"


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_ranks_like_sdpa(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not compiled, which is what runs without a GPU and a compiler."""
    from torch.nn.attention.flex_attention import flex_attention
    from transformers.integrations import flex_attention as integration

    def eager(query: Any, key: Any, value: Any, *, training: bool, **options: Any) -> Any:
        assert not training
        return flex_attention(query, key, value, **options)

    monkeypatch.setattr(integration, "compile_friendly_flex_attention", eager)
    bench = make_bench(gpu)
    llm = gpu.make_model(bench.shape, "bf16", "cpu")
    packs = bench.load.packs(2, 5, bench.shape.vocabulary)
    packs[0].candidates.pop()  # rows of different lengths
    expected = gpu.PackedScorer(llm).batch_logit_margins(packs)
    llm.model.set_attn_implementation("flex_attention")
    for margins, same in zip(gpu.FlexScorer(llm).batch_logit_margins(packs), expected, strict=True):
        np.testing.assert_allclose(margins, same, atol=1e-6)
    assert np.ptp(expected[0]) > 1e-4
