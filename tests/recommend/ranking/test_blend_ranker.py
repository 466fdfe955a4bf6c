"""The ranker of an untrained workspace: the prior over default channels, which `index` stores and damage or an old index does not stop."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

import crossaisle
from crossaisle.data.settings import Settings
from crossaisle.data.splits import HeldOut
from crossaisle.data.workspace import Workspace
from crossaisle.eval.offline.blend_systems import Blends
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.recommend.attribution.why import why
from crossaisle.recommend.recommender import Recommender
from crossaisle.recommend.serialization import to_dict
from crossaisle.retrieval.default_channels import FOLDER
from crossaisle.retrieval.index.builder import item_vectors, load
from crossaisle.retrieval.trainable_channels import DEFAULT_CHANNELS
from crossaisle.train.blend import fit_blend


@pytest.fixture
def shop(demo_workspace: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(demo_workspace.path, tmp_path / "shop")
    return Workspace(tmp_path / "shop")


def answer(shop: Workspace, settings: Settings) -> dict:
    answered = to_dict(Recommender.open(shop, llm="none", settings=settings).recommend(user_id="s013", k=5))
    answered.pop("timings_ms")
    return answered


def cards(shop: Workspace) -> dict[str, tuple[int, str]]:
    files = {name: shop.path / FOLDER / name / "card.json" for name in DEFAULT_CHANNELS}
    return {name: (file.stat().st_mtime_ns, json.loads(file.read_text("utf-8"))["generation"]) for name, file in files.items()}


def test_an_untrained_store_is_ranked_by_the_prior_and_says_so(shop: Workspace, settings: Settings) -> None:
    recommender = Recommender.open(shop, llm="none", settings=settings)
    ranker = recommender.blend_ranker
    assert not ranker.trained
    assert {"factors", "item_regression", "item_knn", "random_walk"} < set(ranker.retriever.further)
    assert set(ranker.model.channels) <= {"semantic", "associations", "popularity", *ranker.retriever.further}
    first = recommender.recommend(user_id="s013", k=1, explain=False)[0].item.item_id
    assert why(recommender, first, user_id="s013", counterfactual=False).blend == "learned on other stores"


def test_the_index_stores_the_default_channels_once(shop: Workspace, settings: Settings) -> None:
    before = cards(shop)
    assert {generation for _, generation in before.values()} == {(shop.manifest.index or {})["generation"]}
    crossaisle.index(shop, settings)
    assert cards(shop) == before


def test_a_new_snapshot_gets_its_own_default_channels(shop: Workspace, settings: Settings, demo_files: Path) -> None:
    before = cards(shop)
    crossaisle.ingest(shop.path, "files", [demo_files], item_noun="product")
    renewed = Workspace(shop.path)
    interactions = renewed.table("interactions")
    assert len(interactions)
    crossaisle.index(renewed, settings)
    after = cards(renewed)
    same = (Workspace(shop.path).manifest.index or {})["generation"] == next(iter(before.values()))[1]
    assert (after == before) == same


@pytest.mark.parametrize("damage", ["missing", "damaged", "of another index"])
def test_missing_or_damaged_channels_are_fitted_when_the_workspace_is_opened(
    shop: Workspace, settings: Settings, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = answer(shop, settings)
    folder = shop.path / FOLDER
    if damage == "missing":
        shutil.rmtree(folder)
    elif damage == "damaged":
        (folder / "factors" / "model.safetensors").write_bytes(b"junk")
    else:
        card = folder / "factors" / "card.json"
        card.write_text(json.dumps({**json.loads(card.read_text("utf-8")), "generation": "other"}), "utf-8")
    with caplog.at_level(logging.WARNING):
        assert answer(shop, settings) == expected
    assert f"`crossaisle index -w {shop.path}` stores them" in caplog.text
    crossaisle.index(shop, settings)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert answer(shop, settings) == expected
    assert not caplog.text


def test_a_store_without_interactions_is_ranked_by_text(settings: Settings, tmp_path: Path) -> None:
    titles = {"a": "Steel water bottle", "b": "Insulated steel flask", "c": "Wool socks", "d": "Garden rake"}
    files = tmp_path / "files"
    files.mkdir()
    lines = [f"{item_id},{title},{category}" for (item_id, title), category in zip(titles.items(), "WXYZ", strict=True)]
    (files / "items.csv").write_text("item_id,title,category\n" + "\n".join(lines) + "\n")
    (files / "interactions.csv").write_text("user_id,item_id\nu,c\n")
    crossaisle.ingest(tmp_path / "shop", "files", [files])
    crossaisle.index(Workspace(tmp_path / "shop"), settings)
    found = Recommender.open(tmp_path / "shop", llm="none", settings=settings).recommend(items=["a"], k=3, explain=False)
    assert found[0].item.item_id == "b"


def test_an_evaluation_fits_its_own_channels_to_what_is_not_held_out(shop: Workspace, settings: Settings) -> None:
    """The stored channels have seen the test users; those of an evaluation must be the same whoever else was in the snapshot."""
    catalogue, index, _ = load(shop, settings)
    users = shop.table("interactions")["user_id"].unique().sort().to_list()
    view = TrainingView.from_workspace(shop, HeldOut(frozenset(users[:100])), index, item_vectors(index, catalogue))
    shutil.rmtree(shop.path / FOLDER)
    blends = Blends.load(view)
    assert not blends.trained
    everything = Blends.load(TrainingView.from_workspace(shop, HeldOut(), index, item_vectors(index, catalogue)))
    assert not np.allclose(blends.channels["factors"].items, everything.channels["factors"].items)  # type: ignore[attr-defined]
    assert set(blends.models) == {"blend"} | {f"blend without {name}" for name in blends.models["blend"].channels}
    assert all(not model.trees for model in blends.models.values())


def test_the_summary_of_a_training_with_few_queries_says_what_was_not_measured() -> None:
    from crossaisle.app.terminal.training_summary import training_summary

    from ...train.test_blend_selection import questions

    metrics = fit_blend(questions({"plenty": 30}), prior={}).metrics
    summary = training_summary({"blend": metrics, "left_out": {}, "seconds": 1})
    assert summary["NDCG@10 of the weighted sum (validation)"] == "not measured: too few queries"
    assert summary["chosen"] == "weighted sum, shrunk to the weights learned on other stores with penalty 2"
