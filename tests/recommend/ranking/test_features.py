"""The levels of a channel, by hand and by their properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from crossaisle.recommend.ranking.features import (
    CHANNEL_FEATURES,
    CHANNELS,
    FITTED_FEATURES,
    LEVEL_FLOOR,
    PROFILE_FEATURES,
    _channel_features,
    is_fitted,
)
from crossaisle.recommend.ranking.trained_ranker import ANCHOR_CHANNELS
from crossaisle.retrieval.channels.channel_configs import DEFAULT_CONFIGS, FORMER_CONFIGS
from crossaisle.retrieval.trainable_channels import TRAINABLE_CHANNELS

SCORES = st.lists(st.one_of(st.just(0.0), st.floats(-5, 5, width=32), st.floats(0.125, 100, width=32)), min_size=1, max_size=12)
LENGTHS = st.integers(1, 500)


def levels(scores: list[float], length: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The levels in long and in short histories of the scores of a channel."""
    values = _channel_features(np.asarray(scores, np.float32), np.zeros(len(scores), np.int64), length)
    by_name = dict(zip(CHANNEL_FEATURES, values, strict=True))
    return by_name["level in long histories"], by_name["level in short histories"]


def test_levels_equal_hand_computed_values() -> None:
    half = np.log(6) / np.log(11)  # log(1 + 0.5 / 0.1) / log(1 + 1 / 0.1)
    long, short = levels([4, 2, 0, -1], 3)
    assert LEVEL_FLOOR == 0.1
    assert long == pytest.approx([1 / 2, half / 2, 0, 0])  # s = 2 / (3 + 1)
    assert short == pytest.approx([1 / 2, half / 2, 0, 0])
    long, short = levels([4, 2, 0, -1], 1)
    assert not long.any()
    assert short == pytest.approx([1, half, 0, 0])
    long, short = levels([4, 2, 0, -1], 19)
    assert short == pytest.approx(np.asarray([1, half, 0, 0]) / 10)


@given(SCORES, LENGTHS)
def test_the_two_levels_add_up_to_the_level_from_0_to_1(scores: list[float], length: int) -> None:
    long, short = levels(scores, length)
    best = max(*scores, 0) if len(scores) > 1 else max(scores[0], 0)
    share = np.maximum(np.asarray(scores, np.float32), 0) / best if best > 0 else np.zeros(len(scores))
    assert long + short == pytest.approx(np.log1p(share / LEVEL_FLOOR) / np.log1p(1 / LEVEL_FLOOR), abs=1e-6)
    for values in (long, short, long + short):
        assert (values >= 0).all()
        assert (values <= 1 + 1e-6).all()
    if best > 0:
        assert (long + short).max() == pytest.approx(1)


@given(SCORES, LENGTHS, st.sampled_from([2.0**-10, 0.5, 3.0, 1024.0]))
def test_a_constant_factor_of_the_scores_changes_no_level(scores: list[float], length: int, factor: float) -> None:
    for original, scaled in zip(levels(scores, length), levels([score * factor for score in scores], length), strict=True):
        np.testing.assert_allclose(original, scaled, atol=1e-6)


@given(SCORES, LENGTHS)
def test_a_longer_history_moves_the_level_from_short_to_long(scores: list[float], length: int) -> None:
    (long, short), (longer, shorter) = levels(scores, length), levels(scores, length + 1)
    assert (longer >= long - 1e-9).all()
    assert (shorter <= short + 1e-9).all()


def test_blends_are_fitted_to_the_levels_and_the_profile() -> None:
    assert {name for name in CHANNEL_FEATURES if is_fitted(f"item_knn:{name}")} == set(FITTED_FEATURES)
    assert all(is_fitted(f"profile:{name}") for name in PROFILE_FEATURES)


def test_every_channel_of_the_package_is_listed() -> None:
    channels = {*DEFAULT_CONFIGS, *FORMER_CONFIGS, *TRAINABLE_CHANNELS, "semantic", "associations", "popularity", "relations"}
    assert set(CHANNELS) == channels
    assert set(ANCHOR_CHANNELS) == channels - {"lately"}  # it is the same for every history, so no item of it is behind a candidate
