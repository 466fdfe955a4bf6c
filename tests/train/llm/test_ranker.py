"""Training of the LLM ranker: its examples, and interrupted runs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossaisle.data.errors import NotTrainedError, StaleTrainingError, TrainingError
from crossaisle.data.settings import Settings
from crossaisle.recommend.ranking import learned_blend
from crossaisle.recommend.ranking.candidate_facts import RANK_WORDS, fact_sentences
from crossaisle.retrieval.channels.base import Progress, TrainingContext
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.train import blend
from crossaisle.train.llm import ranker as llm_ranker
from crossaisle.train.llm import ranker_examples
from crossaisle.train.llm.list_examples import list_example
from crossaisle.train.llm.pair_examples import PairExamples
from crossaisle.train.llm.prompt_facts import prompt_facts
from crossaisle.train.llm.ranker import ExampleSplit, calibration_queries, train_llm_ranker, training_users
from crossaisle.train.llm.ranker_examples import RankerExamples
from crossaisle.train.lora.config import FinetuneConfig
from crossaisle.train.out_of_fold import OutOfFoldQueries

QUICK = FinetuneConfig(rank=2, alpha=4, epochs=1, batch=4, lr=1e-3, validate_every=50, checkpoint_every=2)
ABOUT = {"snapshot": "s1", "held_out": None}


def test_examples_hold_the_best_candidates_and_the_purchases(queries: OutOfFoldQueries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranker_examples, "TOP_CANDIDATES", 30)
    examples = RankerExamples.from_queries(queries, blend.fit_blend(queries.dataset, seed=0), TrainingContext())
    assert len(examples) == len(queries.dataset)
    assert int(examples.purchased.sum()) == int(queries.dataset.purchased.sum())
    purchases_first = 0
    for query in range(len(examples)):
        kept, all_candidates = examples.candidates(query), slice(*queries.dataset.starts[query : query + 2])
        scores, rows = examples.scores[kept], examples.rows[kept]
        purchased = examples.purchased[kept]
        assert (np.diff(scores) <= 0).all()
        assert len(set(rows.tolist())) == len(rows)
        assert set(rows.tolist()) <= set(queries.rows[all_candidates].tolist())
        assert examples.histories[query].tolist() == queries.histories[query].tolist()
        assert int((~purchased).sum()) in (29, 30)
        purchases_first += bool(purchased[0])
        for row, counts in zip(rows.tolist(), examples.pair_counts[kept].tolist(), strict=True):
            assert counts == queries.pair_counts[all_candidates][queries.rows[all_candidates] == row][0].tolist()
    assert purchases_first > 60  # the blend has learned the decisive feature


def test_scores_are_out_of_fold(queries: OutOfFoldQueries) -> None:
    """A feature that reveals the purchases of one fold does not affect the scores of that fold."""
    dataset, context = queries.dataset, TrainingContext()
    fold_users = context.rng(1).permutation(np.unique(dataset.user))[:: ranker_examples.CV_FOLDS]
    in_fold = np.isin(dataset.user[dataset.query], fold_users)
    features = dataset.features.copy()
    features[:, 2] = 0
    neutral = dataclasses.replace(dataset, features=features.copy())
    features[dataset.purchased & in_fold, 2] = 5
    revealing = dataclasses.replace(dataset, features=features)
    model = blend.fit_blend(revealing, seed=0)
    fold_purchases = in_fold & dataset.purchased
    assert model.scores(features[fold_purchases]).mean() > model.scores(neutral.features[fold_purchases]).mean() + 1
    with_leak, without_leak = (ranker_examples._out_of_fold_scores(data, model, context) for data in (revealing, neutral))
    np.testing.assert_allclose(with_leak[in_fold], without_leak[in_fold], atol=1e-6)
    assert np.abs(with_leak[~in_fold] - without_leak[~in_fold]).max() > 0.01  # the other folds are fitted to it


def test_saved_examples_are_loaded_or_rejected(examples: RankerExamples, tmp_path: Path) -> None:
    folder = tmp_path / learned_blend.FOLDER
    folder.mkdir()
    with pytest.raises(NotTrainedError, match="train -w .* blend` first"):
        ranker_examples.load_examples(tmp_path)
    examples.save(folder)
    loaded = ranker_examples.load_examples(tmp_path)
    for field in dataclasses.fields(examples):
        if field.name not in ("histories", "behaviour"):
            np.testing.assert_array_equal(getattr(loaded, field.name), getattr(examples, field.name))
    assert loaded.histories.rows.tolist() == examples.histories.rows.tolist()
    (folder / ranker_examples.FILE).write_bytes(b"cut")
    with pytest.raises(StaleTrainingError, match="cannot be read"):
        ranker_examples.load_examples(tmp_path)


def test_no_user_is_in_two_parts_of_the_split(examples: RankerExamples) -> None:
    split = ExampleSplit.sample(examples, 1000, 0)
    users = [set(examples.user[queries].tolist()) for queries in (split.training, split.validation, split.calibration)]
    assert all(users)
    assert not users[0] & users[1]
    assert not users[0] & users[2]
    assert not users[1] & users[2]
    assert len(ExampleSplit.sample(examples, 30, 0).training) == 30
    assert ExampleSplit.sample(examples, 1000, 1).training.tolist() != split.training.tolist()
    assert ExampleSplit.sample(examples, 1000, 0).calibration.tolist() == split.calibration.tolist()
    # The weight of an adapter is measured on these queries, whatever the number of training examples.
    assert calibration_queries(examples, 0).tolist() == split.calibration.tolist()


def test_the_split_of_the_users_follows_a_hash_of_their_ids(queries: OutOfFoldQueries, examples: RankerExamples) -> None:
    """So the pairs can be counted without the users that the adapter is measured on."""
    assert examples.user_hash is not None
    for seed in (0, 1, 7):
        may_train = training_users(queries.users, seed)
        assert 0.5 < may_train.mean() < 0.9
        split = ExampleSplit.sample(examples, 1000, seed)
        assert may_train[split.training].all()
        assert not may_train[split.validation].any()
        assert not may_train[split.calibration].any()
    assert training_users(queries.users, 0).tolist() != training_users(queries.users, 1).tolist()
    of_former_version = dataclasses.replace(examples, user_hash=None)
    assert 0.1 < len(calibration_queries(of_former_version, 0)) / len(examples) < 0.3


def test_a_fact_is_a_frequency_word_and_a_share_of_a_hundred(catalogue: Catalogue) -> None:
    counts = np.asarray([[-1, 0, 0], [0, 3, 40], [0, 1, 1000], [1, 7, 7]], dtype=np.int32)
    most, least = int(catalogue.users.max()), 0
    none, some, hardly, always = fact_sentences(counts, np.asarray([most, least, least, most], dtype=np.int32), catalogue)
    title = catalogue.items["title"][0]
    assert none == "Never seen together. A bestseller."
    assert some == f'Sometimes: 8 of 100 who bought "{title}" also bought it. Hardly known.'
    assert hardly.startswith("Hardly ever: less than 1 of 100")
    assert always.startswith("Nearly always: 100 of 100")
    ranks = np.asarray([1, 2, 3, 4, 10, 11, 20, 21])
    ranked = fact_sentences(np.repeat(counts[:1], 8, axis=0), np.full(8, most, np.int32), catalogue, ranks)
    assert [fact.split(". ")[0] for fact in ranked] == [RANK_WORDS[index] for index in (0, 1, 1, 2, 3, 4, 4, 5)]
    assert all(fact.endswith(". Never seen together. A bestseller.") for fact in ranked)


def test_the_query_s_user_is_not_counted_in_the_facts(examples: RankerExamples, catalogue: Catalogue) -> None:
    query = next(query for query in range(len(examples)) if examples.purchased[examples.candidates(query)].any())
    candidates = examples.candidates(query)
    rows = examples.rows[candidates]
    without_user = catalogue.users.copy()
    without_user[rows[examples.purchased[candidates]]] -= 1
    facts = prompt_facts(examples, candidates, catalogue, 3)
    assert facts == fact_sentences(examples.pair_counts[candidates], without_user[rows], catalogue, np.arange(1, len(rows) + 1))
    assert prompt_facts(examples, candidates, catalogue, 2) == [fact.partition(". ")[2] for fact in facts]


Trained = tuple[Path, dict[str, Any]]
Train = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def train(examples: RankerExamples, catalogue: Catalogue, small: Settings) -> Train:
    """Train a small LLM in a folder."""

    def run(
        folder: Path, *, snapshot: str = "s1", config: FinetuneConfig = QUICK, progress: Progress = lambda *_: None, max_examples: int = 24
    ) -> dict[str, Any]:
        context = TrainingContext(about={**ABOUT, "snapshot": snapshot}, progress=progress)
        return train_llm_ranker(folder, small, examples, catalogue, context, config=config, max_examples=max_examples)

    return run


@pytest.fixture(scope="module")
def trained_ranker(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A folder with a trained adapter, and the metrics."""
    folder = tmp_path_factory.mktemp("ranker")
    return folder, train(folder)


