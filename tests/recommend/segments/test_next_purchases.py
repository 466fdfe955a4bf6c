"""Transition statistics, compared with counts by sets and loops."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.recommend.segments import next_purchases
from crossaisle.recommend.segments.query.query_tree import Term
from crossaisle.retrieval.items.interactions import Order

from ...small_world import EVENTS, ITEMS, MASKS, MEANINGS, NAMES, ORDERS, USERS, WINDOW, Event, nearby_events, population

CAMPING = Term("camping")


def makes_transition(events: list[Event], user: int, source: set[str], target: set[str], order: str) -> bool:
    """Whether a user goes from any item of one set to one of another within the window."""
    own = [(item, time) for other, item, time in events if other == user]
    return any(a in source and b in target and (order == "none" or 0 <= later - time <= WINDOW) for a, time in own for b, later in own)


@given(EVENTS, ORDERS, st.booleans())
@settings(max_examples=250, deadline=None)
def test_transitions_from_a_cohort_equal_those_of_loops(events: list[Event], order: Order, by_item: bool) -> None:
    store = population(events, order)
    cohort = store.cohort(CAMPING, {CAMPING: MASKS[CAMPING]})
    following = store.events_after(cohort)
    paths = store.catalogue.tree.paths
    if by_item:
        stats = next_purchases.next_items(store, cohort, following, np.ones(len(NAMES), bool))
        groups = [{name} for name in NAMES]
    else:
        stats = next_purchases.next_categories(store, cohort, following, 1)
        groups = [{name for name in NAMES if ITEMS[name] == path[0]} for path in paths]
    users = set(cohort.users.tolist())
    expected = nearby_events(events, users, set(cohort.anchors.tolist()), MEANINGS[CAMPING], order, 1)
    pairs = {(user, n) for user, item, _ in events for n, group in enumerate(groups) if item in group}
    for i, n in enumerate(stats.codes.tolist()):
        gaps: dict[int, int] = {}
        for user, item, gap in expected:
            if item in groups[n]:
                gaps[user] = min(gap, gaps.get(user, gap))
        others = [(user, m) for user, m in pairs if m != n]
        transitions = [(user, m) for user, m in others if makes_transition(events, user, groups[m], groups[n], order)]
        assert (stats.users[i], stats.totals[i]) == (len(gaps), len(users))
        assert stats.store_users[i] == len({user for user, m in pairs if m == n})
        assert stats.cohort_users[i] == (len(gaps) if by_item else len({user for user, m in pairs if m == n and user in users}))
        assert stats.baseline_users[i] == len({user for user, _ in transitions})
        assert stats.base_rate[i] == pytest.approx(len(transitions) / max(len(others), 1))
        if gaps:
            assert stats.median_gap[i] == pytest.approx(statistics.median(gaps.values()), abs=1e-5)
        if transitions and users:
            assert stats.lift[i] == pytest.approx(len(gaps) / len(users) / (len(transitions) / len(others)))


@given(EVENTS, ORDERS)
@settings(max_examples=150, deadline=None)
def test_transitions_to_a_cohort_equal_those_of_loops(events: list[Event], order: Order) -> None:
    store = population(events, order)
    cohort = store.cohort(CAMPING, {CAMPING: MASKS[CAMPING]})
    stats = next_purchases.source_categories(store, cohort, 1)
    preceding = nearby_events(events, set(range(USERS)), set(cohort.anchors.tolist()), MEANINGS[CAMPING], order, -1)
    preceding = [event for event in preceding if event[0] in cohort.users]
    for i, n in enumerate(stats.codes.tolist()):
        group = {name for name in NAMES if ITEMS[name] == store.catalogue.tree.paths[n][0]}
        assert stats.users[i] == len({user for user, item, _ in preceding if item in group})
        assert stats.totals[i] == len({user for user, item, _ in events if item in group})
        assert stats.baseline_users[i] == len({user for user, _, _ in preceding})
