"""Shared fixtures: the real models, each loaded once, and workspaces built from real files.

The bundled LLM must be in the model cache (`crossaisle models pull`); no test uses a network.
"""

from __future__ import annotations

import os

# Set before any library reads them: hub requests must fail at once, and tokenizers must not warn when a test starts a process.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # also for tests that import torch themselves
if "PYTEST_XDIST_WORKER" in os.environ:  # one worker per core: more threads would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings as hypothesis_settings

import crossaisle
from crossaisle.data import demo
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace

if TYPE_CHECKING:
    from crossaisle.llm.models.language_model import LanguageModel
    from crossaisle.retrieval.index.embedder import Embedder

# No test depends on speed; in CI every run tries the same examples.
hypothesis_settings.register_profile("crossaisle", deadline=None, derandomize="CI" in os.environ)
hypothesis_settings.load_profile("crossaisle")

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def settings() -> Settings:
    """Settings from the environment."""
    return Settings.read()


@pytest.fixture(scope="session")
def llm(settings: Settings) -> LanguageModel:
    """The bundled LLM in NF4, as served on a GPU and on a CPU without matrix units."""
    from crossaisle.llm.models.language_model import LanguageModel

    return LanguageModel.load(settings.with_(llm="smollm2", quantization="nf4"))


@pytest.fixture(scope="session")
def llm_fp32(settings: Settings) -> LanguageModel:
    """The bundled LLM in fp32, for exact comparisons."""
    from crossaisle.llm.models.language_model import LanguageModel

    return LanguageModel.load(settings.with_(llm="smollm2", quantization="fp32"))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Settings:
    """A two-layer Llama with random weights and the bundled tokenizer, for fast training tests."""
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
    with torch.no_grad():  # larger than at initialization; otherwise all scores would be nearly equal
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
    """The demo store, ingested and indexed. Read-only: tests that write copy the folder."""
    path = tmp_path_factory.mktemp("shop") / "demo"
    crossaisle.ingest(path, "files", [demo_files])
    crossaisle.index(Workspace(path), settings.with_(embedder="minilm"))
    return Workspace(path)


@pytest.fixture(scope="session")
def amazon_workspace(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Workspace:
    """A store from real review data, ingested and indexed. Read-only."""
    folder = SHARED / "amazon23"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here: the real Amazon reviews are not part of the repository")
    path = tmp_path_factory.mktemp("shop") / "amazon"
    crossaisle.ingest(path, "amazon-reviews-2023", [folder])
    crossaisle.index(Workspace(path), settings.with_(embedder="minilm"))
    return Workspace(path)


@pytest.fixture(scope="session")
def trained(demo_workspace: Workspace, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, Any]]:
    """A trained copy of the demo store and the figures of its training. Read-only: tests that write copy the folder."""
    import shutil

    from crossaisle.retrieval.trainable_channels import TRAINABLE_CHANNELS
    from crossaisle.train import pipeline

    from .quick_training import quick_training

    path = tmp_path_factory.mktemp("trained") / "shop"
    shutil.copytree(demo_workspace.path, path)
    with quick_training(100):
        figures = pipeline.train_workspace(Workspace(path), settings, part="blend", channels=tuple(TRAINABLE_CHANNELS))
    return Workspace(path), figures


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """A real PostgreSQL server; calling it creates an empty database and returns its URL."""
    from .postgres_server import server, unavailable_reason

    if reason := unavailable_reason():
        pytest.skip(reason)
    with server() as fresh:
        yield fresh


Store = Callable[..., Path]


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Write a store's files: `make_store(items={"tent": "Camping"}, histories={"ann": ["tent"]}, reviews={"tent": ["Dry."]})`.

    An item is a category or a whole record; histories are purchases a day apart. Returns: the folder.
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
        review_records = [
            {"item_id": item, "user_id": f"r{i}", "rating": 5, "title": "", "text": text, "timestamp": 1_700_000_000_000 + i}
            for item, texts in (reviews or {}).items()
            for i, text in enumerate(texts)
        ]
        for name, lines in (("items", records), ("interactions", events), ("reviews", review_records)):
            if lines:
                (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
        return folder

    return make
