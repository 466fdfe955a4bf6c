"""Reciprocal-rank fusion: against hand-computed values, and what must hold for any scores."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.retrieval.fusion import CHANNEL_WEIGHTS, RRF_K, reciprocal_rank_fusion

SCORES = st.dictionaries(st.integers(0, 15), st.floats(0.001, 10), max_size=10)
CHANNELS = st.fixed_dictionaries(dict.fromkeys(("semantic", "associations", "popularity"), SCORES))


@given(CHANNELS)
def test_every_proposed_item_has_a_fused_score_and_no_other_item(channels: dict[str, dict[int, float]]) -> None:
    fused = reciprocal_rank_fusion(channels)
    assert fused.keys() == set().union(*channels.values())
    assert all(score > 0 for score in fused.values())


@given(CHANNELS, st.sampled_from([0.5, 2.0, 1024.0]))
def test_only_ranks_count(channels: dict[str, dict[int, float]], factor: float) -> None:
    scaled = {name: {row: score * factor for row, score in scores.items()} for name, scores in channels.items()}
    assert reciprocal_rank_fusion(scaled) == reciprocal_rank_fusion(channels)


@given(SCORES, st.sampled_from(sorted(CHANNEL_WEIGHTS)))
def test_one_channel_alone_keeps_its_order_and_its_ties(scores: dict[int, float], name: str) -> None:
    fused = reciprocal_rank_fusion({name: scores})
    for a, b in itertools.combinations(scores, 2):
        assert (fused[a] > fused[b]) == (scores[a] > scores[b])
        assert (fused[a] == fused[b]) == (scores[a] == scores[b])


@given(CHANNELS, st.sampled_from(["semantic", "associations", "popularity"]), st.integers(0, 15))
def test_one_more_channel_never_lowers_a_score(channels: dict[str, dict[int, float]], name: str, row: int) -> None:
    before = reciprocal_rank_fusion(channels)
    after = reciprocal_rank_fusion({**channels, name: {**channels[name], row: 11.0}})
    assert after[row] > before.get(row, 0.0) or channels[name].get(row) == max(channels[name].values(), default=None)


def test_fused_scores_equal_hand_computed_values() -> None:
    fused = reciprocal_rank_fusion({"semantic": {1: 0.9, 2: 0.5, 3: 0.5}, "associations": {2: 7.0}})
    assert fused == pytest.approx(
        {
            1: CHANNEL_WEIGHTS["semantic"] / (RRF_K + 1),
            2: CHANNEL_WEIGHTS["semantic"] / (RRF_K + 2) + CHANNEL_WEIGHTS["associations"] / (RRF_K + 1),
            3: CHANNEL_WEIGHTS["semantic"] / (RRF_K + 2),
        }
    )
    assert reciprocal_rank_fusion({}) == {}
