"""The learned blend: contributions, serialization and features, on queries with a known answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.data.errors import StaleIndexError
from crossaisle.recommend.profiles.profile import ItemAttributes, Profile
from crossaisle.recommend.ranking import learned_blend
from crossaisle.recommend.ranking.features import CHANNEL_FEATURES, PROFILE_FEATURES, FeatureExtractor, FeatureMatrix
from crossaisle.recommend.ranking.learned_blend import BlendModel
from crossaisle.retrieval.channels.channel_configs import DEFAULT_CONFIGS, FORMER_CONFIGS, ItemKNNConfig, to_jsonable
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import NEVER
from crossaisle.retrieval.retriever import CandidateScores
from crossaisle.train.blend import fit_blend

from ...train.test_blend import ranking_queries


@pytest.mark.parametrize("crossed", [False, True])
def test_contributions_add_up_to_the_score(crossed: bool) -> None:
    model = fit_blend(ranking_queries(500, crossed=crossed))
    values = ranking_queries(5, seed=9, crossed=crossed).features
    total, scores = model.contributions(values).sum(axis=1), model.scores(values)
    assert total - total.mean() == pytest.approx(scores - scores.mean(), abs=1e-5)  # SHAP values exclude the expected value


def test_a_model_survives_serialization() -> None:
    model = fit_blend(ranking_queries(500, crossed=True))
    values = ranking_queries(5, seed=9).features
    assert BlendModel.from_dict(model.to_dict()).scores(values) == pytest.approx(model.scores(values))


@given(st.permutations(range(20)))
def test_the_order_of_the_candidates_changes_no_score(order: list[int]) -> None:
    values = ranking_queries(1, seed=4).features
    assert MODEL.scores(values[order]) == pytest.approx(MODEL.scores(values)[order])


MODEL = fit_blend(ranking_queries(300))


def test_features_are_selected_by_name_when_channels_change() -> None:
    values = ranking_queries(1, seed=4).features
    changed = FeatureMatrix(["profile:b", "second:a", "first:a", "new:a"], values[:, [3, 1, 0, 2]])
    selected = MODEL.select_features(changed)
    assert np.array_equal(selected[:, [0, 1, 3]], values[:, [0, 1, 3]])
    assert not selected[:, 2].any()  # the third channel is absent


# ---------------------------------------------------------------------- features

ITEMS = pl.DataFrame(
    {
        "item_id": list("abcd"),
        "title": list("abcd"),
        "category": [["A"], ["A"], ["B"], ["B"]],
        "brand": ["x", "y", "X", None],
        "price": [1.0, 2.0, 3.0, None],
    }
)
BOUGHT = pl.DataFrame({"user_id": list("uvw"), "item_id": list("aac"), "kind": ["purchase"] * 3})


def test_features_are_relative_to_the_query() -> None:
    catalogue = Catalogue.build(ITEMS, BOUGHT, 1)
    extractor = FeatureExtractor(catalogue, ["semantic", "graph"])
    candidates = CandidateScores(
        np.array([1, 2, 3]),
        {"semantic": np.array([0.2, 0.8, 0.8], np.float32)},
        {"semantic": np.array([0, 0, 0])},
    )
    profile = Profile(np.array([0]), np.zeros(1, np.int8), np.array([NEVER]), ItemAttributes.from_catalogue(catalogue))
    features = extractor.features(candidates, profile)
    channel_names = [f"{channel}:{feature}" for channel in ("semantic", "graph") for feature in CHANNEL_FEATURES]
    assert list(features.names) == channel_names + [f"profile:{feature}" for feature in PROFILE_FEATURES]
    by_name = dict(zip(features.names, features.values.T, strict=True))
    assert by_name["semantic:share"] == pytest.approx([0.25, 1, 1])
    assert not by_name["graph:share"].any()  # a channel without scores
    assert by_name["semantic:by length"] == pytest.approx(
        np.log([0.251, 1.001, 1.001]) * np.log(2 / 10), abs=1e-5
    )  # one item; typical: nine
    assert by_name["semantic:category"] == pytest.approx(np.log([0.26, 2.01, 2.01]), rel=1e-5)  # item b is the only one of its category
    assert by_name["semantic:in category"] == pytest.approx(np.log([1.01] * 3), rel=1e-5)  # each has the best score of its category
    assert by_name["profile:log users"] == pytest.approx(np.log1p([0, 1, 0]))
    assert by_name["profile:brand"].tolist() == [0, 1, 0]
    assert by_name["profile:crowd"] == pytest.approx(np.log1p([1, 2, 2]))


def test_a_damaged_file_raises_with_the_remedy(tmp_path: Path) -> None:
    assert learned_blend.load_models(tmp_path) is None
    (tmp_path / "blend").mkdir()
    (tmp_path / "blend" / "models.json").write_text('{"blend": {"names": 3}}')
    with pytest.raises(StaleIndexError, match=r"models.json cannot be read .*; run `crossaisle train"):
        learned_blend.load_models(tmp_path)


def test_the_configurations_of_the_channels_are_stored_beside_the_blend(tmp_path: Path) -> None:
    assert learned_blend.load_channel_configs(tmp_path) == FORMER_CONFIGS  # none is stored: a blend of a former version
    file = tmp_path / "blend" / "channels.json"
    file.parent.mkdir()
    configs = {"item_knn": ItemKNNConfig(decay=0.9), "user_knn": DEFAULT_CONFIGS["user_knn"]}
    file.write_text(json.dumps(to_jsonable(configs)), "utf-8")
    assert learned_blend.load_channel_configs(tmp_path) == configs


@pytest.mark.parametrize("content", ["{", "[]", '{"unknown": {}}', '{"item_knn": {"colour": 3}}', '{"item_knn": 3}'])
def test_damaged_configurations_raise_with_the_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / "blend").mkdir()
    (tmp_path / "blend" / "channels.json").write_text(content, "utf-8")
    with pytest.raises(StaleIndexError, match=r"channels.json cannot be read .*; run `crossaisle train"):
        learned_blend.load_channel_configs(tmp_path)
