"""Who a question means and what they did around it, against sets and loops over small worlds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.data.errors import QueryError
from crossaisle.recommend.segments.query.query_tree import And, Not, Or, QueryNode, Term
from crossaisle.retrieval.items.interactions import Order

from ...small_world import EVENTS, MEANS, NAMES, ORDERS, ROWS, USERS, WINDOW, Event, around, population

TREES: st.SearchStrategy[QueryNode] = st.recursive(
    st.sampled_from(list(MEANS)),
    lambda node: st.one_of(
        st.tuples(node, node).map(And), st.tuples(node, node).map(Or), st.tuples(node, node.map(Not)).map(And), node.map(Not)
    ),
    max_leaves=4,
)


def by_hand(node: QueryNode, events: Sequence[Event], user: int, at_least: int, order: str) -> tuple[bool, set[int]]:
    """Whether a user is meant, and the places of the events that put them there."""
    own = {place for place, event in enumerate(events) if event[0] == user}
    if isinstance(node, Term):
        places = {place for place in own if events[place][1] in MEANS[node]}
        return len(places) >= at_least, places
    if isinstance(node, Not):
        return bool(own) and not by_hand(node.operand, events, user, 1, order)[0], set()
    parts = [by_hand(part, events, user, at_least, order) for part in node.operands]
    places = set().union(*(found for _, found in parts))
    if isinstance(node, Or):
        return any(meant for meant, _ in parts), places
    if order != "none":
        for part, (_, found) in zip(node.operands, parts, strict=True):
            if not isinstance(part, Not):
                since = min((events[place][2] for place in found), default=10**9)
                places = {place for place in places if events[place][2] >= since}
    return all(meant for meant, _ in parts), places


def named_in(node: QueryNode) -> set[Term]:
    if isinstance(node, Term):
        return {node}
    return named_in(node.operand) if isinstance(node, Not) else set().union(*(named_in(part) for part in node.operands))


@given(EVENTS, TREES, st.integers(1, 2), ORDERS)
@settings(max_examples=400, deadline=None)
def test_cohorts_are_those_of_sets_and_loops(events: list[Event], tree: QueryNode, at_least: int, order: Order) -> None:
    world = population(events, order)
    rows: Mapping[Term, np.ndarray] = {term: ROWS[term] for term in named_in(tree)}
    cohort = world.cohort(tree, rows, at_least=at_least)
    truth = {user: by_hand(tree, events, user, at_least, order) for user in range(USERS)}
    users = {user for user, (meant, _) in truth.items() if meant}
    anchors = {place for user in users for place in truth[user][1]}
    assert cohort.users.tolist() == sorted(users)
    assert cohort.anchors.tolist() == sorted(anchors)
    named = set().union(*(MEANS[term] for term in rows))
    for way, found in ((1, world.events_after(cohort)), (-1, world.events_before(cohort))):
        ours = sorted(zip(found.user.tolist(), [NAMES[row] for row in found.row], found.gap.tolist(), strict=True))
        assert ours == around(events, users, anchors, named, order, way)


def test_the_window_ends_where_it_says() -> None:
    world = population([(0, "tent", 0), (0, "pan", WINDOW), (0, "lamp", WINDOW + 1)])
    followed = world.events_after(world.cohort(Term("camping"), {Term("camping"): ROWS[Term("camping")]}))
    assert [NAMES[row] for row in followed.row] == ["pan"]


@given(EVENTS, st.integers(0, 9), st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_a_period_is_as_though_nothing_else_had_happened(events: list[Event], since: int, length: int) -> None:
    kept = [event for event in events if since <= event[2] < since + length]
    world = population(events)
    if not kept:
        with pytest.raises(QueryError, match="the data goes from 1970-01-01"):
            world.in_period(since, since + length)
        return
    inside = world.in_period(since, since + length)
    assert inside.user_count == len({event[0] for event in kept})
    cohort = inside.cohort(Term("lamp"), {Term("lamp"): ROWS[Term("lamp")]})
    assert cohort.users.tolist() == sorted({user for user, item, _ in kept if item == "lamp"})


def test_a_store_without_a_clock_has_no_periods() -> None:
    with pytest.raises(QueryError, match="no times"):
        population([(0, "tent", 0)], "position").in_period(0, 5)
