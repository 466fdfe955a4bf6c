"""Soft tokens: packed like other tokens, from the numbers about behaviour, with a projector in a file beside the adapter."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from crossaisle.data.errors import ModelError
from crossaisle.data.records import Item
from crossaisle.data.settings import Settings
from crossaisle.llm.models import adapters, projector
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.projector import ProjectorInputs, Standardization, attach_projector, projector_inputs, soft_tokens
from crossaisle.llm.ranking.packed_scorer import PackedScorer
from crossaisle.llm.ranking.packs import SOFT_TOKEN, SoftInputs
from crossaisle.llm.ranking.ranker import Ranker
from crossaisle.train.lora.config import FinetuneConfig
from crossaisle.train.lora.finetune import ListwiseExample, train
from crossaisle.train.lora.merge import merge

INPUTS = ProjectorInputs(3, ("factors:level in short histories", "profile:log users"), "abc")
ITEMS = [Item(f"i{number}", "thing", ("Home",)) for number in range(5)]
HISTORY = [Item("h", "tent", ("Camping",))]
CONFIG = FinetuneConfig(
    rank=2, alpha=4, blocks=None, lr=1e-2, batch=4, epochs=3, validate_every=10, patience=99, prompt=4, behaviour=INPUTS
)


def behaviour(seed: int, candidates: int = len(ITEMS)) -> SoftInputs:
    rng = np.random.default_rng(seed)
    return SoftInputs(
        rng.normal(size=INPUTS.history_size).astype(np.float32), rng.normal(size=(candidates, INPUTS.candidate_size)).astype(np.float32)
    )


def model_with_projector(settings: Settings, *, trained: bool = True) -> LanguageModel:
    """A model with an adapter that changes nothing and a projector with random weights."""
    import torch

    llm = LanguageModel.load(settings)
    adapters.inject_lora(llm.model, llm.name, rank=2, alpha=4, dropout=0.0)
    many = behaviour(1, 40)
    parameters = attach_projector(
        llm.model, INPUTS, Standardization.fit(np.stack([behaviour(n).history for n in range(9)]), many.candidates)
    )
    torch.manual_seed(0)
    if trained:
        for parameter in parameters:
            torch.nn.init.normal_(parameter, std=0.5)
    llm.register_adapter(adapters.RANKING, 4)
    return llm


@pytest.mark.parametrize("bundled", [False, True], ids=["tiny", "smollm2"])
def test_packed_equals_unpacked_with_soft_tokens(small: Settings, settings: Settings, bundled: bool) -> None:
    ranker = Ranker(model_with_projector(settings.with_(llm="smollm2", quantization="fp32") if bundled else small))
    soft = behaviour(3)
    pack = ranker.encode(HISTORY, None, ITEMS, None, soft)
    assert pack.prefix.count(SOFT_TOKEN) == 1
    assert [candidate.count(SOFT_TOKEN) for candidate in pack.candidates] == [1] * len(ITEMS)
    alone = ranker.scorer.unpacked_logit_margins(pack)
    np.testing.assert_allclose(ranker.scorer.logit_margins(pack), alone, atol=1e-4)
    assert np.ptp(alone) > 0.01, "the texts are the same, so only the soft tokens can tell the candidates apart"
    split = PackedScorer(ranker.llm, pack_tokens=len(pack.prefix) + max(map(len, pack.candidates)), adapter=True)
    assert len(split.split_candidates(pack)) == len(ITEMS)
    np.testing.assert_allclose(split.logit_margins(pack), alone, atol=1e-4)
    without = ranker.encode(HISTORY, None, ITEMS)
    together = ranker.scorer.batch_logit_margins([pack, without, ranker.encode(HISTORY * 2, None, ITEMS[:2], None, soft.take([4, 1]))])
    np.testing.assert_allclose(together[0], alone, atol=1e-4)
    np.testing.assert_allclose(together[1], ranker.scorer.unpacked_logit_margins(without), atol=1e-4)


def test_scores_do_not_depend_on_the_order_of_the_candidates(small: Settings) -> None:
    ranker, soft = Ranker(model_with_projector(small)), behaviour(3)
    scores = ranker.scores(HISTORY, None, ITEMS, None, soft)
    order = [3, 0, 4, 1, 2]
    again = ranker.scores(HISTORY, None, [ITEMS[i] for i in order], None, soft.take(order))
    np.testing.assert_allclose(again, scores[order], atol=1e-5)
    other = ranker.scores(HISTORY, None, ITEMS, None, SoftInputs(-soft.history, soft.candidates))
    assert np.abs(other - scores).max() > 1e-3, "the history counts too"


def test_an_untrained_projector_says_nothing(small: Settings) -> None:
    ranker = Ranker(model_with_projector(small, trained=False))
    first, second = (ranker.scores(HISTORY, None, ITEMS, None, behaviour(seed)) for seed in (3, 4))
    np.testing.assert_array_equal(first, second)
    assert np.ptp(first) < 1e-5


def test_texts_alone_where_the_model_or_the_prompt_reads_no_behaviour(small: Settings) -> None:
    llm, soft = model_with_projector(small), behaviour(3)
    for ranker in (Ranker(llm, use_adapter=False), Ranker(llm, version=2), Ranker(LanguageModel.load(small), version=4)):
        assert ranker.behaviour_inputs is None
        assert SOFT_TOKEN not in ranker.encode(HISTORY, None, ITEMS, None, soft).prefix
    assert Ranker(llm).behaviour_inputs == INPUTS
    assert Ranker(llm).encode(HISTORY, "tent", ITEMS).soft is None


def examples(count: int, seed: int) -> list[ListwiseExample]:
    """Choices among items with the same text, of which the purchase has the largest product with the history's first factor."""
    rng, made = np.random.default_rng(seed), []
    for number in range(count):
        soft = behaviour(1000 * seed + number)
        target = int(np.argmax(soft.candidates[:, 3]))
        made.append(ListwiseExample(HISTORY, ITEMS, target, behaviour=soft, scores=[0.0] * len(ITEMS) if rng.random() < 0.5 else None))
    return made


