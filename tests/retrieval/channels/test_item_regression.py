"""The item regression as a channel: the weights of EASE, stored, and loaded over a changed catalogue."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.data.errors import StaleIndexError, TrainingError
from crossaisle.eval.baselines.ease_ials import EASEConfig, EASEScorer
from crossaisle.eval.splits.training_data import TrainingData
from crossaisle.retrieval.channels import item_regression
from crossaisle.retrieval.channels.base import CandidateQuery, ServedItems, TrainingContext
from crossaisle.retrieval.channels.item_regression import ItemRegression, ItemRegressionConfig, regression_weights
from crossaisle.retrieval.items.ragged import RaggedArray
from crossaisle.retrieval.trainable_channels import load_trained_channels

ITEMS = 8
PASTS = st.lists(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=6), min_size=1, max_size=12)
HISTORIES = [[0, 1, 2], [0, 1], [1, 0], [3, 2], [2, 3, 4], [5, 0]]
"""Items 6 and 7 have no users."""
IDS = [f"i{row}" for row in range(ITEMS)]


def query(*rows: int) -> CandidateQuery:
    return CandidateQuery(np.asarray(rows, dtype=np.int64), np.ones(len(rows)), np.empty((0, 0), np.float32))


def view(histories: list[list[int]]) -> Any:
    """What a channel that ignores times and texts needs of a training view."""
    ragged = RaggedArray.of(histories)

    class Catalogue(SimpleNamespace):
        def __len__(self) -> int:
            return ITEMS

    return SimpleNamespace(events=SimpleNamespace(starts=ragged.starts, row=ragged.rows), catalogue=Catalogue(ids=IDS))


def served(ids: list[str]) -> ServedItems:
    return ServedItems(ids, np.zeros((len(ids), 2), np.float32), "later", len(ids))


@given(PASTS, st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=5, unique=True), st.sampled_from([1.0, 20.0]))
def test_scores_equal_those_of_ease(pasts: list[list[int]], history: list[int], penalty: float) -> None:
    histories = RaggedArray.of(pasts)
    training = TrainingData(histories, None, ITEMS, np.zeros(ITEMS, np.int32), np.zeros((ITEMS, 2), np.float32))
    expected = EASEScorer(training, EASEConfig(penalty, ITEMS)).scores(RaggedArray.of([history]))[0]
    config = ItemRegressionConfig(penalty, ITEMS)
    scores, anchors = ItemRegression(regression_weights(histories, ITEMS, config), config).scores(query(*history))
    assert scores == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert (anchors[scores > 1e-6] >= 0).all()


def test_weights_equal_the_solution_of_the_regularized_least_squares_problem() -> None:
    """Each column is the ridge regression of an item on all others, whose own weight is held at 0."""
    weights = regression_weights(RaggedArray.of(HISTORIES), ITEMS, ItemRegressionConfig(penalty=2.0)).toarray()
    owned = np.asarray([[item in history for item in range(ITEMS)] for history in HISTORIES], dtype=float)
    for item in range(6):
        others = [row for row in range(6) if row != item]
        features = owned[:, others]
        expected = np.linalg.solve(features.T @ features + 2 * np.eye(5), features.T @ owned[:, item])
        assert weights[others, item] == pytest.approx(expected, abs=1e-5)
    assert not np.diag(weights).any()
    assert not weights[6:].any()
    assert not weights[:, 6:].any()


def test_items_and_weights_are_cut_to_the_largest() -> None:
    histories = RaggedArray.of(HISTORIES)
    few = regression_weights(histories, ITEMS, ItemRegressionConfig(penalty=2.0, items=3)).toarray()
    assert set(np.flatnonzero(few.any(axis=1)).tolist()) == {0, 1, 2}  # the items with the most users: four, three and three
    full = regression_weights(histories, ITEMS, ItemRegressionConfig(penalty=2.0)).toarray()
    cut = regression_weights(histories, ITEMS, ItemRegressionConfig(penalty=2.0, max_weights=2)).toarray()
    for row in range(6):
        kept = np.flatnonzero(cut[row])
        assert cut[row, kept] == pytest.approx(full[row, kept])
        assert np.sort(np.abs(cut[row, kept]))[-2:] == pytest.approx(np.sort(np.abs(full[row]))[-2:])
        assert np.abs(full[row])[cut[row] == 0].max() < np.abs(cut[row, kept]).min()


def test_a_fitted_channel_survives_storage(tmp_path: Path) -> None:
    config = ItemRegressionConfig(penalty=2.0)
    trials = [{"penalty": 2.0, "ndcg@10": 0.5}]
    context = TrainingContext(about={"snapshot": "s"}, configs={"item_regression": config}, trials={"item_regression": trials})
    fitted = ItemRegression.fit(view(HISTORIES), context)
    assert fitted.metrics == {"tried": trials, "penalty": 2.0}
    fitted.save(tmp_path / "item_regression")
    card = json.loads((tmp_path / "item_regression" / "card.json").read_text("utf-8"))
    assert (card["snapshot"], card["config"]["penalty"], card["figures"]) == ("s", 2.0, fitted.metrics)
    loaded = ItemRegression.load(tmp_path / "item_regression", served(IDS))
    assert len(loaded) == ITEMS
    assert loaded.config == config
    for ours, theirs in zip(loaded.scores(query(0, 3)), fitted.scores(query(0, 3)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_items_may_be_added_and_removed_after_the_training(tmp_path: Path) -> None:
    fitted = ItemRegression.fit(view(HISTORIES), TrainingContext(configs={"item_regression": ItemRegressionConfig(penalty=2.0)}))
    fitted.save(tmp_path / "item_regression")
    changed = ["new", "i3", "i2", "i1", "i0", "newer"]  # i4 to i7 are gone
    loaded = load_trained_channels(tmp_path, served(changed)).require_all()["item_regression"]
    scores, anchors = loaded.scores(query(4, 0))  # i0 and the new item
    before, _ = fitted.scores(query(0))
    assert scores.tolist() == [0, *before[[3, 2, 1, 0]].tolist(), 0]
    assert set(anchors.tolist()) == {0, -1}
    assert (anchors[[0, 5]] == -1).all()
    assert not loaded.scores(query(0, 5))[0].any()


@pytest.mark.parametrize("damage", ["model", "card", "ids", "shape"])
def test_unreadable_files_raise_with_the_remedy(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "item_regression"
    ItemRegression.fit(view(HISTORIES), TrainingContext()).save(folder)
    if damage == "model":
        (folder / item_regression.MODEL).write_bytes(b"cut")
    elif damage == "card":
        (folder / item_regression.CARD).write_text("{}")
    elif damage == "ids":
        (folder / item_regression.ITEM_IDS).unlink()
    else:
        import polars as pl

        pl.DataFrame({"item_id": ["i0"]}).write_parquet(folder / item_regression.ITEM_IDS)
    with pytest.raises(StaleIndexError, match=r"item_regression cannot be read .*; run `crossaisle train"):
        ItemRegression.load(folder, served(IDS))


def test_without_interactions_nothing_is_fitted() -> None:
    with pytest.raises(TrainingError, match="no interactions"):
        ItemRegression.fit(view([]), TrainingContext())
