"""The prior over several stores: pooled queries, equal stores, and the weights of a known model."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from crossaisle.recommend.ranking import prior as served
from crossaisle.recommend.ranking.features import CHANNELS, FITTED_FEATURES, RARE_FEATURE
from crossaisle.recommend.ranking.prior import load_prior, typical_users, with_channels
from crossaisle.train.prior import fit_prior, pooled
from crossaisle.train.ranking_dataset import RankingDataset

LEVEL = "level in long histories"


def store(weights: tuple[float, float], count: int, seed: int, names: tuple[str, str] = ("a", "b")) -> RankingDataset:
    """Queries of a store whose purchases are sampled by a softmax of two channels with known weights."""
    rng = np.random.default_rng(seed)
    features = rng.random(size=(count * 20, 3)).astype(np.float32)
    utility = features[:, :2] @ np.asarray(weights)
    chosen = (utility + rng.gumbel(size=len(utility))).reshape(count, 20).argmax(axis=1)
    purchased = np.zeros((count, 20), dtype=bool)
    purchased[np.arange(count), chosen] = True
    feature_names = [f"{names[0]}:{LEVEL}", f"{names[1]}:{RARE_FEATURE}", "profile:log users"]
    kind = (np.arange(count) % 2).astype(np.int8)
    return RankingDataset(feature_names, features, purchased.reshape(-1), np.arange(count + 1) * 20, np.arange(count), kind, ("x", "y"))


def test_stores_that_agree_give_their_weights() -> None:
    weights = fit_prior({"one": store((4.0, 2.0), 1500, 0), "two": store((4.0, 2.0), 1500, 1)}, 1e-6).unit_weights
    assert weights == pytest.approx({f"a:{LEVEL}": 4.0, f"b:{RARE_FEATURE}": 2.0}, abs=0.35)


def test_a_large_store_counts_as_much_as_a_small_one() -> None:
    small, large = store((6.0, 0.0), 400, 0), store((0.0, 6.0), 2000, 1)
    weights = fit_prior({"small": small, "large": large}, 1e-6).unit_weights
    assert weights[f"a:{LEVEL}"] == pytest.approx(weights[f"b:{RARE_FEATURE}"], rel=0.35)


def test_features_of_the_profile_take_no_part_and_missing_channels_are_zero() -> None:
    data = pooled({"one": store((4.0, 2.0), 50, 0), "two": store((4.0, 2.0), 40, 1, ("a", "c"))})
    assert data.feature_names == [f"a:{LEVEL}", f"b:{RARE_FEATURE}", f"c:{RARE_FEATURE}"]
    first, second = data.features[: data.starts[50]], data.features[data.starts[50] :]
    assert not first[:, 2].any()
    assert not second[:, 1].any()
    assert data.kinds == ["one/x", "one/y", "two/x", "two/y"]
    assert sorted(set(data.kind_codes.tolist())) == [0, 1, 2, 3]
    assert len(set(data.user.tolist())) == 90  # users of different stores are different clusters


def test_queries_without_a_purchase_are_left_out() -> None:
    data = store((4.0, 2.0), 10, 0)
    none = replace(data, purchased=np.where(np.arange(200) < 20, False, data.purchased))
    assert len(pooled({"one": none})) == 9


def test_no_store_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one store"):
        fit_prior({})


def test_the_shipped_prior_reads_channels_only() -> None:
    models = json.loads(served.FILE.read_text("utf-8"))
    assert set(models) == {"common", "sparse"}
    assert served.FILE.stat().st_size < 50_000
    for model in models.values():
        groups = {name.partition(":")[0] for name in model["names"]}
        assert groups <= set(CHANNELS)
        assert {name.partition(":")[2] for name in model["names"]} <= set(FITTED_FEATURES)
        assert min(model["weights"]) >= 0
        assert set(model["figures"]) == {"stores"}


def test_a_store_whose_items_have_hardly_any_users_gets_the_sparse_prior() -> None:
    sparse, common = (load_prior(np.asarray(counts)) for counts in ([1, 1, 2, 1, 0], [1, 1, 2, 40, 30]))
    assert sparse.metrics["stores"] != common.metrics["stores"]
    assert load_prior(np.zeros(3, int)).metrics == sparse.metrics
    assert load_prior(np.zeros(0, int)).metrics == sparse.metrics


def test_users_of_the_item_of_the_median_purchase() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        counts = rng.integers(0, 30, rng.integers(1, 40))
        purchases = np.sort(np.repeat(counts, counts))
        if len(purchases):
            assert typical_users(counts) == purchases[(len(purchases) - 1) // 2]


def test_declared_relations_count_and_absent_channels_do_not() -> None:
    prior = load_prior(np.full(10, 20))
    model = with_channels(prior, ["factors", "relations"])
    assert model.channels == ("factors", "relations")
    level = np.zeros((3, len(model.feature_names)), np.float32)
    level[1, model.feature_names.index("relations:level in medium histories")] = 1
    scores = model.scores(level)
    assert scores[1] > scores[0] + 2
    assert scores[0] == scores[2]
