"""Fitting of the learned blend on queries with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from crossaisle.data.errors import TrainingError
from crossaisle.recommend.ranking.learned_blend import BlendModel
from crossaisle.retrieval.channels.base import TrainingContext
from crossaisle.train import ranking_dataset
from crossaisle.train.blend import fit_blend, fit_models
from crossaisle.train.blend_regression import fit_weights
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


def test_the_weights_equal_those_of_the_sampling_model() -> None:
    weights = fit_weights(ranking_queries(2000), np.zeros(4), np.ones(4), 1e-9, np.zeros(4, bool))
    assert weights == pytest.approx([2, 0, 0, 0], abs=0.15)


def test_the_bounded_fit_agrees_with_bfgs_where_no_bound_applies() -> None:
    from scipy.optimize import minimize

    dataset = ranking_queries(150)
    features = dataset.features.reshape(150, 20, 4).astype(np.float64)
    purchased = dataset.purchased.reshape(150, 20)

    def loss(weights: np.ndarray) -> float:
        scores = features @ weights
        return float((np.log(np.exp(scores).sum(axis=1)) - scores[purchased]).mean() + 0.01 * (weights**2).sum())

    expected = minimize(loss, np.zeros(4)).x
    assert fit_weights(dataset, np.zeros(4), np.ones(4), 0.01, np.zeros(4, bool)) == pytest.approx(expected, abs=2e-3)


def test_rare_items_have_a_higher_label_weight() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6000, 2)).astype(np.float32)
    features[:, 1] = np.log1p(rng.integers(0, 2, 6000) * 50)
    purchased = np.arange(6000) % 20 == 0
    dataset = RankingDataset(["first:a", ranking_dataset.USER_COUNT_FEATURE], features, purchased, np.arange(301) * 20, np.arange(300))
    rare = features[:, 1] == 0
    assert dataset.label_weights[purchased & rare].tolist() == [ranking_dataset.RARE_ITEM_LABEL_WEIGHT] * int((purchased & rare).sum())
    assert set(dataset.label_weights[purchased & ~rare].tolist()) == {1.0}
    assert not dataset.label_weights[~purchased].any()
    # Purchases are independent of rarity, so the maximum-likelihood weight of the feature comes from the label weights alone.
    weights = fit_weights(dataset, np.zeros(2), np.ones(2), 1e-6, np.zeros(2, bool))
    weighted_odds = (purchased & rare).sum() * ranking_dataset.RARE_ITEM_LABEL_WEIGHT / (purchased & ~rare).sum()
    log_odds_ratio = np.log(weighted_odds) - np.log(rare.sum() / (~rare).sum())
    assert weights[1] * np.log(51) == pytest.approx(-log_odds_ratio, abs=0.1)
    assert dataset.without_group("profile").label_weights.max() == 1  # without the feature all weigh the same


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
    with pytest.raises(TrainingError, match="only 50 queries have a purchase among their candidates, a blend needs at least 100"):
        fit_blend(ranking_queries(50))
    dataset = ranking_queries(300)
    no_purchases = np.zeros(len(dataset.purchased), bool)
    with pytest.raises(TrainingError, match="only 0 queries"):
        fit_blend(RankingDataset(dataset.feature_names, dataset.features, no_purchases, dataset.starts, dataset.user))


def test_sampling_keeps_all_purchases_and_a_fixed_number_of_negatives() -> None:
    rng = np.random.default_rng(0)
    sizes = [10, 600, 400]
    features = rng.normal(size=(sum(sizes), 2)).astype(np.float32)
    purchased = np.zeros(len(features), bool)
    purchased[[3, 40, 609, 700]] = True
    dataset = RankingDataset(["a:share", "a:log share"], features, purchased, np.array([0, 10, 610, 1010]), np.arange(3))
    sampled = dataset.with_sampled_negatives(0)
    assert np.diff(sampled.starts).tolist() == [10, ranking_dataset.NEGATIVES_PER_QUERY + 2, ranking_dataset.NEGATIVES_PER_QUERY + 1]
    assert sampled.purchased.sum() == 4
    assert np.array_equal(sampled.user, dataset.user)
    assert np.array_equal(sampled.features, dataset.with_sampled_negatives(0).features)
    assert not np.array_equal(sampled.features, dataset.with_sampled_negatives(1).features)  # sampled, not the highest scores


def test_without_a_group_its_features_are_absent() -> None:
    remaining = ranking_queries(10).without_group("first")
    assert remaining.feature_names == ["second:a", "third:a", "profile:b"]
    assert remaining.features.shape[1] == 3


def test_ndcg_agrees_with_ir_measures() -> None:
    import ir_measures
    from ir_measures import nDCG

    dataset = ranking_queries(30)
    scores = np.random.default_rng(5).normal(size=len(dataset.purchased))
    rows = list(zip(dataset.query.tolist(), range(len(scores)), dataset.purchased.tolist(), scores.tolist(), strict=True))
    judgements = [ir_measures.Qrel(str(query), str(candidate), int(label)) for query, candidate, label, _ in rows]
    run = [ir_measures.ScoredDoc(str(query), str(candidate), score) for query, candidate, _, score in rows]
    expected = {metric.query_id: metric.value for metric in ir_measures.iter_calc([nDCG @ 10], judgements, run)}
    assert ndcg(dataset, scores) == pytest.approx([expected[str(query)] for query in range(len(dataset))])
