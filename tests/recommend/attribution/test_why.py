"""Attribution: contributions add up to the score; counterfactuals equal the result of the changed query."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import crossaisle
from crossaisle.app.cli.main import app
from crossaisle.data.errors import EmptyHistoryError, QueryError, UnknownItemError, UnknownUserError
from crossaisle.data.records import Item, Query, Rules
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.attribution import feature_contributions
from crossaisle.recommend.attribution.counterfactuals import ordinal
from crossaisle.recommend.attribution.feature_contributions import CHANNEL_FEATURE_LABELS, PROFILE_FEATURE_LABELS, score_breakdown
from crossaisle.recommend.attribution.item_rank import rank_item
from crossaisle.recommend.attribution.rule_alternatives import cli_options, round_up
from crossaisle.recommend.attribution.why import Why, why
from crossaisle.recommend.ranking.features import CHANNEL_FEATURES, PROFILE_FEATURES
from crossaisle.recommend.recommender import Recommender
from crossaisle.train.blend_regression import fit_trees
from crossaisle.train.ranking_dataset import RankingDataset


@pytest.fixture(scope="module")
def learned_shop(trained: tuple[Workspace, dict[str, Any]], settings: Settings) -> Recommender:
    return Recommender.open(trained[0], settings=settings.with_(llm="none"))


@pytest.fixture(scope="module")
def plain_shop(demo_workspace: Workspace, settings: Settings) -> Recommender:
    return Recommender.open(demo_workspace, settings=settings.with_(llm="none"))


@pytest.fixture(params=["learned_shop", "plain_shop"])
def shop(request: pytest.FixtureRequest) -> Recommender:
    recommender = request.getfixturevalue(request.param)
    assert isinstance(recommender, Recommender)
    return recommender


def users(shop: Recommender, every: int = 90) -> list[str]:
    return list(shop.histories)[5::every]


def bought(shop: Recommender, user: str) -> list[str]:
    return [shop.catalogue.id(row) for row in shop.histories.of(user).rows.tolist()]


def rank_in_list(shop: Recommender, item: Item, **query: Any) -> int | None:
    """The rank of an item in the longest list whose order `why` reproduces; None if it is not in the list."""
    answer = shop.recommend(**query, k=100, explain=False)
    return next((recommendation.rank for recommendation in answer if recommendation.item.item_id == item.item_id), None)


def agrees(shop: Recommender, rank: int | None, result: Why, **query: Any) -> bool:
    list_rank = rank_in_list(shop, result.item, **query)
    return list_rank == rank if list_rank is not None else rank is None or rank > 100


# ---------------------------------------------------------------------- counterfactuals


def test_every_counterfactual_equals_the_result_of_the_changed_query(shop: Recommender) -> None:
    counts = {"history": 0, "rules": 0}
    for user in users(shop):
        answer = shop.recommend(user_id=user, k=20, explain=False)
        owned, last = bought(shop, user)[-1], shop.catalogue.id(len(shop.catalogue) - 1)
        for item in {answer[0].item.item_id, answer[7].item.item_id, answer[19].item.item_id, owned, last}:
            result = why(shop, item, user_id=user)
            assert agrees(shop, result.rank, result, user_id=user)
            for counterfactual in result.counterfactuals:
                again = why(shop, item, user_id=user, rules=counterfactual.rules, without=counterfactual.without, counterfactual=False)
                assert (again.rank, again.of, again.removed_by) == (counterfactual.rank, counterfactual.of, counterfactual.left_out)
                assert (again.rank, again.removed_by) != (result.rank, result.removed_by)
                assert agrees(shop, counterfactual.rank, result, user_id=user, rules=counterfactual.rules, without=counterfactual.without)
                if counterfactual.kind == "rules" and not result.left_out:
                    assert counterfactual.rank is not None
                    assert result.rank is None or counterfactual.rank < result.rank
                counts[counterfactual.kind] += 1
    assert min(counts.values()) > 20


def test_leaving_out_a_basket_item_equals_the_smaller_basket(shop: Recommender) -> None:
    checked = 0
    for user in users(shop, 120):
        basket = tuple(bought(shop, user)[-6:])
        item = shop.recommend(items=basket, k=5, explain=False)[3].item.item_id
        result = why(shop, item, items=basket)
        for counterfactual in result.counterfactuals:
            smaller = tuple(other for other in basket if other not in counterfactual.without)
            again = why(shop, item, items=smaller, rules=counterfactual.rules, counterfactual=False)  # without the parameter `without`
            assert (again.rank, again.of, again.removed_by) == (counterfactual.rank, counterfactual.of, counterfactual.left_out)
            assert agrees(shop, counterfactual.rank, result, items=smaller, rules=counterfactual.rules)
            checked += 1
    assert checked > 5


def test_leaving_out_a_history_item_equals_a_history_without_it(shop: Recommender) -> None:
    """A known user's purchases, given as a basket without the item, have the same ranking."""
    histories = shop.histories
    user = next(user_id for user_id in histories if not histories.of(user_id).kinds.any() and len(set(bought(shop, user_id))) > 4)
    purchases = bought(shop, user)
    for excluded in purchases[:3]:
        for_user = shop.recommend(user_id=user, without=[excluded], k=20, explain=False)
        for_basket = shop.recommend(items=[item for item in purchases if item != excluded], k=20, explain=False)
        assert [entry.item.item_id for entry in for_user] == [entry.item.item_id for entry in for_basket]
        assert [entry.score for entry in for_user] == pytest.approx([entry.score for entry in for_basket])
    assert for_user.query.without == (excluded,)


