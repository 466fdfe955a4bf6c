"""What users count for, in a store with a clique of people who all hold the same many things."""

from __future__ import annotations

import numpy as np
import polars as pl

from crossaisle.retrieval.associations.pair_counts import EventSequence
from crossaisle.retrieval.associations.rules import association_table, count
from crossaisle.retrieval.associations.user_weights import COMMON_ITEM_USERS, FULL_ITEMS, UNIT, user_weights
from crossaisle.retrieval.items.interactions import Events

THINGS, CLIQUE, MANY = 1500, 15, 40
SHARED = range(1000, 1045)
"""What the clique chooses from, and nobody else has."""
TENT, STOVE = 1100, 1101
"""What forty users who have nothing else in common have."""


def events_of(histories: list[np.ndarray]) -> Events:
    user = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    row = np.concatenate(histories)
    users = pl.Series([str(n) for n in range(len(histories))])
    return Events(user.astype(np.int32), row.astype(np.int32), np.zeros(len(row), np.int64), "none", users, "rated")


def some(random: np.random.Generator, size: int) -> np.ndarray:
    return random.choice(1000, size=size, replace=False)


def store(clique: bool = True) -> Events:
    """15 alike, then 60 with as many things of their own choice, then 360 with few things, then 40 of those with a tent and a stove."""
    random = np.random.default_rng(2)
    alike = [random.choice(SHARED, size=MANY, replace=False) if clique else some(random, MANY) for _ in range(CLIQUE)]
    heavy = [some(random, MANY) for _ in range(60)]
    light = [some(random, 5) for _ in range(360)]
    planted = [np.concatenate([some(random, 3), [TENT, STOVE]]) for _ in range(40)]
    return events_of(alike + heavy + light + planted)


def test_similar_users_share_one_weight() -> None:
    weight = user_weights(store())
    assert weight[:CLIQUE].tolist() == [UNIT // CLIQUE] * CLIQUE
    assert weight[CLIQUE:].tolist() == [UNIT] * (len(weight) - CLIQUE)
    assert user_weights(store(clique=False)).tolist() == [UNIT] * len(weight)


def test_users_with_few_items_have_full_weight() -> None:
    same = np.arange(FULL_ITEMS)
    assert user_weights(events_of([same] * 15)).tolist() == [UNIT] * 15


def test_repeated_items_count_once() -> None:
    light = [np.array([n]) for n in range(40)]
    assert user_weights(events_of([np.repeat(np.arange(10), 9), *light]))[0] == UNIT


def test_common_items_make_nobody_similar() -> None:
    random = np.random.default_rng(4)
    popular = np.arange(2000, 2015)
    users = [np.concatenate([popular, some(random, 25)]) for _ in range(COMMON_ITEM_USERS + 1)]
    assert user_weights(events_of(users)).tolist() == [UNIT] * len(users)
    few = user_weights(events_of(users[: COMMON_ITEM_USERS // 2]))
    assert (few < UNIT).all(), "the same things do make half as many alike, or the test says nothing"


def test_no_users() -> None:
    nothing = Events(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64), "none", pl.Series([], dtype=pl.String), "rated")
    assert user_weights(nothing).tolist() == []


def rates(events: Events, weight: np.ndarray) -> dict[tuple[int, int], float]:
    """False-discovery rate by pair."""
    names = [str(n) for n in range(THINGS)]
    moments = EventSequence.of(events, np.arange(THINGS, dtype=np.int32), THINGS, 0, weight)
    found = association_table([count(moments, 0, names)], len(events.users))
    return {(int(source), int(target)): rate for source, target, rate in found.select("source", "target", "fdr").iter_rows()}


def test_a_clique_makes_no_association_and_independent_users_do() -> None:
    events = store()
    by_head = rates(events, np.full(len(events.users), UNIT, dtype=np.int64))
    by_weight = rates(events, user_weights(events))
    clique = [pair for pair in by_head if pair[0] in SHARED and pair[1] in SHARED]
    assert min(by_head[pair] for pair in clique) < 1e-3, "by heads it is the strongest pair there is"
    assert min(by_weight[pair] for pair in clique) > 0.05
    assert by_weight[TENT, STOVE] < 0.05
    assert by_weight[STOVE, TENT] < 0.05
