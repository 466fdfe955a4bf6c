"""Associations against counting by hand, and against a second implementation."""

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
from crossaisle.retrieval.associations import statistics
from crossaisle.retrieval.associations.rules import Associations, association_table, count_pairs, fisher_p_value
from crossaisle.retrieval.associations.user_weights import user_weights
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import DAY, Events

Path = tuple[str, ...]
History = list[tuple[str, int]]
ITEMS: dict[str, Path] = {
    "tent": ("Outdoors", "Camping"),
    "stove": ("Outdoors", "Kitchen"),
    "pan": ("Home", "Kitchen"),
    "wok": ("Home", "Kitchen", "Woks"),
    "lamp": ("Home",),
    "odd": (),
}
"""An uneven tree, in which two categories have one name."""


def items_table(items: dict[str, Path]) -> pl.DataFrame:
    return pl.DataFrame(
        {"item_id": list(items), "title": list(items), "category": [list(path) for path in items.values()]},
        schema={"item_id": pl.String, "title": pl.String, "category": pl.List(pl.String)},
    )


def events_table(histories: dict[str, History], ordered: bool) -> pl.DataFrame:
    rows = [
        (user, item, "purchase", day * DAY if ordered else None)
        for user in sorted(histories)
        for item, day in sorted(histories[user], key=lambda event: event[1])
    ]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "kind": pl.String, "timestamp": pl.Int64}, orient="row")


def mined(
    histories: dict[str, History],
    items: dict[str, Path] = ITEMS,
    *,
    ordered: bool = True,
    window: int = 90,
    min_support: int = 2,
    per_thing: int = 200,
    level: int = 1,
) -> tuple[pl.DataFrame, Catalogue]:
    interactions = events_table(histories, ordered)
    catalogue = Catalogue.build(items_table(items), interactions, level)
    events = Events.build(interactions, catalogue)
    tallies = count_pairs(events, catalogue, user_weights(events), window=window * DAY, min_support=min_support)
    return association_table(tallies, catalogue.total_users, min_support=min_support, per_thing=per_thing), catalogue


def at_once(histories: dict[str, list[str]]) -> dict[str, History]:
    return {user: [(item, 0) for item in history] for user, history in histories.items()}


def things_of(items: dict[str, Path], depth: int) -> dict[str, str]:
    """Item to what it is at a depth; items without a category are nothing below 0."""
    return {item: " > ".join(path[:depth]) if depth else item for item, path in items.items() if path or not depth}


def by_hand(
    histories: dict[str, History], items: dict[str, Path], depth: int, ordered: bool, window: int, min_support: int
) -> dict[tuple[str, str], dict[str, float]]:
    """(source, target) -> figures, with sets and loops only."""
    from scipy.stats import false_discovery_control, poisson

    thing = things_of(items, depth)
    moments = {user: [(thing[item], day) for item, day in history if item in thing] for user, history in histories.items()}
    having: dict[str, set[str]] = defaultdict(set)
    going: dict[tuple[str, str], set[str]] = defaultdict(set)
    for user, history in moments.items():
        for (source, first), (target, then) in itertools.product(history, history):
            having[source].add(user)
            if source != target and (not ordered or 0 <= then - first <= window):
                going[source, target].add(user)
    pairs_had = sum(len(users) for users in having.values())
    found: dict[tuple[str, str], dict[str, float]] = {}
    for source, target in itertools.permutations(having, 2):
        both, support = len(having[source] & having[target]), len(going[source, target])
        if both < min_support:
            continue
        chances = pairs_had - len(having[target])
        rate = sum(len(going[other, target]) for other in having) / chances
        went = len(set().union(*(going[other, target] for other in having)))
        usual = went / rate if rate else 0.0
        confidence = support / len(having[source])
        found[source, target] = {
            "both": both,
            "support": support,
            "source_users": len(having[source]),
            "target_users": len(having[target]),
            "users": len(histories),
            "confidence": confidence,
            "base_rate": rate,
            "lift": confidence / rate if rate else math.nan,
            "went": went,
            "usual": usual,
            "chance": float(poisson.sf(support - 1, len(having[source]) * rate)) if support else 1.0,
        }
    able = sum(len(users) >= min_support for users in having.values())
    padded = [one["chance"] for one in found.values()] + [1.0] * (able * (able - 1) - len(found))
    for one, rate in zip(found.values(), false_discovery_control(padded) if padded else [], strict=False):
        one["fdr"] = float(rate)
    return found


