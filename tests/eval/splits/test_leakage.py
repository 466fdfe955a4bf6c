"""Leakage checks: each kind of leak, planted on purpose, stops an evaluation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossaisle.data.errors import LeakError
from crossaisle.data.settings import Settings
from crossaisle.data.splits import WHOLE_USER_PROTOCOLS, HeldOut, Protocol, Split
from crossaisle.data.workspace import Workspace
from crossaisle.eval.splits import leakage, protocols
from crossaisle.eval.splits.cases import Cases, EligibleItems
from crossaisle.eval.splits.training_view import TrainingView
from crossaisle.retrieval.index.builder import item_vectors, load
from crossaisle.retrieval.items.interactions import Events
from crossaisle.retrieval.items.ragged import RaggedArray

SPLIT = Split("users", 0, test=0.3, validation=0.1)


@pytest.fixture(scope="module")
def case_views(demo_workspace: Workspace, settings: Settings) -> tuple[Cases, TrainingView, TrainingView]:
    """Test cases of the demo store, its training view, and a view that holds nothing out."""
    catalogue, index, _ = load(demo_workspace, settings)
    vectors = item_vectors(index, catalogue)
    test = protocols.sample_cases(SPLIT, Events.build(demo_workspace.table("interactions"), catalogue), catalogue, "test", "new")
    cases = test.cases.with_eligible_targets(EligibleItems(catalogue, "new"))
    view, full_view = (TrainingView.from_workspace(demo_workspace, held, index, vectors) for held in (test.held_out, HeldOut()))
    return cases, view, full_view


def test_no_leak_passes(case_views: tuple[Cases, TrainingView, TrainingView], demo_workspace: Workspace) -> None:
    cases, view, _ = case_views
    assert len(cases) > 20
    leakage.check_leaks(cases, view, demo_workspace, SPLIT)


def test_test_interactions_in_training(case_views: tuple[Cases, TrainingView, TrainingView], demo_workspace: Workspace) -> None:
    cases, _, full_view = case_views
    with pytest.raises(LeakError, match=f"{len(cases.targets.rows):,} test interactions are in the training snapshot"):
        leakage.check_leaks(cases, full_view, demo_workspace, SPLIT)


def test_test_users_in_association_counts(case_views: tuple[Cases, TrainingView, TrainingView], demo_workspace: Workspace) -> None:
    cases, view, full_view = case_views
    leaking = replace(view)
    object.__setattr__(leaking, "associations", full_view.associations)
    with pytest.raises(LeakError, match="more users in the association counts than in the training snapshot"):
        leakage.check_leaks(cases, leaking, demo_workspace, SPLIT)


def test_test_reviews_are_searchable(case_views: tuple[Cases, TrainingView, TrainingView], demo_workspace: Workspace) -> None:
    cases, view, full_view = case_views
    assert view.withheld_reviews
    with pytest.raises(LeakError, match="reviews of a target by its own user are searched"):
        leakage.check_leaks(cases, replace(view, reviews=full_view.reviews, withheld_reviews=frozenset()), demo_workspace, SPLIT)


def test_withheld_reviews_are_not_found(case_views: tuple[Cases, TrainingView, TrainingView]) -> None:
    _, view, full_view = case_views
    vectors = view.vectors[:30]

    def all_allowed(_: int, ids: list[str]) -> list[bool]:
        return [True] * len(ids)

    visible = {key for page in view.retriever.index.nearest("reviews", vectors, all_allowed, 50) for key, _ in page}
    all_reviews = {key for page in full_view.retriever.index.nearest("reviews", vectors, all_allowed, 50) for key, _ in page}
    assert all_reviews & view.withheld_reviews
    assert visible
    assert not visible & view.withheld_reviews


def test_target_in_history(case_views: tuple[Cases, TrainingView, TrainingView], demo_workspace: Workspace) -> None:
    cases, view, _ = case_views
    histories = [[*cases.histories[i].tolist()] for i in range(len(cases))]
    histories[3].append(int(cases.targets[3][0]))
    with pytest.raises(LeakError, match="1 targets are in the history of their case"):
        leakage.check_leaks(replace(cases, histories=RaggedArray.of(histories)), view, demo_workspace, SPLIT)


@pytest.mark.parametrize("changed", [{"snapshot": "another"}, {"seed": 7}, {"protocol": "temporal"}, {"test": 0.1}, None])
def test_card_with_another_split(
    case_views: tuple[Cases, TrainingView, TrainingView], demo_workspace: Workspace, tmp_path: Path, changed: dict[str, object] | None
) -> None:
    cases, view, _ = case_views
    shop = Workspace(demo_workspace.path)
    shop.path = tmp_path
    (tmp_path / "graph").mkdir()
    held = SPLIT.to_dict()
    card = {"snapshot": shop.manifest.snapshot, "held_out": held}
    (tmp_path / "graph" / "card.json").write_text(json.dumps(card))
    leakage.check_leaks(cases, view, shop, SPLIT)
    if changed is None:
        (tmp_path / "graph" / "card.json").write_text("truncated")
    else:
        snapshot = changed.get("snapshot", shop.manifest.snapshot)
        (tmp_path / "graph" / "card.json").write_text(json.dumps({"snapshot": snapshot, "held_out": {**held, **changed}}))
    with pytest.raises(LeakError, match=r"trained part \(graph\) did not hold out"):
        leakage.check_leaks(cases, view, shop, SPLIT)


@pytest.mark.parametrize("trained_for", ["users", "whole-category"])
def test_a_training_serves_both_protocols_of_whole_users(
    case_views: tuple[Cases, TrainingView, TrainingView], demo_workspace: Workspace, tmp_path: Path, trained_for: Protocol
) -> None:
    cases, view, _ = case_views
    shop = Workspace(demo_workspace.path)
    shop.path = tmp_path
    (tmp_path / "graph").mkdir()
    card = {"snapshot": shop.manifest.snapshot, "held_out": SPLIT.with_(protocol=trained_for).to_dict()}
    (tmp_path / "graph" / "card.json").write_text(json.dumps(card))
    for protocol in WHOLE_USER_PROTOCOLS:
        leakage.check_leaks(cases, view, shop, SPLIT.with_(protocol=protocol))
    for changes in ({"seed": 1}, {"test": 0.2}, {"protocol": "leave-one-out"}):
        remedy = f"crossaisle train -w {tmp_path} " + ("--protocol leave-one-out " if "protocol" in changes else "--seed ")
        with pytest.raises(LeakError, match=remedy):
            leakage.check_leaks(cases, view, shop, SPLIT.with_(**changes))


def test_target_in_prompt(case_views: tuple[Cases, TrainingView, TrainingView]) -> None:
    cases, view, _ = case_views
    titles = view.catalogue.items["title"].to_list()
    history = "; ".join(titles[row] for row in cases.histories[0])
    assert not leakage.prompt_leaks(cases, {0: history}, view.catalogue)
    assert leakage.prompt_leaks(cases, {0: history + titles[cases.targets[0][0]]}, view.catalogue)[0].count == 1


def test_near_duplicates_by_cosine() -> None:
    vectors = np.asarray([[1, 0], [0.9999, 0.01], [0, 1], [0.6, 0.8]], dtype=np.float32)
    cases = Cases(["u", "v"], RaggedArray.of([[0], [2]]), RaggedArray.of([[1, 2], [3]]), [None, None])
    assert leakage.near_duplicates(cases, vectors).tolist() == [True, False, False]
