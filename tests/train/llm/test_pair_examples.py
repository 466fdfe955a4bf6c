"""Pairs of things that shoppers need together: which are pairs, what their negatives are, and what no training pair contains."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import sparse

from crossaisle.data.records import Item
from crossaisle.data.settings import Settings
from crossaisle.data.splits import HeldOut
from crossaisle.data.workspace import Workspace
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.retrieval.index.builder import item_vectors, load
from crossaisle.train.llm import pair_examples
from crossaisle.train.llm.pair_examples import (
    CANDIDATES,
    HARD_NEGATIVES,
    MAX_NEGATIVE_LIFT,
    TEXT_QUERIES,
    PairEntities,
    PairExamples,
    item_entities,
    leaf_category_entities,
    pair_example,
    pair_questions,
    unseen,
)

COUNT, GROUPS = 80, 4


@pytest.fixture(scope="module")
def world() -> PairEntities:
    """Eighty things in four categories: 10 n and 10 n + 20 of the next category are needed together, by twelve of a thousand shoppers."""
    rng = np.random.default_rng(0)
    shared = np.zeros((COUNT, COUNT))
    for owned in range(0, 60, 10):
        shared[owned, owned + 20] = shared[owned + 20, owned] = 12
    shared[0, 41] = shared[41, 0] = 2  # too few shoppers
    shared[1, 42] = shared[42, 1] = 3  # no more than by chance: 55 users of each among a thousand
    shared[4, 43] = shared[43, 4] = 7  # a lift of 2.3, which chance explains among three thousand pairs
    shared[2, 3] = shared[3, 2] = 10  # of one category
    vectors = rng.normal(0, 1, (COUNT, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    items = [Item(f"i{n}", f"thing {n}", (f"group {n * GROUPS // COUNT}",)) for n in range(COUNT)]
    group = (np.arange(COUNT) * GROUPS // COUNT).astype(np.int32)
    return PairEntities(items, group, np.full(COUNT, 55), vectors, sparse.csr_array(shared), 1000)


def test_pairs_are_strong_associations_of_two_categories(world: PairEntities) -> None:
    questions = pair_questions(world, np.full(COUNT, True), 100, np.random.default_rng(1))
    pairs = {(question.anchor, int(question.candidates[0])) for question in questions}
    assert pairs == {pair for owned in range(0, 60, 10) for pair in ((owned, owned + 20), (owned + 20, owned))}
    assert len(pair_questions(world, np.full(COUNT, True), 5, np.random.default_rng(1))) == 5


def test_negatives_are_near_by_text_or_as_popular_and_hardly_ever_bought_together(
    world: PairEntities, monkeypatch: pytest.MonkeyPatch
) -> None:
    for question in pair_questions(world, np.full(COUNT, True), 100, np.random.default_rng(1)):
        negatives = question.candidates[1:]
        assert len(set(question.candidates.tolist())) == CANDIDATES
        assert (world.category[negatives] != world.category[question.anchor]).all()
        lift = world.shared_users[[question.anchor] * (CANDIDATES - 1), negatives] * world.total_users / 55**2
        assert (lift <= MAX_NEGATIVE_LIFT).all()
        cosines = world.vectors @ world.vectors[question.anchor]
        other = np.flatnonzero(world.category != world.category[question.anchor])
        nearest = other[np.argsort(-cosines[other])[: pair_examples.NEAREST + 3]]
        assert np.isin(negatives, nearest).sum() >= HARD_NEGATIVES
    monkeypatch.setattr(pair_examples, "MATCHED", 20)
    popular = dataclasses.replace(world, users=np.where(np.arange(COUNT) % 2, 500, 55))
    for question in pair_questions(popular, np.full(COUNT, True), 100, np.random.default_rng(1), hard=0):
        assert (popular.users[question.candidates[1:]] == 55).all()  # of which there are about thirty


def test_several_positives_of_an_anchor_share_a_question(world: PairEntities) -> None:
    shared = world.shared_users.toarray()
    needed = {0: [20, 41, 62, 45, 66], 30: [50]}
    for anchor, others in needed.items():
        shared[anchor, others] = shared[others, anchor] = 12
    richer = dataclasses.replace(world, shared_users=sparse.csr_array(shared))
    selected = np.isin(np.arange(COUNT), [0, *range(20, 80)])
    questions = [q for q in pair_questions(richer, selected, 100, np.random.default_rng(1), positives=3) if q.anchor == 0]
    assert sorted(question.positives for question in questions) == [2, 3]
    positives = [question.candidates[: question.positives].tolist() for question in questions]
    assert sorted(positives[0] + positives[1]) == sorted(needed[0])
    for question in questions:
        negatives = question.candidates[question.positives :]
        assert len(set(question.candidates.tolist())) == len(question.candidates) == CANDIDATES - 3 + question.positives
        assert not set(negatives.tolist()) & set(needed[0])
        example = pair_example(richer, question, np.random.default_rng(0))
        assert example.target_shares is not None
        assert sum(example.target_shares) == pytest.approx(1)
        assert [share > 0 for share in example.target_shares] == [n < question.positives for n in range(len(question.candidates))]


def test_validation_and_training_have_no_anchor_in_common(world: PairEntities) -> None:
    examples = PairExamples.sample([world], 40, 3)
    training, validation = (
        {(example.need or "").split("thing ")[-1].rstrip("?") or example.history[0].title.split()[-1] for example in part}
        for part in (examples.training, examples.validation)
    )
    assert training
    assert validation
    assert not training & validation


def test_only_selected_things_occur(world: PairEntities) -> None:
    selected = np.arange(COUNT) < 40
    questions = pair_questions(world, selected, 100, np.random.default_rng(1))
    assert {question.anchor for question in questions} == {0, 10, 20, 30}
    assert all((question.candidates < 40).all() for question in questions)


def test_no_training_pair_contains_an_unseen_thing(world: PairEntities) -> None:
    hidden = unseen(world, 3)
    assert 0.1 < hidden.mean() < 0.5
    assert hidden.tolist() == unseen(dataclasses.replace(world, items=list(world.items)), 3).tolist()
    assert hidden.tolist() != unseen(world, 4).tolist()
    examples = PairExamples.sample([world, world], 12, 3)
    assert examples.training
    names = {item.item_id for example in (*examples.training, *examples.validation) for item in (*example.candidates, *example.history)}
    assert not names & {world.items[n].item_id for n in np.flatnonzero(hidden).tolist()}


def test_what_is_owned_is_a_purchase_or_in_a_text(world: PairEntities) -> None:
    question = pair_questions(world, np.full(COUNT, True), 1, np.random.default_rng(1))[0]
    owned = world.items[question.anchor]
    examples = [pair_example(world, question, np.random.default_rng(seed)) for seed in range(60)]
    texts = {example.need for example in examples if example.need}
    assert texts == {text.format(owned.title) for text in TEXT_QUERIES}
    assert 15 < sum(example.need is None for example in examples) < 45
    for example in examples:
        assert list(example.history) == ([] if example.need else [owned])
        assert example.target == 0
        assert example.scores is None
        assert example.facts is None  # a count would say what is needed


@pytest.fixture(scope="module")
def kinds(demo_workspace: Workspace, settings: Settings) -> tuple[PairEntities, PairEntities]:
    catalogue, index, _ = load(demo_workspace, settings)
    vectors = item_vectors(index, catalogue)
    view = TrainingView.from_workspace(demo_workspace, HeldOut(), index, vectors)
    return item_entities(view.catalogue, view.associations, vectors), leaf_category_entities(
        view.catalogue, view.training_data.histories, vectors
    )


def test_leaf_categories_are_counted_by_shopper(kinds: tuple[PairEntities, PairEntities], demo_workspace: Workspace) -> None:
    _, leaves = kinds
    bought: dict[str, set[tuple[str, ...]]] = {}
    category = dict(demo_workspace.table("items").select("item_id", "category").iter_rows())
    for user, item in demo_workspace.table("interactions").select("user_id", "item_id").iter_rows():
        bought.setdefault(user, set()).add(tuple(category[item]))
    path = [tuple(item.item_id.split(" > ")) for item in leaves.items]
    assert leaves.total_users == len(bought)
    for one, other in ((0, 0), (0, 5), (7, 30), (50, 12)):
        expected = sum({path[one], path[other]} <= categories for categories in bought.values())
        assert leaves.shared_users[one, other] == expected
    assert leaves.users.tolist() == [sum(one in categories for categories in bought.values()) for one in path]
    np.testing.assert_allclose(np.linalg.norm(leaves.vectors, axis=1), 1, rtol=1e-4)
    assert leaves.items[0].title == path[0][-1]


def test_the_demo_store_has_pairs_of_items_and_of_categories(kinds: tuple[PairEntities, PairEntities]) -> None:
    examples = PairExamples.sample(kinds, 60, 0)
    assert len(examples.training) == 60
    assert examples.validation
    assert PairExamples.sample(kinds, 0, 0).training == []
