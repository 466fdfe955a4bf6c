"""LLM weight: only the relative margins count, and the weight is positive only where the LLM helps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.recommend.ranking.llm_weight import MAX_WEIGHT, NO_LLM_WEIGHT, LLMScoredQuery, LLMWeight, fit_llm_weight, z_scores


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
