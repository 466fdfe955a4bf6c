"""LoRA fine-tuning: quality, reproducibility, resumption after a kill, errors, merging, and independence of other outputs."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossaisle.data.atomic_files import STAGING_PREFIX
from crossaisle.data.errors import ModelError, ModelMissingError, SettingsError, StaleAdapterError, TrainingError
from crossaisle.data.records import Item
from crossaisle.data.settings import Settings
from crossaisle.llm.models import adapters
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.model_source import fingerprint
from crossaisle.llm.models.quantization import training_quantization
from crossaisle.llm.ranking.packed_scorer import PackedScorer
from crossaisle.llm.ranking.packs import Pack
from crossaisle.llm.ranking.ranker import Ranker
from crossaisle.train.lora import checkpoints, listwise_loss
from crossaisle.train.lora.distributed import DistributedContext
from crossaisle.train.lora.finetune import (
    MIN_EXAMPLES,
    FinetuneConfig,
    FinetuneReport,
    ListwiseExample,
    TrainingProgress,
    examples_digest,
    train,
)
from crossaisle.train.lora.listwise_loss import ListwiseRankingTask, summed_ndcg
from crossaisle.train.lora.merge import merge
from crossaisle.train.lora.trainer import LoraTrainer

COMPLEMENTS = {
    "tent": "gas stove",
    "phone": "phone case",
    "guitar": "guitar strap",
    "aquarium": "fish food",
    "violin": "rosin",
    "bicycle": "helmet",
}
"""The synthetic world: owners of the key buy the value, of any brand."""
BRANDS = ["Norrvik", "Pyra", "Fell", "Kettlow", "Ardent", "Lumen", "Oakes", "Brisk"]
FACTS = '3 of 40 shoppers who bought "Norrvik tent" also bought it.'


def make_examples(number: int, seed: int, candidates: int = 4) -> list[ListwiseExample]:
    rng = random.Random(seed)
    examples = []
    for n in range(number):
        owned = rng.choice(list(COMPLEMENTS))
        right = COMPLEMENTS[owned]
        others = rng.sample([thing for thing in COMPLEMENTS.values() if thing != right], candidates - 1)
        things = [right, *others]
        rng.shuffle(things)
        examples.append(
            ListwiseExample(
                history=[Item(f"h{n}", f"{rng.choice(BRANDS)} {owned}", ("Gear",))],
                candidates=[Item(f"c{n}-{thing}", f"{rng.choice(BRANDS)} {thing}", ("Extras",)) for thing in things],
                target=things.index(right),
            )
        )
    return examples


FEW, UNSEEN = make_examples(MIN_EXAMPLES, 1, 3), make_examples(4, 2, 3)
QUICK = FinetuneConfig(
    rank=4, alpha=8, dropout=0.05, epochs=1, batch=4, lr=1e-3, validate_every=2, checkpoint_every=2, patience=9, prompt=2
)
STEPS = -(-MIN_EXAMPLES // QUICK.batch)


def weight_bytes(folder: Path) -> bytes:
    return (folder / adapters.WEIGHTS).read_bytes()


def is_clean(out: Path) -> bool:
    return sorted(file.name for file in out.iterdir()) == sorted([adapters.CARD, adapters.CONFIG, adapters.WEIGHTS]) and not list(
        out.parent.glob(STAGING_PREFIX + "*")
    )


# ------------------------------------------------------------------ quality


@dataclasses.dataclass(frozen=True)
class Trained:
    report: FinetuneReport
    settings: Settings
    progress: list[TrainingProgress]
    folder: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Trained:
    """The bundled model, trained for some tens of steps in the world of `COMPLEMENTS`."""
    out, progress = tmp_path_factory.mktemp("shop") / "adapter", []
    settings = settings.with_(llm="smollm2", quantization="nf4")
    config = FinetuneConfig(rank=8, alpha=16, epochs=1, batch=2, lr=2e-3, dropout=0.0, validate_every=26)
    report = train(make_examples(52, 1), make_examples(16, 2), settings, out, config, {"snapshot": "s1"}, progress.append)
    return Trained(report, settings, progress, out)


def test_training_improves_on_the_base_model(trained: Trained) -> None:
    assert trained.report.measured > trained.report.zero_shot + 0.1, trained.report
    assert trained.report.measured > 0.82
    assert trained.report.best_step > 0
    assert [step.step for step in trained.progress] == list(range(1, 27))
    assert {step.total for step in trained.progress} == {26}
    assert trained.progress[-1].loss < trained.progress[0].loss
    assert trained.progress[-1].seconds_left == 0 < trained.progress[0].seconds_left


def test_the_card_records_the_run(trained: Trained) -> None:
    card = json.loads((trained.folder / "card.json").read_text())
    assert card["base"] == "smollm2"
    assert card["base_fingerprint"] == fingerprint("smollm2", trained.settings.home)
    assert (card["prompt"], card["quantization"], card["snapshot"]) == ("rank.v4", training_quantization("nf4"), "s1")
    assert card["settings"]["rank"] == 8
    assert card["figures"] == trained.report.figures()
    assert set(card["figures"]) >= {
        "zero_shot_ndcg@10",
        "ndcg@10",
        "examples",
        "validation_examples",
        "steps",
        "seconds",
        "seconds_per_user",
    }
    assert card["examples_hash"] == examples_digest(make_examples(52, 1), make_examples(16, 2))
    assert is_clean(trained.folder)


@pytest.fixture(scope="module")
def quantized(trained: Trained) -> LanguageModel:
    """As in serving: a base model in 4 bits with the adapter."""
    return LanguageModel.load(trained.settings, trained.folder)


@pytest.fixture(scope="module")
def exact(trained: Trained) -> LanguageModel:
    return LanguageModel.load(trained.settings.with_(quantization="fp32"), trained.folder)


def test_the_adapter_ranks_on_a_4_bit_base_model(trained: Trained, quantized: LanguageModel) -> None:
    unseen = make_examples(16, 2)
    ranker = Ranker(quantized)
    assert ranker.prompt.id == "rank.v4"
    assert summed_ndcg(ranker, unseen) / len(unseen) > trained.report.measured - 0.1
    # The base model alone, with its own prompt version.
    assert summed_ndcg(Ranker(quantized, version=1), unseen) / len(unseen) < trained.report.measured - 0.1


def test_scores_do_not_depend_on_the_order_of_the_candidates(quantized: LanguageModel) -> None:
    ranker, example = Ranker(quantized), make_examples(1, 5, 5)[0]
    facts = [FACTS, None, "", "9 of 10 bought it.", None]
    scores = ranker.scores(example.history, None, example.candidates, facts)
    for order in ([4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
        again = ranker.scores(example.history, None, [example.candidates[i] for i in order], [facts[i] for i in order])
        assert again.tolist() == scores[order].tolist()


def test_packed_equals_unpacked_with_the_adapter(exact: LanguageModel) -> None:
    ranker, example = Ranker(exact), make_examples(1, 6, 5)[0]
    pack = ranker.encode(example.history, None, example.candidates, [FACTS] * 5)
    packed, alone = ranker.scorer.logit_margins(pack), ranker.scorer.unpacked_logit_margins(pack)
    np.testing.assert_allclose(packed, alone, atol=1e-3)
    base = PackedScorer(exact).logit_margins(pack)
    assert np.abs(packed - base).max() > 0.1, "an adapter without effect would prove nothing"


def test_generation_uses_the_base_weights(exact: LanguageModel, llm_fp32: LanguageModel) -> None:
    prefix, prompts = "<|im_start|>user\nName a fruit.<|im_end|>\n<|im_start|>assistant\n", ["A", "The"]
    before = exact.generate(prefix, prompts, max_new_tokens=8)
    assert before == llm_fp32.generate(prefix, prompts, max_new_tokens=8)
    Ranker(exact).scores([], "a tent", make_examples(1, 7)[0].candidates)
    assert exact.generate(prefix, prompts, max_new_tokens=8) == before
    with exact.use_adapter(adapter=True):
        assert exact.generate(prefix, prompts, max_new_tokens=8) == before
        ids = exact.encode(prefix + "A")
        with_adapter = PackedScorer(exact, adapter=True).logit_margins(Pack(ids, [ids]))
    assert with_adapter[0] != pytest.approx(PackedScorer(llm_fp32).logit_margins(Pack(ids, [ids]))[0], abs=1e-2)


def test_prompt_version_1_ranks_like_the_base_model(quantized: LanguageModel, llm: LanguageModel) -> None:
    example = make_examples(1, 8)[0]
    np.testing.assert_array_equal(
        Ranker(quantized, version=1).scores(example.history, None, example.candidates),
        Ranker(llm).scores(example.history, None, example.candidates),
    )


def test_a_merged_model_ranks_like_base_and_adapter(trained: Trained, exact: LanguageModel, tmp_path: Path) -> None:
    folder = merge(trained.settings, trained.folder, tmp_path / "merged")
    merged = LanguageModel.load(trained.settings.with_(llm=str(folder), quantization="fp32"))
    assert (merged.ranking_prompt_version, merged.has_ranking_adapter) == (4, False)
    assert not list(folder.glob("adapter*"))
    for example in make_examples(3, 9):
        together, separate = (Ranker(model).scores(example.history, None, example.candidates, [FACTS] * 4) for model in (merged, exact))
        np.testing.assert_allclose(together, separate, atol=0.6)  # of margins of 10 and more: each weight was rounded to 8 bits
        assert together.argsort().tolist() == separate.argsort().tolist()
    with pytest.raises(SettingsError, match="is not empty; name a new folder"):
        merge(trained.settings, trained.folder, folder)


def test_cards_of_unmerged_models_are_ignored(tmp_path: Path) -> None:
    for text, version in (("{", 1), ("[]", 1), ('{"prompt": "rank.v2"}', 1), ('{"prompt": "rank.v2", "merged": true}', 2)):
        (tmp_path / adapters.CARD).write_text(text)
        assert adapters.merged_prompt_version(tmp_path) == version
    assert adapters.merged_prompt_version(tmp_path / "nowhere") == 1


def test_merging_is_exact_before_rounding(uninterrupted: FinetuneReport, small: Settings) -> None:
    separate, merged = (LanguageModel.load(small, uninterrupted.adapter) for _ in range(2))
    adapters.merge_and_unload(merged.model)
    merged.has_ranking_adapter = False
    assert not [name for name, _ in merged.model.named_parameters() if "lora" in name]
    scores = [Ranker(model).scores([], "a tent", FEW[0].candidates) for model in (separate, merged)]
    np.testing.assert_allclose(*scores, atol=1e-4)
    assert not np.allclose(scores[0], Ranker(LanguageModel.load(small), version=2).scores([], "a tent", FEW[0].candidates), atol=1e-3)


# ------------------------------------------------------------------ reproducibility and resumption


class Killed(Exception):
    pass


def kill_at(step: int) -> Callable[[TrainingProgress], None]:
    def progress(current: TrainingProgress) -> None:
        if current.step == step:
            raise Killed

    return progress


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, small: Settings) -> FinetuneReport:
    return train(FEW, UNSEEN, small, tmp_path_factory.mktemp("one") / "adapter", QUICK)


def test_the_same_seed_gives_the_same_weights(uninterrupted: FinetuneReport, small: Settings, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(99)
    expected = torch.rand(1)
    torch.manual_seed(99)
    again = train(FEW, UNSEEN, small, tmp_path / "adapter", QUICK)
    assert torch.rand(1) == expected, "the random state of the caller is restored"
    assert weight_bytes(again.adapter) == weight_bytes(uninterrupted.adapter)
    assert (again.measured, again.loss, again.steps) == (uninterrupted.measured, uninterrupted.loss, STEPS)
    other = train(FEW, UNSEEN, small, tmp_path / "other", dataclasses.replace(QUICK, seed=1))
    assert weight_bytes(other.adapter) != weight_bytes(uninterrupted.adapter)


@pytest.mark.parametrize(("killed_after", "resumed_from"), [(1, 0), (3, 2), (5, 4)])
def test_a_killed_run_resumes(uninterrupted: FinetuneReport, small: Settings, tmp_path: Path, killed_after: int, resumed_from: int) -> None:
    out = tmp_path / "adapter"
    with pytest.raises(Killed):
        train(FEW, UNSEEN, small, out, QUICK, progress=kill_at(killed_after))
    assert not (out / adapters.CARD).exists()
    with pytest.raises(ModelMissingError, match="holds no ranking adapter .*`crossaisle train -w WS ranker`"):
        LanguageModel.load(small, out)
    (out / f"{STAGING_PREFIX}left").mkdir()
    progress: list[TrainingProgress] = []
    report = train(FEW, UNSEEN, small, out, QUICK, progress=progress.append)
    assert report.resumed_from == resumed_from
    assert [step.step for step in progress] == list(range(resumed_from + 1, STEPS + 1))
    assert weight_bytes(out) == weight_bytes(uninterrupted.adapter)
    assert report.figures()["curve"] == uninterrupted.figures()["curve"] != []
    assert (report.measured, report.zero_shot, report.best_step, report.loss) == (
        uninterrupted.measured, uninterrupted.zero_shot, uninterrupted.best_step, uninterrupted.loss
    )  # fmt: skip
    assert is_clean(out)


@pytest.mark.parametrize("change", ["config", "examples", "validation", "damaged"])
def test_a_checkpoint_of_another_run_is_ignored(small: Settings, tmp_path: Path, change: str) -> None:
    out, config, few, unseen = tmp_path / "adapter", QUICK, FEW, UNSEEN
    with pytest.raises(Killed):
        train(few, unseen, small, out, config, progress=kill_at(4))
    if change == "config":
        config = dataclasses.replace(config, lr=2e-3)
    elif change == "examples":
        few = [*few[:-1], dataclasses.replace(few[-1], facts=[FACTS, None, None])]
    elif change == "validation":
        unseen = unseen[:-1]
    else:
        (out / checkpoints.FOLDER / "moments.safetensors").write_bytes(b"\0" * 100)
    assert train(few, unseen, small, out, config).resumed_from == 0


def test_the_previous_adapter_stays_until_the_new_one_is_complete(small: Settings, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    train(FEW, UNSEEN, small, out, QUICK, {"made_at": "before"})
    before = weight_bytes(out)
    other = dataclasses.replace(QUICK, seed=7, lr=5e-3)
    with pytest.raises(Killed):
        train(FEW, UNSEEN, small, out, other, progress=kill_at(3))
    assert weight_bytes(out) == before
    assert LanguageModel.load(small, out).ranking_prompt_version == 2
    train(FEW, UNSEEN, small, out, other, {"made_at": "after"})
    assert adapters.read_card(out)["made_at"] == "after"
    assert weight_bytes(out) != before
    assert is_clean(out)


def test_no_pickle_is_written(small: Settings, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(FEW, UNSEEN, small, tmp_path / "adapter", QUICK, progress=kill_at(3))
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".safetensors", ".json"}
    for file in files:
        assert json.loads(file.read_text()) if file.suffix == ".json" else b"\x80\x04" not in file.read_bytes()[:64]


# ------------------------------------------------------------------ errors


def test_diverging_training_keeps_the_last_valid_state(small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "adapter"
    train(FEW, UNSEEN, small, out, QUICK)
    before = weight_bytes(out)
    steep = dataclasses.replace(QUICK, lr=1e30, checkpoint_every=1, warmup=0.0)
    with pytest.raises(TrainingError, match=r"diverged.*lower the learning rate \(lr\)"):
        train(FEW, UNSEEN, small, out, steep)
    assert weight_bytes(out) == before

    # A later loss is NaN: the checkpoint before it exists and is finite.
    original, calls = ListwiseRankingTask._cross_entropy, 0

    def nan_later(self: ListwiseRankingTask, example: ListwiseExample, margins: Any) -> Any:
        nonlocal calls
        calls += 1
        return original(self, example, margins) * (math.nan if calls > 3 * QUICK.batch else 1.0)

    monkeypatch.setattr(ListwiseRankingTask, "_cross_entropy", nan_later)
    with pytest.raises(TrainingError, match="diverged"):
        train(FEW, UNSEEN, small, out, QUICK)
    assert json.loads((out / checkpoints.FOLDER / "state.json").read_text())["state"]["step"] == 2
    monkeypatch.undo()
    assert train(FEW, UNSEEN, small, out, QUICK).resumed_from == 2
    assert weight_bytes(out) == before


def test_too_few_examples(small: Settings, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=f"{MIN_EXAMPLES - 1} examples are too few to train on; at least {MIN_EXAMPLES} are required"):
        train(FEW[1:], UNSEEN, small, tmp_path / "adapter")
    with pytest.raises(TrainingError, match="no validation examples"):
        train(FEW, [], small, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_out_of_memory_continues_with_smaller_packs(
    small: Settings,
    uninterrupted: FinetuneReport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A forward pass that fails above some length, as when memory runs out: the same training, in smaller packs."""
    import torch

    ranker = Ranker(LanguageModel.load(small), version=2)
    encoded = [ranker.encode(each.history, None, each.candidates) for each in FEW]
    limit = max(len(pack.prefix) + max(map(len, pack.candidates)) for pack in encoded)
    assert limit < min(pack.tokens for pack in encoded)
    original, longest = PackedScorer.hidden_states_batch, 0

    def limited(self: PackedScorer, packs: list[Pack]) -> Any:
        nonlocal longest
        length = max(pack.tokens for pack in packs) * len(packs)
        if torch.is_grad_enabled():
            if length > limit:
                raise torch.OutOfMemoryError("no") if kind == "cuda" else RuntimeError("DefaultCPUAllocator: can't allocate memory: no")
            longest = max(length, longest)
        return original(self, packs)

    monkeypatch.setattr(PackedScorer, "hidden_states_batch", limited)
    config = dataclasses.replace(QUICK, dropout=0.0)
    with caplog.at_level("WARNING", "crossaisle"):
        small_packs = train(FEW, UNSEEN, small, tmp_path / "small", config)
    assert "out of memory: continuing with packs of" in caplog.text
    assert 0 < longest <= limit
    limit = 10_000
    full_packs = train(FEW, UNSEEN, small, tmp_path / "whole", config)
    assert small_packs.loss == pytest.approx(full_packs.loss, abs=1e-4)
    limit = 20
    with pytest.raises(TrainingError, match="even with one candidate at a time; set gradient_checkpointing, lower rank"):
        train(FEW, UNSEEN, small, tmp_path / "none", config)


