"""Fitting of the learned blend on queries whose right answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from crossaisle.data.errors import TrainingError
from crossaisle.recommend.ranking.learned_blend import BlendModel
from crossaisle.train import blend
from crossaisle.train.blend import Questions, fit, ndcg


def questions(count: int, seed: int = 0, *, crossed: bool = False, candidates: int = 20) -> Questions:
    """One bought of each question's candidates: likeliest by the first feature against noise; `crossed`: by the product of two signs."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(count * candidates, 4)).astype(np.float32)
    pull = 3 * np.sign(values[:, 0] * values[:, 1]) if crossed else 2 * values[:, 0]
    chosen = (pull + draw.gumbel(size=len(pull))).reshape(count, candidates).argmax(axis=1)
    bought = np.zeros((count, candidates), dtype=bool)
    bought[np.arange(count), chosen] = True
    names = ["first:a", "second:a", "third:a", "profile:b"]
    return Questions(names, values, bought.reshape(-1), np.arange(count + 1) * candidates, np.arange(count) // 2)


def test_the_weighted_sum_finds_what_decides() -> None:
    model = fit(questions(600))
    assert model.feature_names[int(np.abs(model.weights).argmax())] == "first:a"
    assert np.abs(model.weights[1:]).max() < 0.2 * model.weights[0]
    fresh = questions(400, seed=1)
    assert ndcg(fresh, model.scores(fresh.values)).mean() > ndcg(fresh, fresh.values[:, 1].astype(float)).mean() + 0.2


def test_the_weights_are_those_that_the_questions_were_drawn_from() -> None:
    asked = questions(2000)
    weights = blend._weights(asked, np.zeros(4), np.ones(4), 1e-9)
    assert weights == pytest.approx([2, 0, 0, 0], abs=0.15)


def test_newton_s_steps_end_where_a_second_method_does() -> None:
    from scipy.optimize import minimize

    asked = questions(150)
    values = asked.values.reshape(150, 20, 4).astype(np.float64)
    chosen = asked.bought.reshape(150, 20)

    def loss(weights: np.ndarray) -> float:
        scores = values @ weights
        return float((np.log(np.exp(scores).sum(axis=1)) - scores[chosen]).mean() + 0.01 * (weights**2).sum())

    theirs = minimize(loss, np.zeros(4)).x
    assert blend._weights(asked, np.zeros(4), np.ones(4), 0.01) == pytest.approx(theirs, abs=2e-3)


def test_what_few_had_is_worth_more() -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(size=(6000, 2)).astype(np.float32)
    values[:, 1] = np.log1p(draw.integers(0, 2, 6000) * 50)
    bought = np.arange(6000) % 20 == 0
    asked = Questions(["first:a", blend.USERS], values, bought, np.arange(301) * 20, np.arange(300))
    rare = values[:, 1] == 0
    assert asked.worth[bought & rare].tolist() == [blend.WORTH] * int((bought & rare).sum())
    assert set(asked.worth[bought & ~rare].tolist()) == {1.0}
    assert not asked.worth[~bought].any()
    # Rare or not was a toss, so a likeliest sum would not care; one to which the rare is worth more does.
    weights = blend._weights(asked, np.zeros(2), np.ones(2), 1e-6)
    odds = np.log((bought & rare).sum() * blend.WORTH / (bought & ~rare).sum()) - np.log(rare.sum() / (~rare).sum())
    assert weights[1] * np.log(51) == pytest.approx(-odds, abs=0.1)
    assert asked.without("profile").worth.max() == 1  # nothing tells any more


def test_trees_are_kept_where_no_sum_can_tell() -> None:
    model = fit(questions(900, crossed=True))
    fresh = questions(300, seed=1, crossed=True)
    floor = BlendModel(model.feature_names, model.mean, model.scale, model.weights)
    assert model.metrics["chosen"] == "trees"
    assert ndcg(fresh, model.scores(fresh.values)).mean() > ndcg(fresh, floor.scores(fresh.values)).mean() + 0.1


def test_the_floor_is_never_left_for_less() -> None:
    for seed in range(3):
        model = fit(questions(300, seed=seed))
        if model.metrics["trees_ndcg@10"] <= model.metrics["weighted_sum_ndcg@10"]:
            assert not model.trees


def test_one_seed_is_one_model() -> None:
    asked = questions(200)
    assert fit(asked, seed=3).to_dict() == fit(asked, seed=3).to_dict()


def test_too_few_answered_questions_are_one_sentence() -> None:
    with pytest.raises(TrainingError, match="50 shoppers bought something .* at least 100 are wanted"):
        fit(questions(50))
    unanswered = questions(300)
    nothing = Questions(unanswered.names, unanswered.values, np.zeros(len(unanswered.bought), bool), unanswered.starts, unanswered.user)
    with pytest.raises(TrainingError, match="0 shoppers"):
        fit(nothing)


def test_thinned_questions_keep_what_was_bought_and_as_much_of_the_rest_as_they_may() -> None:
    draw = np.random.default_rng(0)
    sizes = [10, 600, 400]
    values = draw.normal(size=(sum(sizes), 2)).astype(np.float32)
    bought = np.zeros(len(values), bool)
    bought[[3, 40, 609, 700]] = True
    whole = Questions(["a:share", "a:log share"], values, bought, np.array([0, 10, 610, 1010]), np.arange(3))
    thin = whole.thinned(0)
    assert [int(n) for n in np.diff(thin.starts)] == [10, blend.AGAINST + 2, blend.AGAINST + 1]
    assert thin.bought.sum() == 4
    assert np.array_equal(thin.user, whole.user)
    assert np.array_equal(thin.values, whole.thinned(0).values)
    assert not np.array_equal(thin.values, whole.thinned(1).values)  # by lot, not by score


def test_without_a_channel_its_features_are_gone() -> None:
    left = questions(10).without("first")
    assert left.names == ["second:a", "third:a", "profile:b"]
    assert left.values.shape[1] == 3


def test_ndcg_equals_a_second_implementation() -> None:
    import ir_measures
    from ir_measures import nDCG

    asked = questions(30)
    scores = np.random.default_rng(5).normal(size=len(asked.bought))
    lines = list(zip(asked.owner.tolist(), range(len(scores)), asked.bought.tolist(), scores.tolist(), strict=True))
    judged = [ir_measures.Qrel(str(q), str(c), int(b)) for q, c, b, _ in lines]
    run = [ir_measures.ScoredDoc(str(q), str(c), s) for q, c, _, s in lines]
    theirs = {found.query_id: found.value for found in ir_measures.iter_calc([nDCG @ 10], judged, run)}
    assert ndcg(asked, scores) == pytest.approx([theirs[str(q)] for q in range(len(asked))])
