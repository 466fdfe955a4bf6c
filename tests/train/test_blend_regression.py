"""The regression of a blend: weights of a known model, bounds, and a second solver."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.train.blend_regression import fit_channel, fit_regression, fit_weights
from crossaisle.train.ranking_dataset import RankingDataset

from .test_blend import ranking_queries

LONG, SHORT = "level in long histories", "level in short histories"


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


def opposed_queries(count: int, seed: int) -> RankingDataset:
    """Queries whose purchases have a high first feature, and low second and fourth ones: two channels, two features of the profile."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count * 10, 4)).astype(np.float32)
    utility = features @ np.asarray([1.0, -1.0, 0.5, -1.0])
    chosen = (utility + rng.gumbel(size=len(utility))).reshape(count, 10).argmax(axis=1)
    purchased = np.zeros((count, 10), dtype=bool)
    purchased[np.arange(count), chosen] = True
    names = [f"first:{LONG}", f"second:{SHORT}", "profile:a", "profile:b"]
    return RankingDataset(names, features, purchased.reshape(-1), np.arange(count + 1) * 10, np.arange(count))


@settings(max_examples=20)
@given(st.integers(0, 2**20), st.sampled_from([1e-4, 1e-2, 1.0]))
def test_no_weight_of_a_channel_is_negative(seed: int, penalty: float) -> None:
    model = fit_regression(opposed_queries(30, seed), penalty)
    assert (model.weights[:2] >= 0).all()


def test_a_misleading_channel_has_no_weight_and_the_profile_has_either_sign() -> None:
    weights = fit_regression(opposed_queries(800, 0), 1e-6).weights
    assert weights[1] == 0
    assert weights[[0, 2]].min() > 0.3
    assert weights[3] < -0.5


def test_bounded_weights_equal_those_of_another_solver() -> None:
    from scipy.optimize import minimize

    dataset = opposed_queries(150, 1)
    features, purchased = dataset.features.reshape(150, 10, 4).astype(np.float64), dataset.purchased.reshape(150, 10)

    def loss(weights: np.ndarray) -> float:
        scores = features @ weights
        return float((np.log(np.exp(scores).sum(axis=1)) - scores[purchased]).mean() + 0.01 * (weights**2).sum())

    expected = minimize(loss, np.zeros(4), method="SLSQP", bounds=[(0, None)] * 2 + [(None, None)] * 2, tol=1e-9).x
    not_negative = np.asarray([True, True, False, False])
    assert fit_weights(dataset, np.zeros(4), np.ones(4), 0.01, not_negative) == pytest.approx(expected, abs=5e-3)


def test_a_start_changes_the_solution_only_within_the_tolerance() -> None:
    dataset = opposed_queries(300, 2)
    cold = fit_regression(dataset, 1e-2)
    warm = fit_regression(dataset, 1e-2, fit_regression(dataset, 1.0))
    assert warm.weights == pytest.approx(cold.weights, abs=5e-3)


def test_the_weight_of_a_kind_is_that_of_repeating_its_queries() -> None:
    """Two kinds of equal size, one with weight 3: the same solution as with its queries three times."""
    from dataclasses import replace

    dataset = opposed_queries(200, 3)
    kind = (np.arange(200) % 2).astype(np.int8)
    weighted = replace(dataset, kind=kind, kinds=("a", "b"), kind_weights={"a": 1.0, "b": 3.0})
    assert weighted.query_weights.mean() == pytest.approx(1)
    order = np.concatenate([np.flatnonzero(kind == 0), *[np.flatnonzero(kind == 1)] * 3])
    rows = (order[:, None] * 10 + np.arange(10)).reshape(-1)
    repeated = RankingDataset(dataset.feature_names, dataset.features[rows], dataset.purchased[rows], np.arange(len(order) + 1) * 10, order)
    fitted = [fit_weights(data, np.zeros(4), np.ones(4), 0.01, np.zeros(4, bool)) for data in (weighted, repeated)]
    assert fitted[0] == pytest.approx(fitted[1], abs=5e-3)


def test_weights_are_shrunk_to_the_center_per_unit_of_the_feature() -> None:
    dataset = opposed_queries(60, 4)
    center = {f"first:{LONG}": 2.0, f"second:{SHORT}": 0.5, "profile:a": -1.0}
    model = fit_regression(dataset, 1e6, center=center)
    assert model.weights / model.scale == pytest.approx([2.0, 0.5, -1.0, 0.0], abs=1e-3)
    free = fit_regression(dataset, 1e-6)
    assert fit_regression(dataset, 1e-6, center=center).weights == pytest.approx(free.weights, abs=2e-2)


def test_a_channel_alone_has_the_weights_of_a_fit_without_the_others() -> None:
    dataset = opposed_queries(200, 5)
    weights = fit_channel(dataset, "first")
    assert set(weights) == {name for name in dataset.feature_names if name.startswith("first:level")}
    assert max(weights.values()) > 0
    assert fit_channel(dataset.without_group("second"), "first") == pytest.approx(weights)
    assert fit_channel(dataset, "profile") == {}
