"""Directed counts against sets and loops that anyone can read."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.retrieval.associations.pair_counts import EventSequence, MarginalCounts, PairCounts, StreamingPairCounter
from crossaisle.retrieval.associations.user_weights import FULL_ITEMS, UNIT, user_weights
from crossaisle.retrieval.items.interactions import NEVER, Events, Order

THINGS = 6
WORLDS = st.lists(
    st.lists(st.tuples(st.integers(0, THINGS - 1), st.integers(0, 12) | st.just(NEVER)), min_size=1, max_size=9), min_size=1, max_size=8
)
"""Per user, (thing, time) in any order."""


def events_of(world: list[list[tuple[int, int]]], order: Order) -> Events:
    rows = [(user, thing, time) for user, history in enumerate(world) for thing, time in sorted(history, key=lambda one: one[1])]
    user, thing, time = (np.array(column) for column in zip(*rows, strict=True))
    when = np.zeros(len(time), np.int64) if order == "none" else time.astype(np.int64)
    return Events(user.astype(np.int32), thing.astype(np.int32), when, order, pl.Series([str(n) for n in range(len(world))]), "bought")


def counted(world: list[list[tuple[int, int]]], order: Order, window: int, chunk: int = 10**6) -> tuple[PairCounts, MarginalCounts]:
    events = events_of(world, order)
    moments = EventSequence.of(events, np.arange(THINGS, dtype=np.int32), THINGS, window, user_weights(events))
    counting = StreamingPairCounter(moments, chunk=chunk)
    return PairCounts.chained(list(counting.blocks())), counting.margins


def goes(history: list[tuple[int, int]], source: int, target: int, order: Order, window: int) -> bool:
    """Whether some event with the target comes with or after one with the source, within the window."""
    return any(
        order == "none" or (NEVER not in (first, then) and 0 <= then - first <= window)
        for a, first in history
        for b, then in history
        if (a, b) == (source, target)
    )


ORDERS = st.sampled_from(["time", "position", "none"])


@given(WORLDS, ORDERS, st.integers(0, 14), st.sampled_from([1, 3, 7, 10**6]))
@settings(max_examples=300, deadline=None)
def test_pairs_and_margins_equal_a_loop_implementation(world: list[list[tuple[int, int]]], order: Order, window: int, chunk: int) -> None:
    pairs, margins = counted(world, order, window, chunk)
    both: dict[int, int] = defaultdict(int)
    support: dict[int, int] = defaultdict(int)
    users, went, ways = (np.zeros(THINGS, int) for _ in range(3))
    for history in world:
        has = {thing for thing, _ in history}
        for target in has:
            users[target] += 1
            froms = [source for source in has if source != target and goes(history, source, target, order, window)]
            went[target] += bool(froms)
            ways[target] += len(froms)
            for source in has - {target}:
                both[source * THINGS + target] += 1
                support[source * THINGS + target] += source in froms
    assert pairs.key.tolist() == sorted(both)
    assert pairs.both.tolist() == [both[key] for key in sorted(both)]
    assert pairs.support.tolist() == [support[key] for key in sorted(both)]
    assert pairs.weight.tolist() == [UNIT * support[key] for key in sorted(both)], "nobody here has more than FULL_ITEMS"
    things = sum(len({thing for thing, _ in history}) for history in world)
    for heads, factor in enumerate((1, UNIT)):
        assert margins.users[heads].tolist() == (factor * users).tolist()
        assert margins.followers[heads].tolist() == (factor * went).tolist()
        assert margins.ways[heads].tolist() == (factor * ways).tolist()
        assert (margins.total[heads], margins.things[heads]) == (factor * len(world), factor * things)
    for thing in range(THINGS):
        others = things - users[thing]
        assert margins.base_rate[0, thing] == pytest.approx(ways[thing] / others if others else 0)


@given(WORLDS, WORLDS, ORDERS, st.integers(0, 14))
@settings(max_examples=100, deadline=None)
def test_counts_are_additive_over_users(
    some: list[list[tuple[int, int]]], others: list[list[tuple[int, int]]], order: Order, window: int
) -> None:
    whole, all_margins = counted(some + others, order, window)
    first, first_margins = counted(some, order, window)
    second, second_margins = counted(others, order, window)
    for found, wanted in ((first + second, whole), (whole - second, first)):
        for name in ("key", "both", "support", "weight"):
            assert getattr(found, name).tolist() == getattr(wanted, name).tolist()
    for summed, expected in ((first_margins + second_margins, all_margins), (all_margins - second_margins, first_margins)):
        for field in dataclasses.fields(MarginalCounts):
            assert getattr(summed, field.name).tolist() == getattr(expected, field.name).tolist()


def test_a_user_with_hundreds_of_items_has_a_small_weight() -> None:
    many = 4 * FULL_ITEMS
    world = [[(thing, 0) for thing in range(many)], *([[(0, 0), (1, 0)]] * 30)]
    events = events_of(world, "none")
    moments = EventSequence.of(events, np.arange(many, dtype=np.int32), many, 0, user_weights(events))
    assert moments.weight.tolist() == [UNIT // 4, *([UNIT] * 30)]
    pairs = PairCounts.chained(list(StreamingPairCounter(moments).blocks()))
    at = np.searchsorted(pairs.key, 1)  # from thing 0 to thing 1
    assert (pairs.both[at], pairs.support[at], pairs.weight[at]) == (31, 31, 30 * UNIT + UNIT // 4)


def test_only_the_latest_events_of_a_user_are_counted() -> None:
    events = events_of([[(0, 1), (1, 2), (2, 3), (1, 4)]], "time")
    moments = EventSequence.of(events, np.arange(3, dtype=np.int32), 3, 10, user_weights(events), most=3)
    assert (moments.thing.tolist(), moments.time.tolist()) == ([1, 2, 1], [2, 3, 4])


def test_independent_items_have_lift_1_with_unequal_users() -> None:
    """Users with few and with many things, all drawn without regard to each other: the usual lift says 1.3, this one 1."""
    random = np.random.default_rng(5)
    world = [[(int(thing), 0) for thing in random.choice(40, size=size, replace=False)] for size in [2] * 3000 + [16] * 1000]
    events = events_of(world, "none")
    counting = StreamingPairCounter(EventSequence.of(events, np.arange(40, dtype=np.int32), 40, 0, user_weights(events)))
    pairs = PairCounts.chained(list(counting.blocks()))
    margins, source, target = counting.margins, pairs.key // 40, pairs.key % 40
    confidence = pairs.support / margins.users[0, source]
    usual = confidence / (margins.users[0, target] / len(world))
    ours = confidence / margins.base_rate[0, target]
    assert usual.mean() > 1.25
    assert ours.mean() == pytest.approx(1, abs=0.01)
