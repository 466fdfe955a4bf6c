"""Recommendations end to end: the demo store, real vectors, the LLM in NF4."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crossaisle import Recommender, Rules, Settings, Workspace
from crossaisle.data.errors import EmptyHistoryError, QueryError, UnknownItemError, UnknownUserError
from crossaisle.data.records import Query
from crossaisle.eval.explanations.report import explanation_errors, explanation_report
from crossaisle.recommend.constraints.eligibility import eligible_items
from crossaisle.recommend.serialization import to_dict


@pytest.fixture(scope="session")
def shop(demo_workspace: Workspace, settings: Settings) -> Recommender:
    return Recommender.open(demo_workspace, settings=settings)


@pytest.fixture(scope="session")
def plain(demo_workspace: Workspace, settings: Settings) -> Recommender:
    """The same store without a language model."""
    return Recommender.open(demo_workspace, llm="none", settings=settings)


def bought(shop: Recommender, user: str) -> pl.DataFrame:
    table = shop.workspace.table("interactions")
    return table.filter(pl.col("user_id") == user)


def test_recommendations_are_complete(shop: Recommender) -> None:
    answer = shop.recommend(user_id="s013", k=5)
    assert [entry.rank for entry in answer] == [1, 2, 3, 4, 5]
    assert len({entry.item.item_id for entry in answer}) == 5
    scores = [entry.score for entry in answer]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    assert set(answer.timings_ms) == {"retrieve", "rank", "explain"}
    owned = set(bought(shop, "s013")["item_id"])
    for entry in answer:
        assert "llm" not in entry.channels, "without a trained adapter the LLM ranks for text queries only"
        assert "factors" in entry.channels
        assert len(entry.channels) >= 2
        assert entry.item.item_id not in owned
        assert entry.anchor in owned
        assert entry.explanation is not None
        assert entry.explanation.verified == bool(entry.explanation.text)
    assert sum(bool(entry.explanation and entry.explanation.text) for entry in answer) >= 3, "being popular is no reason"


def test_the_same_query_gives_the_same_result(shop: Recommender) -> None:
    first, second = (to_dict(shop.recommend(user_id="s021", k=4)) for _ in range(2))
    for answer in (first, second):
        answer.pop("timings_ms")
        answer["llm"].pop("sentences_generated")  # what was generated once is kept
    assert first == second


def test_scope_new_excludes_the_history_s_categories_for_every_user(plain: Recommender) -> None:
    for user in plain.histories:
        history_categories = {plain.catalogue.category_name(row) for row in plain.histories.of(user).rows}
        answer = plain.recommend(user_id=user, k=5, explain=False)
        assert not history_categories & {entry.item.category[0] for entry in answer}
        assert answer.items or answer.unsatisfied


def test_scope_other_excludes_the_anchor_s_category(plain: Recommender) -> None:
    known = 0
    for user in list(plain.histories)[:60]:
        answer = plain.recommend(user_id=user, k=5, rules=Rules(scope="other"), explain=False)
        history_categories = {plain.catalogue.category_name(row) for row in plain.histories.of(user).rows}
        for entry in answer:
            assert entry.anchor is not None
            assert entry.item.category[0] != plain.catalogue.category_name(plain.catalogue.row(entry.anchor))
            known += entry.item.category[0] in history_categories
    assert known, "scope other includes categories that the shopper knows"


@pytest.mark.parametrize(
    ("rules", "is_satisfied"),
    [
        (Rules(max_price=20), lambda item: item.price <= 20),
        (Rules(min_price=50, max_price=90), lambda item: 50 <= item.price <= 90),
        (Rules(include_categories=("kitchen",)), lambda item: item.category[0] == "Kitchen"),
        (Rules(include_categories=("Sleeping Bags",)), lambda item: item.category[1] == "Sleeping Bags"),
        (Rules(exclude_categories=("Furniture", "Kitchen")), lambda item: item.category[0] not in ("Furniture", "Kitchen")),
        (Rules(brands=("carrovo",)), lambda item: item.brand == "Carrovo"),
        (Rules(in_stock=True), lambda item: item.in_stock is not False),
    ],
)
def test_rules_are_satisfied(plain: Recommender, rules: Rules, is_satisfied) -> None:  # type: ignore[no-untyped-def]
    answers = [plain.recommend(items=[item], k=8, rules=rules, explain=False) for item in ("PH-001", "BB-003", "GD-016")]
    items = [entry.item for answer in answers for entry in answer]
    assert items
    assert all(is_satisfied(item) for item in items)


def test_the_cap_per_category_holds_even_if_the_list_is_short(plain: Recommender) -> None:
    answer = plain.recommend(
        user_id="s013", k=10, rules=Rules(max_per_category=1, include_categories=("Kitchen", "Bed & Bath")), explain=False
    )
    assert len(answer) == 2
    assert answer.unsatisfied


def test_without_a_cap_no_category_fills_the_list(plain: Recommender) -> None:
    for user in ("s007", "s013", "s040", "s100"):
        answer = plain.recommend(user_id=user, k=5, explain=False)
        assert max(pl.Series([entry.item.category[0] for entry in answer]).value_counts()["count"]) <= 2


def test_a_short_list_names_the_reason(plain: Recommender) -> None:
    answer = plain.recommend(user_id="s013", k=5, rules=Rules(max_price=0.01), explain=False)
    assert len(answer) == 0
    assert "price" in answer.unsatisfied[0]


def test_owned_items_are_recommended_only_on_request(plain: Recommender) -> None:
    rules = Rules(scope="other", exclude_owned=False)
    returned = 0
    for user in list(plain.histories)[:40]:
        owned = set(bought(plain, user)["item_id"])
        assert not owned & {entry.item.item_id for entry in plain.recommend(user_id=user, rules=Rules(scope="other"), explain=False)}
        returned += len(owned & {entry.item.item_id for entry in plain.recommend(user_id=user, rules=rules, explain=False)})
    assert returned


def test_a_long_list_is_filled_and_satisfies_the_cap(plain: Recommender) -> None:
    assert len(plain.recommend(text="camping", k=100, explain=False)) == 100
    answer = plain.recommend(items=["CA-001"], k=10, rules=Rules(max_per_category=1), explain=False)
    assert len({entry.item.category[0] for entry in answer}) == 10


def test_a_later_view_does_not_lower_the_weight_of_a_purchase(plain: Recommender) -> None:
    shopper = plain.shopper(Query(user_id="s013"))
    assert shopper.profile.weights.argmax() == len(shopper.rows) - 1
    assert len(set(shopper.rows.tolist())) == len(shopper.rows)


def test_a_text_query_finds_matching_items(shop: Recommender) -> None:
    answer = shop.recommend(text="I am going winter camping", k=5)
    assert "Camping & Outdoors" in {entry.item.category[0] for entry in answer}
    assert all(entry.anchor is None for entry in answer)


def test_user_items_and_text_are_combined(plain: Recommender) -> None:
    answer = plain.recommend(user_id="s013", items=["CA-001"], text="for the dog", k=5, explain=False)
    history_categories = {plain.catalogue.category_name(row) for row in plain.histories.of("s013").rows} | {"Camping & Outdoors"}
    assert not history_categories & {entry.item.category[0] for entry in answer}


def test_a_text_changes_the_list_of_a_user_and_is_mentioned(shop: Recommender) -> None:
    without = {entry.item.item_id for entry in shop.recommend(user_id="s213", k=5, explain=False)}
    answer = shop.recommend(user_id="s213", text="I am going winter camping", k=5)
    assert len(without & {entry.item.item_id for entry in answer}) <= 3
    assert any("winter camping" in entry.explanation.text for entry in answer)


def test_a_basket_is_used_as_a_history(plain: Recommender) -> None:
    once = plain.recommend(items=["CA-001", "CA-009"], k=5, explain=False)
    assert {entry.anchor for entry in once} <= {"CA-001", "CA-009"}
    assert [entry.item.item_id for entry in once] == [
        entry.item.item_id for entry in plain.recommend(items=["CA-001", "CA-009"], k=5, explain=False)
    ]


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ({"user_id": "nobody"}, UnknownUserError, r"400 .*--items.*--text"),
        ({"items": ["XX-1"]}, UnknownItemError, r"XX-1.*382"),
        ({}, EmptyHistoryError, "nothing to go by"),
        ({"text": "   "}, EmptyHistoryError, "nothing to go by"),
        ({"user_id": "s013", "k": 0}, QueryError, "k must be 1"),
        ({"user_id": "s013", "k": 1000}, QueryError, "k must be 1"),
        ({"text": "x" * 100_000}, QueryError, "100,000 characters"),
        ({"user_id": "s013", "rules": Rules(min_price=9, max_price=3)}, QueryError, "upside down"),
        ({"user_id": "s013", "rules": Rules(min_price=float("nan"))}, QueryError, "lowest price"),
        ({"user_id": "s013", "rules": Rules(max_per_category=0)}, QueryError, "per category"),
        ({"user_id": "s013", "rules": Rules(include_categories=("Phonez",))}, QueryError, "Phones"),
    ],
)
def test_invalid_queries_raise_with_a_message(plain: Recommender, query, error, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        plain.recommend(**query)


# ---------------------------------------------------------------------- explanations match the data


def recount(shop: Recommender, explanation, title: str) -> int:  # type: ignore[no-untyped-def]
    """Check the facts of an explanation against the tables, independently of the implementation; return how many were checked."""
    table = shop.workspace.table("interactions")
    items = shop.workspace.table("items")
    checked = 0
    for fact in explanation.evidence:
        if fact.kind == "association" and fact.item_id:
            counts = [int(token) for token in fact.text.split() if token.isdigit()][:2]
            target = items.filter(pl.col("title") == title)["item_id"][0]
            left = set(table.filter(pl.col("item_id") == fact.item_id)["user_id"])
            both = left & set(table.filter(pl.col("item_id") == target)["user_id"])
            assert counts == [len(both), len(left)], fact.text
            checked += 1
        if fact.kind == "review":
            reviews = shop.workspace.table("reviews").filter(pl.col("item_id") == fact.item_id)
            assert any(fact.text in " ".join(text.split()) for text in reviews["text"]), fact.text
            checked += 1
    return checked


@pytest.fixture(scope="session")
def explained(shop: Recommender) -> list:  # type: ignore[type-arg]
    users = [str(user) for user in np.random.default_rng(3).choice(sorted(shop.histories), 14, replace=False)]
    return [shop.recommend(user_id=user, k=5) for user in users]


def test_every_fact_matches_the_tables(shop: Recommender, explained) -> None:  # type: ignore[no-untyped-def]
    checked = sum(recount(shop, entry.explanation, entry.item.title) for answer in explained for entry in answer)
    assert checked > 35


def test_every_explanation_passes_the_independent_check(explained) -> None:  # type: ignore[no-untyped-def]
    shown = [entry for answer in explained for entry in to_dict(answer)["recommendations"]]
    assert [error for entry in shown for error in explanation_errors(entry)] == []
    figures = explanation_report(shown)
    assert figures.shown + figures.without_text == 70
    assert figures.shown >= 60
    assert figures.worded_share > 0.5
    assert figures.commonest_opening < 0.3
    assert figures.precision == 1
    assert figures.recall > 0.2


def test_every_explanation_passes_the_check_from_files(explained, demo_files: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(to_dict(answer), ensure_ascii=False) + "\n" for answer in explained), "utf-8")
    script = Path(__file__).parents[2] / "scripts" / "check_explanations.py"
    store = ["--items", demo_files / "items.jsonl", "--reviews", demo_files / "reviews.jsonl"]
    done = subprocess.run([sys.executable, "-I", script, path, *store], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_independent_check_can_fail(explained) -> None:  # type: ignore[no-untyped-def]
    entry = json.loads(json.dumps(to_dict(explained[0])["recommendations"][0]))
    for wrong in (
        entry["explanation"]["text"] + " 97 people agree.",
        entry["explanation"]["text"] + " It beats the Acmetron.",
        entry["explanation"]["text"] + " “Best thing ever made”",
        "It is just what you need.",
    ):
        entry["explanation"]["text"] = wrong
        assert explanation_errors(entry), wrong


# ---------------------------------------------------------------------- parts


def test_eligible_items_counts_what_each_rule_excludes(plain: Recommender) -> None:
    shopper = plain.shopper(Query(user_id="s013"))
    mask, removed = eligible_items(Rules(max_price=30), plain.catalogue, shopper.rows, shopper.owned)
    assert mask.sum() + sum(count for _, count in removed) == len(plain.catalogue)


def test_records_are_frozen(shop: Recommender) -> None:
    answer = shop.recommend(items=["CA-001"], k=1, explain=False)
    with pytest.raises(dataclasses.FrozenInstanceError):
        answer[0].rank = 2  # type: ignore[misc]


def test_recommendations_without_an_llm(plain: Recommender) -> None:
    answer = plain.recommend(user_id="s013", k=3)
    assert all("llm" not in entry.channels for entry in answer)
    assert all(entry.explanation is not None and entry.explanation.source in ("evidence", "none") for entry in answer)
    assert any(entry.explanation is not None and entry.explanation.source == "evidence" for entry in answer)


# ---------------------------------------------------------------------- a real store


def test_every_user_of_a_real_store_gets_only_new_categories(amazon_workspace: Workspace, settings: Settings) -> None:
    shop = Recommender.open(amazon_workspace, llm="none", settings=settings)
    listed = 0
    for user in shop.histories:
        history_categories = {shop.catalogue.category_name(row) for row in shop.histories.of(user).rows}
        answer = shop.recommend(user_id=user, k=5, explain=False)
        assert not history_categories & {entry.item.category[0] for entry in answer}
        assert all(entry.item.title for entry in answer)
        listed += len(answer)
    assert listed > 4.5 * len(shop.histories)


def test_explanations_hold_on_a_real_store(amazon_workspace: Workspace, settings: Settings) -> None:
    shop = Recommender.open(amazon_workspace, settings=settings)
    users = [str(user) for user in np.random.default_rng(5).choice(sorted(shop.histories), 8, replace=False)]
    answers = [shop.recommend(user_id=user, k=5) for user in users]
    entries = [entry for answer in answers for entry in to_dict(answer)["recommendations"]]
    assert [error for entry in entries for error in explanation_errors(entry)] == []
    for answer in answers:
        for entry in answer:
            recount(shop, entry.explanation, entry.item.title)
