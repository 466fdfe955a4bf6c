"""The head that judges how well a sentence justifies a recommendation."""

from __future__ import annotations

import json
from math import exp

import numpy as np
import pytest

from crossaisle.recommend.evidence.justification import JustificationHead, bundled_head, head_for
from crossaisle.retrieval.index.embedder import BUNDLED, Embedder, digest

from ...conftest import ROOT


def test_probabilities_are_those_of_a_logistic_regression() -> None:
    head = JustificationHead("x", np.asarray([2.0, -1.0], dtype=np.float32), -0.5)
    vectors = np.asarray([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    expected = [1 / (1 + exp(-score)) for score in (1.5, -1.5, -0.1)]
    assert head.probabilities(vectors).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_bundled_head_reads_the_bundled_embedder_only() -> None:
    assert head_for(digest(BUNDLED)) is bundled_head()
    assert head_for("another") is None
    assert head_for(None) is None


def test_reasons_are_told_from_remarks(embedder: Embedder) -> None:
    """Sentences written for this test: what somebody uses the thing for or praises, against what happened by the way."""
    good = ["Great for long runs in the rain.", "Perfect for our camping trips and very comfortable.", "Excellent sound and easy to use."]
    remarks = ["It came on a Tuesday.", "My brother lives two streets away.", "Then we went home again."]
    judged = bundled_head().probabilities(embedder.encode([*good, *remarks]))
    assert judged[:3].min() > judged[3:].max()


def test_it_beats_the_cosine_on_labels_by_people() -> None:
    figures = json.loads((ROOT / "benchmarks/results/justification.json").read_text("utf-8"))["figures"]
    assert figures["minus_cosine"]["head"]["low"] > 0.05
