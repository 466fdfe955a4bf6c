"""The channel of declared relations, against sums computed by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.data.readers.interaction_tables import empty_table
from crossaisle.retrieval.channels.base import CandidateQuery
from crossaisle.retrieval.channels.declared_relations import DECAY, DeclaredRelationsChannel, relation_channels
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.relations import DeclaredRelations

PHONE, CASE, CHARGER, TENT, LAMP = range(5)
ITEMS = ("phone", "case", "charger", "tent", "lamp")
RELATIONS = (
    ("case", "accessory_of", "phone"),
    ("case", "fits", "phone"),  # the same need again
    ("phone", "needs", "charger"),
    ("lamp", "goes_with", "tent"),
    ("lamp", "needs", "charger"),
    ("tent", "alternative_to", "phone"),
    ("phone", "needs", "not among the items"),
)


def relations(*rows: tuple[str, str, str]) -> DeclaredRelations:
    items = pl.DataFrame({"item_id": ITEMS, "title": ITEMS, "category": [["Things"]] * len(ITEMS)})
    catalogue = Catalogue.build(items, empty_table("interactions"), 1)
    table = pl.DataFrame(rows, schema=dict.fromkeys(("head", "relation", "tail"), pl.String), orient="row")
    return DeclaredRelations(table, catalogue)


@pytest.fixture(scope="module")
def channel() -> DeclaredRelationsChannel:
    return DeclaredRelationsChannel.from_relations(relations(*RELATIONS))


def query(*rows: int, weights: Sequence[float] | None = None) -> CandidateQuery:
    undecayed = None if weights is None else np.asarray(weights)
    return CandidateQuery(np.asarray(rows, dtype=np.int64), np.ones(len(rows)), np.empty((0, 0), np.float32), undecayed)


def test_the_needs_of_a_history_item_score_its_weight(channel: DeclaredRelationsChannel) -> None:
    scores, anchors = channel.scores(query(PHONE))
    assert scores.tolist() == [0, 1, 1, 0, 0]
    assert anchors.tolist() == [-1, 0, 0, -1, -1]
    assert (scores.dtype, anchors.dtype) == (np.float32, np.int64)
    assert channel.scores(query(PHONE, weights=[0.25]))[0].tolist() == [0, 0.25, 0.25, 0, 0]


def test_a_direction_is_followed_only_one_way(channel: DeclaredRelationsChannel) -> None:
    assert channel.scores(query(CASE))[0].tolist() == [0, 0, 0, 0, 0]
    assert channel.scores(query(TENT))[0].tolist() == [0, 0, 0, 0, 1]
    assert channel.scores(query(LAMP))[0].tolist() == [0, 0, 1, 1, 0]


def test_weights_decay_and_sum_over_the_history(channel: DeclaredRelationsChannel) -> None:
    scores, anchors = channel.scores(query(PHONE, CASE, LAMP))
    assert scores == pytest.approx([0, DECAY**2, DECAY**2 + 1, 1, 0])
    assert anchors.tolist() == [-1, 0, 2, 2, -1]


def test_the_anchor_has_the_largest_contribution(channel: DeclaredRelationsChannel) -> None:
    _, anchors = channel.scores(query(PHONE, LAMP, weights=[1.0, 0.5]))
    assert anchors[CHARGER] == 0
    _, anchors = channel.scores(query(PHONE, LAMP, weights=[DECAY, DECAY**2]))
    assert anchors[CHARGER] == 1, "of equal contributions the newest"


def test_an_empty_history_scores_nothing(channel: DeclaredRelationsChannel) -> None:
    scores, anchors = channel.scores(query())
    assert scores.tolist() == [0] * 5
    assert anchors.tolist() == [-1] * 5


@given(st.lists(st.sampled_from(range(5)), unique=True, max_size=5))
def test_an_item_scores_above_0_exactly_if_it_has_an_anchor_that_needs_it(rows: list[int]) -> None:
    needed = {PHONE: {CASE, CHARGER}, LAMP: {CHARGER, TENT}, TENT: {LAMP}, CASE: set(), CHARGER: set()}
    scores, anchors = DeclaredRelationsChannel.from_relations(relations(*RELATIONS)).scores(query(*rows))
    for item in range(5):
        assert (scores[item] > 0) == (anchors[item] >= 0) == any(item in needed[row] for row in rows)
        assert anchors[item] < 0 or item in needed[rows[anchors[item]]]


def test_a_store_without_needs_has_no_channel() -> None:
    assert relation_channels(relations()) == {}
    assert relation_channels(relations(("tent", "similar to", "lamp"))) == {}
    assert set(relation_channels(relations(("tent", "needs", "lamp")))) == {"relations"}
