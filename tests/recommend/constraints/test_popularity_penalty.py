"""Novelty trades fit against popularity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.data.errors import QueryError
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.constraints.popularity_penalty import order
from crossaisle.recommend.recommender import Recommender


def test_at_none_the_scores_decide_and_at_one_what_few_have_comes_forward() -> None:
    scores, users = np.array([3.0, 2.0, 1.0, 0.0]), np.array([1000, 0, 1000, 0])
    assert order(scores, users, 0.0).tolist() == [0, 1, 2, 3]
    # Standardised, the scores are 1.34, .45, -.45, -1.34 and the users 1, -1, 1, -1.
    assert order(scores, users, 1.0).tolist() == [1, 0, 3, 2]


PAIRS = st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 500)), min_size=1, max_size=30)


@given(PAIRS, st.floats(0, 1), st.floats(0, 1))
def test_more_novelty_never_shows_more_of_what_many_have(pairs: list[tuple[float, int]], one: float, other: float) -> None:
    scores, users = (np.asarray(part, dtype=float) for part in zip(*pairs, strict=True))
    less, more = sorted((one, other))
    weight = 1 / (1 + np.arange(len(scores)))  # earlier places weigh more
    shown = [float((weight * np.log1p(users)[order(scores, users, level)]).sum()) for level in (less, more)]
    assert shown[1] <= shown[0] + 1e-6
    assert sorted(order(scores, users, one).tolist()) == list(range(len(scores)))


def test_equal_scores_and_equal_users_keep_their_places() -> None:
    assert order(np.ones(3), np.ones(3), 0.5).tolist() == [0, 1, 2]


def test_recommendations_of_a_store_that_was_not_trained(demo_workspace: Workspace, settings: Settings) -> None:
    shop = Recommender.open(demo_workspace, settings=settings.with_(llm="none"))
    user = next(iter(shop.histories))
    had = [
        float(
            np.mean(
                [
                    shop.catalogue.users[shop.catalogue.row(found.item.item_id)]
                    for found in shop.recommend(user_id=user, k=10, novelty=level, explain=False)
                ]
            )
        )
        for level in (0.0, 1.0)
    ]
    assert had[1] < had[0]
    with pytest.raises(QueryError, match="novelty must be 0 to 1, not 2"):
        shop.recommend(user_id=user, novelty=2)
    with pytest.raises(QueryError, match="novelty must be 0 to 1, not nan"):
        shop.recommend(user_id=user, novelty=float("nan"))
