"""Cohorts and the events around their anchors, compared with sets and loops over small stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.data.errors import QueryError
from crossaisle.recommend.segments.query.query_tree import And, Not, Or, QueryNode, Term, terms
from crossaisle.retrieval.items.interactions import Order

from ...small_world import EVENTS, MASKS, MEANINGS, NAMES, ORDERS, USERS, WINDOW, Event, nearby_events, population

TREES: st.SearchStrategy[QueryNode] = st.recursive(
    st.sampled_from(list(MEANINGS)),
    lambda node: st.one_of(
        st.tuples(node, node).map(And), st.tuples(node, node).map(Or), st.tuples(node, node.map(Not)).map(And), node.map(Not)
    ),
    max_leaves=4,
)


def expected_anchors(node: QueryNode, events: Sequence[Event], user: int, at_least: int, order: str) -> tuple[bool, set[int]]:
    """Whether a user matches, and the positions of the events that qualify them."""
    own = {position for position, event in enumerate(events) if event[0] == user}
    if isinstance(node, Term):
        anchors = {position for position in own if events[position][1] in MEANINGS[node]}
        return len(anchors) >= at_least, anchors
    if isinstance(node, Not):
        return bool(own) and not expected_anchors(node.operand, events, user, 1, order)[0], set()
    results = [expected_anchors(operand, events, user, at_least, order) for operand in node.operands]
    anchors = set().union(*(operand_anchors for _, operand_anchors in results))
    if isinstance(node, Or):
        return any(matches for matches, _ in results), anchors
    if order != "none":
        for operand, (_, operand_anchors) in zip(node.operands, results, strict=True):
            if not isinstance(operand, Not):
                since = min((events[position][2] for position in operand_anchors), default=10**9)
                anchors = {position for position in anchors if events[position][2] >= since}
    return all(matches for matches, _ in results), anchors


@given(EVENTS, TREES, st.integers(1, 2), ORDERS)
@settings(max_examples=400, deadline=None)
def test_cohorts_equal_those_of_sets_and_loops(events: list[Event], tree: QueryNode, at_least: int, order: Order) -> None:
    store = population(events, order)
    masks: Mapping[Term, np.ndarray] = {term: MASKS[term] for term in terms(tree)}
    cohort = store.cohort(tree, masks, at_least=at_least)
    expected = {user: expected_anchors(tree, events, user, at_least, order) for user in range(USERS)}
    users = {user for user, (matches, _) in expected.items() if matches}
    anchors = {position for user in users for position in expected[user][1]}
    assert cohort.users.tolist() == sorted(users)
    assert cohort.anchors.tolist() == sorted(anchors)
    named = set().union(*(MEANINGS[term] for term in masks))
    for direction, nearby in ((1, store.events_after(cohort)), (-1, store.events_before(cohort))):
        actual = sorted(zip(nearby.user.tolist(), [NAMES[row] for row in nearby.row], nearby.gap.tolist(), strict=True))
        assert actual == nearby_events(events, users, anchors, named, order, direction)


def test_events_later_than_the_window_do_not_follow() -> None:
    store = population([(0, "tent", 0), (0, "pan", WINDOW), (0, "lamp", WINDOW + 1)])
    following = store.events_after(store.cohort(Term("camping"), {Term("camping"): MASKS[Term("camping")]}))
    assert [NAMES[row] for row in following.row] == ["pan"]


@given(EVENTS, st.integers(0, 9), st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_events_outside_a_period_do_not_count(events: list[Event], since: int, length: int) -> None:
    kept = [event for event in events if since <= event[2] < since + length]
    store = population(events)
    if not kept:
        with pytest.raises(QueryError, match="the data goes from 1970-01-01"):
            store.in_period(since, since + length)
        return
    in_period = store.in_period(since, since + length)
    assert in_period.user_count == len({event[0] for event in kept})
    cohort = in_period.cohort(Term("lamp"), {Term("lamp"): MASKS[Term("lamp")]})
    assert cohort.users.tolist() == sorted({user for user, item, _ in kept if item == "lamp"})


def test_a_period_needs_times() -> None:
    with pytest.raises(QueryError, match="no times"):
        population([(0, "tent", 0)], "position").in_period(0, 5)
