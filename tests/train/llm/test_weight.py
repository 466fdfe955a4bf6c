"""The measured weight of a language model: on a world whose truth is known, within its time, and on nobody the model was trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crossaisle.data.errors import TrainingError
from crossaisle.data.records import Item
from crossaisle.llm.ranking.packs import SoftInputs
from crossaisle.recommend.ranking.llm_weight import LLMWeight
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.ragged import RaggedArray
from crossaisle.train.llm import question_reading
from crossaisle.train.llm.question_reading import ReadQuestions, read_questions
from crossaisle.train.llm.ranker_examples import RankerExamples
from crossaisle.train.llm.weight import measured_weight, ranking_ndcg, save_weight

CANDIDATES, DEPTH = 30, 20


@pytest.fixture(scope="module")
def examples(catalogue: Catalogue) -> RankerExamples:
    """Six hundred questions of two hundred users; the purchase is anywhere among thirty candidates in the blend's order."""
    rng = np.random.default_rng(2)
    count = 600
    rows = np.concatenate([rng.choice(len(catalogue), CANDIDATES, replace=False) for _ in range(count)]).astype(np.int32)
    scores = np.concatenate([np.sort(rng.normal(0, 1, CANDIDATES))[::-1] for _ in range(count)]).astype(np.float32)
    purchased = np.zeros((count, CANDIDATES), dtype=bool)
    purchased[np.arange(count), np.minimum(rng.exponential(8, count).astype(int), CANDIDATES - 1)] = True
    histories = RaggedArray.of([rng.choice(len(catalogue), 3, replace=False).tolist() for _ in range(count)])
    total = count * CANDIDATES
    return RankerExamples(
        np.arange(count) // 3,
        histories,
        np.arange(count + 1, dtype=np.int64) * CANDIDATES,
        rows,
        scores,
        purchased.reshape(-1),
        np.full((total, 3), [-1, 0, 0], dtype=np.int32),
        np.zeros(total, np.float32),
    )


class Oracle:
    """Reads the truth with a given strength, and counts what it is asked."""

    def __init__(self, examples: RankerExamples, catalogue: Catalogue, strength: float) -> None:
        self.strength, self.rng, self.asked = strength, np.random.default_rng(3), 0
        self.truth = {
            (tuple(examples.histories[q].tolist()), row): bought
            for q in range(len(examples))
            for row, bought in zip(examples.rows[examples.candidates(q)].tolist(), examples.purchased[examples.candidates(q)], strict=True)
        }
        self.catalogue = catalogue

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
        self.asked += 1
        assert need is None
        assert facts is not None
        assert len(facts) == len(candidates) == DEPTH
        key = tuple(self.catalogue.row(item.item_id) for item in history)
        bought = np.asarray([self.truth[key, self.catalogue.row(item.item_id)] for item in candidates], dtype=float)
        return (self.rng.normal(-5, 1, len(candidates)) + self.strength * bought).astype(np.float32)


def read(examples: RankerExamples, catalogue: Catalogue, strength: float, seconds: float = 600.0) -> ReadQuestions:
    questions = examples.informative(DEPTH)
    ranker = Oracle(examples, catalogue, strength)
    return read_questions(examples, questions, catalogue, ranker, prompt_version=2, depth=DEPTH, seconds=seconds)


def test_a_model_that_knows_something_gains_and_one_that_knows_nothing_does_not(examples: RankerExamples, catalogue: Catalogue) -> None:
    informed = measured_weight(read(examples, catalogue, 1.5), depth=DEPTH, seed=0)
    assert informed["gain"]["low"] > 0
    assert informed["weight"]["weight"] > 0.2
    ndcg = informed["ndcg@10"]
    assert ndcg["blend"] + informed["gain"]["value"] == pytest.approx(ndcg["with the LLM"], abs=2e-5)
    assert ndcg["with the LLM"] < ndcg["oracle over the same candidates"]
    assert 0 < informed["smallest_detectable_gain"] < informed["gain"]["value"]
    ignorant = measured_weight(read(examples, catalogue, 0.0), depth=DEPTH, seed=0)
    assert ignorant["gain"]["low"] <= 0
    assert abs(ignorant["gain"]["value"]) < 0.01
    misled = measured_weight(read(examples, catalogue, -1.5), depth=DEPTH, seed=0)
    assert not any([misled["weight"]["weight"], *misled["weight"]["by_feature"].values()])
    assert misled["gain"]["value"] == 0


def test_only_questions_with_a_purchase_in_reach_are_read(examples: RankerExamples) -> None:
    questions = examples.informative(DEPTH)
    first = examples.purchased.reshape(-1, CANDIDATES).argmax(axis=1)
    assert questions.tolist() == np.flatnonzero(first < DEPTH).tolist()
    assert examples.informative(1).tolist() == []  # nothing else is among one candidate


def test_reading_stops_when_the_time_is_up_but_not_before_enough_questions(
    examples: RankerExamples, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question_reading, "MIN_QUESTIONS", 50)
    assert len(read(examples, catalogue, 1.0, seconds=1e-9).scored) == 50
    assert len(read(examples, catalogue, 1.0, seconds=1e9).scored) == len(examples.informative(DEPTH))


def test_the_ndcg_is_that_of_the_served_list(examples: RankerExamples, catalogue: Catalogue) -> None:
    """A second implementation: sort by the served score, and count the purchase's place."""
    result = read(examples, catalogue, 1.0)
    weight = LLMWeight(0.7, (0.2, 0.1, 0.0))
    for query, relevant in list(zip(result.scored, result.relevant.tolist(), strict=True))[:50]:
        margins = query.logit_margins[:DEPTH].astype(float)
        assert np.isnan(query.logit_margins[DEPTH:]).all()
        z = (margins - margins.mean()) / margins.std()
        assert query.gate_features is not None
        each = 0.7 + query.gate_features[:DEPTH] @ [0.2, 0.1, 0.0]
        served = query.scores + np.concatenate([each * z, np.zeros(CANDIDATES - DEPTH)])
        place = int((served > served[query.bought]).sum())
        assert ranking_ndcg(query, weight, relevant) == pytest.approx(1 / np.log2(place + 2) if place < 10 else 0.0)


def test_too_few_questions_raise(examples: RankerExamples, catalogue: Catalogue) -> None:
    few = read_questions(
        examples, examples.informative(DEPTH)[:5], catalogue, Oracle(examples, catalogue, 1.0), prompt_version=2, depth=DEPTH
    )
    with pytest.raises(TrainingError, match="only 5 questions have a purchase among the 20 candidates that the LLM reads"):
        measured_weight(few, depth=DEPTH, seed=0)


def test_the_file_holds_the_figures(tmp_path: Path) -> None:
    save_weight(tmp_path / "blend" / "llm-weights" / "x.json", {"weight": {"weight": 0.5}})
    assert json.loads((tmp_path / "blend" / "llm-weights" / "x.json").read_text()) == {"weight": {"weight": 0.5}}