def test_counterfactuals_have_the_largest_changes_of_rank_in_order(learned_shop: Recommender) -> None:
    user = next(user_id for user_id in learned_shop.histories if 4 < len(set(bought(learned_shop, user_id))) <= 8)
    item = learned_shop.recommend(user_id=user, k=10, explain=False)[6].item.item_id
    result = why(learned_shop, item, user_id=user)
    changes = {}
    for excluded in set(bought(learned_shop, user)):
        again = why(learned_shop, item, user_id=user, without=[excluded], counterfactual=False)
        changes[excluded] = abs((again.rank or again.of + 1) - (result.rank or 0))
    largest = sorted((change for change in changes.values() if change), reverse=True)[:3]
    history_counterfactuals = [counterfactual for counterfactual in result.counterfactuals if counterfactual.kind == "history"]
    assert [changes[counterfactual.without[0]] for counterfactual in history_counterfactuals] == largest


RULES = {
    "outside the price range": lambda item: Rules(max_price=round(item.price - 0.01, 2)),
    "of another brand": lambda item: Rules(brands=(f"not {item.brand}",)),
    "outside the included categories": lambda item: Rules(include_categories=("Baby" if item.category[0] != "Baby" else "Kitchen",)),
    "of an excluded category": lambda item: Rules(exclude_categories=(item.category[-1].upper(), item.category[0])),
}


@pytest.mark.parametrize("left_out", list(RULES))
def test_counterfactual_without_the_rule_that_excludes_the_item(shop: Recommender, left_out: str) -> None:
    user = users(shop)[0]
    recommendation = shop.recommend(user_id=user, k=20, explain=False)[4]
    rules = RULES[left_out](recommendation.item)
    result = why(shop, recommendation.item.item_id, user_id=user, rules=rules)
    assert (result.rank, result.left_out, result.removed_by) == (None, left_out, (left_out,))
    (counterfactual,) = result.counterfactuals
    assert counterfactual.kind == "rules"
    assert counterfactual.rank is not None
    assert why(shop, recommendation.item.item_id, user_id=user, rules=counterfactual.rules).rank == counterfactual.rank


def test_all_rules_that_exclude_the_item_are_relaxed_together(shop: Recommender) -> None:
    user = users(shop)[1]
    owned = shop.catalogue.records([int(shop.histories.of(user).rows[-1])])[0]
    assert owned.price is not None
    result = why(shop, owned.item_id, user_id=user, rules=Rules(min_price=owned.price + 1))
    assert result.removed_by == ("owned already", "of a category that the shopper knows", "outside the price range")
    counterfactual = result.counterfactuals[-1]
    assert counterfactual.rules.scope == "other"
    assert not counterfactual.rules.exclude_owned
    assert counterfactual.rules.min_price is None or counterfactual.rules.min_price <= owned.price
    assert counterfactual.left_out == ()


