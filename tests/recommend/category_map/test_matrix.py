"""The category map: cells equal the mined associations, except those that are suppressed."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from crossaisle.data.errors import SettingsError
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.category_map import matrix
from crossaisle.retrieval.index.builder import load
from crossaisle.retrieval.items.category_tree import SEPARATOR

COLUMNS = {
    "lift": "lift",
    "lift_low": "lift_low",
    "lift_high": "lift_high",
    "support": "support",
    "share": "confidence",
    "base_rate": "base_rate",
}


@pytest.mark.parametrize(("level", "min_users"), [(1, 20), (2, 20), (1, 1)])
def test_cells_are_the_associations_or_suppressed(demo_workspace: Workspace, settings: Settings, level: int, min_users: int) -> None:
    category_map = matrix.build_category_map(demo_workspace, settings, level=level, min_users=min_users)
    names = [SEPARATOR.join(path) for path in category_map.paths]
    assert len(set(names)) == len(names)
    _, _, associations = load(demo_workspace, settings)
    rows = associations.filter((pl.col("level") == "category") & (pl.col("depth") == level))
    row_of = {(row["source"], row["target"]): row for row in rows.iter_rows(named=True)}
    shown = suppressed = 0
    for i, source in enumerate(names):
        for j, target in enumerate(names):
            row = row_of.get((source, target))
            others = [row[name] - row["support"] for name in ("source_users", "target_users")] if row else []
            if row and row["support"] >= min_users and not any(0 < number < min_users for number in others):
                shown += 1
                for attribute, column in COLUMNS.items():
                    assert getattr(category_map, attribute)[i, j] == pytest.approx(row[column], nan_ok=True)
                assert category_map.significant[i, j] == (row["fdr"] <= 0.05)
            else:
                suppressed += bool(row and row["support"])
                assert category_map.support[i, j] == 0
                assert not category_map.significant[i, j]
                assert all(np.isnan(getattr(category_map, name)[i, j]) for name in ("lift", "lift_low", "lift_high", "share", "base_rate"))
    assert shown
    assert category_map.suppressed == suppressed
    assert (category_map.users >= min_users).all()


def test_users_of_a_category_are_distinct_buyers(demo_workspace: Workspace, settings: Settings) -> None:
    category_map = matrix.build_category_map(demo_workspace, settings, level=1)
    items = demo_workspace.table("items").with_columns(pl.col("category").list.first().alias("top")).select("item_id", "top")
    bought = demo_workspace.table("interactions").filter(pl.col("kind") == "purchase").join(items, on="item_id")
    users = dict(bought.group_by("top").agg(pl.col("user_id").n_unique()).iter_rows())
    shown = {path[0]: n for path, n in zip(category_map.paths, category_map.users.tolist(), strict=True)}
    assert shown == {category: n for category, n in users.items() if n >= 20}
    assert (category_map.order, category_map.window, category_map.verb) == ("time", "within 90 days", "bought")


def test_min_users_below_one_is_refused(demo_workspace: Workspace, settings: Settings) -> None:
    with pytest.raises(SettingsError, match="min_users"):
        matrix.build_category_map(demo_workspace, settings, min_users=0)
