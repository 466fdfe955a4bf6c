"""A teacher's answers as training examples: targets, cards, the stored pairs, and when the ranker is trained again."""

from __future__ import annotations

import dataclasses
import json
import logging
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from crossaisle.data.errors import TrainingError
from crossaisle.data.settings import Settings
from crossaisle.retrieval.channels.base import TaughtPairs, TrainingContext
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.train.llm.pair_examples import PairEntities, unseen
from crossaisle.train.llm.ranker import NO_TEACHER, TEACHER_KEY, TeacherExamples, train_llm_ranker
from crossaisle.train.llm.ranker_examples import RankerExamples
from crossaisle.train.lora.config import FinetuneConfig
from crossaisle.train.teacher.config import TeacherConfig
from crossaisle.train.teacher.labels import FILE, TeacherLabels, TeachingMaterial, load_labels, save_labels, teacher_labels

from ...judge_server import Server
from ...teacher_world import NEEDS, first_wins, in_json, parts, thing_of
from .conftest import MODEL, SEED

BUDGET = 200


def by_hash(_: str, user: str) -> str:
    """Grade each thing by a hash of it and of the history: the same in every order."""
    has, things = parts(user)
    return in_json([zlib.crc32(f"{has} {thing}".encode()) % 3 for thing in things])


def taught(server: Server, material: TeachingMaterial, folder: Path, budget: int = BUDGET) -> TeacherLabels:
    return teacher_labels(TeacherConfig(f"openai:{server.url}", MODEL, budget), material, folder)


def test_the_truth_of_the_teacher_is_the_target(teacher: Server, material: TeachingMaterial, tmp_path: Path) -> None:
    labels = taught(teacher, material, tmp_path)
    examples = [*labels.examples.pairs.training, *labels.examples.pairs.validation]
    assert len(examples) == labels.figures["kept_pairs"] == labels.figures["kept"] > 20
    assert 0 < len(labels.examples.pairs.validation) < len(examples) / 7
    assert labels.examples.lists == []
    for example in examples:
        owned = example.history[0].title if example.history else str(example.need)
        is_needed = [thing_of(item.title) == NEEDS[thing_of(owned)] for item in example.candidates]
        assert example.target_shares == pytest.approx([needed / sum(is_needed) for needed in is_needed])
        assert is_needed[example.target]
    assert labels.figures["dropped_all_alike"] + labels.figures["kept"] == labels.figures["questions"] == BUDGET // 2
    assert len(labels.pairs.rows) == labels.figures["needed_pairs"]


def test_nothing_unseen_is_sent_to_the_teacher_or_taught(teacher: Server, material: TeachingMaterial, tmp_path: Path) -> None:
    taught(teacher, material, tmp_path)
    items = material.entity_sets[0]
    hidden = [items.items[row].title for row in np.flatnonzero(unseen(items, SEED)).tolist()]
    sent = "\n".join(teacher.received)
    assert len(hidden) > 30
    assert not [title for title in hidden if title in sent]


def test_the_card_names_the_teacher_and_the_hash_of_its_labels(teacher: Server, material: TeachingMaterial, tmp_path: Path) -> None:
    about = taught(teacher, material, tmp_path).examples.about
    assert about["model"] == MODEL
    assert about["prompt"] == "teach.v1"
    assert about["questions"] == BUDGET // 2
    assert set(about) >= {"kept_pairs", "kept_lists", "dropped_for_disagreement", "dropped_all_alike", "unreadable", "hash"}
    requests = len(teacher.received)
    assert taught(teacher, material, tmp_path).examples.about == about, "from the cache"
    assert len(teacher.received) == requests
    teacher.rule = by_hash
    assert taught(teacher, material, tmp_path / "other").examples.about["hash"] != about["hash"]


def test_labels_that_cannot_be_used_are_counted_in_the_error(teacher: Server, material: TeachingMaterial, tmp_path: Path) -> None:
    teacher.rule = first_wins
    message = (
        "no label of the teacher teacher can be used: of 10 questions 10 got different grades when their candidates were reversed; name"
    )
    with pytest.raises(TrainingError, match=message):
        taught(teacher, material, tmp_path, 20)
    teacher.rule = lambda *_: "well"
    with pytest.raises(TrainingError, match="of 10 questions 10 had an unreadable answer"):
        taught(teacher, material, tmp_path / "b", 20)
    empty = dataclasses.replace(material, entity_sets=(material.entity_sets[1],))
    with pytest.raises(TrainingError, match="nothing to ask the teacher about"):
        taught(teacher, empty, tmp_path, 20)