def test_rank_under_a_cap_per_category(shop: Recommender) -> None:
    user = users(shop)[0]
    answer = shop.recommend(user_id=user, k=20, explain=False)
    first, second = next(
        (left, right) for left in answer for right in answer if left.rank < right.rank and left.item.category[0] == right.item.category[0]
    )
    capped = Rules(max_per_category=1)
    result = why(shop, second.item.item_id, user_id=user, rules=capped)
    assert result.left_out == "beyond the 1 best of its category"
    (counterfactual,) = (change for change in result.counterfactuals if change.kind == "rules")
    assert counterfactual.rank == second.rank
    for entry in shop.recommend(user_id=user, k=5, rules=capped, explain=False):
        assert why(shop, entry.item.item_id, user_id=user, rules=capped, counterfactual=False).rank == entry.rank
    assert first.rank < second.rank


def test_a_note_explains_a_high_rank_outside_the_list(learned_shop: Recommender) -> None:
    for user in users(learned_shop, 10):
        order = [entry.item for entry in learned_shop.recommend(user_id=user, k=100, explain=False)][:5]
        shown = {entry.item.item_id for entry in learned_shop.recommend(user_id=user, k=5, explain=False)}
        for item in order:
            notes = why(learned_shop, item.item_id, user_id=user, counterfactual=False).notes
            assert bool(notes) == (item.item_id not in shown)


def test_options_reproduce_the_counterfactual_on_the_command_line(
    trained: tuple[Workspace, dict[str, Any]], learned_shop: Recommender
) -> None:
    user = users(learned_shop)[2]
    item = learned_shop.recommend(user_id=user, k=20, explain=False)[9].item.item_id
    command = ["why", "-w", str(trained[0].path), "--user", user, "--item", item, "--json", "--llm", "none"]
    result = json.loads(CliRunner().invoke(app, command).output)
    assert {entry["kind"] for entry in result["counterfactuals"]} == {"history", "rules"}
    for entry in result["counterfactuals"]:
        again = json.loads(CliRunner().invoke(app, [*command, "--no-counterfactuals", *shlex.split(entry["options"])]).output)
        assert (again["rank"], again["of"]) == (entry["rank"], entry["of"])
        assert again["counterfactuals"] == []
        assert entry["sentence"].endswith(f"it would be {ordinal(entry['rank'])} of {entry['of']}")


def test_options_contain_all_rules() -> None:
    rules = Rules("other", ("Toys & Games",), ("Baby", "-x"), 1.5, 40.0, ("Mr. O'Neil",), True, 2, False)
    options = shlex.split(cli_options(rules, ["a b"]))
    assert options == [
        "--without", "a b", "--scope", "other", "--include-category", "Toys & Games", "--exclude-category", "Baby", "--exclude-category", "-x",
        "--brand", "Mr. O'Neil", "--min-price", "1.5", "--max-price", "40", "--max-per-category", "2", "--in-stock", "--include-owned",
    ]  # fmt: skip
    assert cli_options(Rules()) == ""
    # A new rule that is missing in the options would make counterfactuals wrong.
    assert len(dataclasses.fields(Rules)) == 9


@given(st.floats(0.01, 1e6))
def test_round_up_is_close_and_never_below_the_price(price: float) -> None:
    limit = round_up(price)
    assert price <= limit <= 1.51 * price + 1e-9
    digits = limit / 10 ** math.floor(math.log10(limit) + 1e-12)
    assert round(digits, 6) in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)


def test_ordinals() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 112, 1022)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th", "1,022nd",
    ]  # fmt: skip


# ---------------------------------------------------------------------- feature contributions


def test_features_add_up_to_the_score(learned_shop: Recommender) -> None:
    for user in users(learned_shop):
        answer = learned_shop.recommend(user_id=user, k=20, explain=False)
        for entry in (answer[0], answer[10]):
            result = why(learned_shop, entry.item.item_id, user_id=user, counterfactual=False)
            assert result.features is not None
            total = result.features.base + sum(feature.contribution for feature in result.features.strongest) + result.features.rest
            assert total == pytest.approx(result.features.total)
            assert 1 / (1 + math.exp(-total)) == pytest.approx(entry.score, abs=1e-4)
            assert sum(channel.contribution or 0.0 for channel in result.channels.values()) == pytest.approx(total - result.features.base)
            sizes = [abs(feature.contribution) for feature in result.features.strongest]
            assert sizes == sorted(sizes, reverse=True)
            as_json = result.to_dict()["features"]
            assert as_json["base"] + sum(feature["adds"] for feature in as_json["strongest"]) + as_json["rest"] == pytest.approx(
                total, abs=1e-3
            )