@pytest.fixture(scope="module")
def trained(small: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projector") / "adapter"
    report = train(examples(120, 1), examples(30, 2), small, folder, CONFIG)
    assert report.zero_shot < 0.6
    assert report.measured > 0.8
    return folder


def test_a_model_learns_what_only_behaviour_tells(trained: Path, small: Settings) -> None:
    """On choices that it was not trained on, with the adapter as loaded from its files."""
    card = json.loads((trained / adapters.CARD).read_text())
    assert card["projector"] is True
    assert card["settings"]["behaviour"]["factors_id"] == "abc"
    ranker = Ranker(LanguageModel.load(small, trained))
    assert ranker.behaviour_inputs == INPUTS
    hits = [
        int(np.argmax(ranker.scores(each.history, None, each.candidates, None, each.behaviour))) == each.target for each in examples(60, 3)
    ]
    assert np.mean(hits) > 0.6, "chance is 0.2"


def test_training_resumes_with_the_projector(trained: Path, small: Settings, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(progress: object) -> None:
        if progress.step == 9:  # type: ignore[attr-defined]
            raise Stopped

    short = dataclasses.replace(CONFIG, epochs=1, checkpoint_every=3)
    whole = train(examples(48, 1), examples(8, 2), small, tmp_path / "whole", short)
    with pytest.raises(Stopped):
        train(examples(48, 1), examples(8, 2), small, tmp_path / "cut", short, progress=stop)
    resumed = train(examples(48, 1), examples(8, 2), small, tmp_path / "cut", short)
    assert resumed.resumed_from > 0
    assert resumed.loss == pytest.approx(whole.loss, abs=1e-6)
    for name in (adapters.WEIGHTS, projector.FILE):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_merged_model_keeps_its_projector(trained: Path, small: Settings, tmp_path: Path) -> None:
    merged = merge(small, trained, tmp_path / "merged")
    exact, other = Ranker(LanguageModel.load(small, trained)), Ranker(LanguageModel.load(small.with_(llm=str(merged))))
    assert other.behaviour_inputs == INPUTS
    scores = [ranker.scores(HISTORY, None, ITEMS, None, behaviour(5)) for ranker in (exact, other)]
    np.testing.assert_allclose(*scores, atol=0.05)
    assert np.ptp(scores[0]) > 0.15


@pytest.mark.parametrize("damage", ["missing", "cut", "layers", "inputs"])
def test_an_adapter_without_its_projector_is_refused(trained: Path, small: Settings, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(trained, folder)
    file = folder / projector.FILE
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:100])
    else:
        tensors, metadata = load_file(file), {"inputs": json.dumps({"factors": 3, "features": list(INPUTS.features), "factors_id": ""})}
        if damage == "layers":
            del tensors["candidate.2.weight"]
        else:
            metadata = {"inputs": "[]"}
        save_file(tensors, file, metadata=metadata)
    with pytest.raises(ModelError, match=r"the projector in .* cannot be loaded .*train -w WS ranker`"):
        LanguageModel.load(small, folder)


def test_inputs_far_from_the_training_examples_are_clipped(small: Settings) -> None:
    llm = model_with_projector(small)
    near, far = (
        soft_tokens(llm.model, np.full(4, value, np.float32), np.full((1, 5), value, np.float32)).detach().numpy() for value in (1e3, 1e9)
    )
    np.testing.assert_array_equal(near, far)
    assert projector_inputs(LanguageModel.load(small).model) is None
