"""The levels of a channel, by hand and by their properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from crossaisle.recommend.ranking.blend_ranker import ANCHOR_CHANNELS
from crossaisle.recommend.ranking.features import (
    CHANNEL_FEATURES,
    CHANNELS,
    FITTED_FEATURES,
    LEVEL_FEATURES,
    LEVEL_FLOOR,
    LONG_HISTORY,
    PROFILE_FEATURES,
    RARE_FEATURE,
    _channel_features,
    is_fitted,
)
from crossaisle.retrieval.channels.channel_configs import DEFAULT_CONFIGS, FORMER_CONFIGS
from crossaisle.retrieval.trainable_channels import TRAINABLE_CHANNELS

SCORES = st.lists(st.one_of(st.just(0.0), st.floats(-5, 0, width=32), st.floats(0.125, 100, width=32)), min_size=1, max_size=12)
LENGTHS = st.integers(1, 500)


def features(scores: list[float], length: int, users: int = 0) -> dict[str, NDArray[np.float64]]:
    """The features of the scores of a channel, by name."""
    counts = np.full(len(scores), users)
    values = _channel_features(np.asarray(scores, np.float32), np.zeros(len(scores), np.int64), length, counts)
    return dict(zip(CHANNEL_FEATURES, values, strict=True))


def levels(scores: list[float], length: int) -> list[NDArray[np.float64]]:
    """The levels in short, medium and long histories of the scores of a channel."""
    by_name = features(scores, length)
    return [by_name[name] for name in LEVEL_FEATURES]


def test_levels_equal_hand_computed_values() -> None:
    half = np.log(6) / np.log(11)  # log(1 + 0.5 / 0.1) / log(1 + 1 / 0.1)
    level = np.asarray([1, half, 0, 0])
    assert (LEVEL_FLOOR, LONG_HISTORY) == (0.1, 50)
    short, medium, long = levels([4, 2, 0, -1], 3)
    assert short == pytest.approx(level / 2)  # 2 / (3 + 1)
    assert long == pytest.approx(level / 2 * 3 / 53)
    assert medium == pytest.approx(level / 2 * 50 / 53)
    short, medium, long = levels([4, 2, 0, -1], 1)
    assert short == pytest.approx(level)
    assert not medium.any()
    assert not long.any()
    short, medium, long = levels([4, 2, 0, -1], 50)
    assert short == pytest.approx(level * 2 / 51)
    assert medium == pytest.approx(long)


def test_the_level_of_rarely_bought_items_falls_with_their_users() -> None:
    new, two, many = (features([4, 2], 5, users)[RARE_FEATURE] for users in (0, 2, 198))
    assert new == pytest.approx(sum(levels([4, 2], 5)))
    assert two == pytest.approx(new / 2)
    assert many == pytest.approx(new / 100)


@given(SCORES, LENGTHS)
def test_the_levels_add_up_to_the_level_from_0_to_1(scores: list[float], length: int) -> None:
    parts = levels(scores, length)
    best = max(*scores, 0) if len(scores) > 1 else max(scores[0], 0)
    share = np.maximum(np.asarray(scores, np.float32), 0) / best if best > 0 else np.zeros(len(scores))
    total = np.sum(parts, axis=0)
    assert total == pytest.approx(np.log1p(share / LEVEL_FLOOR) / np.log1p(1 / LEVEL_FLOOR), abs=1e-6)
    for values in (*parts, total):
        assert (values >= 0).all()
        assert (values <= 1 + 1e-6).all()
    if best > 0:
        assert total.max() == pytest.approx(1)


@given(SCORES, LENGTHS, st.sampled_from([2.0**-10, 0.5, 3.0, 1024.0]))
def test_a_constant_factor_of_the_scores_changes_no_level(scores: list[float], length: int, factor: float) -> None:
    for original, scaled in zip(levels(scores, length), levels([score * factor for score in scores], length), strict=True):
        np.testing.assert_allclose(original, scaled, atol=1e-6)


@given(SCORES, LENGTHS)
def test_a_longer_history_moves_the_level_from_short_to_long(scores: list[float], length: int) -> None:
    (short, _, long), (shorter, _, longer) = levels(scores, length), levels(scores, length + 1)
    assert (longer >= long - 1e-9).all()
    assert (shorter <= short + 1e-9).all()


def test_blends_are_fitted_to_the_levels_and_the_profile() -> None:
    assert {name for name in CHANNEL_FEATURES if is_fitted(f"item_knn:{name}")} == set(FITTED_FEATURES)
    assert all(is_fitted(f"profile:{name}") for name in PROFILE_FEATURES)


def test_every_channel_of_the_package_is_listed() -> None:
    channels = {*DEFAULT_CONFIGS, *FORMER_CONFIGS, *TRAINABLE_CHANNELS, "semantic", "associations", "popularity", "relations"}
    assert set(CHANNELS) == channels
    assert set(ANCHOR_CHANNELS) == channels - {"lately"}  # it is the same for every history, so no item of it is behind a candidate
