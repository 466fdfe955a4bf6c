"""Every kind of leak, put there on purpose, stops an evaluation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossaisle.data.errors import LeakError
from crossaisle.data.settings import Settings
from crossaisle.data.splits import HeldOut, Split
from crossaisle.data.workspace import Workspace
from crossaisle.eval.splits import leakage, protocols
from crossaisle.eval.splits.cases import Cases, EligibleItems
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.retrieval.index.builder import item_vectors, load
from crossaisle.retrieval.items.interactions import Events
from crossaisle.retrieval.items.ragged import Runs

SPLIT = Split("users", 0, test=0.3, validation=0.1)


@pytest.fixture(scope="module")
def drawn(demo_workspace: Workspace, settings: Settings) -> tuple[Cases, TrainingView, TrainingView]:
    """Cases of the demo store, what may be known of it, and all of it."""
    catalogue, index, _ = load(demo_workspace, settings)
    vectors = item_vectors(index, catalogue)
    test = protocols.sample_cases(SPLIT, Events.build(demo_workspace.table("interactions"), catalogue), catalogue, "test", "new")
    cases = test.cases.with_eligible_targets(EligibleItems(catalogue, "new"))
    known, everything = (TrainingView.from_workspace(demo_workspace, held, index, vectors) for held in (test.held_out, HeldOut()))
    return cases, known, everything


def test_an_honest_evaluation_passes(drawn: tuple[Cases, TrainingView, TrainingView], demo_workspace: Workspace) -> None:
    cases, known, _ = drawn
    assert len(cases) > 20
    leakage.check_leaks(cases, known, demo_workspace, SPLIT)


def test_the_test_in_the_training(drawn: tuple[Cases, TrainingView, TrainingView], demo_workspace: Workspace) -> None:
    cases, _, everything = drawn
    with pytest.raises(LeakError, match=f"{len(cases.targets.rows):,} test interactions are in the training snapshot"):
        leakage.check_leaks(cases, everything, demo_workspace, SPLIT)


def test_the_test_in_the_counts(drawn: tuple[Cases, TrainingView, TrainingView], demo_workspace: Workspace) -> None:
    cases, known, everything = drawn
    false = replace(known)
    object.__setattr__(false, "associations", everything.associations)
    with pytest.raises(LeakError, match="more users in the association counts than in the training snapshot"):
        leakage.check_leaks(cases, false, demo_workspace, SPLIT)


def test_the_test_in_the_reviews(drawn: tuple[Cases, TrainingView, TrainingView], demo_workspace: Workspace) -> None:
    cases, known, everything = drawn
    assert known.withheld_reviews
    with pytest.raises(LeakError, match="reviews of a target by its own user are searched"):
        leakage.check_leaks(cases, replace(known, reviews=everything.reviews, withheld_reviews=frozenset()), demo_workspace, SPLIT)


def test_withheld_reviews_are_not_found(drawn: tuple[Cases, TrainingView, TrainingView]) -> None:
    _, known, everything = drawn
    vectors = known.vectors[:30]

    def all_of_them(_: int, ids: list[str]) -> list[bool]:
        return [True] * len(ids)

    found = {key for page in known.retriever.index.nearest("reviews", vectors, all_of_them, 50) for key, _ in page}
    before = {key for page in everything.retriever.index.nearest("reviews", vectors, all_of_them, 50) for key, _ in page}
    assert before & known.withheld_reviews
    assert found
    assert not found & known.withheld_reviews


def test_a_target_in_its_history(drawn: tuple[Cases, TrainingView, TrainingView], demo_workspace: Workspace) -> None:
    cases, known, _ = drawn
    histories = [[*cases.histories[i].tolist()] for i in range(len(cases))]
    histories[3].append(int(cases.targets[3][0]))
    with pytest.raises(LeakError, match="1 targets are in the history of their case"):
        leakage.check_leaks(replace(cases, histories=Runs.of(histories)), known, demo_workspace, SPLIT)


@pytest.mark.parametrize("wrong", [{"snapshot": "another"}, {"seed": 7}, {"protocol": "temporal"}, {"test": 0.1}, None])
def test_a_card_that_held_out_something_else(
    drawn: tuple[Cases, TrainingView, TrainingView], demo_workspace: Workspace, tmp_path: Path, wrong: dict[str, object] | None
) -> None:
    cases, known, _ = drawn
    shop = Workspace(demo_workspace.path)
    shop.path = tmp_path
    (tmp_path / "graph").mkdir()
    held = SPLIT.to_dict()
    card = {"snapshot": shop.manifest.snapshot, "held_out": held}
    (tmp_path / "graph" / "card.json").write_text(json.dumps(card))
    leakage.check_leaks(cases, known, shop, SPLIT)
    if wrong is None:
        (tmp_path / "graph" / "card.json").write_text("torn")
    else:
        snapshot = wrong.get("snapshot", shop.manifest.snapshot)
        (tmp_path / "graph" / "card.json").write_text(json.dumps({"snapshot": snapshot, "held_out": {**held, **wrong}}))
    with pytest.raises(LeakError, match=r"trained part \(graph\) did not hold out"):
        leakage.check_leaks(cases, known, shop, SPLIT)


def test_a_target_in_the_prompt(drawn: tuple[Cases, TrainingView, TrainingView]) -> None:
    cases, known, _ = drawn
    titles = known.catalogue.items["title"].to_list()
    history = "; ".join(titles[row] for row in cases.histories[0])
    assert not leakage.prompt_leaks(cases, {0: history}, known.catalogue)
    assert leakage.prompt_leaks(cases, {0: history + titles[cases.targets[0][0]]}, known.catalogue)[0].count == 1


def test_near_duplicates_by_cosine() -> None:
    vectors = np.asarray([[1, 0], [0.9999, 0.01], [0, 1], [0.6, 0.8]], dtype=np.float32)
    cases = Cases(["u", "v"], Runs.of([[0], [2]]), Runs.of([[1, 2], [3]]), [None, None])
    assert leakage.near_duplicates(cases, vectors).tolist() == [True, False, False]
