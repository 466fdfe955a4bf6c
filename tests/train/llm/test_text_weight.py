"""The measured weight of a language model for texts: a model that knows what needs what gets one, another does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from crossaisle.data.errors import TrainingError
from crossaisle.data.records import Item
from crossaisle.data.settings import Settings
from crossaisle.llm.ranking.packs import SoftInputs
from crossaisle.recommend.ranking import text_weight as text_weights
from crossaisle.recommend.ranking.text_weight import load_text_weight, text_weight_file
from crossaisle.train.llm import text_weight
from crossaisle.train.llm.pair_examples import TEXT_QUERIES, PairEntities
from crossaisle.train.llm.text_material import TextMaterial
from crossaisle.train.llm.text_weight import WEIGHTS, AskedPair, auc, measure_text_weight, measured_text_weight, read_pairs

from .test_pair_examples import world

__all__ = ["world"]


class Reader:
    """Scores things by the truth of `world` with a given strength, in noise, and remembers the texts."""

    def __init__(self, strength: float) -> None:
        self.strength, self.rng, self.texts = strength, np.random.default_rng(5), set[str]()

    behaviour_inputs = None

    def scores(
        self,
        history: Sequence[Item],
        need: str | None,
        candidates: Sequence[Item],
        facts: Sequence[str | None] | None = None,
        behaviour: SoftInputs | None = None,
    ) -> NDArray[np.float32]:
        assert behaviour is None
        assert not history
        assert facts is None
        assert need is not None
        self.texts.add(need)
        owned = int(need.rstrip("?").split()[-1])
        needed = np.asarray([abs(int(item.title.split()[-1]) - owned) == 20 for item in candidates])
        return (self.strength * needed + self.rng.normal(0, 1, len(candidates))).astype(np.float32)


def read(world: PairEntities, strength: float, count: int = 300) -> text_weight.ReadPairs:
    rng = np.random.default_rng(2)
    questions = text_weight.pair_questions(world, np.full(len(world.items), True), count, rng, hard=0)
    questions = [questions[n % len(questions)] for n in range(count)]
    return read_pairs([AskedPair(world, question) for question in questions], Reader(strength), rng)


def test_the_auc_is_the_area_under_the_curve() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores = rng.integers(0, 5, 12).astype(float)
        assert auc(scores) == pytest.approx(roc_auc_score([1] + [0] * 11, scores))


def test_a_model_that_knows_what_needs_what_gets_a_weight(world: PairEntities) -> None:
    figures = measured_text_weight(read(world, 3.0), seed=0)
    assert figures["weight"] >= 1
    assert figures["gain"]["low"] > 0.1
    assert figures["auc"]["LLM"] > 0.9
    assert figures["gain"] == figures["gain_over_cosine"]  # without factors, the order is the cosine's
    assert figures["auc"]["with LLM"] == pytest.approx(figures["auc"]["without LLM"] + figures["gain"]["value"], abs=1e-3)


def test_a_model_that_knows_nothing_gets_none(world: PairEntities) -> None:
    """By folds of A: a weight that fits the questions by chance does not help on others."""
    figures = [measured_text_weight(read(world, 0.0), seed=seed) for seed in range(3)]
    assert all(one["gain"]["low"] <= 0 for one in figures)
    assert all(abs(one["auc"]["LLM"] - 0.5) < 0.1 for one in figures)


def test_the_weight_is_chosen_without_the_pairs_it_is_measured_on(world: PairEntities, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever weight is best on a fold, the one of the other folds counts there."""
    pairs = read(world, 1.0)
    owned = np.asarray(pairs.anchors)
    figures = measured_text_weight(pairs, seed=0)
    flipped = [-margins if one == owned[0] else margins for one, margins in zip(pairs.anchors, pairs.margins, strict=True)]
    monkeypatch.setattr(pairs, "margins", flipped)
    assert measured_text_weight(pairs, seed=0)["auc"]["with LLM"] < figures["auc"]["with LLM"]


def test_every_wording_is_read(world: PairEntities) -> None:
    reader, rng = Reader(1.0), np.random.default_rng(2)
    questions = text_weight.pair_questions(world, np.full(len(world.items), True), 12, rng, hard=0) * 6
    read_pairs([AskedPair(world, question) for question in questions], reader, rng)
    assert {next(text for text in TEXT_QUERIES if need.startswith(text.partition("{")[0])) for need in reader.texts} == set(TEXT_QUERIES)


def test_reading_stops_when_the_time_is_up(world: PairEntities) -> None:
    rng = np.random.default_rng(2)
    questions = text_weight.pair_questions(world, np.full(len(world.items), True), 12, rng, hard=0) * 6
    read = read_pairs([AskedPair(world, question) for question in questions], Reader(1.0), rng, seconds=0)
    assert len(read.anchors) == len(read.margins) == text_weight.MIN_QUESTIONS < len(questions)


def test_too_few_pairs(world: PairEntities, tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(TrainingError, match="only 12 pairs are bought together often enough .* it needs 40"):
        measure_text_weight(tmp_path, settings.with_(llm="smollm2"), TextMaterial((world,)), seed=0)
    assert not list(tmp_path.iterdir())


def test_a_model_is_measured_and_the_weight_is_stored(
    world: PairEntities, tmp_path: Path, small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_weight, "MIN_QUESTIONS", 10)
    figures = measure_text_weight(tmp_path, small, TextMaterial((world,)), seed=0)
    assert json.loads(text_weight_file(tmp_path, small).read_text()) == figures
    assert figures["weight"] in WEIGHTS
    assert (figures["pairs"], figures["adapter"], figures["model"]) == (12, False, small.llm)
    assert figures["tokens_per_question"] > 100
    loaded = load_text_weight(tmp_path, small)
    assert loaded == text_weights.TextWeight(figures["weight"], figures["gain"])
