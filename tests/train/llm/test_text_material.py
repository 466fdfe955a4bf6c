"""What a language model is measured on for texts: the shoppers of the pairs are not those of the factors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossaisle.data.settings import Settings
from crossaisle.data.splits import HeldOut
from crossaisle.data.workspace import Workspace
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.retrieval.channels.matrix_factorization import fit_factors
from crossaisle.retrieval.channels.text_behaviour import NearestItems, TextBehaviour
from crossaisle.retrieval.index.builder import item_vectors, load
from crossaisle.retrieval.items.ragged import RaggedArray
from crossaisle.train.llm import text_material
from crossaisle.train.llm.pair_examples import leaf_codes, pair_questions
from crossaisle.train.llm.text_material import TextMaterial
from crossaisle.train.llm.text_weight import auc


@pytest.fixture(scope="module")
def view(demo_workspace: Workspace, settings: Settings) -> TrainingView:
    catalogue, index, _ = load(demo_workspace, settings)
    return TrainingView.from_workspace(demo_workspace, HeldOut(), index, item_vectors(index, catalogue))


@pytest.fixture(scope="module")
def material(view: TrainingView) -> TextMaterial:
    return TextMaterial.build(view.workspace.path, view, 0)


def test_the_factors_are_fitted_to_none_of_the_shoppers_of_the_pairs(view: TrainingView, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[RaggedArray] = []

    def remember(histories: RaggedArray, vectors: np.ndarray, config: object) -> object:
        fitted.append(histories)
        return fit_factors(histories, vectors)

    monkeypatch.setattr(text_material, "fit_factors", remember)
    first, _, second, _ = TextMaterial.build(view.workspace.path, view, 0).entity_sets
    all_users = np.zeros(len(view.catalogue), dtype=np.int64)
    for history in view.training_data.histories:
        all_users[np.unique(history)] += 1
    for histories, items in zip(fitted, (first, second), strict=True):
        users_of_factors = np.zeros(len(view.catalogue), dtype=np.int64)
        for history in histories:
            users_of_factors[np.unique(history)] += 1
        np.testing.assert_array_equal(users_of_factors + items.users, all_users)
    assert 0.4 < first.users.sum() / all_users.sum() < 0.6


def test_what_is_stated_does_not_stand_in_for_its_own_text(
    view: TrainingView, material: TextMaterial, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[NearestItems] = []
    nearest_items = TextBehaviour.nearest_items
    monkeypatch.setattr(TextBehaviour, "nearest_items", lambda *args: found.append(nearest_items(*args)) or found[-1])
    codes, popular = leaf_codes(view.catalogue), int(view.catalogue.users.argmax())
    material.behaviour[0](popular)
    material.behaviour[1](int(codes[popular]))
    assert len(found[0].rows)
    assert popular not in found[0].rows
    assert len(found[1].rows)
    assert codes[popular] not in codes[found[1].rows]


def test_a_leaf_category_has_the_mean_score_of_its_items(
    view: TrainingView, material: TextMaterial, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, of_items = leaf_codes(view.catalogue), np.random.default_rng(0).random(len(view.catalogue)).astype(np.float32)
    monkeypatch.setattr(TextBehaviour, "scores", lambda *_, **__: (of_items, None))
    scores = material.behaviour[1](0)
    np.testing.assert_allclose(scores, [of_items[codes == leaf].mean() for leaf in range(len(material.entity_sets[1].items))], rtol=1e-5)


def test_behaviour_of_other_shoppers_tells_what_is_bought_together(material: TextMaterial) -> None:
    items = material.entity_sets[0]
    questions = pair_questions(items, np.full(len(items.items), True), 60, np.random.default_rng(0), hard=0)
    areas = [auc(material.behaviour[0](question.anchor)[question.candidates]) for question in questions]
    assert np.mean(areas) > 0.6


def test_a_store_without_factors_has_pairs_of_all_shoppers(view: TrainingView, tmp_path: Path) -> None:
    material = TextMaterial.build(tmp_path, view, 0)
    assert material.behaviour == ()
    np.testing.assert_array_equal(material.entity_sets[0].users, view.associations.source_users)
