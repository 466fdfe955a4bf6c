"""Why, and why not: parts that add up, and what would be if, against asking again with exactly that changed."""

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
from crossaisle.recommend.attribution.counterfactuals import ordinal
from crossaisle.recommend.attribution.feature_contributions import OF_CHANNEL, OF_FIT, score_breakdown
from crossaisle.recommend.attribution.item_rank import rank_item
from crossaisle.recommend.attribution.rule_alternatives import cli_options, round_up
from crossaisle.recommend.attribution.why import Why, why
from crossaisle.recommend.ranking.features import CHANNEL_FEATURES as CHANNEL_FEATURES
from crossaisle.recommend.ranking.features import PROFILE_FEATURES as FIT_FEATURES
from crossaisle.recommend.recommender import Recommender
from crossaisle.train import blend


@pytest.fixture(scope="module")
def learned_shop(trained: tuple[Workspace, dict[str, Any]], settings: Settings) -> Recommender:
    return Recommender.open(trained[0], settings=settings.with_(llm="none"))


@pytest.fixture(scope="module")
def plain_shop(demo_workspace: Workspace, settings: Settings) -> Recommender:
    return Recommender.open(demo_workspace, settings=settings.with_(llm="none"))


@pytest.fixture(params=["learned_shop", "plain_shop"])
def shop(request: pytest.FixtureRequest) -> Recommender:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Recommender)
    return found


def users(shop: Recommender, every: int = 90) -> list[str]:
    return list(shop.histories)[5::every]


def bought(shop: Recommender, user: str) -> list[str]:
    return [shop.catalogue.id(row) for row in shop.histories.of(user).rows.tolist()]


def rank_of_recommend(shop: Recommender, told: Why, **asked: Any) -> int | None:
    """The place in the longest list whose order `why` claims to know, None beyond it."""
    answer = shop.recommend(**asked, k=100 if shop.blend_ranker else 20, explain=False)
    return next((found.rank for found in answer if found.item.item_id == told.item.item_id), None)


def agrees(shop: Recommender, rank: int | None, told: Why, **asked: Any) -> bool:
    listed = rank_of_recommend(shop, told, **asked)
    return listed == rank if listed is not None else rank is None or rank > (100 if shop.blend_ranker else 20)


# ---------------------------------------------------------------------- what would be if


def test_every_counterfactual_is_what_asking_again_gives(shop: Recommender) -> None:
    told_of = {"history": 0, "rules": 0}
    for user in users(shop):
        answer = shop.recommend(user_id=user, k=20, explain=False)
        owned, last = bought(shop, user)[-1], shop.catalogue.id(len(shop.catalogue) - 1)
        for item in {answer[0].item.item_id, answer[7].item.item_id, answer[19].item.item_id, owned, last}:
            told = why(shop, item, user_id=user)
            assert agrees(shop, told.rank, told, user_id=user)
            for one in told.counterfactuals:
                again = why(shop, item, user_id=user, rules=one.rules, without=one.without, counterfactual=False)
                assert (again.rank, again.of, again.removed_by) == (one.rank, one.of, one.left_out)
                assert (again.rank, again.removed_by) != (told.rank, told.removed_by)
                assert agrees(shop, one.rank, told, user_id=user, rules=one.rules, without=one.without)
                if one.kind == "rules" and not told.left_out:
                    assert one.rank is not None
                    assert told.rank is None or one.rank < told.rank
                told_of[one.kind] += 1
    assert min(told_of.values()) > 20


def test_a_basket_without_an_item_is_that_basket(shop: Recommender) -> None:
    checked = 0
    for user in users(shop, 120):
        basket = tuple(bought(shop, user)[-6:])
        item = shop.recommend(items=basket, k=5, explain=False)[3].item.item_id
        told = why(shop, item, items=basket)
        for one in told.counterfactuals:
            left = tuple(other for other in basket if other not in one.without)
            again = why(shop, item, items=left, rules=one.rules, counterfactual=False)  # without saying "without"
            assert (again.rank, again.of, again.removed_by) == (one.rank, one.of, one.left_out)
            assert agrees(shop, one.rank, told, items=left, rules=one.rules)
            checked += 1
    assert checked > 5


def test_a_user_without_an_item_is_who_never_had_it(shop: Recommender) -> None:
    """A known user's purchases, given as a basket without the item, are ranked alike."""
    kinds = shop.histories
    user = next(one for one in kinds if not kinds.of(one).kinds.any() and len(set(bought(shop, one))) > 4)
    had = bought(shop, user)
    for gone in had[:3]:
        by_name = shop.recommend(user_id=user, without=[gone], k=20, explain=False)
        by_basket = shop.recommend(items=[item for item in had if item != gone], k=20, explain=False)
        assert [found.item.item_id for found in by_name] == [found.item.item_id for found in by_basket]
        assert [found.score for found in by_name] == pytest.approx([found.score for found in by_basket])
    assert by_name.query.without == (gone,)


