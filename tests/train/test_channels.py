"""Trainable channels: one registry entry is enough to train, store, load and blend a new one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from crossaisle.app.cli.main import app
from crossaisle.data.errors import SettingsError, StaleTrainingError, TrainingError
from crossaisle.data.settings import Settings
from crossaisle.data.splits import HeldOut, Split
from crossaisle.data.workspace import Workspace
from crossaisle.eval.splits import leakage, protocols
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.recommend.recommender import Recommender
from crossaisle.retrieval.channels.base import (
    CandidateQuery,
    ChannelScores,
    ChannelTrainingView,
    PaddedChannel,
    ServedItems,
    TrainingContext,
)
from crossaisle.retrieval.index.builder import item_vectors, load
from crossaisle.retrieval.items.interactions import Events
from crossaisle.retrieval.trainable_channels import DEFAULT_CHANNELS, TRAINABLE_CHANNELS, load_trained_channels, train_channels
from crossaisle.train import pipeline
from crossaisle.train.channels import excluded_by_default, validate_names

from ..quick_training import quick_training


class UserCountChannel:
    """A toy channel that learns the number of users of each item."""

    name: ClassVar[str] = "user_counts"

    def __init__(self, counts: Mapping[str, int], ids: list[str], about: Mapping[str, Any]) -> None:
        self.counts, self.about = counts, about
        self.values = np.asarray([counts.get(item_id, 0) for item_id in ids], dtype=np.float32)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def metrics(self) -> Mapping[str, Any]:
        return {"users": sum(self.counts.values())}

    @classmethod
    def fit(cls, view: ChannelTrainingView, context: TrainingContext) -> UserCountChannel:
        users = view.interactions.select("user_id", "item_id").unique().group_by("item_id").len()
        if not len(users):
            raise TrainingError("no interactions to count")
        return cls(dict(users.iter_rows()), view.catalogue.ids, context.about)

    def save(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "card.json").write_text(json.dumps({**self.about, "counts": self.counts}))

    @classmethod
    def load(cls, folder: Path, items: ServedItems) -> UserCountChannel:
        card = json.loads((folder / "card.json").read_text())
        if card["snapshot"] != items.snapshot:
            raise StaleTrainingError("counted on another snapshot")
        return cls(card["counts"], list(items.ids[: items.snapshot_size]), card)

    def scores(self, query: CandidateQuery) -> ChannelScores:
        return self.values, np.full(len(self.values), -1, dtype=np.int64)


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """The registry with the toy channel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TRAINABLE_CHANNELS, UserCountChannel.name, UserCountChannel)
        yield


@pytest.fixture(scope="module")
def toy_shop(
    demo_workspace: Workspace, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, dict[str, Any], dict[str, int]]:
    """The demo store with a blend of the toy channel, the metrics, and the number of training users of each item."""
    path = tmp_path_factory.mktemp("toy") / "shop"
    shutil.copytree(demo_workspace.path, path)
    shop = Workspace(path)
    with quick_training():
        metrics = pipeline.train_workspace(shop, settings, channels=[UserCountChannel.name])
    catalogue, _, _ = load(shop, settings)
    events = Events.build(shop.table("interactions"), catalogue)
    split = protocols.resolve_split(Split(), events, catalogue)
    known = protocols.sample_cases(split, events, catalogue, "test", "new").held_out.training_rows(shop.table("interactions"))
    counts = dict(known.select("user_id", "item_id").unique().group_by("item_id").len().iter_rows())
    return shop, metrics, counts


def test_a_registered_channel_is_trained_and_stored(toy_shop: tuple[Workspace, dict[str, Any], dict[str, int]]) -> None:
    shop, metrics, counts = toy_shop
    assert metrics["user_counts"] == {"users": sum(counts.values())}
    assert metrics["left_out"] == {}
    card = json.loads((shop.path / "user_counts" / "card.json").read_text())
    assert card["counts"] == counts
    assert card["snapshot"] == shop.manifest.snapshot
    models = json.loads((shop.path / "blend" / "models.json").read_text())
    assert "user_counts:level in long histories" in models["blend"]["names"]
    assert "blend without user_counts" in models
    assert not {*DEFAULT_CHANNELS, "graph", "complements"} & {name.partition(":")[0] for name in models["blend"]["names"]}
    assert not any((shop.path / name).exists() for name in (*DEFAULT_CHANNELS, "graph", "complements"))


def test_a_registered_channel_is_loaded_and_scores_recommendations(
    toy_shop: tuple[Workspace, dict[str, Any], dict[str, int]], settings: Settings
) -> None:
    shop, _, counts = toy_shop
    recommender = Recommender.open(shop, settings=settings.with_(llm="none"))
    answer = recommender.recommend(user_id=next(iter(recommender.histories)), k=5, explain=False)
    assert {item.item.item_id: item.channels.get("user_counts") for item in answer} == {
        item.item.item_id: float(counts[item.item.item_id]) if item.item.item_id in counts else None for item in answer
    }
    assert any(item.item.item_id in counts for item in answer)


