"""Behaviour for a text: the items nearest to it stand in for a history, and shown counts are those of the interactions."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

from crossaisle.data import demo
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.recommender import Recommender
from crossaisle.retrieval.channels import text_behaviour
from crossaisle.retrieval.channels.text_behaviour import MIN_USERS, NEAREST_ITEMS, TEMPERATURE, TextBehaviour
from crossaisle.retrieval.index.builder import item_vectors

TEXTS = ("getting a puppy next week", "I just bought a new phone", "winter camping", "first flat", "moving house")


@pytest.fixture(scope="module")
def recommender(demo_workspace: Workspace, settings: Settings) -> Iterator[Recommender]:
    opened = Recommender.open(demo_workspace, settings=settings.with_(llm="none"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def channel(recommender: Recommender) -> TextBehaviour:
    made = recommender.retriever.text_behaviour
    assert made is not None
    return made


def text_vector(recommender: Recommender, text: str) -> np.ndarray:
    return recommender._embedder.encode([text])


@pytest.mark.parametrize("text", TEXTS)
def test_the_nearest_items_with_users_stand_in_for_a_history(recommender: Recommender, channel: TextBehaviour, text: str) -> None:
    vector = text_vector(recommender, text)
    nearest = channel.nearest_items(vector)
    cosines = item_vectors(recommender.index, recommender.catalogue) @ vector[0]
    cosines[recommender.catalogue.users < MIN_USERS] = -1
    expected = np.argsort(-cosines, kind="stable")[:NEAREST_ITEMS]
    np.testing.assert_allclose(cosines[nearest.rows], cosines[expected], atol=1e-4)
    np.testing.assert_allclose(nearest.weights, np.exp((cosines[nearest.rows] - cosines[nearest.rows][0]) / TEMPERATURE), rtol=1e-2)


@pytest.mark.parametrize("text", TEXTS[:3])
def test_scores_are_the_predictions_for_that_history(recommender: Recommender, channel: TextBehaviour, text: str) -> None:
    """Against the normal equations, written out."""
    vector = text_vector(recommender, text)
    nearest, factorization = channel.nearest_items(vector), channel.factorization
    assert factorization is not None
    items, config = factorization.items.astype(np.float64), factorization.config
    confidence = np.maximum(config.confidence * nearest.weights, 1)
    gram = items.T @ items + config.penalty * np.eye(items.shape[1])
    history = items[nearest.rows]
    user = np.linalg.solve(gram + (history * (confidence - 1)[:, None]).T @ history, confidence @ history)
    scores, anchors = channel.scores(vector)
    np.testing.assert_allclose(scores, np.maximum(items @ user, 0), atol=1e-3)
    assert set(anchors.tolist()) <= {-1, *nearest.rows.tolist()}
    assert (anchors[scores > 0] >= 0).all()


def test_without_a_text_or_factors_there_are_no_scores(channel: TextBehaviour, recommender: Recommender) -> None:
    empty = np.empty((0, 384), np.float32)
    assert not channel.scores(empty)[0].any()
    without = TextBehaviour(channel.catalogue, channel.index, lambda: None)
    scores, anchors = without.scores(text_vector(recommender, TEXTS[0]))
    assert not scores.any()
    assert (anchors == -1).all()


def test_needs_of_the_demo_are_met_better_than_by_text_alone(recommender: Recommender) -> None:
    """Share of the first ten items that serve the need which the text names."""
    serves: dict[str, set[str]] = {}
    for record in demo.load_records("needs"):
        serves.setdefault(record["need"], set()).add(record["item_id"])
    retriever, channel = recommender.retriever, recommender.retriever.text_behaviour

    def precision() -> float:
        shares = []
        for need, items in serves.items():
            answer = recommender.recommend(text=f"I need things for {need.replace('_', ' ')}", k=10, explain=False)
            shares.append(np.mean([entry.item.item_id in items for entry in answer]))
        return float(np.mean(shares))

    with_behaviour = precision()
    retriever.text_behaviour = None
    try:
        text_alone = precision()
    finally:
        retriever.text_behaviour = channel
    assert with_behaviour > text_alone + 0.05


def test_counts_in_reasons_are_those_of_the_interactions(recommender: Recommender, demo_workspace: Workspace) -> None:
    """The item near the text is named, since the shopper does not have it."""
    bought: dict[str, set[str]] = {}
    table = demo_workspace.table("interactions").filter(demo_workspace.table("interactions")["kind"] == "purchase")
    for user, item in table.select("user_id", "item_id").iter_rows():
        bought.setdefault(item, set()).add(user)
    checked = 0
    for text in TEXTS:
        for entry in recommender.recommend(text=text, k=10):
            assert entry.explanation is not None
            assert "the first" not in entry.explanation.text
            for evidence in entry.explanation.evidence:
                if evidence.kind != "association" or evidence.item_id is None:
                    continue
                counts = re.match(r"(\d+) of (\d+) shoppers who bought", evidence.text)
                assert counts is not None
                near, own = bought[evidence.item_id], bought[entry.item.item_id]
                assert (int(counts[1]), int(counts[2])) == (len(near & own), len(near))
                checked += 1
    assert checked >= 3


def test_the_channel_is_named_in_the_answer(recommender: Recommender) -> None:
    answer = recommender.recommend(text=TEXTS[0], k=5, explain=False)
    assert any(text_behaviour.NAME in entry.channels for entry in answer)
    user = next(iter(recommender.histories))
    assert not any(text_behaviour.NAME in entry.channels for entry in recommender.recommend(user_id=user, k=5, explain=False))