def test_what_is_told_first_changes_most_and_nothing_else_does_more(learned_shop: Recommender) -> None:
    user = next(one for one in learned_shop.histories if 4 < len(set(bought(learned_shop, one))) <= 8)
    item = learned_shop.recommend(user_id=user, k=10, explain=False)[6].item.item_id
    told = why(learned_shop, item, user_id=user)
    moves = {}
    for gone in set(bought(learned_shop, user)):
        again = why(learned_shop, item, user_id=user, without=[gone], counterfactual=False)
        moves[gone] = abs((again.rank or again.of + 1) - (told.rank or 0))
    most = sorted((move for move in moves.values() if move), reverse=True)[:3]
    of_history = [one for one in told.counterfactuals if one.kind == "history"]
    assert [moves[one.without[0]] for one in of_history] == most


RULES = {
    "outside the price range": lambda item: Rules(max_price=round(item.price - 0.01, 2)),
    "of another brand": lambda item: Rules(brands=(f"not {item.brand}",)),
    "outside the included categories": lambda item: Rules(include_categories=("Baby" if item.category[0] != "Baby" else "Kitchen",)),
    "of an excluded category": lambda item: Rules(exclude_categories=(item.category[-1].upper(), item.category[0])),
}


@pytest.mark.parametrize("left_out", list(RULES))
def test_without_the_rule_that_removed_it(shop: Recommender, left_out: str) -> None:
    user = users(shop)[0]
    free = shop.recommend(user_id=user, k=20, explain=False)[4]
    rules = RULES[left_out](free.item)
    told = why(shop, free.item.item_id, user_id=user, rules=rules)
    assert (told.rank, told.left_out, told.removed_by) == (None, left_out, (left_out,))
    (one,) = told.counterfactuals
    assert one.kind == "rules"
    assert one.rank is not None
    assert why(shop, free.item.item_id, user_id=user, rules=one.rules).rank == one.rank


def test_rules_that_remove_it_together_go_together(shop: Recommender) -> None:
    user = users(shop)[1]
    owned = shop.catalogue.records([int(shop.histories.of(user).rows[-1])])[0]
    assert owned.price is not None
    told = why(shop, owned.item_id, user_id=user, rules=Rules(min_price=owned.price + 1))
    assert told.removed_by == ("owned already", "of a category that the shopper knows", "outside the price range")
    one = told.counterfactuals[-1]
    assert one.rules.scope == "other"
    assert not one.rules.exclude_owned
    assert one.rules.min_price is None or one.rules.min_price <= owned.price
    assert one.left_out == ()


def test_a_limit_per_category(shop: Recommender) -> None:
    user = users(shop)[0]
    answer = shop.recommend(user_id=user, k=20, explain=False)
    first, second = next(
        (one, other) for one in answer for other in answer if one.rank < other.rank and one.item.category[0] == other.item.category[0]
    )
    capped = Rules(max_per_category=1)
    told = why(shop, second.item.item_id, user_id=user, rules=capped)
    if shop.blend_ranker:  # untrained, the limit also decides which candidates are fused
        assert told.left_out == "beyond the 1 best of its category"
        (one,) = (one for one in told.counterfactuals if one.kind == "rules")
        assert one.rank == second.rank
    best = shop.recommend(user_id=user, k=5, rules=capped, explain=False)
    for found in best:
        assert why(shop, found.item.item_id, user_id=user, rules=capped, counterfactual=False).rank == found.rank
    assert first.rank < second.rank


def test_what_a_list_leaves_out_though_it_ranks_high(learned_shop: Recommender) -> None:
    for user in users(learned_shop, 10):
        order = [found.item for found in learned_shop.recommend(user_id=user, k=100, explain=False)][:5]
        shown = {found.item.item_id for found in learned_shop.recommend(user_id=user, k=5, explain=False)}
        for item in order:
            notes = why(learned_shop, item.item_id, user_id=user, counterfactual=False).notes
            assert bool(notes) == (item.item_id not in shown)