def test_features_add_up_to_the_score_with_trees(learned_shop: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    blend_ranker = learned_shop.blend_ranker
    assert blend_ranker is not None
    user = users(learned_shop)[0]
    row = learned_shop.catalogue.row(learned_shop.recommend(user_id=user, k=1, explain=False)[0].item.item_id)
    item_rank = rank_item(learned_shop, Query(user), row)
    assert item_rank.scored_candidates is not None
    assert item_rank.candidate_index is not None
    values = np.tile(item_rank.scored_candidates.features, (8, 1))
    rng = np.random.default_rng(0)
    count = len(values)
    dataset = RankingDataset(
        blend_ranker.model.feature_names, values, rng.random(count) < 0.1, np.arange(0, count + 1, count // 8), np.arange(8)
    )
    boosters = [fit_trees(dataset, blend_ranker.model, seed, 10).model_to_string() for seed in range(2)]
    model = replace(blend_ranker.model, trees=boosters)
    scores = model.scores(item_rank.scored_candidates.features)
    assert not np.allclose(scores, item_rank.scored_candidates.scores)
    result = score_breakdown(replace(item_rank.scored_candidates, model=model, scores=scores), item_rank.candidate_index, max_features=3)
    assert len(result.strongest) == 3
    assert result.base + sum(feature.contribution for feature in result.strongest) + result.rest == pytest.approx(result.total)
    assert result.total == pytest.approx(scores[item_rank.candidate_index])


def test_every_feature_has_a_label_and_its_value_is_formatted_without_logarithm(learned_shop: Recommender) -> None:
    assert set(CHANNEL_FEATURE_LABELS) == set(CHANNEL_FEATURES)
    assert set(PROFILE_FEATURE_LABELS) == set(PROFILE_FEATURES)
    user = users(learned_shop)[0]
    row = learned_shop.catalogue.row(learned_shop.recommend(user_id=user, k=1, explain=False)[0].item.item_id)
    item_rank = rank_item(learned_shop, Query(user), row)
    assert item_rank.scored_candidates is not None
    assert item_rank.candidate_index is not None
    scored, index = item_rank.scored_candidates, item_rank.candidate_index
    values = dict(zip(scored.model.feature_names, scored.features[index].tolist(), strict=True))
    formatted = {name: feature_contributions._feature_contribution(name, value, 1.0).formatted_value for name, value in values.items()}
    assert formatted["profile:log users"] == str(int(learned_shop.catalogue.users[row]))
    assert formatted["profile:history length"] == str(len(item_rank.shopper.rows))
    category = learned_shop.catalogue.category
    assert formatted["profile:crowd"] == str(int((category[item_rank.scored_candidates.proposals.rows] == category[row]).sum()))
    scores = scored.proposals.scores["item_knn"]
    length = len(item_rank.shopper.rows)
    level, short = np.log1p(10 * scores[index] / scores.max()) / np.log(11), 2 / (length + 1)
    assert formatted["item_knn:level in long histories"] == f"{level * (1 - short) * length / (length + 50):.0%}"
    assert formatted["item_knn:level in short histories"] == f"{level * short:.0%}"


@pytest.mark.parametrize(
    ("feature", "value", "text"),
    [
        ("share", 0.42, "42%"),
        ("log share", np.log(0.42 + 1e-3), "42%"),
        ("in category", np.log(0.5 + 1e-2), "50%"),
        ("by length", -1.5, "-1.50"),
    ],
)
def test_features_of_former_blends_are_formatted_without_logarithm(feature: str, value: float, text: str) -> None:
    assert feature_contributions._feature_contribution(f"item_knn:{feature}", value, 1.0).formatted_value == text


# ---------------------------------------------------------------------- edge cases


def test_a_history_of_one_item_and_of_one_item_many_times(shop: Recommender) -> None:
    single = bought(shop, users(shop)[0])[0]
    item = shop.recommend(items=[single], k=1, explain=False)[0].item.item_id
    result, again = why(shop, item, items=[single]), why(shop, item, items=[single] * 3)
    assert result.notes == ("the history has one item; without it there is nothing to go by",)
    assert all(counterfactual.kind == "rules" for counterfactual in result.counterfactuals)
    assert again.to_dict() == result.to_dict()
    with pytest.raises(EmptyHistoryError, match="nothing is left of the history without"):
        why(shop, item, items=[single], without=[single])


def test_an_item_without_users(shop: Recommender) -> None:
    row = int(np.flatnonzero(shop.catalogue.users == 0)[0])
    categories = shop.catalogue.category
    user = next(user_id for user_id in shop.histories if categories[row] not in categories[shop.histories.of(user_id).rows])
    result = why(shop, shop.catalogue.id(row), user_id=user)
    assert result.left_out is None
    for counterfactual in result.counterfactuals:
        again = why(
            shop, shop.catalogue.id(row), user_id=user, rules=counterfactual.rules, without=counterfactual.without, counterfactual=False
        )
        assert again.rank == counterfactual.rank


def test_an_item_that_no_rule_can_admit(make_store: Callable[..., Path], settings: Settings, tmp_path: Path) -> None:
    items: dict[str, Any] = {"tent": "Camping", "stove": "Kitchen", "odd": {"title": "odd", "category": []}, "lamp": "Home"}
    histories = {f"u{n}": ["tent", "stove", "lamp"][: 2 + n % 2] for n in range(8)}
    crossaisle.ingest(tmp_path / "shop", "files", [make_store(items=items, histories=histories)])
    crossaisle.index(Workspace(tmp_path / "shop"), settings.with_(embedder="minilm"))
    shop = Recommender.open(tmp_path / "shop", settings=settings.with_(llm="none"))
    result = why(shop, "odd", user_id="u0")
    assert result.left_out == "without a category"
    assert result.counterfactuals == ()
    assert result.notes == ("no rule can let it in: it is without a category",)
    owned = why(shop, "stove", user_id="u1")
    assert owned.counterfactuals[0].sentence.startswith("without stove in the history it would be ")
    assert owned.counterfactuals[1].change == "with what the shopper has and known categories allowed"


def test_invalid_queries_raise_with_a_message(shop: Recommender) -> None:
    user = users(shop)[0]
    item = shop.catalogue.id(0)
    with pytest.raises(UnknownItemError, match="no item 'nope'"):
        why(shop, "nope", user_id=user)
    with pytest.raises(UnknownUserError, match="user 'nobody' is not among"):
        why(shop, item, user_id="nobody")
    with pytest.raises(UnknownItemError, match="no item 'nope'"):
        why(shop, item, items=["nope"])
    with pytest.raises(UnknownItemError, match="no item 'nope'"):
        why(shop, item, user_id=user, without=["nope"])
    other = next(item_id for item_id in shop.catalogue.rows if item_id not in bought(shop, user))
    with pytest.raises(QueryError, match="is not in the history, so it cannot be excluded"):
        why(shop, item, user_id=user, without=[other])
    with pytest.raises(QueryError, match="upside down"):
        why(shop, item, user_id=user, rules=Rules(min_price=5, max_price=4))
    with pytest.raises(QueryError, match="no item has a category 'Kitchn'"):
        why(shop, item, user_id=user, rules=Rules(include_categories=("Kitchn",)))
    with pytest.raises(QueryError, match="k must be"):
        why(shop, item, user_id=user, k=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--user", "nobody", "--item", "KT-022"], "is not among the"),
        (["--user", "s013", "--item", "nope"], "no item 'nope'"),
        (["--user", "s013", "--item", "KT-022", "--min-price", "9", "--max-price", "8"], "upside down"),
        (["--item", "KT-022"], "nothing to go by"),
    ],
)
def test_invalid_input_exits_with_code_2(
    demo_workspace: Workspace, options: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from crossaisle.app.cli import main as cli

    monkeypatch.setattr("sys.argv", ["crossaisle", "why", "-w", str(demo_workspace.path), "--llm", "none", *options])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1


def test_printed_output_contains_counterfactuals_and_features(trained: tuple[Workspace, dict[str, Any]], learned_shop: Recommender) -> None:
    user = users(learned_shop)[0]
    item: Item = learned_shop.recommend(user_id=user, k=20, explain=False)[8].item
    result = why(learned_shop, item.item_id, user_id=user)
    shown = CliRunner().invoke(
        app, ["why", "-w", str(trained[0].path), "--user", user, "--item", item.item_id, "--llm", "none"], env={"COLUMNS": "160"}
    )
    assert shown.exit_code == 0
    for counterfactual in result.counterfactuals:
        assert f"• {counterfactual.sentence}  {counterfactual.options}" in shown.output
    assert result.features is not None
    assert all(feature.label in shown.output for feature in result.features.strongest)
    assert f"{result.features.others} others together" in shown.output
