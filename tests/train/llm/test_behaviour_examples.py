"""Behaviour of training questions: without their users, in the space of the factors that serve, and bound to those."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossaisle.data.errors import ModelError, StaleTrainingError
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.ranking.behaviour import BehaviourReader, factorization_id
from crossaisle.recommend.ranking.features import FeatureMatrix
from crossaisle.recommend.ranking.llm_reranker import LLMReranker
from crossaisle.recommend.recommender import Recommender
from crossaisle.train import pipeline
from crossaisle.train.llm import behaviour_examples
from crossaisle.train.llm.behaviour_examples import load_behaviour
from crossaisle.train.llm.ranker_examples import RankerExamples, load_examples
from crossaisle.train.lora.config import FinetuneConfig

QUICK = FinetuneConfig(rank=2, alpha=4, epochs=1, batch=4, lr=1e-3, validate_every=50, prompt=4)


@pytest.fixture(scope="module")
def stored(trained: tuple[Workspace, dict[str, Any]]) -> RankerExamples:
    return load_examples(trained[0].path)


def test_a_blend_stores_the_behaviour_of_its_questions(trained: tuple[Workspace, dict[str, Any]], stored: RankerExamples) -> None:
    behaviour = stored.behaviour
    assert behaviour is not None
    assert behaviour.factors_id == factorization_id(trained[0].path) != ""
    assert len(behaviour.history_factors) == len(stored)
    assert len(behaviour.entry) == len(behaviour.features) == len(stored.rows)
    assert behaviour.inputs.candidate_size == behaviour.item_factors.shape[1] + len(behaviour.feature_names)
    scale = np.abs(behaviour.features.astype(np.float32)).max(axis=0)
    assert (scale > 0).sum() > 10, "features that are all 0 would say nothing"


def test_the_factors_predict_purchases_that_they_were_not_fitted_to(
    trained: tuple[Workspace, dict[str, Any]], stored: RankerExamples, settings: Settings
) -> None:
    """By the product with the factors of their own history better than with those of another; and they are like the factors that serve."""
    behaviour = stored.behaviour
    assert behaviour is not None
    better: dict[str, list[float]] = {"own": [], "other": []}
    for query in range(len(stored)):
        chosen = stored.candidates(query)
        soft = behaviour.soft_inputs(query, chosen, len(stored.histories[query]))
        size, purchased = behaviour.item_factors.shape[1], stored.purchased[chosen]
        if purchased.any() and not purchased.all():
            other = behaviour.history_factors[(query + len(stored) // 2) % len(stored)].astype(np.float32)
            for name, history in (("own", soft.history[:size]), ("other", other)):
                product = soft.candidates[:, :size] @ history
                better[name].append(float((product[purchased][:, None] > product[~purchased]).mean()))
    assert np.mean(better["own"]) > np.mean(better["other"]) + 0.02
    recommender = Recommender.open(trained[0], settings=settings.with_(llm="none"))
    assert recommender.blend_ranker is not None
    reader = BehaviourReader.of_channels(trained[0].path, recommender.blend_ranker.retriever.further)
    assert reader is not None
    served = reader.factorization.items[stored.rows]
    fitted = behaviour.item_factors[behaviour.entry].astype(np.float32)

    def likeness(first: np.ndarray, second: np.ndarray) -> float:
        norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        return float(((first * second).sum(axis=1) / np.maximum(norms, 1e-9)).mean())

    assert likeness(served, fitted) > 0.5
    assert likeness(served, fitted[np.random.default_rng(0).permutation(len(fitted))]) < 0.5 * likeness(served, fitted)


def test_behaviour_of_one_candidate_is_that_of_the_list(stored: RankerExamples) -> None:
    assert stored.behaviour is not None
    chosen = stored.candidates(3)
    whole = stored.soft_inputs(3, chosen, stored.behaviour.inputs)
    single = stored.soft_inputs(3, np.asarray([chosen.start + 1]), stored.behaviour.inputs)
    assert whole is not None
    assert single is not None
    np.testing.assert_array_equal(whole.take([1]).candidates, single.candidates)
    np.testing.assert_array_equal(whole.history, single.history)
    others = dataclasses.replace(stored.behaviour.inputs, factors_id="other")
    assert stored.soft_inputs(3, chosen, others) is None
    assert stored.soft_inputs(3, chosen, None) is None


def test_saved_behaviour_is_loaded_or_rejected(stored: RankerExamples, tmp_path: Path) -> None:
    assert stored.behaviour is not None
    assert load_behaviour(tmp_path) is None, "as in a blend of a former version"
    stored.behaviour.save(tmp_path)
    loaded = load_behaviour(tmp_path)
    assert loaded is not None
    assert loaded.inputs == stored.behaviour.inputs
    for name in ("history_factors", "item_factors", "entry", "features"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(stored.behaviour, name))
    (tmp_path / behaviour_examples.FILE).write_bytes(b"cut")
    with pytest.raises(StaleTrainingError, match="cannot be read"):
        load_behaviour(tmp_path)


@pytest.fixture(scope="module")
def tuned(
    trained: tuple[Workspace, dict[str, Any]], small: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, dict[str, Any]]:
    path = tmp_path_factory.mktemp("behaviour") / "shop"
    shutil.copytree(trained[0].path, path)
    return Workspace(path), pipeline.train_workspace(Workspace(path), small, part="ranker", ranker=QUICK, examples=24, pairs=24)


def margins_of(workspace: Workspace, settings: Settings) -> tuple[LLMReranker, np.ndarray]:
    """The reranker of a store, and its margins of the first shopper's best candidates."""
    from crossaisle.data.records import Query, Rules
    from crossaisle.recommend.constraints.eligibility import eligible_items

    recommender = Recommender.open(workspace, settings=settings)
    assert recommender.blend_ranker is not None
    reranker = recommender._reranker
    assert reranker is not None
    user = next(iter(recommender.histories))
    shopper = recommender.shopper(Query(user, (), None, Rules(), 5))
    mask, _ = eligible_items(Rules(), recommender.catalogue, shopper.rows, shopper.owned)
    query = shopper.profile.candidate_query()
    scored = recommender.blend_ranker.rank(query, shopper.profile, mask)
    features = FeatureMatrix(scored.model.feature_names, scored.features)
    return reranker, reranker.logit_margins(scored.proposals, np.arange(6), query, scored.scores, features)


