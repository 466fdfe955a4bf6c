"""Behaviour behind a use, against counts by hand and simulated shoppers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import Events
from crossaisle.retrieval.uses.support import UseCounter, ratio_interval

CATEGORIES = {"tent": "Outdoor", "mat": "Sport", "lamp": "Outdoor", "pan": "Kitchen"}


def counter(histories: dict[str, list[str]], categories: dict[str, str] = CATEGORIES, *, timestamps: bool = True) -> UseCounter:
    items = pl.DataFrame(
        {"item_id": list(categories), "title": list(categories), "category": [[name] for name in categories.values()]},
    )
    rows = [
        (user, item, "purchase", 1_000 * day if timestamps else None)
        for user, history in sorted(histories.items())
        for day, item in enumerate(history)
    ]
    schema = {"user_id": pl.String, "item_id": pl.String, "kind": pl.String, "timestamp": pl.Int64}
    interactions = pl.DataFrame(rows, schema=schema, orient="row")
    catalogue = Catalogue.build(items, interactions, 1)
    return UseCounter(Events.build(interactions, catalogue), catalogue.category)


HISTORIES = {
    "a": ["tent", "pan", "mat"],  # goes on to another category
    "b": ["tent", "lamp"],  # another item, the same category
    "c": ["pan", "mat"],  # the only item of the use is the last
    "d": ["pan"],  # none
}


def test_counts_by_hand() -> None:
    support = counter(HISTORIES).support([0, 1, 2])
    assert (support.users, support.continued) == (3, 1)
    # Of 8 purchases 2 are of the mat and 3 of outdoor items. After the first item of the use a has 2 more, b 1, c none.
    assert support.expected == pytest.approx((1 - (1 - 2 / 8) ** 2) + 2 / 8)
    assert support.lift == pytest.approx(1 / support.expected)
    assert support.low < support.lift < support.high


def test_without_an_order_all_other_items_are_later_ones() -> None:
    support = counter(HISTORIES, timestamps=False).support([0, 1, 2])
    assert support.continued == 1
    assert support.users == 3
    assert support.expected > 0.9  # c has one more item now, before or after


def test_a_use_within_one_category_cannot_be_continued() -> None:
    support = counter(HISTORIES).support([0, 2])
    assert (support.users, support.continued, support.expected, support.high) == (2, 0, 0.0, np.inf)
    assert np.isnan(support.lift)


def test_a_use_without_users() -> None:
    support = counter({"a": ["tent"]}).support([1, 3])
    assert (support.users, support.continued) == (0, 0)


def test_repeated_purchases_count_once() -> None:
    once, twice = (counter({"a": [*["tent"] * n, "mat"], "b": ["pan"]}).support([0, 1]) for n in (1, 2))
    assert once == twice


def simulated(*, planted: bool) -> UseCounter:
    """600 users with 2 to 12 items each; with `planted` half of those with an item of the use add another of its items."""
    random = np.random.default_rng(3)
    categories = {f"i{n}": f"c{n % 6}" for n in range(60)}
    popularity = random.lognormal(0, 0.7, 60)
    histories = {}
    for user in range(600):
        rows = random.choice(60, size=int(random.integers(2, 13)), replace=False, p=popularity / popularity.sum())
        history = [f"i{row}" for row in rows]
        if planted and random.random() < 0.5 and any(row < 6 for row in rows):
            history.append(f"i{int(random.integers(6))}")
        histories[f"u{user:03d}"] = history
    return counter(histories, categories)


def test_independent_shoppers_have_no_lift() -> None:
    support = simulated(planted=False).support(range(6))
    assert support.continued > 30
    assert support.low < 1 < support.high
    assert support.lift == pytest.approx(1, abs=0.2)


def test_shoppers_who_complete_a_use_do() -> None:
    assert simulated(planted=True).support(range(6)).low > 1.2


@pytest.mark.parametrize("count", [0, 1, 7, 60])
def test_the_interval_is_that_of_a_poisson_count(count: int) -> None:
    lift, low, high = ratio_interval(count, 4.0)
    assert lift == count / 4
    assert low == pytest.approx(stats.chi2.ppf(0.025, 2 * count) / 8 if count else 0.0)
    assert high == pytest.approx(stats.chi2.ppf(0.975, 2 * count + 2) / 8)
