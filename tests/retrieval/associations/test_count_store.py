"""Counting on from kept counts must come to what counting from the start comes to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crossaisle.data.errors import StaleIndexError
from crossaisle.retrieval.associations import count_store
from crossaisle.retrieval.associations.pair_counts import MarginalCounts
from crossaisle.retrieval.associations.rules import CountTable, count_pairs
from crossaisle.retrieval.associations.user_weights import user_weights
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.interactions import DAY, Events

WINDOW = 20 * DAY


def store(items: list[str]) -> pl.DataFrame:
    paths = [[f"aisle {int(name[1:]) % 4}", f"shelf {int(name[1:]) % 9}"] if int(name[1:]) % 11 else [] for name in items]
    return pl.DataFrame(
        {"item_id": items, "title": items, "category": paths},
        schema={"item_id": pl.String, "title": pl.String, "category": pl.List(pl.String)},
    )


def history(rows: list[tuple[str, str, int]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64}, orient="row")
    return frame.with_columns(pl.lit("purchase").alias("kind")).sort("user_id", "timestamp")


def drawn(random: np.random.Generator, users: range, items: list[str], most: int) -> list[tuple[str, str, int]]:
    return [
        (f"u{user:04d}", str(random.choice(items)), int(random.integers(0, 60)) * DAY)
        for user in users
        for _ in range(random.integers(1, most))
    ]


def counted(items: list[str], interactions: pl.DataFrame) -> tuple[list[CountTable], Events, Catalogue, list[str]]:
    catalogue = Catalogue.build(store(items), interactions, 1)
    events = Events.build(interactions, catalogue)
    paths = ["\x1f".join(path) for path in catalogue.items["category"].to_list()]
    return count_pairs(events, catalogue, user_weights(events), window=WINDOW), events, catalogue, paths


def same(found: list[CountTable], wanted: list[CountTable]) -> None:
    assert [one.depth for one in found] == [one.depth for one in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        assert list(ours.names) == list(theirs.names)
        for name in ("key", "both", "support", "weight"):
            assert getattr(ours.pairs, name).tolist() == getattr(theirs.pairs, name).tolist()
        for field in dataclasses.fields(MarginalCounts):
            assert getattr(ours.margins, field.name).tolist() == getattr(theirs.margins, field.name).tolist()


@pytest.mark.parametrize("seed", range(12))
def test_incremental_counts_equal_full_counts(seed: int, tmp_path: Path) -> None:
    """Users come, go, buy more, return something; items come; the order of the files changes."""
    random = np.random.default_rng(seed)
    items = [f"i{n}" for n in range(40)]
    before = drawn(random, range(200), items, 8)
    old, old_events, _, old_paths = counted(items, history(before))
    count_store.save(tmp_path, count_store.CountSnapshot(old, old_events, WINDOW, user_weights(old_events)), old_paths)
    gone = {f"u{n:04d}" for n in random.choice(200, size=4, replace=False)}
    after = [row for i, row in enumerate(before) if row[0] not in gone and i % 97]
    more = [*items, "i40", "i41"]
    after += drawn(random, range(190, 206), more, 12)
    reordered = [more[i] for i in random.permutation(len(more))]
    new, events, catalogue, paths = counted(reordered, history(after))
    found = count_store.recount(tmp_path, events, catalogue, WINDOW, paths)
    assert found is not None
    same(found[0].tables, new)
    assert 0 < found[1] < 60


def test_no_changes_recount_nobody(tmp_path: Path) -> None:
    items = [f"i{n}" for n in range(20)]
    interactions = history(drawn(np.random.default_rng(1), range(50), items, 9))
    tallies, events, catalogue, paths = counted(items, interactions)
    count_store.save(tmp_path, count_store.CountSnapshot(tallies, events, WINDOW, user_weights(events)), paths)
    found = count_store.recount(tmp_path, events, catalogue, WINDOW, paths)
    assert found is not None
    same(found[0].tables, tallies)
    assert found[1] == 0


def test_another_window_order_or_category_needs_a_full_count(tmp_path: Path) -> None:
    items = [f"i{n}" for n in range(20)]
    interactions = history(drawn(np.random.default_rng(2), range(50), items, 9))
    tallies, events, catalogue, paths = counted(items, interactions)
    count_store.save(tmp_path, count_store.CountSnapshot(tallies, events, WINDOW, user_weights(events)), paths)
    assert count_store.recount(tmp_path, events, catalogue, WINDOW + 1, paths) is None
    assert count_store.recount(tmp_path, dataclasses.replace(events, order="none"), catalogue, WINDOW, paths) is None
    assert count_store.recount(tmp_path, events, catalogue, WINDOW, [*paths[:-1], "elsewhere"]) is None
    everybody = history(drawn(np.random.default_rng(3), range(50), items, 9))
    _, others, catalogue, paths = counted(items, everybody)
    assert count_store.recount(tmp_path, others, catalogue, WINDOW, paths) is None


def test_damaged_counts_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(StaleIndexError, match="crossaisle index"):
        count_store.about(tmp_path / "nowhere")
    items = [f"i{n}" for n in range(5)]
    tallies, events, _, paths = counted(items, history(drawn(np.random.default_rng(2), range(9), items, 4)))
    count_store.save(tmp_path, count_store.CountSnapshot(tallies, events, WINDOW, user_weights(events)), paths)
    (tmp_path / "1-margins.parquet").write_bytes(b"nonsense")
    with pytest.raises(StaleIndexError, match="cannot be read"):
        count_store.margins(tmp_path, 1)


def test_marginal_counts_round_trip(tmp_path: Path) -> None:
    items = [f"i{n}" for n in range(20)]
    tallies, events, _, paths = counted(items, history(drawn(np.random.default_rng(4), range(50), items, 9)))
    count_store.save(tmp_path, count_store.CountSnapshot(tallies, events, WINDOW, user_weights(events)), paths)
    for one in tallies:
        back = count_store.margins(tmp_path, one.depth)
        for field in dataclasses.fields(MarginalCounts):
            assert getattr(back, field.name).tolist() == getattr(one.margins, field.name).tolist()