def test_the_trained_model_reads_behaviour_where_it_serves(
    tuned: tuple[Workspace, dict[str, Any]], small: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = small.with_(llm_weight=0.5)
    reranker, margins = margins_of(tuned[0], settings)
    inputs = reranker.ranker.behaviour_inputs
    assert inputs is not None
    assert inputs.factors_id == factorization_id(tuned[0].path)
    texts_alone = dataclasses.replace(reranker, behaviour=None)
    assert texts_alone.behaviour is None
    answer = Recommender.open(tuned[0], settings=settings).recommend(user_id=next(iter(tuned[0].table("interactions")["user_id"])), k=3)
    assert answer.llm is not None
    assert answer.llm.candidates_read > 0
    # With the factors of another training, the same numbers would mean something else.
    path = tmp_path / "shop"
    shutil.copytree(tuned[0].path, path)
    card = json.loads((path / "adapter" / "card.json").read_text())
    assert card["settings"]["behaviour"]["factors_id"] == inputs.factors_id
    file = path / "factors" / "model.safetensors"
    from safetensors.numpy import load_file, save_file

    arrays = load_file(file)
    save_file({**arrays, "offset": arrays["offset"] + 1e-6}, file)
    with caplog.at_level(logging.WARNING):
        _, plain = margins_of(Workspace(path), settings)
    assert "it reads texts alone" in caplog.text
    assert plain.shape == margins.shape


def test_a_missing_projector_is_an_error_of_one_sentence(tuned: tuple[Workspace, dict[str, Any]], small: Settings, tmp_path: Path) -> None:
    path = tmp_path / "shop"
    shutil.copytree(tuned[0].path, path)
    (path / "adapter" / "projector.safetensors").unlink()
    with pytest.raises(ModelError, match="the projector in .* cannot be loaded"):
        margins_of(Workspace(path), small.with_(llm_weight=0.5))
