"""Resolution of a model name (bundled model, folder or Hugging Face id) to its files, its fingerprint and its quantization."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from ...data.atomic_files import sha256
from ...data.errors import ModelError, ModelMissingError
from ...data.settings import AUTO, ENDPOINT_PREFIX, Settings
from . import bundled
from .quantization import choose_quantization

SAMPLED_BLOCKS, BLOCK_BYTES = 16, 65_536
"""Blocks of each file, evenly spaced, that identify a model."""


def resolve_model_path(name: str, home: Path) -> str:
    """Return the argument of `from_pretrained` for a model name: a folder, or an id of the Hugging Face hub.

    Raises:
        ModelMissingError: The bundled model has not been pulled, or the folder holds no model.
        ModelError: The name is an endpoint.
    """
    if name == bundled.NAME:
        if not bundled.is_pulled(home):
            raise ModelMissingError(f"the bundled LLM is not in {home} yet; fetch it once with `crossaisle models pull`")
        return str(bundled.cache_folder(home))
    if name.startswith(ENDPOINT_PREFIX):
        raise ModelError(f"{name} is an endpoint; name a local model here")
    folder = Path(name).expanduser()
    if folder.is_dir() and not (folder / "config.json").exists():
        raise ModelMissingError(f"{folder} holds no config.json; --llm requires a folder with a transformers model, or a Hugging Face id")
    if not folder.is_dir() and (folder.is_absolute() or name.startswith(".")):
        raise ModelMissingError(f"there is no folder {folder}; --llm requires a folder with a transformers model, or a Hugging Face id")
    return str(folder) if folder.is_dir() else name


def resolve_quantization(settings: Settings) -> Settings:
    """Return the settings with `auto` replaced by the best quantization for their model on this machine.

    Raises:
        ModelMissingError: See `resolve_model_path`.
    """
    if settings.quantization != AUTO or settings.llm == "none" or settings.is_remote:
        return settings
    import torch

    source = Path(resolve_model_path(settings.llm, settings.home))
    return settings.with_(quantization=choose_quantization(source, cuda=torch.cuda.is_available()))


def fingerprint(name: str, home: Path) -> str:
    """Return the SHA-256 of a local model's weights, or the name of a model that is not a folder. Recorded in cards and reports."""
    folder = Path(resolve_model_path(name, home))
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return "+".join(_hash(_version(file)) for file in weights) or name


@cache
def _hash(version: tuple[Path, int, int]) -> str:
    """The SHA-256 of a file as of `_version`. Hashing takes seconds, and several steps of one request compare fingerprints."""
    return sha256(version[0])


def _version(file: Path) -> tuple[Path, int, int]:
    """A file with its size and its time of modification."""
    status = file.stat()
    return file, status.st_size, status.st_mtime_ns


def short_fingerprint(name: str, home: Path) -> str:
    """Return an id of a model that is quick to compute for large files, too: of sampled blocks of its weights, or of its name.

    Two models that differ in training differ in almost every block, so samples tell them apart.
    """
    folder = Path(resolve_model_path(name, home))
    digest = hashlib.sha256(name.encode() if not folder.is_dir() else b"")
    for file in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
        size = file.stat().st_size
        digest.update(f"{file.name} {size} ".encode())
        with file.open("rb") as stream:
            for block in range(SAMPLED_BLOCKS):
                stream.seek(size * block // SAMPLED_BLOCKS)
                digest.update(stream.read(BLOCK_BYTES))
    return digest.hexdigest()[:16]


def load_error(name: str, error: Exception) -> ModelError:
    """Return the error to raise for a model that cannot be loaded."""
    message = str(error) or type(error).__name__
    if isinstance(error, OSError) and Path(name).expanduser().is_dir():
        return ModelError(
            f"the folder {name} holds no model that can be loaded ({message.splitlines()[0]}); only safetensors are supported"
        )
    if isinstance(error, OSError):
        return ModelMissingError(
            f"the model {name!r} is neither in the local cache nor reachable; pull it on a machine with network access with "
            f"`crossaisle models pull {name}`, or use the bundled one (`--llm {bundled.NAME}`)"
        )
    return ModelError(f"{name!r} cannot be loaded as a causal language model ({message.splitlines()[0]})")