def test_the_options_are_what_the_command_line_takes(trained: tuple[Workspace, dict[str, Any]], learned_shop: Recommender) -> None:
    user = users(learned_shop)[2]
    item = learned_shop.recommend(user_id=user, k=20, explain=False)[9].item.item_id
    asked = ["why", "-w", str(trained[0].path), "--user", user, "--item", item, "--json", "--llm", "none"]
    told = json.loads(CliRunner().invoke(app, asked).output)
    assert {one["kind"] for one in told["counterfactuals"]} == {"history", "rules"}
    for one in told["counterfactuals"]:
        again = json.loads(CliRunner().invoke(app, [*asked, "--no-counterfactuals", *shlex.split(one["options"])]).output)
        assert (again["rank"], again["of"]) == (one["rank"], one["of"])
        assert again["counterfactuals"] == []
        assert one["sentence"].endswith(f"it would be {ordinal(one['rank'])} of {one['of']}")


def test_options_say_all_rules() -> None:
    rules = Rules("other", ("Toys & Games",), ("Baby", "-x"), 1.5, 40.0, ("Mr. O'Neil",), True, 2, False)
    said = shlex.split(cli_options(rules, ["a b"]))
    assert said == [
        "--without", "a b", "--scope", "other", "--include-category", "Toys & Games", "--exclude-category", "Baby", "--exclude-category", "-x",
        "--brand", "Mr. O'Neil", "--min-price", "1.5", "--max-price", "40", "--max-per-category", "2", "--in-stock", "--include-owned",
    ]  # fmt: skip
    assert cli_options(Rules()) == ""
    # A rule that is added and not said would make every counterfactual under it a lie.
    assert len(dataclasses.fields(Rules)) == 9


@given(st.floats(0.01, 1e6))
def test_a_round_limit_is_near_and_never_below(price: float) -> None:
    limit = round_up(price)
    assert price <= limit <= 1.51 * price + 1e-9
    digits = limit / 10 ** math.floor(math.log10(limit) + 1e-12)
    assert round(digits, 6) in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)


def test_places_in_words() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 112, 1022)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th", "1,022nd",
    ]  # fmt: skip


# ---------------------------------------------------------------------- what the features add


def test_features_add_up_to_the_score(learned_shop: Recommender) -> None:
    for user in users(learned_shop):
        answer = learned_shop.recommend(user_id=user, k=20, explain=False)
        for found in (answer[0], answer[10]):
            told = why(learned_shop, found.item.item_id, user_id=user, counterfactual=False)
            assert told.features is not None
            total = told.features.base + sum(one.contribution for one in told.features.strongest) + told.features.rest
            assert total == pytest.approx(told.features.total)
            assert 1 / (1 + math.exp(-total)) == pytest.approx(found.score, abs=1e-4)
            assert sum(one.contribution or 0.0 for one in told.channels.values()) == pytest.approx(total - told.features.base)
            sizes = [abs(one.contribution) for one in told.features.strongest]
            assert sizes == sorted(sizes, reverse=True)
            as_json = told.to_dict()["features"]
            assert as_json["base"] + sum(one["adds"] for one in as_json["strongest"]) + as_json["rest"] == pytest.approx(total, abs=1e-3)


