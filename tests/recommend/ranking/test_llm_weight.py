"""LLM weight: only the relative margins count, and the weight is positive only where the LLM helps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.recommend.ranking.llm_weight import (
    GATE_FEATURES,
    MAX_WEIGHT,
    NO_LLM_WEIGHT,
    LLMScoredQuery,
    LLMWeight,
    disagreement,
    fit_llm_weight,
    gate_features,
    z_scores,
)


def scored_queries(count: int, signal: float, seed: int = 0) -> list[LLMScoredQuery]:
    """Queries with ten candidates each; the bought one's margin is `signal` standard deviations above the others'."""
    rng = np.random.default_rng(seed)
    queries = []
    for _ in range(count):
        bought = np.zeros(10, dtype=bool)
        bought[rng.integers(10)] = True
        scores = rng.normal(0, 1, 10) + bought
        margins = rng.normal(-7, 1, 10) + signal * bought
        queries.append(LLMScoredQuery(scores, margins.astype(np.float32), bought))
    return queries


def test_an_informative_margin_gets_a_weight() -> None:
    weight = fit_llm_weight(scored_queries(300, 1.5)).weight
    assert 0.5 < weight < MAX_WEIGHT


def test_noise_gets_almost_no_weight() -> None:
    assert fit_llm_weight(scored_queries(400, 0.0)).weight < 0.15
    assert fit_llm_weight(scored_queries(300, -2.0)).weight == 0  # the weight is never negative


def test_the_weight_equals_that_of_a_second_implementation() -> None:
    """Conditional logit with one offset, by Newton's method."""
    queries = scored_queries(200, 1.0, seed=3)
    weight = 0.0
    for _ in range(50):
        gradient = curvature = 0.0
        for query in queries:
            standardized = z_scores(query.logit_margins)
            probability = np.exp(query.scores + weight * standardized)
            probability /= probability.sum()
            mean = (probability * standardized).sum()
            gradient += standardized[query.bought].mean() - mean
            curvature += (probability * standardized**2).sum() - mean**2
        weight += gradient / curvature
    assert fit_llm_weight(queries).weight == pytest.approx(weight, abs=5e-3)


@given(st.floats(-20, 20), st.floats(0.1, 30), st.lists(st.floats(-5, 5), min_size=2, max_size=20))
def test_level_and_scale_of_the_margins_do_not_matter(level: float, scale: float, values: list[float]) -> None:
    margins = np.asarray(values)
    if margins.std() < 1e-3:
        return
    contributions = LLMWeight(0.7).contributions(margins)
    np.testing.assert_allclose(contributions, LLMWeight(0.7).contributions(level + scale * margins), atol=1e-6)
    assert contributions.mean() == pytest.approx(0, abs=1e-9)
    assert contributions.std() == pytest.approx(0.7)


def test_constant_or_empty_margins_contribute_nothing() -> None:
    assert LLMWeight(2.0).contributions(np.full(5, -3.0)).tolist() == [0] * 5
    assert LLMWeight(2.0).contributions(np.empty(0)).tolist() == []
    assert NO_LLM_WEIGHT.contributions(np.asarray([1.0, 2.0])).tolist() == [0, 0]
    assert fit_llm_weight([]) == NO_LLM_WEIGHT
    assert fit_llm_weight([LLMScoredQuery(np.zeros(3), np.arange(3.0), np.zeros(3, dtype=bool))]) == NO_LLM_WEIGHT


def test_the_gate_finds_where_the_margin_tells_something() -> None:
    """The margin is informative for rarely bought items only; the part of that feature is fitted, and ranks better than one number."""
    rng = np.random.default_rng(5)

    def sample(count: int) -> list[LLMScoredQuery]:
        queries = []
        for _ in range(count):
            rare = rng.random(10) < 0.5
            bought = np.zeros(10, dtype=bool)
            bought[rng.integers(10)] = True
            scores, margins = rng.normal(0, 1, 10) + bought, rng.normal(0, 1, 10) + 2.5 * (bought & rare)
            features = np.stack([rare.astype(float), np.zeros(10), np.full(10, 0.5)], axis=1)
            queries.append(LLMScoredQuery(scores, margins, bought, features))
        return queries

    weight = fit_llm_weight(sample(600))
    assert weight.by_feature[0] > 0.5 > weight.weight + 0.5 * weight.by_feature[2]
    assert weight.by_feature[1] == 0  # the feature is 0 everywhere

    def mean_rank(query: LLMScoredQuery, fitted: LLMWeight) -> int:
        scores = query.scores + fitted.contributions(query.logit_margins, query.gate_features)
        return int((scores > scores[query.bought]).sum())

    constant = fit_llm_weight([LLMScoredQuery(query.scores, query.logit_margins, query.bought) for query in sample(600)])
    test = sample(600)
    assert np.mean([mean_rank(query, weight) for query in test]) < np.mean([mean_rank(query, constant) for query in test])


def test_a_prior_shrinks_the_weight_the_more_the_fewer_questions_there_are() -> None:
    free, shrunk, many = (
        fit_llm_weight(scored_queries(count, 1.5), scale).weight for count, scale in ((30, np.inf), (30, 0.3), (600, 0.3))
    )
    assert 0 < shrunk < 0.8 * free
    assert many > 0.9 * fit_llm_weight(scored_queries(600, 1.5)).weight


def test_gate_features_grow_where_behaviour_knows_little() -> None:
    features = gate_features(np.asarray([0, 2, 200]), 1, np.asarray([0.0, 0.5, 1.0]))
    assert features.shape == (3, len(GATE_FEATURES))
    assert features[:, 0].tolist() == pytest.approx([1, 0.5, 2 / 202])
    assert features[:, 1].tolist() == [1, 1, 1]  # a basket of one
    assert gate_features(np.asarray([1]), 39)[0].tolist() == pytest.approx([2 / 3, 0.05, 0])
    names = ["one:level in short histories", "one:level in long histories", "two:level in short histories", "profile:crowd"]
    values = np.asarray([[0.5, 0.5, 1.0, 7], [0, 0, 0, 7], [0.2, 0.2, 0.0, 7]])
    assert disagreement(names, values).tolist() == pytest.approx([0, 1, 0.8])
    assert disagreement(["profile:crowd"], values[:, :1]).tolist() == [0, 0, 0]


def test_a_weight_survives_json_and_rejects_what_is_none() -> None:
    weight = LLMWeight(0.2, (0.1, 0.0, 0.3))
    assert LLMWeight.from_dict(weight.to_dict()) == weight
    assert LLMWeight.from_dict({"weight": 0.7}) == LLMWeight(0.7)  # of a former version
    for wrong in (float("nan"), float("inf"), -0.1):
        with pytest.raises(ValueError, match="must be a number of 0 or more"):
            LLMWeight.from_dict({"weight": wrong})
        with pytest.raises(ValueError, match="must be a number of 0 or more"):
            LLMWeight.from_dict({"weight": 0.0, "by_feature": {GATE_FEATURES[1]: wrong}})