def test_other_errors_are_not_treated_as_out_of_memory(small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(PackedScorer, "hidden_states_batch", broken)
    monkeypatch.setattr(listwise_loss, "summed_ndcg", lambda *_: 0.0)
    with pytest.raises(RuntimeError, match="a bug"):
        train(FEW, UNSEEN, small, tmp_path / "adapter", QUICK)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (
            {"base_fingerprint": "of another"},
            StaleAdapterError,
            "was trained on .* whose weights are not those of .*`crossaisle train -w WS ranker`",
        ),
        ({"prompt": "rank.v99"}, StaleAdapterError, "for the prompt 'rank.v99', which this version of crossaisle does not have.*ranker`"),
        ({"prompt": "../../x"}, StaleAdapterError, "for the prompt '../../x'"),
    ],
)
def test_incompatible_adapters_are_refused(
    uninterrupted: FinetuneReport, small: Settings, tmp_path: Path, changed: dict[str, str], error: type[Exception], message: str
) -> None:
    import shutil

    folder = shutil.copytree(uninterrupted.adapter, tmp_path / "adapter")
    (folder / adapters.CARD).write_text(json.dumps({**adapters.read_card(folder), **changed}))
    with pytest.raises(error, match=message):
        LanguageModel.load(small, folder)
    with pytest.raises(error, match=message):
        merge(small, folder, tmp_path / "merged")


