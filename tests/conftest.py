"""What the tests share: the real models, each loaded once, and workspaces made from real files.

The embedded LLM has to be in the model cache (`crossaisle models pull`); nothing here asks a network for anything.
"""

from __future__ import annotations

import os

# Before any library reads them: a hub must fail at once, and tokenizers must not warn when a test starts a process.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # a test that imports torch itself must not spin either
if "PYTEST_XDIST_WORKER" in os.environ:  # a worker to a core: two with threads for both would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import crossaisle
from crossaisle.data import demo
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace

if TYPE_CHECKING:
    from crossaisle.llm.models.language_model import LanguageModel
    from crossaisle.retrieval.index.embedder import Embedder

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The settings of the surroundings."""
    return Settings.read()


@pytest.fixture(scope="session")
def llm(settings: Settings) -> LanguageModel:
    """The embedded LLM in 4 bits, as it is served on a GPU and on a CPU without matrix units."""
    from crossaisle.llm.models.language_model import LanguageModel

    return LanguageModel.load(settings.with_(llm="smollm2", quantization="nf4"))


@pytest.fixture(scope="session")
def llm_fp32(settings: Settings) -> LanguageModel:
    """The embedded LLM in 32 bits, for what must hold to the last digits."""
    from crossaisle.llm.models.language_model import LanguageModel

    return LanguageModel.load(settings.with_(llm="smollm2", quantization="fp32"))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Settings:
    """A Llama of two layers with random weights and the embedded tokenizer: how training behaves, at no cost."""
    import torch
    import transformers
    from transformers.utils import logging

    from crossaisle.llm.models import bundled

    logging.disable_progress_bar()
    config = transformers.LlamaConfig(
        vocab_size=49_152, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=1024, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    torch.manual_seed(3)
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():  # larger than a fresh model's, or all scores would be alike
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.15)
    folder = tmp_path_factory.mktemp("small") / "model"
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(bundled.cache_folder(settings.home)).save_pretrained(folder)
    return settings.with_(llm=str(folder), quantization="fp32")


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    """The bundled MiniLM."""
    from crossaisle.retrieval.index.embedder import Embedder

    return Embedder()


@pytest.fixture(scope="session")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo store's files."""
    return demo.write_store(tmp_path_factory.mktemp("demo") / "files")


@pytest.fixture(scope="session")
def demo_workspace(tmp_path_factory: pytest.TempPathFactory, demo_files: Path, settings: Settings) -> Workspace:
    """The demo store, ingested and indexed. For reading only: whoever writes copies the folder."""
    path = tmp_path_factory.mktemp("shop") / "demo"
    crossaisle.ingest(path, "files", [demo_files])
    crossaisle.index(Workspace(path), settings.with_(embedder="minilm"))
    return Workspace(path)


@pytest.fixture(scope="session")
def amazon_workspace(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Workspace:
    """A store from real review data, ingested and indexed. For reading only."""
    folder = SHARED / "amazon23"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here: the real Amazon reviews are not part of the repository")
    path = tmp_path_factory.mktemp("shop") / "amazon"
    crossaisle.ingest(path, "amazon-reviews-2023", [folder])
    crossaisle.index(Workspace(path), settings.with_(embedder="minilm"))
    return Workspace(path)


@pytest.fixture(scope="session")
def trained(demo_workspace: Workspace, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, Any]]:
    """A copy of the demo store, its graph and blend trained, and what was measured. For reading only: whoever writes copies the folder."""
    import shutil

    from crossaisle.train import out_of_fold, pipeline

    path = tmp_path_factory.mktemp("trained") / "shop"
    shutil.copytree(demo_workspace.path, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(out_of_fold, "ENOUGH", 300)  # three folds of five are enough to see that all is there
        figures = pipeline.learn(Workspace(path), settings, part="blend")
    return Workspace(path), figures


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """A real PostgreSQL server; calling it makes an empty database and gives its address."""
    from .postgres_server import server, unavailable_reason

    if reason := unavailable_reason():
        pytest.skip(reason)
    with server() as fresh:
        yield fresh


Store = Callable[..., Path]


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Writes a store's files: `make_store(items={"tent": "Camping"}, histories={"ann": ["tent"]}, reviews={"tent": ["Dry."]})`.

    An item may be a category or a whole record; histories are purchases a day apart. Returns: the folder.
    """

    def make(
        items: Mapping[str, str | dict[str, Any]],
        histories: Mapping[str, list[str]],
        reviews: Mapping[str, list[str]] | None = None,
    ) -> Path:
        folder = tmp_path_factory.mktemp("store")
        records = [
            {"item_id": key, "title": key.replace("-", " "), "category": [value]} if isinstance(value, str) else {"item_id": key, **value}
            for key, value in items.items()
        ]
        events = [
            {"user_id": user, "item_id": item, "kind": "purchase", "timestamp": 1_700_000_000_000 + 86_400_000 * day}
            for user, history in histories.items()
            for day, item in enumerate(history)
        ]
        said = [
            {"item_id": item, "user_id": f"r{i}", "rating": 5, "title": "", "text": text, "timestamp": 1_700_000_000_000 + i}
            for item, texts in (reviews or {}).items()
            for i, text in enumerate(texts)
        ]
        for name, lines in (("items", records), ("interactions", events), ("reviews", said)):
            if lines:
                (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
        return folder

    return make
