"""The data that a blend is fitted to: sampling, parts, weights of the kinds, and the NDCG."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossaisle.train import ranking_dataset
from crossaisle.train.ranking_dataset import NEGATIVES_PER_QUERY, RankingDataset, ndcg

from .test_blend import ranking_queries


def test_sampling_keeps_all_purchases_and_a_fixed_number_of_negatives() -> None:
    rng = np.random.default_rng(0)
    sizes = [10, 600, 400]
    features = rng.normal(size=(sum(sizes), 2)).astype(np.float32)
    purchased = np.zeros(len(features), bool)
    purchased[[3, 40, 609, 700]] = True
    dataset = RankingDataset(["a:share", "a:log share"], features, purchased, np.array([0, 10, 610, 1010]), np.arange(3))
    sampled = dataset.with_sampled_negatives(0)
    assert np.diff(sampled.starts).tolist() == [10, NEGATIVES_PER_QUERY + 2, NEGATIVES_PER_QUERY + 1]
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


def test_a_subset_keeps_the_kinds_of_its_queries() -> None:
    kind = np.asarray([0, 1, 1, 0], np.int8)
    dataset = replace(ranking_queries(4), kind=kind, kinds=("a", "b"))
    part = dataset.subset(np.asarray([True, False, True, True]))
    assert part.kind_codes.tolist() == [0, 1, 0]
    assert part.features.tolist() == np.delete(dataset.features.reshape(4, 20, 4), 1, axis=0).reshape(60, 4).tolist()
    assert ranking_queries(4).kind_codes.tolist() == [0] * 4


def test_the_weights_of_the_queries_are_those_of_their_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking_dataset, "FULL_KIND_QUERIES", 4)
    kind = np.repeat(np.asarray([0, 1, 2], np.int8), [8, 4, 1])
    dataset = replace(ranking_queries(13), kind=kind, kinds=("a", "b", "c"), kind_weights={"b": 2.0})
    sums = np.bincount(kind, dataset.query_weights)
    assert dataset.query_weights.mean() == pytest.approx(1)
    assert sums[1] == pytest.approx(2 * sums[0])
    assert sums[2] == pytest.approx(sums[0] / 4)  # one query of the four from which on a kind has its whole weight