def test_the_card_holds_the_metrics_and_what_it_was_trained_on(trained_ranker: Trained, examples: RankerExamples) -> None:
    folder, metrics = trained_ranker
    card = json.loads((folder / "adapter" / "card.json").read_text())
    assert (card["snapshot"], card["held_out"]) == ("s1", None)
    assert card["figures"] == metrics
    assert card["figures"]["examples"] == 24
    assert card[llm_ranker.QUESTIONS_KEY] == examples.digest
    assert sorted(file.name for file in folder.iterdir()) == ["adapter"]


def test_training_again_with_the_same_data_is_skipped(trained_ranker: Trained, train: Train, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(trained_ranker[0], folder)
    stages: list[str] = []

    def progress(stage: str, _: int, __: int) -> None:
        stages.append(stage)

    assert train(folder, progress=progress) == trained_ranker[1]
    # The same data in a new snapshot: only the card changes.
    assert train(folder, snapshot="s2", progress=progress) == trained_ranker[1]
    assert json.loads((folder / "adapter" / "card.json").read_text())["snapshot"] == "s2"
    assert stages == []
    train(folder, config=dataclasses.replace(QUICK, lr=2e-3), progress=progress)
    assert any(stage.startswith("ranker on lists, loss") for stage in stages)


class Killed(Exception):
    pass


def test_an_interrupted_run_resumes_with_the_same_result(trained_ranker: Trained, train: Train, tmp_path: Path) -> None:
    steps: list[int] = []

    def kill(stage: str, done: int, _: int) -> None:
        if stage.startswith("ranker on lists, loss") and done >= 4:
            raise Killed

    def record(stage: str, done: int, _: int) -> None:
        if stage.startswith("ranker"):
            steps.append(done)

    with pytest.raises(Killed):
        train(tmp_path, progress=kill)
    assert not (tmp_path / "adapter").exists()  # an unfinished adapter is never used
    train(tmp_path, progress=record)
    assert steps[0] > 1
    weights = "adapter_model.safetensors"
    assert (tmp_path / "adapter" / weights).read_bytes() == (trained_ranker[0] / "adapter" / weights).read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter"]


def test_too_few_queries_raise(train: Train, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="5 training queries are too few for the LLM ranker, it needs at least 20"):
        train(tmp_path, max_examples=5)
    assert list(tmp_path.iterdir()) == []


def pairs_of(examples: RankerExamples, catalogue: Catalogue, count: int) -> PairExamples:
    lists = [list_example(examples, int(query), catalogue, None, version=QUICK.prompt) for query in examples.informative(20)[: count + 4]]
    pairs = [dataclasses.replace(each, scores=None, facts=None) for each in lists]
    return PairExamples(pairs[:count], pairs[count:])


def test_pairs_alone_need_no_questions(examples: RankerExamples, catalogue: Catalogue, small: Settings, tmp_path: Path) -> None:
    pairs = pairs_of(examples, catalogue, 24)
    metrics = train_llm_ranker(tmp_path, small, None, catalogue, TrainingContext(about=ABOUT), config=QUICK, max_examples=0, pairs=pairs)
    card = json.loads((tmp_path / "adapter" / "card.json").read_text())
    assert card[llm_ranker.QUESTIONS_KEY] is None
    assert card["pairs"]["examples"] == metrics["examples"] == 24
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter"]
    with pytest.raises(TrainingError, match="3 pairs are bought together often enough .* it needs 20"):
        train_llm_ranker(
            tmp_path / "few",
            small,
            None,
            catalogue,
            TrainingContext(),
            config=QUICK,
            max_examples=0,
            pairs=pairs_of(examples, catalogue, 3),
        )
