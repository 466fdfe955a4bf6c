"""The store of `tests.teacher_world` as a workspace, and a scripted teacher that knows its truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import crossaisle
from crossaisle.data.settings import Settings
from crossaisle.data.splits import HeldOut
from crossaisle.data.workspace import Workspace
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.retrieval.index.builder import item_vectors, load
from crossaisle.train.llm.pair_examples import item_entities, leaf_category_entities
from crossaisle.train.teacher.labels import TeachingMaterial

from ...judge_server import Server
from ...teacher_world import by_rule, items
from ..llm.conftest import catalogue, examples, queries  # noqa: F401  # fixtures of the demo store

SEED, MODEL = 0, "teacher"


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running endpoint whose model answers by the rule of the world."""
    monkeypatch.delenv("CROSSAISLE_JUDGE_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with Server(rule=by_rule, model=MODEL).running() as server:
        yield server


@pytest.fixture(scope="session")
def taught_workspace(tmp_path_factory: pytest.TempPathFactory, settings: Settings, make_store: Callable[..., Path]) -> Workspace:
    """The store, ingested and indexed. Two shoppers have bought two items each, so behaviour says nothing."""
    store = items()
    records = {item.item_id: {"title": item.title, "category": list(item.category)} for item in store}
    ids = list(records)
    files = make_store(records, {"ann": [ids[0], ids[100]], "ben": [ids[30], ids[-1]]})
    path = tmp_path_factory.mktemp("taught") / "shop"
    crossaisle.ingest(path, "files", [files])
    crossaisle.index(Workspace(path), settings.with_(embedder="minilm"))
    return Workspace(path)


@pytest.fixture(scope="session")
def taught_view(taught_workspace: Workspace, settings: Settings) -> TrainingView:
    """All of its data."""
    store, index, _ = load(taught_workspace, settings)
    return TrainingView.from_workspace(taught_workspace, HeldOut(), index, item_vectors(index, store))


@pytest.fixture(scope="session")
def material(taught_view: TrainingView) -> TeachingMaterial:
    """What the store has to ask about: items and leaf categories, and no queries."""
    view = taught_view
    leaves = leaf_category_entities(view.catalogue, view.training_data.histories, view.vectors)
    return TeachingMaterial((item_entities(view.catalogue, view.associations, view.vectors), leaves), None, view.catalogue, SEED, prompt=2)
