"""Sensitivity of the counts of a private result: the change by one user is at most `SENSITIVITY`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.data.errors import QueryError
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.segments import private_counts
from crossaisle.recommend.segments.cohorts import Population
from crossaisle.recommend.segments.probe import Probe
from crossaisle.recommend.segments.query.filters import NO_FILTERS
from crossaisle.recommend.segments.query.grammar import ParsedQuestion
from crossaisle.recommend.segments.query.query_tree import Term
from crossaisle.recommend.segments.resolved_query import ResolvedQuery
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import Events

CATEGORIES, USERS = 12, 4
NAMES = [f"i{n}" for n in range(CATEGORIES)]
TABLE = pl.DataFrame({"item_id": NAMES, "title": NAMES, "category": [[f"c{n}"] for n in range(CATEGORIES)]})
BOUGHT = pl.DataFrame({"user_id": ["u"] * CATEGORIES, "item_id": NAMES, "kind": ["purchase"] * CATEGORIES})
CATALOGUE = Catalogue.build(TABLE, BOUGHT, 1)
TERM = Term("c0")
MASK = np.arange(CATEGORIES) == 0
Event = tuple[int, int, int]
EVENTS = st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(0, CATEGORIES - 1), st.integers(0, 6)), max_size=60)


def exact_counts(rows: list[Event]) -> np.ndarray:
    """The exact counts of a store with these (user, item, time) events; user numbers do not change when a history is emptied."""
    rows = sorted(rows, key=lambda event: (event[0], event[2]))
    user, row, time = (np.asarray([event[i] for event in rows]) for i in range(3))
    ids = pl.Series([f"u{n}" for n in range(USERS)])
    events = Events(user.astype(np.int32), row.astype(np.int32), time.astype(np.int64), "time", ids, "bought")
    population = Population(events, CATALOGUE, 5, np.full(USERS, 1000))
    masks = {TERM: MASK}
    query = ResolvedQuery("c0", ParsedQuestion("next", TERM), {}, masks, NO_FILTERS, population, population.cohort(TERM, masks), 1)
    counts, nodes = private_counts.true_counts(query)
    assert len(counts) == 2 + 2 * len(nodes)
    assert len(nodes) == CATEGORIES - 1
    return counts


@given(EVENTS)
@settings(max_examples=150, deadline=None)
def test_emptying_one_history_changes_the_counts_by_at_most_the_sensitivity(events: list[Event]) -> None:
    counts = exact_counts(events)
    for user in range(USERS):
        assert np.abs(counts - exact_counts([event for event in events if event[0] != user])).sum() <= private_counts.SENSITIVITY


def test_a_user_with_many_categories_reaches_the_sensitivity_and_one_with_few_does_not() -> None:
    busy = [(0, row, row % 3) for row in range(CATEGORIES)]
    light = [(1, 0, 0), (1, 3, 1)]
    assert exact_counts([]).sum() == 0
    assert np.abs(exact_counts(busy)).sum() == private_counts.SENSITIVITY
    # The cohort, the total, c3 among the cohort's categories, and c3 among the store's.
    assert (exact_counts(busy + light) - exact_counts(busy)).sum() == 4
    assert exact_counts(light)[:2].tolist() == [1, 1]


def test_a_reverse_question_is_refused_with_an_epsilon(demo_workspace: Workspace, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shutil.copytree(demo_workspace.path, shop)
    with pytest.raises(QueryError, match="without an epsilon"):
        Probe.open(shop, llm="none").ask("who would need stoves?", epsilon=1.0)
