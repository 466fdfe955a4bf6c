"""What one user can change in the numbers that noise is added to: never more than is paid for."""

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


def vector(drawn: list[Event]) -> np.ndarray:
    """The true numbers of a store with these events; nobody is renumbered when somebody's are gone."""
    drawn = sorted(drawn, key=lambda event: (event[0], event[2]))
    user, row, time = (np.asarray([event[i] for event in drawn]) for i in range(3))
    ids = pl.Series([f"u{n}" for n in range(USERS)])
    events = Events(user.astype(np.int32), row.astype(np.int32), time.astype(np.int64), "time", ids, "bought")
    population = Population(events, CATALOGUE, 5, np.full(USERS, 1000))
    rows = {TERM: MASK}
    asked = ResolvedQuery("c0", ParsedQuestion("next", TERM), {}, rows, NO_FILTERS, population, population.cohort(TERM, rows), 1)
    counts, nodes = private_counts.true_counts(asked)
    assert len(counts) == 2 + 2 * len(nodes)
    assert len(nodes) == CATEGORIES - 1
    return counts


@given(EVENTS)
@settings(max_examples=150, deadline=None)
def test_emptying_one_history_changes_no_more_than_is_paid_for(drawn: list[Event]) -> None:
    whole = vector(drawn)
    for user in range(USERS):
        assert np.abs(whole - vector([event for event in drawn if event[0] != user])).sum() <= private_counts.SENSITIVITY


def test_a_busy_user_changes_all_that_is_paid_for_and_a_light_one_what_they_did() -> None:
    busy = [(0, row, row % 3) for row in range(CATEGORIES)]
    light = [(1, 0, 0), (1, 3, 1)]
    nobody = vector([])
    assert nobody.sum() == 0
    assert np.abs(vector(busy)).sum() == private_counts.SENSITIVITY
    # In the cohort, in the total, followed by c3, and c3 reached from something.
    assert (vector(busy + light) - vector(busy)).sum() == 4
    assert vector(light)[:2].tolist() == [1, 1]


def test_who_would_need_it_is_not_answered_with_noise(demo_workspace: Workspace, tmp_path: Path) -> None:
    copied = tmp_path / "shop"
    shutil.copytree(demo_workspace.path, copied)
    with pytest.raises(QueryError, match="without an epsilon"):
        Probe.open(copied, llm="none").ask("who would need stoves?", epsilon=1.0)
