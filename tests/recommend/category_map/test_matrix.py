"""The atlas shows the associations as they were mined, and nothing of what is withheld."""

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


@pytest.mark.parametrize(("level", "least"), [(1, 20), (2, 20), (1, 1)])
def test_cells_are_the_associations_or_nothing(demo_workspace: Workspace, settings: Settings, level: int, least: int) -> None:
    found = matrix.build_category_map(demo_workspace, settings, level=level, min_users=least)
    names = [SEPARATOR.join(path) for path in found.paths]
    assert len(set(names)) == len(names)
    _, _, table = load(demo_workspace, settings)
    rows = table.filter((pl.col("level") == "category") & (pl.col("depth") == level))
    known = {(row["source"], row["target"]): row for row in rows.iter_rows(named=True)}
    shown = withheld = 0
    for i, source in enumerate(names):
        for j, target in enumerate(names):
            row = known.get((source, target))
            rest = [row[name] - row["support"] for name in ("source_users", "target_users")] if row else []
            if row and row["support"] >= least and not any(0 < number < least for number in rest):
                shown += 1
                for ours, theirs in COLUMNS.items():
                    assert getattr(found, ours)[i, j] == pytest.approx(row[theirs], nan_ok=True)
                assert found.significant[i, j] == (row["fdr"] <= 0.05)
            else:
                withheld += bool(row and row["support"])
                assert found.support[i, j] == 0
                assert not found.significant[i, j]
                assert all(np.isnan(getattr(found, name)[i, j]) for name in ("lift", "lift_low", "lift_high", "share", "base_rate"))
    assert shown
    assert found.suppressed == withheld
    assert (found.users >= least).all()


def test_a_category_s_users_are_counted(demo_workspace: Workspace, settings: Settings) -> None:
    found = matrix.build_category_map(demo_workspace, settings, level=1)
    items = demo_workspace.table("items").with_columns(pl.col("category").list.first().alias("top")).select("item_id", "top")
    bought = demo_workspace.table("interactions").filter(pl.col("kind") == "purchase").join(items, on="item_id")
    users = dict(bought.group_by("top").agg(pl.col("user_id").n_unique()).iter_rows())
    assert {path[0]: n for path, n in zip(found.paths, found.users.tolist(), strict=True)} == {k: v for k, v in users.items() if v >= 20}
    assert (found.order, found.window, found.verb) == ("time", "within 90 days", "bought")


def test_a_threshold_below_one_is_refused(demo_workspace: Workspace, settings: Settings) -> None:
    with pytest.raises(SettingsError, match="min_users"):
        matrix.build_category_map(demo_workspace, settings, min_users=0)
