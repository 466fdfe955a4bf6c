"""Every figure of a step against a count with sets and loops."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.recommend.segments import next_purchases
from crossaisle.recommend.segments.query.query_tree import Term
from crossaisle.retrieval.items.interactions import Order

from ...small_world import EVENTS, ITEMS, MEANS, NAMES, ORDERS, ROWS, USERS, WINDOW, Event, around, population

CAMPING = Term("camping")


def goes(events: list[Event], user: int, source: set[str], target: set[str], order: str) -> bool:
    """Whether a user went from any item of one set to one of another."""
    own = [(item, time) for who, item, time in events if who == user]
    return any(a in source and b in target and (order == "none" or 0 <= later - time <= WINDOW) for a, time in own for b, later in own)


@given(EVENTS, ORDERS, st.booleans())
@settings(max_examples=250, deadline=None)
def test_forward_steps_are_those_of_loops(events: list[Event], order: Order, by_item: bool) -> None:
    world = population(events, order)
    cohort = world.cohort(CAMPING, {CAMPING: ROWS[CAMPING]})
    followed = world.events_after(cohort)
    paths = world.catalogue.tree.paths
    if by_item:
        step = next_purchases.next_items(world, cohort, followed, np.ones(len(NAMES), bool))
        things = [{name} for name in NAMES]
    else:
        step = next_purchases.next_categories(world, cohort, followed, 1)
        things = [{name for name in NAMES if ITEMS[name] == path[0]} for path in paths]
    users = set(cohort.users.tolist())
    after = around(events, users, set(cohort.anchors.tolist()), MEANS[CAMPING], order, 1)
    had = {(user, n) for user, item, _ in events for n, thing in enumerate(things) if item in thing}
    for at, n in enumerate(step.codes.tolist()):
        gaps: dict[int, int] = {}
        for user, item, gap in after:
            if item in things[n]:
                gaps[user] = min(gap, gaps.get(user, gap))
        others = [(user, m) for user, m in had if m != n]
        ways = [(user, m) for user, m in others if goes(events, user, things[m], things[n], order)]
        assert (step.users[at], step.totals[at]) == (len(gaps), len(users))
        assert step.store_users[at] == len({user for user, m in had if m == n})
        assert step.cohort_users[at] == (len(gaps) if by_item else len({user for user, m in had if m == n and user in users}))
        assert step.baseline_users[at] == len({user for user, _ in ways})
        assert step.base_rate[at] == pytest.approx(len(ways) / max(len(others), 1))
        if gaps:
            assert step.median_gap[at] == pytest.approx(statistics.median(gaps.values()), abs=1e-5)
        if ways and users:
            assert step.lift[at] == pytest.approx(len(gaps) / len(users) / (len(ways) / len(others)))


@given(EVENTS, ORDERS)
@settings(max_examples=150, deadline=None)
def test_backward_steps_are_those_of_loops(events: list[Event], order: Order) -> None:
    world = population(events, order)
    cohort = world.cohort(CAMPING, {CAMPING: ROWS[CAMPING]})
    step = next_purchases.source_categories(world, cohort, 1)
    before = around(events, set(range(USERS)), set(cohort.anchors.tolist()), MEANS[CAMPING], order, -1)
    before = [one for one in before if one[0] in cohort.users]
    for at, n in enumerate(step.codes.tolist()):
        inside = {name for name in NAMES if ITEMS[name] == world.catalogue.tree.paths[n][0]}
        assert step.users[at] == len({user for user, item, _ in before if item in inside})
        assert step.totals[at] == len({user for user, item, _ in events if item in inside})
        assert step.baseline_users[at] == len({user for user, _, _ in before})
