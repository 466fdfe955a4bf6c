"""End to end: a teacher whose truth is known teaches the bundled LLM and the text heads, which then know it of items never taught."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from crossaisle.data.settings import Settings
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.ranking.ranker import Ranker
from crossaisle.retrieval.channels.base import CandidateQuery, TrainingContext
from crossaisle.retrieval.channels.complement_heads import ComplementHeads
from crossaisle.retrieval.index.embedder import Embedder
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.train.llm.pair_examples import PairEntities, unseen
from crossaisle.train.llm.text_weight import auc
from crossaisle.train.lora import finetune
from crossaisle.train.lora.config import FinetuneConfig
from crossaisle.train.teacher import questions as teacher_questions
from crossaisle.train.teacher.config import TeacherConfig
from crossaisle.train.teacher.labels import TeacherLabels, TeachingMaterial, teacher_labels

from ...judge_server import Server
from ...teacher_world import NEEDS, PLAIN_NEEDS, SUPPLIES, items, thing_of, unseen_questions
from .conftest import MODEL, SEED


@pytest.fixture
def labels(teacher: Server, material: TeachingMaterial, tmp_path: Path) -> TeacherLabels:
    return teacher_labels(TeacherConfig(f"openai:{teacher.url}", MODEL, 400), material, tmp_path)


def test_the_text_heads_know_the_needs_of_items_that_were_not_taught(
    labels: TeacherLabels, material: TeachingMaterial, taught_view: TrainingView
) -> None:
    world = material.entity_sets[0]
    hidden = unseen(world, SEED)
    assert len(labels.pairs.rows) > 50
    assert not hidden[labels.pairs.rows].any()
    assert all(NEEDS[thing_of(world.items[had].title)] == thing_of(world.items[needed].title) for had, needed in labels.pairs.rows.tolist())
    heads = ComplementHeads.fit(taught_view, TrainingContext(taught=labels.pairs))
    assert heads.card["teacher"]["model"] == MODEL
    assert heads.metrics["taught_pairs"] == len(labels.pairs.rows)
    cosines, taught = [], []
    for anchor, candidates in unseen_questions(world, SEED):
        scores, _ = heads.scores(CandidateQuery(np.asarray([anchor]), np.ones(1), np.empty((0, 0), np.float32)))
        taught.append(auc(scores[candidates].astype(np.float64)))
        cosines.append(auc((world.vectors[candidates] @ world.vectors[anchor]).astype(np.float64)))
    print(f"heads: AUC {np.mean(taught):.3f}, cosine {np.mean(cosines):.3f}, {len(taught)} questions")
    assert np.mean(cosines) < 0.65
    assert np.mean(taught) > 0.9


@pytest.mark.slow
def test_the_llm_knows_the_needs_of_items_that_were_not_taught(
    teacher: Server, embedder: Embedder, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has bought anything in this store. Short questions, because each is a training step of seconds."""
    for name, count in (("CANDIDATES", 5), ("BOUGHT", 1), ("NEAREST", 1)):
        monkeypatch.setattr(teacher_questions, name, count)
    settings, things = settings.with_(llm="smollm2"), items(PLAIN_NEEDS)
    category = np.asarray([item.category == (SUPPLIES,) for item in things], dtype=np.int32)
    nothing, size = np.zeros(len(things), np.int64), (len(things), len(things))
    vectors = np.asarray(embedder.encode([item.title for item in things]), dtype=np.float32)
    world = PairEntities(things, category, nothing, vectors, sparse.csr_array(size), 0)
    table = pl.DataFrame(
        {"item_id": [i.item_id for i in things], "title": [i.title for i in things], "category": [list(i.category) for i in things]}
    )
    bought = pl.DataFrame({"user_id": ["u"], "item_id": [things[0].item_id], "kind": ["purchase"]})
    material = TeachingMaterial((world,), None, Catalogue.build(table, bought, 1), SEED, prompt=2)
    pairs = teacher_labels(TeacherConfig(f"openai:{teacher.url}", MODEL, 600), material, tmp_path).examples.pairs
    hidden = {things[row].item_id for row in np.flatnonzero(unseen(world, SEED)).tolist()}
    assert not hidden & {
        item.item_id for example in (*pairs.training, *pairs.validation) for item in (*example.history, *example.candidates)
    }
    questions = unseen_questions(world, SEED, PLAIN_NEEDS)

    def measured(adapter: Path | None) -> float:
        ranker = Ranker(LanguageModel.load(settings, adapter))
        aucs = []
        for anchor, candidates in questions:
            scores = ranker.scores([], f"I have {things[anchor].title}", [things[row] for row in candidates.tolist()])
            aucs.append(auc(scores.astype(np.float64)))
        return float(np.mean(aucs))

    before = measured(None)
    finetune.train(pairs.training, pairs.validation, settings, tmp_path / "adapter", FinetuneConfig(batch=2, epochs=2, validate_every=40))
    after = measured(tmp_path / "adapter")
    assert len(questions) >= 10
    assert before < 0.7
    assert after > before + 0.15
    assert after > 0.8
