"""Accuracy metrics by hand, and against ir_measures."""

from __future__ import annotations

import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.eval.metrics import accuracy
from crossaisle.retrieval.items.ragged import RaggedArray


def test_by_hand() -> None:
    # targets 3 and 5 at ranks 2 and 4; a third target, 9, is not ranked
    top = np.asarray([[1, 3, 2, 5, -1], [7, 8, -1, -1, -1], [4, -1, -1, -1, -1]], dtype=np.int32)
    targets = RaggedArray.of([[3, 5, 9], [8], []])
    hit, target_count = accuracy.hits(top, targets), targets.lengths
    assert hit.tolist() == [[False, True, False, True, False], [False, True, False, False, False], [False] * 5]
    gain = 1 / math.log2(3) + 1 / math.log2(5)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert accuracy.ndcg(hit, target_count, 4)[:2] == pytest.approx([gain / ideal, 1 / math.log2(3)])
    assert accuracy.ndcg(hit, target_count, 2)[0] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))
    assert accuracy.recall(hit, target_count, 2)[:2].tolist() == pytest.approx([1 / 3, 1])
    assert accuracy.hit_rate(hit, target_count, 1)[:2].tolist() == [0, 0]
    assert accuracy.hit_rate(hit, target_count, 2)[:2].tolist() == [1, 1]
    assert accuracy.mrr(hit, target_count)[:2].tolist() == [0.5, 0.5]
    assert accuracy.average_precision(hit, target_count, 4)[:2].tolist() == pytest.approx([(1 / 2 + 2 / 4) / 3, 0.5])
    for values in accuracy.per_case(top, targets, 4).values():
        assert np.isnan(values[2]), "a case without targets is NaN, never 0"


WORLDS = st.lists(
    st.tuples(st.permutations(range(12)), st.integers(0, 12), st.sets(st.integers(0, 14), min_size=1, max_size=8)), min_size=1, max_size=6
)


@given(WORLDS, st.integers(1, 12))
def test_metrics_match_ir_measures(world, k):
    top = np.full((len(world), 12), -1, dtype=np.int32)
    for case, (order, length, _) in enumerate(world):
        top[case, :length] = order[:length]
    targets = RaggedArray.of([sorted(targets_of_case) for _, _, targets_of_case in world])
    ours = accuracy.per_case(top, targets, k)
    qrels = {f"c{case}": {str(row): 1 for row in targets_of_case} for case, (_, _, targets_of_case) in enumerate(world)}
    run = {
        f"c{case}": {str(row): float(100 - rank) for rank, row in enumerate(order[:length])} or {"none": 1.0}
        for case, (order, length, _) in enumerate(world)
    }
    measures = {"ndcg": ir_measures.nDCG @ k, "recall": ir_measures.R @ k, "hit": ir_measures.Success @ k, "mrr": ir_measures.RR}
    for result in ir_measures.iter_calc(list(measures.values()), qrels, run):
        name = next(name for name, measure in measures.items() if measure == result.measure)
        assert ours["mrr" if name == "mrr" else f"{name}@{k}"][int(result.query_id[1:])] == pytest.approx(result.value, abs=1e-6)
    # ir_measures divides by all targets, ours by at most k of them, so a perfect list scores 1.
    for result in ir_measures.iter_calc([ir_measures.AP @ k], qrels, run):
        case = int(result.query_id[1:])
        target_count = targets.lengths[case]
        assert ours[f"map@{k}"][case] * min(k, target_count) / target_count == pytest.approx(result.value, abs=1e-6)


@given(WORLDS)
def test_perfect_ranking_is_one_in_any_order_of_the_cases(world):
    targets = RaggedArray.of([sorted(targets_of_case) for _, _, targets_of_case in world])
    top = np.full((len(world), 12), -1, dtype=np.int32)
    for case, (_, _, targets_of_case) in enumerate(world):
        top[case, : len(targets_of_case)] = sorted(targets_of_case)
    for name, values in accuracy.per_case(top, targets, 8).items():
        assert values.tolist() == pytest.approx([1] * len(world)), name
    reversed_order = np.arange(len(world))[::-1]
    reversed_values = accuracy.per_case(top[reversed_order], targets.part(reversed_order), 3)
    for name, values in accuracy.per_case(top, targets, 3).items():
        assert values[reversed_order].tolist() == reversed_values[name].tolist()