def test_lists_keep_the_scores_and_facts_of_the_store(
    teacher: Server, material: TeachingMaterial, examples: RankerExamples, catalogue: Catalogue, tmp_path: Path
) -> None:
    teacher.rule = by_hash
    items = catalogue.records(range(len(catalogue)))
    vectors = np.eye(len(items), 16, dtype=np.float32) + 0.1
    entities = PairEntities(items, catalogue.category, catalogue.users, vectors, sparse.csr_array((len(items), len(items))), 10)
    of_store = TeachingMaterial((entities,), examples, catalogue, SEED, prompt=2)
    labels = taught(teacher, of_store, tmp_path, 80)
    assert (labels.figures["questions"], len(labels.examples.lists)) == (40, labels.figures["kept_lists"])
    assert labels.figures["kept_lists"] > 5
    served = {float(score) for score in examples.scores}
    hidden = {entities.items[row].item_id for row in np.flatnonzero(unseen(entities, SEED)).tolist()}
    for example in labels.examples.lists:
        assert example.history
        assert example.facts is not None
        assert example.scores is not None
        assert {float(score) for score in example.scores} <= served
        assert sum(example.target_shares or ()) == pytest.approx(1)
        assert not hidden & {item.item_id for item in (*example.history, *example.candidates)}


def test_pairs_are_stored_by_item_id(catalogue: Catalogue, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_labels(tmp_path, catalogue) is None
    pairs = TaughtPairs(np.asarray([[0, 5], [3, 1]], dtype=np.int32), {TEACHER_KEY: {"model": "m"}})
    save_labels(tmp_path, pairs, catalogue)
    loaded = load_labels(tmp_path, catalogue)
    assert loaded is not None
    assert loaded.rows.tolist() == pairs.rows.tolist()
    assert loaded.about == pairs.about
    content = json.loads((tmp_path / FILE).read_text())
    content["pairs"][0][0] = "an item that is gone"
    (tmp_path / FILE).write_text(json.dumps(content))
    remaining = load_labels(tmp_path, catalogue)
    assert remaining is not None
    assert remaining.rows.tolist() == [[3, 1]]
    (tmp_path / FILE).write_text("{")
    with caplog.at_level(logging.WARNING):
        assert load_labels(tmp_path, catalogue) is None
    assert f"{tmp_path / FILE} cannot be read" in caplog.text


def test_the_ranker_is_trained_again_exactly_if_the_labels_change(
    teacher: Server, material: TeachingMaterial, examples: RankerExamples, catalogue: Catalogue, small: Settings, tmp_path: Path
) -> None:
    stages: list[str] = []

    def train(labels: TeacherExamples) -> list[str]:
        stages.clear()
        config = FinetuneConfig(rank=2, alpha=4, batch=4, lr=1e-3, validate_every=50)
        context = TrainingContext(progress=lambda stage, *_: stages.append(stage.partition(",")[0]))
        train_llm_ranker(tmp_path, small, examples, catalogue, context, config=config, max_examples=20, teacher=labels)
        return sorted(set(stages))

    labels = taught(teacher, material, tmp_path).examples
    assert train(labels) == ["ranker on lists", "ranker on pairs"]
    card = json.loads((tmp_path / "adapter" / "card.json").read_text())
    assert card[TEACHER_KEY] == json.loads(json.dumps(labels.about))
    assert card["pairs"]["examples"] == len(labels.pairs.training)
    assert train(taught(teacher, material, tmp_path).examples) == []
    assert train(dataclasses.replace(labels, about={**labels.about, "hash": "other"})) == ["ranker on lists", "ranker on pairs"]
    assert train(NO_TEACHER) == ["ranker on lists"]
    assert TEACHER_KEY not in json.loads((tmp_path / "adapter" / "card.json").read_text())
