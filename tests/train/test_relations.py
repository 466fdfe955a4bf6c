"""The channel `relations` in training and evaluation, on the demo store with declared relations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import crossaisle
from crossaisle.data.settings import Settings
from crossaisle.data.splits import HeldOut
from crossaisle.data.workspace import Workspace
from crossaisle.eval.offline import report as reports
from crossaisle.eval.offline.evaluation import Evaluation
from crossaisle.eval.offline.options import EvaluationOptions
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.recommend.recommender import Recommender
from crossaisle.retrieval.channels.declared_relations import DeclaredRelationsChannel
from crossaisle.retrieval.index.builder import item_vectors, load
from crossaisle.train import pipeline

from ..quick_training import quick_training

QUICK = EvaluationOptions(max_cases=30, budget=1)


@pytest.fixture(scope="module")
def declared(demo_workspace: Workspace, demo_files: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The demo store, where every bought item needs the item of another category that most of its shoppers have."""
    folder = tmp_path_factory.mktemp("declared")
    shutil.copytree(demo_files, folder / "files")
    items = demo_workspace.table("items").select("item_id", aisle=pl.col("category").list.first())
    owned = demo_workspace.table("interactions").select("user_id", "item_id").unique().join(items, on="item_id")
    pairs = owned.join(owned, on="user_id", suffix="_needed").filter(pl.col("aisle") != pl.col("aisle_needed"))
    counts = pairs.group_by(head="item_id", tail="item_id_needed").len().sort("len", "tail", descending=True)
    relations = counts.group_by("head").first().select("head", pl.lit("needs").alias("relation"), "tail")
    relations.sort("head").write_csv(folder / "files" / "relations.csv")
    shutil.copytree(demo_workspace.path, folder / "shop")  # with the embedded texts
    crossaisle.ingest(folder / "shop", "files", [folder / "files"])
    crossaisle.index(Workspace(folder / "shop"), settings.with_(embedder="minilm"))
    return Workspace(folder / "shop")


@pytest.fixture(scope="module")
def trained_shop(declared: Workspace, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    path = tmp_path_factory.mktemp("trained") / "shop"
    shutil.copytree(declared.path, path)
    with quick_training():
        pipeline.train_workspace(Workspace(path), settings.with_(llm="none"), part="blend", channels=())
    return Workspace(path)


def test_an_untrained_store_is_evaluated_with_the_channel_and_without(declared: Workspace, settings: Settings, tmp_path: Path) -> None:
    rankings = Evaluation(declared, settings.with_(llm="none"), tmp_path, QUICK).run()
    kinds = {name: kind for name, kind in rankings.system_kinds.items() if kind != "baseline"}
    names = {name for name, kind in kinds.items() if kind == "channel"}
    assert {"semantic", "associations", "popularity", "relations", "factors"} < names
    assert {name for name, kind in kinds.items() if kind == "ablation"} == {f"blend without {name}" for name in names}
    systems = reports.build(rankings, QUICK, declared, "none")["systems"]
    assert systems["relations"]["kind"] == "channel"
    assert (rankings.ranked_rows["blend without relations"] != rankings.ranked_rows["blend"]).any()


def test_holding_users_out_does_not_change_the_channel(declared: Workspace, settings: Settings) -> None:
    catalogue, index, _ = load(declared, settings)
    view = TrainingView.from_workspace(declared, HeldOut(), index, item_vectors(index, catalogue))
    part = view.without_users(frozenset(view.events.users.head(200).to_list()))
    whole, folded = (of.full_catalogue_channels()["relations"] for of in (view, part))
    assert isinstance(whole, DeclaredRelationsChannel)
    assert isinstance(folded, DeclaredRelationsChannel)
    assert whole.matrix.nnz > 300
    assert (whole.matrix != folded.matrix).nnz == 0
    assert set(view.retriever.further) == {"relations"}


def test_a_trained_blend_has_the_channel_and_its_ablation(trained_shop: Workspace, settings: Settings) -> None:
    models = json.loads((trained_shop.path / "blend" / "models.json").read_text("utf-8"))
    assert "blend without relations" in models
    recommender = Recommender.open(trained_shop, llm="none", settings=settings)
    assert recommender.blend_ranker is not None
    assert "relations" in recommender.blend_ranker.model.channels
    head, _, tail = trained_shop.table("relations").row(0)
    needed = [recommendation for recommendation in recommender.recommend(items=[head], k=50) if "relations" in recommendation.channels]
    assert [(r.item.item_id, r.anchor, r.channels["relations"]) for r in needed] == [(tail, head, 1.0)]
    assert needed[0].explanation is not None
    assert any(fact.text.startswith("the store says of") for fact in needed[0].explanation.evidence)


def test_a_trained_store_is_evaluated_with_the_channel(trained_shop: Workspace, settings: Settings, tmp_path: Path) -> None:
    kinds = Evaluation(trained_shop, settings.with_(llm="none"), tmp_path, QUICK).run().system_kinds
    assert kinds["relations"] == "channel"
    assert kinds["blend without relations"] == "ablation"


def test_a_blend_trained_without_the_channel_does_not_use_it(trained_shop: Workspace, settings: Settings, tmp_path: Path) -> None:
    shutil.copytree(trained_shop.path, tmp_path / "shop")
    file = tmp_path / "shop" / "blend" / "models.json"
    models = json.loads(file.read_text("utf-8"))
    models["blend"] = models.pop("blend without relations")
    file.write_text(json.dumps(models), "utf-8")
    recommender = Recommender.open(tmp_path / "shop", llm="none", settings=settings)
    answer = recommender.recommend(items=[str(trained_shop.table("items")["item_id"][0])], k=100)
    assert len(answer) == 100
    assert not any("relations" in recommendation.channels for recommendation in answer)
    evaluated = Evaluation(Workspace(tmp_path / "shop"), settings.with_(llm="none"), tmp_path / "out", QUICK).run()
    assert "relations" not in evaluated.system_kinds


def test_a_blend_with_the_channel_ranks_a_store_whose_relations_are_gone(
    trained_shop: Workspace, demo_files: Path, settings: Settings, tmp_path: Path
) -> None:
    shutil.copytree(trained_shop.path, tmp_path / "shop")
    crossaisle.ingest(tmp_path / "shop", "files", [demo_files])
    crossaisle.index(Workspace(tmp_path / "shop"), settings.with_(embedder="minilm"))
    recommender = Recommender.open(tmp_path / "shop", llm="none", settings=settings)
    answer = recommender.recommend(items=[str(trained_shop.table("items")["item_id"][0])], k=20)
    assert len(answer) == 20
    assert recommender.blend_ranker is not None
    assert "relations" in recommender.blend_ranker.retriever.further
    assert not any("relations" in recommendation.channels for recommendation in answer)
    assert np.isfinite([recommendation.score for recommendation in answer]).all()