def test_features_of_trees_add_up_too(learned_shop: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = learned_shop.blend_ranker
    assert trained is not None
    user = users(learned_shop)[0]
    row = learned_shop.catalogue.row(learned_shop.recommend(user_id=user, k=1, explain=False)[0].item.item_id)
    found = rank_item(learned_shop, Query(user), row)
    assert found.scored_candidates is not None
    assert found.candidate_index is not None
    values = np.tile(found.scored_candidates.features, (8, 1))
    lot = np.random.default_rng(0)
    count = len(values)
    asked = blend.RankingDataset(trained.model.feature_names, values, lot.random(count) < 0.1, np.arange(0, count + 1, count // 8), np.arange(8))
    boosters = [blend._fit_trees(asked, trained.model, seed, 10).model_to_string() for seed in range(2)]
    model = replace(trained.model, trees=boosters)
    scores = model.scores(found.scored_candidates.features)
    assert not np.allclose(scores, found.scored_candidates.scores)
    told = score_breakdown(replace(found.scored_candidates, model=model, scores=scores), found.candidate_index, strongest=3)
    assert len(told.strongest) == 3
    assert told.base + sum(one.contribution for one in told.strongest) + told.rest == pytest.approx(told.total)
    assert told.total == pytest.approx(scores[found.candidate_index])


def test_every_feature_has_words_and_reads_as_it_was(learned_shop: Recommender) -> None:
    assert set(OF_CHANNEL) == set(CHANNEL_FEATURES)
    assert set(OF_FIT) == set(FIT_FEATURES)
    user = users(learned_shop)[0]
    row = learned_shop.catalogue.row(learned_shop.recommend(user_id=user, k=1, explain=False)[0].item.item_id)
    found = rank_item(learned_shop, Query(user), row)
    assert found.scored_candidates is not None
    assert found.candidate_index is not None
    told = {one.name: one.formatted_value for one in score_breakdown(found.scored_candidates, found.candidate_index, strongest=1000).strongest}
    assert told["profile:log users"] == str(int(learned_shop.catalogue.users[row]))
    assert told["profile:history length"] == str(len(found.shopper.rows))
    category = learned_shop.catalogue.category
    assert told["profile:crowd"] == str(int((category[found.scored_candidates.proposals.rows] == category[row]).sum()))
    scores = found.scored_candidates.proposals.scores["neighbours"]
    share = f"{scores[found.candidate_index] / scores.max():.0%}"
    assert (told["neighbours:share"], told["neighbours:log share"]) == (share, share)


# ---------------------------------------------------------------------- what is odd


def test_a_history_of_one_item_and_of_one_item_many_times(shop: Recommender) -> None:
    one = bought(shop, users(shop)[0])[0]
    item = shop.recommend(items=[one], k=1, explain=False)[0].item.item_id
    told, again = why(shop, item, items=[one]), why(shop, item, items=[one] * 3)
    assert told.notes == ("the history has one item; without it there is nothing to go by",)
    assert all(found.kind == "rules" for found in told.counterfactuals)
    assert again.to_dict() == told.to_dict()
    with pytest.raises(EmptyHistoryError, match="nothing is left of the history without"):
        why(shop, item, items=[one], without=[one])


def test_an_item_that_nobody_had(shop: Recommender) -> None:
    row = int(np.flatnonzero(shop.catalogue.users == 0)[0])
    user = next(one for one in shop.histories if shop.catalogue.category[row] not in shop.catalogue.category[shop.histories.of(one).rows])
    told = why(shop, shop.catalogue.id(row), user_id=user)
    assert told.left_out is None
    for one in told.counterfactuals:
        again = why(shop, shop.catalogue.id(row), user_id=user, rules=one.rules, without=one.without, counterfactual=False)
        assert again.rank == one.rank


def test_what_no_rule_can_let_in(make_store: Callable[..., Path], settings: Settings, tmp_path: Path) -> None:
    items: dict[str, Any] = {"tent": "Camping", "stove": "Kitchen", "odd": {"title": "odd", "category": []}, "lamp": "Home"}
    histories = {f"u{n}": ["tent", "stove", "lamp"][: 2 + n % 2] for n in range(8)}
    crossaisle.ingest(tmp_path / "shop", "files", [make_store(items=items, histories=histories)])
    crossaisle.index(Workspace(tmp_path / "shop"), settings.with_(embedder="minilm"))
    shop = Recommender.open(tmp_path / "shop", settings=settings.with_(llm="none"))
    told = why(shop, "odd", user_id="u0")
    assert told.left_out == "without a category"
    assert told.counterfactuals == ()
    assert told.notes == ("no rule can let it in: it is without a category",)
    owned = why(shop, "stove", user_id="u1")
    assert owned.counterfactuals[0].sentence.startswith("without stove in the history it would be ")
    assert owned.counterfactuals[1].change == "with what the shopper has and known categories allowed"


def test_questions_that_cannot_be_answered_are_one_sentence(shop: Recommender) -> None:
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
    strange = next(one for one in shop.catalogue.rows if one not in bought(shop, user))
    with pytest.raises(QueryError, match="is not in the history"):
        why(shop, item, user_id=user, without=[strange])
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
def test_bad_input_ends_with_2(
    demo_workspace: Workspace, options: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from crossaisle.app.cli import main as cli

    monkeypatch.setattr("sys.argv", ["crossaisle", "why", "-w", str(demo_workspace.path), "--llm", "none", *options])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_it_is_printed_for_a_person(trained: tuple[Workspace, dict[str, Any]], learned_shop: Recommender) -> None:
    user = users(learned_shop)[0]
    item: Item = learned_shop.recommend(user_id=user, k=20, explain=False)[8].item
    told = why(learned_shop, item.item_id, user_id=user)
    shown = CliRunner().invoke(
        app, ["why", "-w", str(trained[0].path), "--user", user, "--item", item.item_id, "--llm", "none"], env={"COLUMNS": "160"}
    )
    assert shown.exit_code == 0
    for one in told.counterfactuals:
        assert f"• {one.sentence}  {one.options}" in shown.output
    assert told.features is not None
    assert all(one.label in shown.output for one in told.features.strongest)
    assert f"{told.features.others} others together" in shown.output
