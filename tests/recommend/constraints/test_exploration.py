"""Exploration: what few had comes up now and then, and how likely that was is told truly and logged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.constraints.exploration import LOG, explore
from crossaisle.recommend.recommender import Recommender

VALUES, USERS = np.array([1.0, 0.4, 0.0, 0.0]), np.array([10_000, 10_000, 10_000, 0], dtype=np.int32)


def first_two(order: object) -> list[int]:
    return list(order)[:2]  # type: ignore[call-overload]


def test_only_what_few_had_is_uncertain() -> None:
    answers = [explore(VALUES, USERS, [10, 11, 12, 13], first_two, seed) for seed in range(100)]
    shown = {row for answer in answers for row in answer.top}
    assert shown == {10, 11, 13}  # 12 is as good as 13, but everybody knows it
    share = np.mean([13 in answer.top for answer in answers])
    # 13 is shown when its draw beats the second of the sure ones: a normal of the values' spread above 0.4.
    from scipy.stats import norm

    true = norm.sf(0.4 / VALUES.std())
    assert share == pytest.approx(true, abs=0.15)
    told = [answer.propensity[answer.top.index(13)] for answer in answers if 13 in answer.top]
    assert told == pytest.approx([true] * len(told), abs=0.1)


def test_propensities_of_all_that_may_be_shown_add_up_to_the_length_of_the_list() -> None:
    first = explore(VALUES, USERS, [10, 11, 12, 13], first_two, 5)
    assert len(first.top) == 2
    assert all(0 < p <= 1 for p in first.propensity)
    assert sum(explore(VALUES, USERS, [10, 11, 12, 13], lambda order: list(order), 5).propensity) == pytest.approx(4)


def test_one_seed_is_one_answer() -> None:
    assert explore(VALUES, USERS, [1, 2, 3, 4], first_two, 9) == explore(VALUES, USERS, [1, 2, 3, 4], first_two, 9)
    assert explore(np.empty(0), np.empty(0, np.int32), [], first_two, 9).top == []


def test_answers_are_logged_only_when_they_explore(demo_workspace: Workspace, settings: Settings, tmp_path: Path) -> None:
    shutil.copytree(demo_workspace.path, tmp_path / "shop")
    shop = Recommender.open(tmp_path / "shop", settings=settings.with_(llm="none"))
    user = next(iter(shop.histories))
    plain = shop.recommend(user_id=user, k=5, explain=False)
    assert all(found.propensity is None for found in plain)
    assert not (tmp_path / "shop" / LOG).exists()
    for seed in (3, 4):
        shop.recommend(user_id=user, k=5, explore=seed, explain=False)
    lines = [json.loads(line) for line in (tmp_path / "shop" / LOG).read_text().splitlines()]
    assert [line["seed"] for line in lines] == [3, 4]
    again = shop.recommend(user_id=user, k=5, explore=3, explain=False)
    assert [found.item.item_id for found in again] == [one["item_id"] for one in lines[0]["shown"]]
    assert [found.propensity for found in again] == pytest.approx([one["propensity"] for one in lines[0]["shown"]], abs=1e-4)
