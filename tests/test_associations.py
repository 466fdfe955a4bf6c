"""Associations against counting by hand, and against a count that anyone can read."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossaisle.data.records import Association
from crossaisle.retrieval import associations as module
from crossaisle.retrieval.associations import Associations, chance, mine
from crossaisle.retrieval.catalogue import Catalogue

ITEMS = {"tent": "Camping", "stove": "Kitchen", "pan": "Kitchen", "lamp": "Home", "odd": None}


def items_table(items: dict[str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {"item_id": list(items), "title": list(items), "category": [[name] if name else [] for name in items.values()]},
        schema={"item_id": pl.String, "title": pl.String, "category": pl.List(pl.String)},
    )


def events_table(histories: dict[str, list[str]]) -> pl.DataFrame:
    rows = [(user, item, "purchase") for user in sorted(histories) for item in histories[user]]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "kind": pl.String}, orient="row")


def world(histories: dict[str, list[str]], items: dict[str, str | None] = ITEMS) -> tuple[pl.DataFrame, Catalogue]:
    return events_table(histories), Catalogue.build(items_table(items), events_table(histories), 1)


def by_hand(
    histories: dict[str, list[str]], items: dict[str, str | None], max_items: int, min_support: int
) -> dict[tuple[str, str, str], tuple[int, int, int, int]]:
    """(level, source, target) -> (support, source users, target users, users), with sets and loops only."""
    having: dict[tuple[str, str], set[str]] = defaultdict(set)
    users = 0
    for user, history in histories.items():
        latest = [item for i, item in enumerate(history) if item not in history[i + 1 :]][-max_items:]
        users += bool(latest)
        for item in latest:
            having["item", item].add(user)
        for item in history:
            if items[item]:
                having["category", str(items[item])].add(user)
    found = {}
    for (level, source), (other, target) in itertools.permutations(having, 2):
        both = having[level, source] & having[other, target]
        if level == other and len(both) >= min_support:
            found[level, source, target] = (len(both), len(having[level, source]), len(having[other, target]), users)
    return found


HISTORIES = st.dictionaries(
    st.sampled_from([f"u{n}" for n in range(9)]), st.lists(st.sampled_from(list(ITEMS)), max_size=12), max_size=9
).map(lambda drawn: {user: history for user, history in drawn.items() if history})


@given(HISTORIES, st.integers(1, 5), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_mine_counts_as_by_hand(histories: dict[str, list[str]], max_items: int, min_support: int) -> None:
    events, catalogue = world(histories)
    table = mine(events, catalogue, max_items=max_items, min_support=min_support)
    found = {
        (row["level"], row["source"], row["target"]): (row["support"], row["source_users"], row["target_users"], row["users"])
        for row in table.iter_rows(named=True)
    }
    assert len(found) == table.height
    assert found == by_hand(histories, ITEMS, max_items, min_support)
    for row in table.iter_rows(named=True):
        assert math.isclose(row["confidence"], row["support"] / row["source_users"])
        chance = row["source_users"] / row["users"] * row["target_users"] / row["users"]
        assert math.isclose(row["lift"], row["support"] / row["users"] / chance)
        assert 0 < row["confidence"] <= 1


@given(HISTORIES, st.lists(st.tuples(st.integers(0, len(ITEMS) - 1), st.floats(0.01, 2)), max_size=5, unique_by=lambda pair: pair[0]))
@settings(max_examples=150, deadline=None)
def test_scores_are_the_sum_of_the_votes(histories: dict[str, list[str]], seeds: list[tuple[int, float]]) -> None:
    events, catalogue = world(histories)
    truth = by_hand(histories, ITEMS, 100, 1)
    loaded = Associations.load(mine(events, catalogue, min_support=1), catalogue)
    scores, strongest = loaded.scores(np.array([row for row, _ in seeds], np.int64), np.array([w for _, w in seeds]))
    names = list(ITEMS)
    for target in range(len(ITEMS)):
        votes, above = [], []
        for row, weight in seeds:
            support, had, target_had, users = truth.get(("item", names[row], names[target]), (0, 1, 1, 1))
            votes.append(weight * support / math.sqrt(had))
            expected = had * target_had / users
            deviance = support * math.log(support / expected) - (support - expected) if support else 0.0
            above.append(math.copysign(deviance, support - expected) if support else -math.inf)
        assert math.isclose(scores[target], sum(votes), abs_tol=1e-12)
        if sum(votes):
            assert math.isclose(above[strongest[target]], max(above), abs_tol=1e-9)
        else:
            assert strongest[target] == -1


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
@settings(deadline=None)  # the first example imports scipy
def test_chance_is_fisher_s_exact_test(both: int, left: int, right: int, neither: int) -> None:
    from scipy.stats import fisher_exact

    if both + left == 0 or both + right == 0:
        return
    pair = Association("item", "a", "b", both, both + left, both + right, both + left + right + neither)
    assert chance(pair) == pytest.approx(fisher_exact([[both, left], [right, neither]], alternative="greater").pvalue, abs=1e-9)


def test_a_world_whose_answers_are_known() -> None:
    """Ten shoppers: four of the five with a tent have a stove, one of the other five has one; a pan goes with nothing."""
    histories = (
        {f"c{n}": ["tent", "stove"] for n in range(4)}
        | {"c4": ["tent"], "h0": ["stove", "lamp"]}
        | {f"h{n}": ["lamp"] for n in range(1, 5)}
    )
    events, catalogue = world(histories)
    table = mine(events, catalogue)
    loaded = Associations.load(table, catalogue)
    tent, stove, pan, lamp = (catalogue.row(name) for name in ("tent", "stove", "pan", "lamp"))
    pair = loaded.pair(tent, stove)
    assert pair
    assert (pair.level, pair.source, pair.target, pair.support, pair.source_users, pair.target_users, pair.users) == (
        "item", "tent", "stove", 4, 5, 5, 10,
    )  # fmt: skip
    assert pair.confidence == 0.8
    assert pair.lift == pytest.approx(1.6)
    assert loaded.pair(tent, pan) is None
    assert loaded.pair(lamp, stove) is None, "one shopper is below the least support"
    category = loaded.category_pair(catalogue.categories.index("Camping"), catalogue.categories.index("Kitchen"))
    assert category
    assert (category.support, category.source_users, category.target_users, category.users) == (4, 5, 5, 10)
    assert table.select("level", "source", "target").rows() == [
        ("item", "tent", "stove"), ("item", "stove", "tent"), ("category", "Camping", "Kitchen"), ("category", "Kitchen", "Camping"),
    ]  # fmt: skip


def test_a_heavy_buyer_counts_with_the_latest_items_only() -> None:
    histories = {"a": ["tent", "stove", "pan"], "b": ["tent", "stove", "pan"], "c": ["pan", "tent", "stove", "pan"]}
    events, catalogue = world(histories)
    table = mine(events, catalogue, max_items=2)
    assert {(s, t): n for s, t, n in table.filter(pl.col("level") == "item").select("source", "target", "support").iter_rows()} == {
        ("stove", "pan"): 3, ("pan", "stove"): 3,
    }  # fmt: skip


def test_several_items_of_a_category_are_one_user() -> None:
    events, catalogue = world({"a": ["stove", "pan", "tent"], "b": ["pan", "stove", "tent"]})
    table = mine(events, catalogue).filter((pl.col("level") == "category") & (pl.col("source") == "Camping"))
    assert table.select("target", "support", "target_users").rows() == [("Kitchen", 2, 2)]


def test_items_without_a_category_make_no_category() -> None:
    events, catalogue = world({"a": ["odd", "tent"], "b": ["odd", "tent"]})
    table = mine(events, catalogue)
    assert table["level"].to_list() == ["item", "item"]


def test_an_item_keeps_its_strongest_partners(monkeypatch: pytest.MonkeyPatch) -> None:
    """`PER_ITEM` bounds the table; blocks of any size give the same one."""
    random = np.random.default_rng(3)
    items: dict[str, str | None] = {f"i{n:02d}": f"c{n % 4}" for n in range(30)}
    histories = {f"u{n}": [f"i{k:02d}" for k in random.choice(30, size=8, replace=False)] for n in range(60)}
    events, catalogue = world(histories, items)
    whole = mine(events, catalogue, min_support=1)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert mine(events, catalogue, min_support=1).equals(whole)
    monkeypatch.setattr(module, "PER_ITEM", 3)
    few = mine(events, catalogue, min_support=1).filter(pl.col("level") == "item")
    for source, rows in few.group_by("source"):
        everyone = whole.filter((pl.col("level") == "item") & (pl.col("source") == source[0]))
        strength = pl.col("support") / pl.col("target_users").sqrt()
        assert rows.height == min(3, everyone.height)
        least = rows.select(strength.min()).item()
        assert everyone.filter(strength > least + 1e-12).height <= 3


def test_nobody_bought_anything() -> None:
    events, catalogue = world({})
    table = mine(events, catalogue)
    assert table.height == 0
    loaded = Associations.load(table, catalogue)
    scores, strongest = loaded.scores(np.array([0]), np.array([1.0]))
    assert scores.tolist() == [0.0] * 5
    assert strongest.tolist() == [-1] * 5
    assert loaded.needs(0) == []


def test_needs_are_other_categories_by_lift() -> None:
    items: dict[str, str | None] = {"tent": "Camping", "stove": "Kitchen", "lamp": "Home", "rare": "Rare"}
    histories = (
        {f"a{n}": ["tent", "stove", "lamp"] for n in range(8)}
        | {f"b{n}": ["tent", "lamp"] for n in range(5)}
        | {f"c{n}": ["lamp"] for n in range(8)}
        | {f"d{n}": ["tent", "rare"] for n in range(4)}
    )
    events, catalogue = world(histories, items)
    loaded = Associations.load(mine(events, catalogue), catalogue)
    needs = loaded.needs(catalogue.categories.index("Camping"))
    # Kitchen: 8 of 8 went camping, of 25 in all, one in 44 by chance; Home is no likelier than by chance; Rare has fewer than five users.
    assert [need.target for need in needs] == ["Kitchen"]
    assert needs[0].lift == pytest.approx(8 * 25 / (17 * 8))
