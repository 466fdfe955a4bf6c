"""Exploration: items with few users are shown at times; their propensities are correct and logged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.constraints.exploration import LOG_FILE, thompson_sample
from crossaisle.recommend.recommender import Recommender

VALUES, USERS = np.array([1.0, 0.4, 0.0, 0.0]), np.array([10_000, 10_000, 10_000, 0], dtype=np.int32)


def first_two(order: object) -> list[int]:
    return list(order)[:2]  # type: ignore[call-overload]


def test_only_scores_of_items_with_few_users_vary() -> None:
    answers = [thompson_sample(VALUES, USERS, [10, 11, 12, 13], first_two, seed) for seed in range(100)]
    shown = {row for answer in answers for row in answer.rows}
    assert shown == {10, 11, 13}  # 12 has the same score as 13, but many users
    share = np.mean([13 in answer.rows for answer in answers])
    # 13 is shown when its sample exceeds the second of the certain ones: a normal with the values' deviation above 0.4.
    from scipy.stats import norm

    probability = norm.sf(0.4 / VALUES.std())
    assert share == pytest.approx(probability, abs=0.15)
    propensities = [answer.propensities[answer.rows.index(13)] for answer in answers if 13 in answer.rows]
    assert propensities == pytest.approx([probability] * len(propensities), abs=0.1)


def test_propensities_of_all_candidates_sum_to_the_list_length() -> None:
    first = thompson_sample(VALUES, USERS, [10, 11, 12, 13], first_two, 5)
    assert len(first.rows) == 2
    assert all(0 < p <= 1 for p in first.propensities)
    assert sum(thompson_sample(VALUES, USERS, [10, 11, 12, 13], lambda order: list(order), 5).propensities) == pytest.approx(4)


def test_a_seed_determines_the_list() -> None:
    assert thompson_sample(VALUES, USERS, [1, 2, 3, 4], first_two, 9) == thompson_sample(VALUES, USERS, [1, 2, 3, 4], first_two, 9)
    assert thompson_sample(np.empty(0), np.empty(0, np.int32), [], first_two, 9).rows == []


def test_lists_are_logged_only_with_exploration(demo_workspace: Workspace, settings: Settings, tmp_path: Path) -> None:
    shutil.copytree(demo_workspace.path, tmp_path / "shop")
    shop = Recommender.open(tmp_path / "shop", settings=settings.with_(llm="none"))
    user = next(iter(shop.histories))
    plain = shop.recommend(user_id=user, k=5, explain=False)
    assert all(recommendation.propensity is None for recommendation in plain)
    assert not (tmp_path / "shop" / LOG_FILE).exists()
    for seed in (3, 4):
        shop.recommend(user_id=user, k=5, explore=seed, explain=False)
    lines = [json.loads(line) for line in (tmp_path / "shop" / LOG_FILE).read_text().splitlines()]
    assert [line["seed"] for line in lines] == [3, 4]
    again = shop.recommend(user_id=user, k=5, explore=3, explain=False)
    assert [recommendation.item.item_id for recommendation in again] == [entry["item_id"] for entry in lines[0]["shown"]]
    assert [recommendation.propensity for recommendation in again] == pytest.approx(
        [entry["propensity"] for entry in lines[0]["shown"]], abs=1e-4
    )
