"""Result files of benchmarks: `benchmarks/results/NAME.json` with command, machine, date and figures.

A file of one kind of machine is never overwritten by another kind: there the result goes to `NAME-KIND.json`.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
SHARED = Path(__file__).parents[2] / "shared" / "data"
"""Real data beside the checkout; not part of the project."""
INSTRUCTION_SETS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")
"""CPU flags that decide the speed of models, best first."""


def write(name: str, figures: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Write and print the figures of one program; returns the file, which is `NAME-KIND.json` if `NAME.json` is of another machine kind."""
    folder.mkdir(exist_ok=True)
    content = {
        "command": "python benchmarks/" + " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "figures": figures,
    }
    file = result_file(folder, name, content["machine"])
    file.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(content, indent=1))
    return file


def result_file(folder: Path, name: str, current: Mapping[str, Any]) -> Path:
    """File for a result measured on the machine `current`."""
    file = folder / f"{name}.json"
    if file.exists() and kind(json.loads(file.read_text("utf-8")).get("machine", {})) != kind(current):
        return folder / f"{name}-{kind(current)}.json"
    return file


def kind(described: Mapping[str, Any]) -> str:
    """Kind of a described machine, such as `2-cores-amx_bf16`, or its GPU; `unknown` for files without the instruction set."""
    if "gpu" in described:
        return re.sub(r"[^a-z0-9]+", "-", str(described["gpu"]).lower()).strip("-")
    if "instruction_set" not in described:
        return "unknown"
    return f"{described.get('cores')}-cores-{described['instruction_set']}"


def machine() -> dict[str, Any]:
    """CPU, cores, best instruction set, memory, Python version and the GPU in use; nothing that identifies the machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    flags = set(next((line.split(":")[1].split() for line in lines if line.startswith("flags")), []))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "instruction_set": next((name for name in INSTRUCTION_SETS if name in flags), "none"),
        "memory_gb": round(memory),
        "python": platform.python_version(),
        **_gpu(),
    }


def _gpu() -> dict[str, Any]:
    """Name and memory of the GPU of a program that has imported torch; programs that compute without torch use none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    return {"gpu": torch.cuda.get_device_name(), "gpu_memory_gb": round(torch.cuda.get_device_properties(0).total_memory / 1e9)}


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and number of measurements."""
    ordered = sorted(values)
    return {
        "p50": round(ordered[len(ordered) // 2], 3),
        "p95": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 3),
        "n": len(ordered),
    }