HISTORIES = st.dictionaries(
    st.sampled_from([f"u{n}" for n in range(9)]),
    st.lists(st.tuples(st.sampled_from(list(ITEMS)), st.integers(0, 12)), min_size=1, max_size=10),
    max_size=9,
)


@given(HISTORIES, st.booleans(), st.integers(0, 14), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_the_table_equals_a_loop_implementation(histories: dict[str, History], ordered: bool, window: int, min_support: int) -> None:
    found, catalogue = mined(histories, ordered=ordered, window=window, min_support=min_support)
    assert set(found["depth"]) <= set(range(catalogue.tree.levels + 1))
    for depth in range(4):
        wanted = by_hand(histories, ITEMS, depth, ordered, window, min_support)
        rows = found.filter(pl.col("depth") == depth)
        assert set(rows["level"]) <= {"category" if depth else "item"}
        assert len(rows) == len(wanted)
        for row in rows.iter_rows(named=True):
            hand = wanted[row["source"], row["target"]]
            for name in ("both", "support", "source_users", "target_users", "users"):
                assert row[name] == hand[name], name
            for name in ("confidence", "base_rate", "lift", "fdr"):
                assert row[name] == pytest.approx(hand[name], abs=1e-9, nan_ok=True), name


@given(HISTORIES, st.booleans(), st.integers(0, 14))
@settings(max_examples=100, deadline=None)
def test_intervals_are_the_roots_of_the_score_test(histories: dict[str, History], ordered: bool, window: int) -> None:
    """Wilson's interval: the shares p for which (share - p)^2 = z^2 p (1 - p) / n."""
    found, _ = mined(histories, ordered=ordered, window=window, min_support=1)
    for row in found.iter_rows(named=True):
        share, slack = row["support"] / row["source_users"], 1.959963984540054**2 / row["source_users"]
        middle, spread = 2 * share + slack, math.sqrt((2 * share + slack) ** 2 - 4 * (1 + slack) * share**2)
        assert row["low"] == pytest.approx((middle - spread) / (2 + 2 * slack), abs=1e-9)
        assert row["high"] == pytest.approx((middle + spread) / (2 + 2 * slack), abs=1e-9)
        assert math.isnan(row["lift"]) == (row["base_rate"] == 0)
        assert math.isnan(row["lift"]) or row["lift_low"] <= row["lift"] <= row["lift_high"]


@given(HISTORIES, st.booleans(), st.integers(0, 14))
@settings(max_examples=100, deadline=None)
def test_log_likelihood_ratio_equals_the_contingency_table(histories: dict[str, History], ordered: bool, window: int) -> None:
    from scipy.stats import chi2_contingency

    found, _ = mined(histories, ordered=ordered, window=window, min_support=1)
    hands = {depth: by_hand(histories, ITEMS, depth, ordered, window, 1) for depth in range(4)}
    for row in found.iter_rows(named=True):
        hand = hands[row["depth"]][row["source"], row["target"]]
        k, n, m, total = hand["support"], hand["source_users"], hand["went"], hand["usual"]
        cells = np.array([[k, n - k], [m - k, total - n - m + k]])
        assert row["llr"] >= 0
        if (cells >= 0).all() and cells.sum(0).all() and cells.sum(1).all():
            wanted = chi2_contingency(cells, lambda_="log-likelihood", correction=False).statistic
            assert row["llr"] == pytest.approx(wanted, abs=1e-6)


def test_baskets_equal_efficient_apriori() -> None:
    from efficient_apriori import apriori

    random = np.random.default_rng(11)
    items: dict[str, Path] = {f"i{n:02d}": () for n in range(15)}
    baskets = {f"u{n:03d}": [f"i{k:02d}" for k in random.choice(15, size=random.integers(1, 7), replace=False)] for n in range(300)}
    found, _ = mined(at_once(baskets), items, ordered=False)
    classic = statistics.lift(found["both"].to_numpy(), found["source_users"].to_numpy(), found["target_users"].to_numpy(), 300)
    ours = {
        (source, target): (support, confidence, lift)
        for source, target, support, confidence, lift in zip(
            found["source"], found["target"], found["support"], found["confidence"], classic.tolist(), strict=True
        )
    }
    _, rules = apriori([tuple(basket) for basket in baskets.values()], min_support=1.9 / 300, min_confidence=1e-9, max_length=2)
    theirs = {(rule.lhs[0], rule.rhs[0]): (rule.count_full, rule.confidence, rule.lift) for rule in rules}
    assert len(theirs) > 100
    assert ours.keys() == theirs.keys()
    for pair, figures_of_pair in theirs.items():
        assert ours[pair] == pytest.approx(figures_of_pair)


@given(HISTORIES, st.lists(st.tuples(st.integers(0, len(ITEMS) - 1), st.floats(0.01, 2)), max_size=5, unique_by=lambda pair: pair[0]))
@settings(max_examples=150, deadline=None)
def test_scores_are_sums_over_the_history(histories: dict[str, History], seeds: list[tuple[int, float]]) -> None:
    found, catalogue = mined(histories, min_support=1)
    truth = by_hand(histories, ITEMS, 0, True, 90, 1)
    scores, strongest = Associations.load(found, catalogue).scores(
        np.array([row for row, _ in seeds], np.int64), np.array([weight for _, weight in seeds])
    )
    names = list(ITEMS)
    for target in range(len(ITEMS)):
        votes, above = [], []
        for row, weight in seeds:
            pair = truth.get((names[row], names[target]), {"both": 0, "source_users": 1, "target_users": 1, "users": 1})
            both, expected = pair["both"], pair["source_users"] * pair["target_users"] / pair["users"]
            votes.append(weight * both / math.sqrt(pair["source_users"]))
            deviance = both * math.log(both / expected) - (both - expected) if both else 0.0
            above.append(math.copysign(deviance, both - expected) if both else -math.inf)
        assert math.isclose(scores[target], sum(votes), abs_tol=1e-12)
        if sum(votes):
            assert math.isclose(above[strongest[target]], max(above), abs_tol=1e-9)
        else:
            assert strongest[target] == -1


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
@settings(deadline=None)  # the first example imports scipy
def test_p_value_equals_fishers_exact_test(both: int, left: int, right: int, neither: int) -> None:
    from scipy.stats import fisher_exact

    if both + left == 0 or both + right == 0:
        return
    pair = Association("item", "a", "b", both, both + left, both + right, both + left + right + neither)
    assert fisher_p_value(pair) == pytest.approx(fisher_exact([[both, left], [right, neither]], alternative="greater").pvalue, abs=1e-9)


def test_known_answer_world() -> None:
    """Ten shoppers: four of the five with a tent buy a stove days later; one buys the stove first, one a lamp half a year later."""
    histories = (
        {f"c{n}": [("tent", 0), ("stove", 5)] for n in range(4)}
        | {"c4": [("stove", 0), ("tent", 5)], "h0": [("stove", 0), ("lamp", 180)]}
        | {f"h{n}": [("lamp", 0)] for n in range(1, 5)}
    )
    found, catalogue = mined(histories)
    rows = {(row["source"], row["target"]): row for row in found.filter(pl.col("level") == "item").iter_rows(named=True)}
    assert rows.keys() == {("tent", "stove"), ("stove", "tent")}, "one shopper is below the least support"
    there, back = rows["tent", "stove"], rows["stove", "tent"]
    assert (there["both"], there["support"], there["source_users"], there["target_users"], there["users"]) == (5, 4, 5, 6, 10)
    assert (back["both"], back["support"], back["source_users"], back["target_users"]) == (5, 1, 6, 5)
    # 16 pairs of a shopper and a thing; 10 of them not the stove, of which 4 led to it; 11 not the tent, of which 1 led to it.
    assert (there["confidence"], there["base_rate"], there["lift"]) == pytest.approx((0.8, 0.4, 2.0))
    assert (back["confidence"], back["base_rate"], back["lift"]) == pytest.approx((1 / 6, 1 / 11, 11 / 6))
    loaded = Associations.load(found, catalogue)
    tent, stove, pan, lamp = (catalogue.row(name) for name in ("tent", "stove", "pan", "lamp"))
    matrix = loaded.items.toarray()
    assert (matrix[tent, stove], matrix[stove, tent], matrix[tent, pan], matrix[stove, lamp]) == (5, 5, 0, 0)
    assert (loaded.users, loaded.source_users[tent], loaded.source_users[stove]) == (10, 5, 6)


def test_categories_are_identified_by_path_at_every_level() -> None:
    """A path that ends early stays where it ends; "Kitchen" outdoors and at home are two."""
    histories = at_once({"a": ["stove", "wok", "lamp"], "b": ["stove", "wok", "lamp"], "c": ["pan", "wok"]})
    found, catalogue = mined(histories, ordered=False, level=2)
    by_depth = {
        depth: {(source, target): both for source, target, both in rows.select("source", "target", "both").iter_rows()}
        for (depth,), rows in found.filter(pl.col("level") == "category").group_by("depth")
    }

    def either_way(pairs: set[tuple[str, str]]) -> dict[tuple[str, str], int]:
        return {pair: 2 for one, other in pairs for pair in ((one, other), (other, one))}

    assert by_depth[1] == either_way({("Home", "Outdoors")})
    assert by_depth[2] == either_way({("Home", "Outdoors > Kitchen"), ("Home > Kitchen", "Outdoors > Kitchen"), ("Home", "Home > Kitchen")})
    assert by_depth[3] == either_way(
        {("Home", "Outdoors > Kitchen"), ("Home > Kitchen > Woks", "Outdoors > Kitchen"), ("Home", "Home > Kitchen > Woks")}
    )
    loaded = Associations.load(found, catalogue)
    at_home, outdoors, home = (int(catalogue.category[catalogue.row(item)]) for item in ("pan", "stove", "lamp"))
    assert catalogue.categories[at_home] == catalogue.categories[outdoors] == "Kitchen"
    matrix = loaded.categories.toarray()
    assert (matrix[at_home, outdoors], matrix[outdoors, at_home], matrix[home, outdoors], matrix[at_home, at_home]) == (2, 2, 2, 0)
    assert (loaded.category_users[at_home], loaded.category_users[outdoors]) == (3, 2)


def test_levels_below_the_tree_are_its_leaves() -> None:
    histories = at_once({"a": ["stove", "wok"], "b": ["stove", "wok"]})
    found, catalogue = mined(histories, ordered=False, level=7)
    matrix = Associations.load(found, catalogue).categories.toarray()
    assert matrix[catalogue.category[catalogue.row("stove")], catalogue.category[catalogue.row("wok")]] == 2


def test_several_items_of_a_category_are_one_user() -> None:
    found, _ = mined(at_once({"a": ["wok", "pan", "tent"], "b": ["pan", "wok", "tent"]}), ordered=False)
    pairs = found.filter((pl.col("depth") == 2) & (pl.col("source") == "Outdoors > Camping"))
    assert pairs.select("target", "support", "target_users").rows() == [("Home > Kitchen", 2, 2)]


def test_items_without_a_category_make_no_category() -> None:
    found, _ = mined(at_once({"a": ["odd", "tent"], "b": ["odd", "tent"]}), ordered=False)
    assert found["level"].to_list() == ["item", "item"]


def test_only_the_strongest_targets_of_a_source_are_kept() -> None:
    random = np.random.default_rng(3)
    items: dict[str, Path] = {f"i{n:02d}": (f"c{n % 4}",) for n in range(30)}
    histories = at_once({f"u{n}": [f"i{k:02d}" for k in random.choice(30, size=8, replace=False)] for n in range(60)})
    whole, _ = mined(histories, items, ordered=False, min_support=1)
    few, _ = mined(histories, items, ordered=False, min_support=1, per_thing=3)
    assert len(few) == 30 * 3 + 4 * 3
    strength = (pl.col("both") / pl.col("target_users").sqrt()).alias("strength")
    for (_, source), rows in few.group_by("depth", "source", maintain_order=True):
        kept = rows.select(strength)["strength"].to_list()
        everyone = whole.filter(pl.col("source") == source).select(strength)["strength"].sort(descending=True).to_list()
        assert kept == pytest.approx(everyone[:3]), "the strongest first"
    # What is cut from the table was tested all the same: it must not make the rest look surer.
    assert few.join(whole, on=few.columns, nulls_equal=True).height == len(few)


def test_no_interactions() -> None:
    found, catalogue = mined({})
    assert found.height == 0
    loaded = Associations.load(found, catalogue)
    scores, strongest = loaded.scores(np.array([0]), np.array([1.0]))
    assert scores.tolist() == [0.0] * len(ITEMS)
    assert strongest.tolist() == [-1] * len(ITEMS)