def test_a_channel_of_another_snapshot_is_left_out_with_its_ablation(
    toy_shop: tuple[Workspace, dict[str, Any], dict[str, int]], settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(toy_shop[0].path, tmp_path / "shop")
    card = tmp_path / "shop" / "user_counts" / "card.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "snapshot": "another"}))
    recommender = Recommender.open(tmp_path / "shop", settings=settings.with_(llm="none"))
    assert recommender.blend_ranker is not None
    assert "the user_counts channel is not used: counted on another snapshot" in caplog.text
    assert "user_counts" not in recommender.blend_ranker.model.channels
    assert "user_counts" not in recommender.blend_ranker.retriever.further


def test_only_the_channels_of_the_blend_are_loaded(
    toy_shop: tuple[Workspace, dict[str, Any], dict[str, int]],
    trained: tuple[Workspace, dict[str, Any]],
    settings: Settings,
    tmp_path: Path,
) -> None:
    """A graph that another training left in the workspace neither proposes items nor counts as a leak."""
    shutil.copytree(toy_shop[0].path, tmp_path / "shop")
    shutil.copytree(trained[0].path / "graph", tmp_path / "shop" / "graph")
    recommender = Recommender.open(tmp_path / "shop", settings=settings.with_(llm="none"))
    assert recommender.blend_ranker is not None
    assert "graph" not in recommender.blend_ranker.retriever.further
    catalogue, _, _ = load(Workspace(tmp_path / "shop"), settings)
    split = protocols.resolve_split(Split(seed=1), Events.build(toy_shop[0].table("interactions"), catalogue), catalogue)
    assert [leak.kind for leak in leakage.card_leaks(Workspace(tmp_path / "shop"), split)] == [
        "trained part (user_counts) did not hold out what is tested here",
        "trained part (blend) did not hold out what is tested here",
    ]


def test_a_channel_that_cannot_be_trained_is_left_out_with_the_reason(demo_workspace: Workspace, settings: Settings) -> None:
    catalogue, index, _ = load(demo_workspace, settings)
    everybody = HeldOut(users=frozenset(demo_workspace.table("interactions")["user_id"].unique().to_list()))
    view = TrainingView.from_workspace(demo_workspace, everybody, index, item_vectors(index, catalogue))
    trained = train_channels(view, TrainingContext(), ["user_counts", "graph"])
    assert trained.channels == {}
    assert trained.left_out["user_counts"] == "no interactions to count"
    assert trained.left_out["graph"].startswith("0 users have items of more than one category")


def test_later_items_score_zero_in_a_channel_of_the_snapshot(tmp_path: Path) -> None:
    UserCountChannel({"a": 3, "b": 1}, ["a", "b"], {"snapshot": "s"}).save(tmp_path / "user_counts")
    items = ServedItems(["a", "b", "later"], np.zeros((3, 4), np.float32), "s", 2)
    channel = load_trained_channels(tmp_path, items).require_all()["user_counts"]
    assert isinstance(channel, PaddedChannel)
    scores, anchors = channel.scores(CandidateQuery(np.asarray([2, 0]), np.ones(2), np.empty((0, 0), np.float32)))
    assert scores.tolist() == [3, 1, 0]
    assert anchors.tolist() == [-1, -1, -1]
    assert load_trained_channels(tmp_path, items, ["graph"]).channels == {}
    with pytest.raises(StaleTrainingError, match="another snapshot"):
        load_trained_channels(tmp_path, ServedItems(["a"], np.zeros((1, 4), np.float32), "t", 1)).require_all()


def test_padded_anchors_are_indices_into_the_whole_history() -> None:
    class LastItem:
        def scores(self, query: CandidateQuery) -> ChannelScores:
            return np.ones(2, np.float32), np.full(2, len(query.rows) - 1, dtype=np.int64)

    channel = PaddedChannel(LastItem(), 2, 4)
    query = CandidateQuery(np.asarray([0, 3, 1, 2]), np.ones(4), np.empty((0, 0), np.float32))
    expected: NDArray[np.int64] = np.asarray([2, 2, -1, -1])  # row 1, the last known item, is third in the history
    assert channel.scores(query)[1].tolist() == expected.tolist()
    assert channel.scores(CandidateQuery(np.asarray([3]), np.ones(1), np.empty((0, 0), np.float32)))[0].tolist() == [0, 0, 0, 0]


def test_channels_left_out_by_default_are_reported(demo_workspace: Workspace) -> None:
    assert DEFAULT_CHANNELS == ("factors", "item_regression")
    reasons = excluded_by_default()
    assert set(reasons) == {"complements", "graph", "user_counts"}
    assert all("--channels factors,item_regression,complements,graph,user_counts" in reason for reason in reasons.values())
    assert validate_names(["graph", "factors", "graph"]) == ("factors", "graph")
    with pytest.raises(SettingsError, match="'grahp' is not a trainable channel; use factors, item_regression, complements, graph"):
        validate_names(["grahp"])
    unknown = CliRunner().invoke(app, ["train", "-w", str(demo_workspace.path), "--channels", "factors,grahp"])
    assert isinstance(unknown.exception, SettingsError)
    unused = CliRunner().invoke(app, ["train", "-w", str(demo_workspace.path), "--convolution", "attention"])
    assert isinstance(unused.exception, SettingsError)
    assert "add --channels factors,item_regression,complements,graph" in str(unused.exception)
