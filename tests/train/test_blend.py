"""Fitting of the learned blend on queries with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from crossaisle.data.errors import TrainingError
from crossaisle.recommend.ranking.learned_blend import BlendModel
from crossaisle.retrieval.channels.base import TrainingContext
from crossaisle.train.blend import fit_blend, fit_models
from crossaisle.train.ranking_dataset import RankingDataset, ndcg


def ranking_queries(count: int, seed: int = 0, *, crossed: bool = False, candidates: int = 20) -> RankingDataset:
    """Queries with one purchase each, sampled by a softmax of the first feature; `crossed`: of the product of two signs."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count * candidates, 4)).astype(np.float32)
    utility = 3 * np.sign(features[:, 0] * features[:, 1]) if crossed else 2 * features[:, 0]
    chosen = (utility + rng.gumbel(size=len(utility))).reshape(count, candidates).argmax(axis=1)
    purchased = np.zeros((count, candidates), dtype=bool)
    purchased[np.arange(count), chosen] = True
    names = ["first:a", "second:a", "third:a", "profile:b"]
    return RankingDataset(names, features, purchased.reshape(-1), np.arange(count + 1) * candidates, np.arange(count) // 2)


def test_the_regression_finds_the_decisive_feature() -> None:
    model = fit_blend(ranking_queries(600))
    assert model.feature_names[int(np.abs(model.weights).argmax())] == "first:a"
    assert np.abs(model.weights[1:]).max() < 0.2 * model.weights[0]
    test = ranking_queries(400, seed=1)
    assert ndcg(test, model.scores(test.features)).mean() > ndcg(test, test.features[:, 1].astype(float)).mean() + 0.2


def test_trees_are_used_for_an_interaction_that_no_sum_can_express() -> None:
    model = fit_blend(ranking_queries(900, crossed=True))
    test = ranking_queries(300, seed=1, crossed=True)
    regression = BlendModel(model.feature_names, model.mean, model.scale, model.weights)
    assert model.metrics["chosen"] == "trees"
    assert ndcg(test, model.scores(test.features)).mean() > ndcg(test, regression.scores(test.features)).mean() + 0.1


def test_trees_are_not_used_if_they_rank_no_better() -> None:
    for seed in range(3):
        model = fit_blend(ranking_queries(300, seed=seed))
        if model.metrics["trees_ndcg@10"] <= model.metrics["weighted_sum_ndcg@10"]:
            assert not model.trees


def test_fitting_is_deterministic() -> None:
    dataset = ranking_queries(200)
    assert fit_blend(dataset, seed=3).to_dict() == fit_blend(dataset, seed=3).to_dict()


def test_each_ablation_lacks_one_group_of_features() -> None:
    steps: list[tuple[int, int]] = []
    models = fit_models(ranking_queries(150), TrainingContext(progress=lambda _, done, total: steps.append((done, total))))
    assert {name: list(model.feature_names) for name, model in models.items()} == {
        "blend": ["first:a", "second:a", "third:a", "profile:b"],
        "blend without first": ["second:a", "third:a", "profile:b"],
        "blend without second": ["first:a", "third:a", "profile:b"],
        "blend without third": ["first:a", "second:a", "profile:b"],
        "blend without profile": ["first:a", "second:a", "third:a"],
    }
    assert steps == [(done, 4) for done in range(5)]


def test_too_few_queries_with_purchases_raise() -> None:
    with pytest.raises(TrainingError, match="only 15 queries have a purchase among their candidates, a blend needs at least 20"):
        fit_blend(ranking_queries(15))
    dataset = ranking_queries(300)
    no_purchases = np.zeros(len(dataset.purchased), bool)
    with pytest.raises(TrainingError, match="only 0 queries"):
        fit_blend(RankingDataset(dataset.feature_names, dataset.features, no_purchases, dataset.starts, dataset.user))