def test_damaged_adapters(uninterrupted: FinetuneReport, small: Settings, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(uninterrupted.adapter, tmp_path / "adapter")
    (folder / adapters.WEIGHTS).write_bytes(weight_bytes(folder)[:500])
    with pytest.raises(ModelError, match="the adapter in .* cannot be loaded"):
        LanguageModel.load(small, folder)
    (folder / adapters.CARD).write_text("{")
    with pytest.raises(ModelError, match=r"card.json cannot be read"):
        LanguageModel.load(small, folder)


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"lr": 0.0}, {"dropout": 1.0}, {"batch": -1}, {"warmup": 1.0}, {"prompt": 99}])
def test_invalid_configuration(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        FinetuneConfig(**wrong)


def test_invalid_examples() -> None:
    items = FEW[0].candidates
    for wrong in ({"target": 3}, {"target": -1}, {"candidates": items[:1], "target": 0}, {"facts": [None]}, {"weight": 0.0}):
        with pytest.raises(ValueError):
            ListwiseExample(**{"history": [], "candidates": items, "target": 0, **wrong})


# ------------------------------------------------------------------ metric, weights, early stopping, layers


class FixedRanker:
    """A ranker with known scores."""

    def __init__(self, *scores: float) -> None:
        self.fixed = np.array(scores, dtype=np.float32)

    def scores(self, *_: Any) -> Any:
        return self.fixed


def test_ndcg_by_hand() -> None:
    items = [Item(f"i{n}", "x") for n in range(12)]

    def ndcg(target: int, *scores: float) -> float:
        return summed_ndcg(FixedRanker(*scores), [ListwiseExample([], items[: len(scores)], target)])  # type: ignore[arg-type]

    assert ndcg(0, 3.0, 2.0, 1.0) == 1.0
    assert ndcg(2, 3.0, 2.0, 1.0) == 0.5
    assert ndcg(0, 1.0, 1.0, 1.0) == 0.5, "ties count against the target"
    assert ndcg(0, *range(12)) == 0.0
    assert ndcg(2, *range(12)) == pytest.approx(1 / math.log2(11))
    with pytest.raises(TrainingError, match="diverged"):
        ndcg(0, 1.0, math.nan)


def test_weighted_gradients(small: Settings) -> None:
    """The gradient of a batch is the weighted mean of its examples' gradients."""
    import torch

    llm = LanguageModel.load(small)
    parameters = adapters.inject_lora(llm.model, "x", rank=2, alpha=4, dropout=0.0)
    llm.register_adapter(adapters.RANKING, 2)
    task = ListwiseRankingTask(Ranker(llm), 2048)

    def gradient(*batch: ListwiseExample) -> torch.Tensor:
        for parameter in parameters:
            parameter.grad = None
        task.accumulate_gradients(batch, sum(example.weight for example in batch))
        return torch.cat([parameter.grad.flatten() for parameter in parameters])  # type: ignore[union-attr]

    with llm.use_adapter(adapter=True):
        heavy = dataclasses.replace(FEW[0], weight=3.0)
        expected = 0.75 * gradient(FEW[0]) + 0.25 * gradient(FEW[1])
        assert expected.abs().max() > 0
        torch.testing.assert_close(gradient(heavy, FEW[1]), expected)
        with torch.no_grad():
            margins = torch.tensor(task.ranker.scores(FEW[0].history, None, FEW[0].candidates))
            nats = float(-torch.log_softmax(margins, 0)[FEW[0].target])
            assert float(task.loss(FEW[0])) == pytest.approx(nats, abs=1e-4), "training and serving compute the same scores"


def test_early_stopping_keeps_the_best_weights(small: Settings, tmp_path: Path) -> None:
    config = dataclasses.replace(QUICK, lr=1e-12, validate_every=1, patience=2)
    report = train(FEW, UNSEEN, small, tmp_path / "adapter", config)
    assert (report.steps, report.best_step) == (2, 0)
    assert report.measured == report.zero_shot
    scored = [
        Ranker(model, version=2).scores(UNSEEN[0].history, None, UNSEEN[0].candidates)
        for model in (LanguageModel.load(small, tmp_path / "adapter"), LanguageModel.load(small))
    ]
    np.testing.assert_array_equal(*scored)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # used by peft
def test_all_linear_layers_are_trained_in_peft_format(uninterrupted: FinetuneReport, small: Settings) -> None:
    from peft import PeftModel
    from safetensors.torch import load_file

    names = load_file(uninterrupted.adapter / adapters.WEIGHTS)
    assert len(names) == 2 * 2 * 7
    assert "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight" in names
    theirs = LanguageModel.load(small)
    theirs.model = PeftModel.from_pretrained(theirs.model, str(uninterrupted.adapter)).base_model.model
    ours = Ranker(LanguageModel.load(small, uninterrupted.adapter)).scores([], "a tent", FEW[0].candidates)
    np.testing.assert_allclose(ours, Ranker(theirs, version=2).scores([], "a tent", FEW[0].candidates), atol=1e-5)
    assert not np.allclose(ours, Ranker(LanguageModel.load(small), version=2).scores([], "a tent", FEW[0].candidates), atol=1e-4)


def test_gradient_checkpointing_does_not_change_the_loss(uninterrupted: FinetuneReport, small: Settings, tmp_path: Path) -> None:
    report = train(FEW, UNSEEN, small, tmp_path / "adapter", dataclasses.replace(QUICK, gradient_checkpointing=True))
    assert report.loss == pytest.approx(uninterrupted.loss, abs=1e-5)


PROGRAM = """
import json, os, pathlib, sys
sys.path.insert(0, sys.argv[3])
from test_finetune import FEW, UNSEEN, QUICK
from crossaisle.data.settings import Settings
from crossaisle.train.lora.finetune import train
import dataclasses
report = train(FEW, UNSEEN, Settings.read().with_(llm=sys.argv[1], quantization="fp32"), pathlib.Path(sys.argv[2]), dataclasses.replace(QUICK, dropout=0.0))
pathlib.Path(f"result-{os.environ['RANK']}.json").write_text(json.dumps([report.loss, report.measured, report.steps]))
"""


def test_two_processes_train_like_one(small: Settings, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    # Like `accelerate launch` on a machine with several GPUs, but on the CPU.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launch, "program.py", small.llm, str(tmp_path / "two"), str(Path(__file__).parent)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"result-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    alone = train(FEW, UNSEEN, small, tmp_path / "one", dataclasses.replace(QUICK, dropout=0.0))
    assert first == [pytest.approx(alone.loss, abs=1e-4), pytest.approx(alone.measured), STEPS]
    assert is_clean(tmp_path / "two")


# ------------------------------------------------------------------ continuing from another adapter


def test_training_continues_from_an_adapter(small: Settings, tmp_path: Path) -> None:
    first = train(FEW, UNSEEN, small, tmp_path / "first", QUICK)
    config = dataclasses.replace(QUICK, lr=1e-12, weight_decay=0.0, dropout=0.0)
    second = train(FEW, UNSEEN, small, tmp_path / "second", config, start=first.adapter)
    assert second.zero_shot == first.zero_shot  # the base model alone
    assert second.measured == pytest.approx(first.measured, abs=0.15)  # the start adapter, rounded to bf16
    assert weight_bytes(second.adapter) == weight_bytes(first.adapter)
    card = adapters.read_card(second.adapter)
    assert len(card["start"]) == 64
    assert adapters.read_card(first.adapter)["start"] is None


def test_incompatible_start_adapters_are_refused(small: Settings, settings: Settings, tmp_path: Path) -> None:
    first = train(FEW, UNSEEN, small, tmp_path / "first", QUICK).adapter
    with pytest.raises(SettingsError, match="has rank 4 .* a training of rank 8"):
        train(FEW, UNSEEN, small, tmp_path / "second", dataclasses.replace(QUICK, rank=8), start=first)
    with pytest.raises(StaleAdapterError):
        train(FEW, UNSEEN, settings.with_(llm="smollm2", quantization="nf4"), tmp_path / "second", QUICK, start=first)
    with pytest.raises(ModelMissingError):
        train(FEW, UNSEEN, small, tmp_path / "second", QUICK, start=tmp_path / "nothing")
    (first / adapters.WEIGHTS).write_bytes(b"cut")
    with pytest.raises(ModelError, match="cannot be loaded"):
        train(FEW, UNSEEN, small, tmp_path / "second", QUICK, start=first)
    assert not (tmp_path / "second" / adapters.CARD).exists()


# ------------------------------------------------------------------ adapted blocks and precision


def test_only_the_last_blocks_are_adapted(small: Settings, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    report = train(FEW, UNSEEN, small, tmp_path / "adapter", dataclasses.replace(QUICK, blocks=1, lr=1e-2))
    names = load_file(report.adapter / adapters.WEIGHTS)
    assert len(names) == 2 * 7
    assert all(".layers.1." in name for name in names)
    tuned, base = LanguageModel.load(small, report.adapter), LanguageModel.load(small)
    assert not np.array_equal(*(Ranker(llm, version=2).scores([], "a tent", FEW[0].candidates) for llm in (tuned, base)))


def test_updates_below_the_resolution_of_bf16_accumulate(small: Settings, tmp_path: Path) -> None:
    """A learning rate far below the resolution of bf16 weights changes them eventually, also after resuming from a kill."""
    settings = small.with_(quantization="bf16")
    slow = dataclasses.replace(QUICK, lr=2e-5, dropout=0.0, warmup=0.0, epochs=4, checkpoint_every=5)
    one = LoraTrainer(FEW, UNSEEN, settings, tmp_path / "one", slow, DistributedContext(), "x")
    before = [parameter.detach().clone() for parameter in one.parameters]
    assert {parameter.dtype for parameter in one.parameters} == {torch_dtype("bfloat16")}
    with one.llm.use_adapter(adapter=True):
        one.train(None)
    moved = [not bool((old == new).all()) for old, new in zip(before, one.parameters, strict=True)]
    assert all(moved)

    class Killed(Exception):
        pass

    def kill(at: TrainingProgress) -> None:
        if at.step == 11:
            raise Killed

    two = LoraTrainer(FEW, UNSEEN, settings, tmp_path / "two", slow, DistributedContext(), "x")
    with two.llm.use_adapter(adapter=True), pytest.raises(Killed):
        two.train(kill)
    three = LoraTrainer(FEW, UNSEEN, settings, tmp_path / "two", slow, DistributedContext(), "x")
    assert three.resumed_from == 10
    with three.llm.use_adapter(adapter=True):
        three.train(None)
    assert all(bool((mine == its).all()) for mine, its in zip(one.master_weights, three.master_weights, strict=True))


def torch_dtype(name: str) -> Any:
    import torch

    return getattr(torch, name)
