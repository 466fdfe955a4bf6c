"""What the LLM learns to word reasons from, and what it has learned, in a workspace."""

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
from crossaisle.train.explainer_examples import HELD_OUT_CATEGORY, VALIDATION_EXAMPLES, ExplainerExamples, explainer_examples
from crossaisle.train.lora.config import FinetuneConfig

from ..command_line import assert_rejected, run

QUICK = FinetuneConfig(rank=2, alpha=4, batch=128, lr=1e-3, prompt=1, validate_every=50)
ITEMS = [Item(f"i{n}", f"Thing number {n}", (category,)) for n, category in enumerate(["Baby", "Kitchen", "Garden", "Furniture"] * 5)]


_CATEGORIES = sorted({category for one in handwritten_wordings() for category in one.categories if category})


@pytest.fixture(scope="module")
def lessons(llm: LanguageModel) -> ExplainerExamples:
    return explainer_examples(BriefRenderer(llm), ITEMS, 0, rounds=2)


def test_some_categories_are_kept_back(lessons: ExplainerExamples, llm: LanguageModel) -> None:
    kept = {one.text for one in handwritten_wordings() if HELD_OUT_CATEGORY in one.categories}
    assert len(lessons.validation) == VALIDATION_EXAMPLES
    assert len(lessons.training) >= 500
    answers = {one.answer for one in lessons.training}
    assert len(lessons.training) == 2 * len(answers), "each wording twice, of other items"
    prompts = [llm.tokenizer.decode(one.prompt) for one in lessons.training]
    assert len(set(prompts)) > 0.9 * len(prompts)
    assert all("Thing number" in prompt for prompt in prompts)
    assert not {tuple(llm.encode(slots_to_letters(text))) for text in kept} & {one.answer[:-1] for one in lessons.training}


def test_what_validates_was_never_spoken_of(llm: LanguageModel) -> None:
    items = [Item(f"{category}{n}", f"{category} thing {n}", (category,)) for n in range(3) for category in _CATEGORIES]
    found = explainer_examples(BriefRenderer(llm), items, 0, rounds=1)
    for parts, kept_back in ((found.training, False), (found.validation, True)):
        for one in parts:
            prompts = re.search(r"Y = (\w[\w& ]*) thing \d", llm.tokenizer.decode(one.prompt))
            assert prompts
            assert (prompts[1] == HELD_OUT_CATEGORY) == kept_back
            own = re.search(r"X = (\w[\w& ]*) thing \d", llm.tokenizer.decode(one.prompt))
            assert own is None or own[1] != HELD_OUT_CATEGORY


def test_a_lesson_ends_and_holds_letters_for_slots(lessons: ExplainerExamples, llm: LanguageModel) -> None:
    for one in (*lessons.training[:50], *lessons.validation[:20]):
        assert one.answer[-1] == llm.tokenizer.eos_token_id
        answer = llm.tokenizer.decode(one.answer[:-1])
        assert "{" not in answer
        assert " Y" in answer or answer.startswith("Y")
        assert len(one.prompt) + len(one.answer) < 400


def test_the_same_seed_is_the_same(lessons: ExplainerExamples, llm: LanguageModel) -> None:
    assert explainer_examples(BriefRenderer(llm), ITEMS, 0, rounds=2) == lessons
    assert explainer_examples(BriefRenderer(llm), ITEMS, 1, rounds=2) != lessons


@pytest.fixture(scope="module")
def wrote(demo_workspace: Workspace, small: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, Any]]:
    """A store whose small LLM learned to word reasons, a little."""
    path = tmp_path_factory.mktemp("wrote") / "shop"
    shutil.copytree(demo_workspace.path, path)
    return Workspace(path), pipeline.train_workspace(Workspace(path), small, part="explainer", ranker=QUICK)


def test_what_was_learned_is_in_the_workspace_and_in_use(wrote: tuple[Workspace, dict[str, Any]], small: Settings) -> None:
    shop, figures = wrote
    assert figures["explainer"]["best_step"] > 0
    assert figures["explainer"]["validation_examples"] == VALIDATION_EXAMPLES
    card = json.loads((shop.path / "explainer" / "card.json").read_text())
    assert (card["prompt"], card["snapshot"]) == ("word.v1", shop.manifest.snapshot)
    recommender = Recommender.open(shop, settings=small)
    user = next(iter(recommender.histories))
    answer = recommender.recommend(user_id=user, k=3)
    assert all(found.explanation and found.explanation.text for found in answer)
    assert recommender._explainer._generator is not None
    ranked = [found.item.item_id for found in answer]
    (shop.path / "explainer").rename(shop.path / "away")
    try:
        plain = Recommender.open(shop, settings=small)
        assert [found.item.item_id for found in plain.recommend(user_id=user, k=3)] == ranked, "it words, it does not rank"
        assert plain._explainer._generator is None, "the adapter that ships is of another model"
    finally:
        (shop.path / "away").rename(shop.path / "explainer")


def test_of_another_model_it_is_refused(wrote: tuple[Workspace, dict[str, Any]], settings: Settings) -> None:
    recommender = Recommender.open(wrote[0], settings=settings.with_(llm="smollm2", quantization="nf4"))
    with pytest.raises(StaleAdapterError, match="whose weights are not those of 'smollm2'"):
        recommender.recommend(user_id=next(iter(recommender.histories)), k=1)


def test_without_an_llm_there_is_nothing_to_teach(demo_workspace: Workspace, small: Settings, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shutil.copytree(demo_workspace.path, shop)
    with pytest.raises(TrainingError, match="no LLM to train"):
        pipeline.train_workspace(Workspace(shop), small.with_(llm="none"), part="explainer")
    assert_rejected(run("train", "-w", shop, "writer"), "explainer", "'writer'")


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--tone", "loud"], "plain, warm, expert"), (["--length", "long"], "line, paragraph, bullets"), (["--language", "fr"], "English")],
)
def test_a_tone_or_length_that_is_none_is_one_sentence(demo_workspace: Workspace, options: list[str], words: str) -> None:
    assert_rejected(run("recommend", "-w", demo_workspace.path, "--user", "s013", "--llm", "none", *options), words)
