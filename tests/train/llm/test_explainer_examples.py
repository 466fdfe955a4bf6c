"""Training examples of the explainer, and a trained explainer in a workspace."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from crossaisle.data.errors import StaleAdapterError, TrainingError
from crossaisle.data.records import Item
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.llm.explain.briefs import BriefRenderer, handwritten_wordings
from crossaisle.llm.explain.slots import slots_to_letters
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.recommend.recommender import Recommender
from crossaisle.train import pipeline
from crossaisle.train.llm.explainer_examples import HELD_OUT_CATEGORY, VALIDATION_EXAMPLES, ExplainerExamples, explainer_examples
from crossaisle.train.lora.config import FinetuneConfig

from ...command_line import assert_rejected, run

QUICK = FinetuneConfig(rank=2, alpha=4, batch=128, lr=1e-3, prompt=1, validate_every=50)
ITEMS = [Item(f"i{n}", f"Thing number {n}", (category,)) for n, category in enumerate(["Baby", "Kitchen", "Garden", "Furniture"] * 5)]


_CATEGORIES = sorted({category for wording in handwritten_wordings() for category in wording.categories if category})


@pytest.fixture(scope="module")
def examples(llm: LanguageModel) -> ExplainerExamples:
    return explainer_examples(BriefRenderer(llm), ITEMS, 0, rounds=2)


def test_the_held_out_category_has_no_training_example(examples: ExplainerExamples, llm: LanguageModel) -> None:
    held_out = {wording.text for wording in handwritten_wordings() if HELD_OUT_CATEGORY in wording.categories}
    assert len(examples.validation) == VALIDATION_EXAMPLES
    assert len(examples.training) >= 500
    answers = {example.answer for example in examples.training}
    assert len(examples.training) == 2 * len(answers), "each wording twice, with different items"
    prompts = [llm.tokenizer.decode(example.prompt) for example in examples.training]
    assert len(set(prompts)) > 0.9 * len(prompts)
    assert all("Thing number" in prompt for prompt in prompts)
    held_out_answers = {tuple(llm.encode(slots_to_letters(text))) for text in held_out}
    assert not held_out_answers & {example.answer[:-1] for example in examples.training}


def test_only_validation_examples_have_items_of_the_held_out_category(llm: LanguageModel) -> None:
    items = [Item(f"{category}{n}", f"{category} thing {n}", (category,)) for n in range(3) for category in _CATEGORIES]
    examples = explainer_examples(BriefRenderer(llm), items, 0, rounds=1)
    for part, is_held_out in ((examples.training, False), (examples.validation, True)):
        for example in part:
            prompt = llm.tokenizer.decode(example.prompt)
            item = re.search(r"Y = (\w[\w& ]*) thing \d", prompt)
            assert item
            assert (item[1] == HELD_OUT_CATEGORY) == is_held_out
            anchor = re.search(r"X = (\w[\w& ]*) thing \d", prompt)
            assert anchor is None or anchor[1] != HELD_OUT_CATEGORY


def test_an_answer_has_letters_for_slots_and_an_end_token(examples: ExplainerExamples, llm: LanguageModel) -> None:
    for example in (*examples.training[:50], *examples.validation[:20]):
        assert example.answer[-1] == llm.tokenizer.eos_token_id
        answer = llm.tokenizer.decode(example.answer[:-1])
        assert "{" not in answer
        assert " Y" in answer or answer.startswith("Y")
        assert len(example.prompt) + len(example.answer) < 400


def test_examples_are_deterministic(examples: ExplainerExamples, llm: LanguageModel) -> None:
    assert explainer_examples(BriefRenderer(llm), ITEMS, 0, rounds=2) == examples
    assert explainer_examples(BriefRenderer(llm), ITEMS, 1, rounds=2) != examples


@pytest.fixture(scope="module")
def trained_explainer(
    demo_workspace: Workspace, small: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, dict[str, Any]]:
    """A store with an explainer trained on a small LLM, and the metrics."""
    path = tmp_path_factory.mktemp("explainer") / "shop"
    shutil.copytree(demo_workspace.path, path)
    return Workspace(path), pipeline.train_workspace(Workspace(path), small, part="explainer", ranker=QUICK)


def test_the_trained_explainer_is_stored_and_used(trained_explainer: tuple[Workspace, dict[str, Any]], small: Settings) -> None:
    shop, metrics = trained_explainer
    assert metrics["explainer"]["best_step"] > 0
    assert metrics["explainer"]["validation_examples"] == VALIDATION_EXAMPLES
    card = json.loads((shop.path / "explainer" / "card.json").read_text())
    assert (card["prompt"], card["snapshot"]) == ("word.v1", shop.manifest.snapshot)
    recommender = Recommender.open(shop, settings=small)
    user = next(iter(recommender.histories))
    answer = recommender.recommend(user_id=user, k=3)
    assert all(recommendation.explanation and recommendation.explanation.text for recommendation in answer)
    assert recommender._explainer._generator is not None
    ranked = [recommendation.item.item_id for recommendation in answer]
    (shop.path / "explainer").rename(shop.path / "away")
    try:
        without = Recommender.open(shop, settings=small)
        same = [recommendation.item.item_id for recommendation in without.recommend(user_id=user, k=3)]
        assert same == ranked, "the explainer does not rank"
        assert without._explainer._generator is None, "the bundled adapter is for another model"
    finally:
        (shop.path / "away").rename(shop.path / "explainer")


def test_an_explainer_of_another_model_is_rejected(trained_explainer: tuple[Workspace, dict[str, Any]], settings: Settings) -> None:
    recommender = Recommender.open(trained_explainer[0], settings=settings.with_(llm="smollm2", quantization="nf4"))
    with pytest.raises(StaleAdapterError, match="whose weights are not those of 'smollm2'"):
        recommender.recommend(user_id=next(iter(recommender.histories)), k=1)


def test_training_the_explainer_needs_an_llm(demo_workspace: Workspace, small: Settings, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shutil.copytree(demo_workspace.path, shop)
    with pytest.raises(TrainingError, match="no LLM to train"):
        pipeline.train_workspace(Workspace(shop), small.with_(llm="none"), part="explainer")
    assert_rejected(run("train", "-w", shop, "writer"), "explainer", "'writer'")


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--tone", "loud"], "plain, warm, expert"), (["--length", "long"], "line, paragraph, bullets"), (["--language", "fr"], "English")],
)
def test_an_unknown_tone_length_or_language_is_rejected(demo_workspace: Workspace, options: list[str], words: str) -> None:
    assert_rejected(run("recommend", "-w", demo_workspace.path, "--user", "s013", "--llm", "none", *options), words)
