"""Quotations that speak to a topic, chosen by the real embedder among a few reviews."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from crossaisle.recommend.evidence.quotations import MIN_TOPIC_COSINE, Quotations
from crossaisle.retrieval.index.embedder import Embedder

from ...stored_reviews import stored_quotations

BESIDE_THE_TENT = "The gas stove stands well beside our dome tent."
BROKE = "The burner broke after one night beside the dome tent."


@pytest.fixture(scope="module")
def quotations(embedder: Embedder) -> Quotations:
    """Two positive reviews of a stove, and reviews of other items."""
    reviews = [
        ("stove", 5.0, "Boils water for two cups of tea in three minutes."),
        ("stove", 4.0, f"It arrived on time and in one piece. {BESIDE_THE_TENT} The box has a deep and shiny red colour."),
        ("fertilizer", 5.0, "My open-back headphones are fifteen years old."),
        ("burner", 1.0, BROKE),
        ("pleasing burner", 5.0, BROKE),
        ("panned stove", 2.0, BESIDE_THE_TENT),
    ]
    return stored_quotations(embedder.encode, reviews)


def test_the_sentence_that_speaks_to_the_topic_is_quoted(quotations: Quotations, embedder: Embedder) -> None:
    quotation = quotations.praise("stove", "Gas stove", ["Piano lessons", "Dome tent"])
    assert quotation is not None
    assert (quotation.text, quotation.topic) == (BESIDE_THE_TENT, 1)
    sentence, topic = embedder.encode([BESIDE_THE_TENT, "Dome tent"])
    assert quotation.cosine == pytest.approx(float(sentence @ topic), abs=0.02)  # rounding depends on the batch
    assert quotation.cosine >= MIN_TOPIC_COSINE


def test_another_topic_gets_another_review(quotations: Quotations) -> None:
    quotation = quotations.praise("stove", "Gas stove", ["Tea cups"])
    assert quotation is not None
    assert quotation.text == "Boils water for two cups of tea in three minutes."


@pytest.mark.parametrize(("item_id", "topics"), [("stove", ["Piano lessons"]), ("stove", []), ("unknown", ["Dome tent"])])
def test_no_sentence_speaks_to_the_topic(item_id: str, topics: list[str], quotations: Quotations) -> None:
    assert quotations.praise(item_id, "Gas stove", topics) is None


def test_a_sentence_about_another_thing_is_not_quoted(quotations: Quotations) -> None:
    """The same sentence with the same topic: it is about a headphone stand, but not about fertilizer.

    The names are far apart on purpose: a screen protector is electronics as headphones are, close to the threshold of 0.15.
    """
    about_the_item = quotations.praise("fertilizer", "Headphone stand", ["Headphones"])
    assert about_the_item is not None
    assert about_the_item.text == "My open-back headphones are fifteen years old."
    assert quotations.praise("fertilizer", "Rose fertilizer", ["Headphones"]) is None


def test_the_first_of_equally_close_topics_wins() -> None:
    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.asarray([(0, 1) if text == "Piano" else (1, 0) for text in texts], dtype=np.float32)

    quotation = stored_quotations(encode, [("stove", 5.0, BESIDE_THE_TENT)]).praise("stove", "Gas stove", ["Piano", "Tent", "Dome tent"])
    assert quotation is not None
    assert (quotation.topic, quotation.cosine) == (1, 1.0)


def test_a_complaint_is_from_a_negative_review(quotations: Quotations) -> None:
    complaint = quotations.complaint("burner", "Dome tent")
    assert complaint is not None
    assert complaint.text == BROKE
    assert quotations.complaint("pleasing burner", "Dome tent") is None
    assert quotations.complaint("burner", "Piano lessons") is None


def test_praise_is_from_a_positive_review(quotations: Quotations) -> None:
    assert quotations.praise("panned stove", "Gas stove", ["Dome tent"]) is None
    assert quotations.praise("pleasing burner", "Gas burner", ["Dome tent"]) is None, "a complaint in a positive review"


def test_vectors_are_cached_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossaisle.recommend.evidence.quotations.MAX_CACHED_VECTORS", 3)
    encoded: list[list[str]] = []

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        encoded.append(list(texts))
        return np.asarray([(ord(text), 1) for text in texts], dtype=np.float32)

    quotations = stored_quotations(encode)
    for texts, new in [("aba", ["a", "b"]), ("ba", None), ("bc", ["c"]), ("d", ["d"]), ("efd", ["e", "f"]), ("dg", ["g"])]:
        encoded.clear()
        vectors = quotations.vectors(list(texts))
        assert vectors[:, 0].tolist() == [ord(text) for text in texts]
        assert encoded == ([new] if new else [])
        assert len(quotations._vectors) <= 3
