"""Counts quoted in explanations, against set operations."""

from __future__ import annotations

from collections import defaultdict

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.retrieval.associations.item_users import ItemUsers
from crossaisle.retrieval.associations.pair_counts import MAX_EVENTS_PER_USER
from crossaisle.retrieval.associations.rules import count_pairs
from crossaisle.retrieval.associations.user_weights import user_weights
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import Events

CATEGORY = {"tent": "Camping", "stove": "Kitchen", "pan": "Kitchen", "lamp": "Home"}


def tables(histories: dict[str, list[str]], categories: dict[str, str]) -> tuple[pl.DataFrame, Catalogue]:
    rows = [(user, item, "purchase") for user in sorted(histories) for item in histories[user]]
    events = pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "kind": pl.String}, orient="row")
    items = pl.DataFrame({"item_id": list(categories), "title": list(categories), "category": [[name] for name in categories.values()]})
    return events, Catalogue.build(items, events, 1)


@given(st.dictionaries(st.sampled_from("abcdefg"), st.lists(st.sampled_from(list(CATEGORY)), min_size=1, max_size=9), max_size=7))
@settings(max_examples=100, deadline=None)
def test_pair_counts_equal_set_sizes(histories: dict[str, list[str]]) -> None:
    events, catalogue = tables(histories, CATEGORY)
    holders = ItemUsers.build(events, catalogue)
    had: dict[str, set[str]] = defaultdict(set)
    for user, history in histories.items():
        for item in history:
            had[item].add(user)
            had[CATEGORY[item]].add(user)
    names = [*CATEGORY, *catalogue.categories]
    for source in names:
        for target in names:
            if source == target or (source in CATEGORY) != (target in CATEGORY):
                continue
            find = holders.pair if source in CATEGORY else holders.category_pair
            place = catalogue.row if source in CATEGORY else catalogue.categories.index
            pair = find(place(source), place(target))
            both = len(had[source] & had[target])
            assert (pair.support if pair else 0) == both
            if pair:
                assert (pair.source_users, pair.target_users, pair.users) == (len(had[source]), len(had[target]), len(histories))


def test_quoted_counts_include_heavy_buyers() -> None:
    """Ten had a tent, six of them a stove; most bought hundreds of other things since, for which mining forgets the tent."""
    other = {f"thing{n}": "Things" for n in range(MAX_EVENTS_PER_USER + 30)}
    histories = {f"u{n:02d}": ["tent", *(["stove"] if n < 6 else []), *(other if n % 5 else [])] for n in range(10)}
    interactions, catalogue = tables(histories, {**CATEGORY, **other})
    association = ItemUsers.build(interactions, catalogue).pair(catalogue.row("tent"), catalogue.row("stove"))
    assert association
    assert (association.support, association.source_users) == (6, 10)
    events = Events.build(interactions, catalogue)
    mined = count_pairs(events, catalogue, user_weights(events))[0].margins.users[0, catalogue.row("tent")]
    assert mined == 2, "the cap should bind here, or the test says nothing"
