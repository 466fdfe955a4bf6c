"""Metrics by hand, and against a second implementation."""

from __future__ import annotations

import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.eval.metrics import accuracy
from crossaisle.retrieval.items.ragged import Runs


def test_by_hand() -> None:
    # targets 3 and 5 at places 2 and 4; one more, 9, is not ranked
    top = np.asarray([[1, 3, 2, 5, -1], [7, 8, -1, -1, -1], [4, -1, -1, -1, -1]], dtype=np.int32)
    targets = Runs.of([[3, 5, 9], [8], []])
    hit, wanted = accuracy.hits(top, targets), targets.lengths
    assert hit.tolist() == [[False, True, False, True, False], [False, True, False, False, False], [False] * 5]
    gained = 1 / math.log2(3) + 1 / math.log2(5)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert accuracy.ndcg(hit, wanted, 4)[:2] == pytest.approx([gained / ideal, 1 / math.log2(3)])
    assert accuracy.ndcg(hit, wanted, 2)[0] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))
    assert accuracy.recall(hit, wanted, 2)[:2].tolist() == pytest.approx([1 / 3, 1])
    assert accuracy.hit_rate(hit, wanted, 1)[:2].tolist() == [0, 0]
    assert accuracy.hit_rate(hit, wanted, 2)[:2].tolist() == [1, 1]
    assert accuracy.mrr(hit, wanted)[:2].tolist() == [0.5, 0.5]
    assert accuracy.average_precision(hit, wanted, 4)[:2].tolist() == pytest.approx([(1 / 2 + 2 / 4) / 3, 0.5])
    for values in accuracy.per_case(top, targets, 4).values():
        assert np.isnan(values[2]), "an empty target list is left out, never scored 0"


WORLDS = st.lists(
    st.tuples(st.permutations(range(12)), st.integers(0, 12), st.sets(st.integers(0, 14), min_size=1, max_size=8)), min_size=1, max_size=6
)


@given(WORLDS, st.integers(1, 12))
def test_as_a_second_implementation_has_it(world, k):
    top = np.full((len(world), 12), -1, dtype=np.int32)
    for case, (order, length, _) in enumerate(world):
        top[case, :length] = order[:length]
    targets = Runs.of([sorted(wanted) for _, _, wanted in world])
    ours = accuracy.per_case(top, targets, k)
    judged = {f"c{case}": {str(row): 1 for row in wanted} for case, (_, _, wanted) in enumerate(world)}
    run = {
        f"c{case}": {str(row): float(100 - place) for place, row in enumerate(order[:length])} or {"none": 1.0}
        for case, (order, length, _) in enumerate(world)
    }
    theirs = {"ndcg": ir_measures.nDCG @ k, "recall": ir_measures.R @ k, "hit": ir_measures.Success @ k, "mrr": ir_measures.RR}
    for found in ir_measures.iter_calc(list(theirs.values()), judged, run):
        name = next(name for name, measure in theirs.items() if measure == found.measure)
        assert ours["mrr" if name == "mrr" else f"{name}@{k}"][int(found.query_id[1:])] == pytest.approx(found.value, abs=1e-6)
    # Theirs divides by all targets, ours by as many as fit into k (so that a perfect list is 1).
    for found in ir_measures.iter_calc([ir_measures.AP @ k], judged, run):
        case = int(found.query_id[1:])
        wanted = targets.lengths[case]
        assert ours[f"map@{k}"][case] * min(k, wanted) / wanted == pytest.approx(found.value, abs=1e-6)


@given(WORLDS)
def test_a_perfect_ranking_is_one_whatever_the_order_of_the_cases(world):
    targets = Runs.of([sorted(wanted) for _, _, wanted in world])
    top = np.full((len(world), 12), -1, dtype=np.int32)
    for case, (_, _, wanted) in enumerate(world):
        top[case, : len(wanted)] = sorted(wanted)
    for name, values in accuracy.per_case(top, targets, 8).items():
        assert values.tolist() == pytest.approx([1] * len(world)), name
    turned = np.arange(len(world))[::-1]
    again = accuracy.per_case(top[turned], targets.part(turned), 3)
    for name, values in accuracy.per_case(top, targets, 3).items():
        assert values[turned].tolist() == again[name].tolist()
