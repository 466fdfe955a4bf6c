"""What the teacher is asked about: which anchors, candidates and shoppers, and what stays out for measuring."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import sparse

from crossaisle.recommend.ranking.llm_weight import LLM_RERANK_DEPTH
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.train.llm.pair_examples import PairEntities, unseen
from crossaisle.train.llm.ranker import TRAINING_SHARE, calibration_queries, user_uniforms
from crossaisle.train.llm.ranker_examples import RankerExamples
from crossaisle.train.teacher.labels import TeachingMaterial
from crossaisle.train.teacher.questions import (
    CANDIDATES,
    MAX_ROUNDS,
    anchor_questions,
    interleaved,
    list_questions,
    list_text,
    pair_text,
)

from .conftest import SEED


def asked(entities: PairEntities, limit: int = 1000) -> list[tuple[int, list[int]]]:
    questions = anchor_questions(entities, ~unseen(entities, SEED), limit, np.random.default_rng(1))
    return [(question.anchor, question.candidates.tolist()) for question in questions]


def test_items_without_behaviour_are_asked_about(material: TeachingMaterial) -> None:
    entities = material.entity_sets[0]
    cold = dataclasses.replace(entities, users=entities.users * 0, shared_users=entities.shared_users * 0)
    seen = np.flatnonzero(~unseen(entities, SEED))
    questions = asked(cold)
    assert {anchor for anchor, _ in questions} == set(seen.tolist())
    assert len(questions) == MAX_ROUNDS * len(seen)
    for anchor, candidates in questions:
        assert len(set(candidates)) == len(candidates) == CANDIDATES
        assert (entities.category[candidates] != entities.category[anchor]).all()
        assert np.isin(candidates, seen).all()
    assert len({tuple(candidates) for _, candidates in questions}) > 0.99 * len(questions)
    assert asked(entities, 30) == asked(entities)[:30], "a larger budget continues the same questions"


def test_some_candidates_were_bought_with_the_anchor_or_with_items_like_it(material: TeachingMaterial) -> None:
    entities = material.entity_sets[0]
    seen = np.flatnonzero(~unseen(entities, SEED))
    anchor = int(seen[0])
    other = seen[entities.category[seen] != entities.category[anchor]]
    far = other[np.argsort(entities.vectors[other] @ entities.vectors[anchor])[:2]]  # by text they would not be candidates
    shared = sparse.lil_array(entities.shared_users.shape, dtype=np.int64)
    shared[anchor, far[0]] = 5
    like = seen[np.argsort(-(entities.vectors[seen] @ entities.vectors[anchor]))[1]]
    shared[like, far[1]] = 3
    questions = asked(dataclasses.replace(entities, shared_users=shared.tocsr()))
    of_anchor = [set(candidates) for asked_about, candidates in questions if asked_about == anchor]
    assert len(of_anchor) == MAX_ROUNDS
    assert all(set(far.tolist()) <= candidates for candidates in of_anchor)


def test_leaf_categories_and_short_texts(material: TeachingMaterial) -> None:
    items, leaves = material.entity_sets
    assert asked(leaves) == [], "two leaf categories have too few candidates for each other"
    no_text = dataclasses.replace(items, vectors=np.zeros_like(items.vectors))
    assert asked(no_text) == []
    question = anchor_questions(items, ~unseen(items, SEED), 1, np.random.default_rng(1))[0]
    text = pair_text(items, question)
    assert [item.item_id for item in text.history] == [items.items[question.anchor].item_id]
    assert [item.item_id for item in text.candidates] == [items.items[row].item_id for row in question.candidates.tolist()]


def test_lists_are_of_training_users_and_first_of_those_without_a_label(examples: RankerExamples, catalogue: Catalogue) -> None:
    selected = np.random.default_rng(0).random(len(catalogue)) < 0.7
    questions = list_questions(examples, selected, 1000, np.random.default_rng(1), seed=SEED)
    queries = [question.query for question in questions]
    assert len(queries) == len(set(queries)) > 100
    assert (user_uniforms(examples, SEED)[queries] < TRAINING_SHARE).all()
    assert not set(queries) & set(calibration_queries(examples, SEED).tolist())
    labelled = [bool((examples.purchased & (examples.rank < LLM_RERANK_DEPTH))[examples.candidates(query)].any()) for query in queries]
    assert labelled == sorted(labelled)
    assert 0 < sum(labelled) < len(labelled)
    for question in questions:
        assert (examples.query[question.candidates] == question.query).all()
        assert (examples.rank[question.candidates] < LLM_RERANK_DEPTH).all()
        assert selected[examples.rows[question.candidates]].all()
        text = list_text(examples, question, selected, catalogue)
        history = examples.histories[question.query]
        expected = catalogue.records(history[selected[history]].tolist())
        assert text.history == expected
        assert expected
    assert len(list_questions(examples, selected, 7, np.random.default_rng(1), seed=SEED)) == 7


def test_interleaved_sources_have_equal_shares_of_every_prefix() -> None:
    order = interleaved([10, 0, 20])
    assert sorted(order) == [(0, n) for n in range(10)] + [(2, n) for n in range(20)]
    assert [sum(source == 0 for source, _ in order[:length]) for length in (6, 15, 30)] == [2, 5, 10]
