"""The LLM's vote: only how margins lie beside each other counts, and it gets a weight only where it helps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.recommend.ranking.llm_weight import MAX_WEIGHT, NO_LLM_WEIGHT, LLMScoredQuery, LLMWeight, fit_llm_weight, z_scores


def shoppers(number: int, helps: float, seed: int = 0) -> list[LLMScoredQuery]:
    """Shoppers with ten candidates each; the bought one's margin lies `helps` standard deviations above the others'."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        bought = np.zeros(10, dtype=bool)
        bought[random.integers(10)] = True
        scores = random.normal(0, 1, 10) + bought
        margins = random.normal(-7, 1, 10) + helps * bought
        found.append(LLMScoredQuery(scores, margins.astype(np.float32), bought))
    return found


def test_a_margin_that_knows_something_gets_a_weight() -> None:
    weight = fit_llm_weight(shoppers(300, 1.5)).weight
    assert 0.5 < weight < MAX_WEIGHT


def test_noise_gets_next_to_none() -> None:
    assert fit_llm_weight(shoppers(400, 0.0)).weight < 0.15
    assert fit_llm_weight(shoppers(300, -2.0)).weight == 0  # what is wrong is not believed the other way round


def test_the_weight_is_that_of_a_second_implementation() -> None:
    """Conditional logit with one offset, by Newton's method."""
    read = shoppers(200, 1.0, seed=3)
    weight = 0.0
    for _ in range(50):
        gradient = curvature = 0.0
        for one in read:
            said = z_scores(one.logit_margins)
            chance = np.exp(one.scores + weight * said)
            chance /= chance.sum()
            mean = (chance * said).sum()
            gradient += said[one.bought].mean() - mean
            curvature += (chance * said**2).sum() - mean**2
        weight += gradient / curvature
    assert fit_llm_weight(read).weight == pytest.approx(weight, abs=5e-3)


@given(st.floats(-20, 20), st.floats(0.1, 30), st.lists(st.floats(-5, 5), min_size=2, max_size=20))
def test_neither_level_nor_scale_of_the_margins_counts(level: float, scale: float, told: list[float]) -> None:
    margins = np.asarray(told)
    if margins.std() < 1e-3:
        return
    adds = LLMWeight(0.7).contributions(margins)
    np.testing.assert_allclose(adds, LLMWeight(0.7).contributions(level + scale * margins), atol=1e-6)
    assert adds.mean() == pytest.approx(0, abs=1e-9)
    assert adds.std() == pytest.approx(0.7)


def test_margins_that_say_nothing_add_nothing() -> None:
    assert LLMWeight(2.0).contributions(np.full(5, -3.0)).tolist() == [0] * 5
    assert LLMWeight(2.0).contributions(np.empty(0)).tolist() == []
    assert NO_LLM_WEIGHT.contributions(np.asarray([1.0, 2.0])).tolist() == [0, 0]
    assert fit_llm_weight([]) == NO_LLM_WEIGHT
    assert fit_llm_weight([LLMScoredQuery(np.zeros(3), np.arange(3.0), np.zeros(3, dtype=bool))]) == NO_LLM_WEIGHT
