"""The popularity penalty trades relevance against popularity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossaisle.data.errors import QueryError
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.constraints.popularity_penalty import penalized_order
from crossaisle.recommend.recommender import Recommender


def test_zero_keeps_the_score_order_and_one_promotes_items_with_few_users() -> None:
    scores, users = np.array([3.0, 2.0, 1.0, 0.0]), np.array([1000, 0, 1000, 0])
    assert penalized_order(scores, users, 0.0).tolist() == [0, 1, 2, 3]
    # Standardised, the scores are 1.34, .45, -.45, -1.34 and the users 1, -1, 1, -1.
    assert penalized_order(scores, users, 1.0).tolist() == [1, 0, 3, 2]


PAIRS = st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 500)), min_size=1, max_size=30)


@given(PAIRS, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_penalty_never_increases_popularity(pairs: list[tuple[float, int]], first: float, second: float) -> None:
    scores, users = (np.asarray(part, dtype=float) for part in zip(*pairs, strict=True))
    lower, higher = sorted((first, second))
    weight = 1 / (1 + np.arange(len(scores)))  # earlier positions weigh more
    popularity = [float((weight * np.log1p(users)[penalized_order(scores, users, level)]).sum()) for level in (lower, higher)]
    assert popularity[1] <= popularity[0] + 1e-6
    assert sorted(penalized_order(scores, users, first).tolist()) == list(range(len(scores)))


def test_ties_keep_their_order() -> None:
    assert penalized_order(np.ones(3), np.ones(3), 0.5).tolist() == [0, 1, 2]


def test_recommendations_of_an_untrained_store(demo_workspace: Workspace, settings: Settings) -> None:
    shop = Recommender.open(demo_workspace, settings=settings.with_(llm="none"))
    user = next(iter(shop.histories))
    mean_users = [
        float(
            np.mean(
                [
                    shop.catalogue.users[shop.catalogue.row(recommendation.item.item_id)]
                    for recommendation in shop.recommend(user_id=user, k=10, novelty=level, explain=False)
                ]
            )
        )
        for level in (0.0, 1.0)
    ]
    assert mean_users[1] < mean_users[0]
    with pytest.raises(QueryError, match="novelty must be 0 to 1, not 2"):
        shop.recommend(user_id=user, novelty=2)
    with pytest.raises(QueryError, match="novelty must be 0 to 1, not nan"):
        shop.recommend(user_id=user, novelty=float("nan"))
