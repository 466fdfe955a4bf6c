"""Questions to a store whose answers are known: who buys a tent buys a stove the day after, and nobody else does."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import crossaisle
from crossaisle.data.errors import BudgetSpentError, QueryError, SuppressedError
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.segments.probe import Probe
from crossaisle.recommend.segments.query.filters import Filters
from crossaisle.recommend.segments.results import CategoryNeed

from ...conftest import Store

ITEMS: dict[str, str | dict[str, Any]] = {
    "tent-a": "Tents",
    "tent-b": "Tents",
    "stove-a": "Stoves",
    "stove-b": "Stoves",
    "lamp": "Lamps",
    "book": "Books",
    "sofa": "Sofas",
    "kayak": "Kayaks",
    "canoe": "Canoes",
    "lantern": "Lanterns",
    "bike-pump": {"title": "bike pump", "category": ["Bikes", "Pumps"]},
    "boat-pump": {"title": "boat pump", "category": ["Boats", "Pumps"]},
}
TENTS, STOVES = 120, 80


def histories() -> dict[str, list[str]]:
    """120 tent buyers, 80 of whom buy a stove a day later; 180 others, none of whom does; 5 tent buyers have a kayak."""
    told: dict[str, list[str]] = {}
    for n in range(TENTS):
        told[f"t{n}"] = [f"tent-{'ab'[n % 2]}", f"stove-{'ab'[n // 2 % 2]}"] if n < STOVES else [f"tent-{'ab'[n % 2]}", "lamp"]
        if n < 5:
            told[f"t{n}"].append("kayak")
    for n in range(180):
        told[f"o{n}"] = [["book", "lamp"], ["sofa", "book"], ["lamp", "sofa"]][n % 3] + (["bike-pump", "boat-pump"] if n % 6 == 0 else [])
    return told


@pytest.fixture(scope="module")
def world(make_store: Store, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_store(items=ITEMS, histories=histories())
    (folder / "relations.csv").write_text("head,relation,tail\ntent-a,needs,lantern\nstove-a,accessory_of,tent-b\n")
    path = tmp_path_factory.mktemp("probe") / "shop"
    crossaisle.ingest(path, "files", [folder])
    crossaisle.index(Workspace(path), settings.with_(embedder="minilm"))
    return path


@pytest.fixture
def shop(world: Path, tmp_path: Path) -> Probe:
    """A copy that nothing was told of yet."""
    return Probe.open(shutil.copytree(world, tmp_path / "shop"), llm="none")


def need(needs: tuple[CategoryNeed, ...], name: str) -> CategoryNeed:
    return next(found for found in needs if found.category[-1] == name)


def test_tent_buyers_need_stoves(shop: Probe) -> None:
    found = shop.ask("tents")
    assert (found.cohort, found.of) == (TENTS, TENTS + 180)
    stoves = found.needs[0]
    assert stoves.category == ("Stoves",)
    assert (stoves.users, stoves.of) == (STOVES, TENTS)
    assert stoves.share == pytest.approx(STOVES / TENTS)
    # Of all (user, category) pairs without stoves, 80 go on to stoves: each of 300 users has these many others.
    others = sum(len({str(ITEMS[item]) for item in had} - {"Stoves"}) for had in histories().values())
    assert stoves.base_rate == pytest.approx(STOVES / others)
    assert stoves.lift == pytest.approx(stoves.share / stoves.base_rate)
    assert stoves.lift_interval is not None
    assert 1 < stoves.lift_interval[0] < stoves.lift < stoves.lift_interval[1]
    assert stoves.reach == TENTS - STOVES
    assert stoves.median_days == 1
    assert {item.item_id for item in stoves.items} == {"stove-a", "stove-b"}
    assert {item.users for item in stoves.items} == {STOVES // 2}
    assert "Stoves" in stoves.sentence
    assert not {"Tents", "Books", "Sofas"} & {one.category[0] for one in found.needs}


def test_what_the_store_declares_is_named_as_knowledge(shop: Probe) -> None:
    found = shop.ask("tents")
    lanterns = need(found.needs, "Lanterns")
    assert lanterns.sources == ("knowledge",)
    assert (lanterns.users, lanterns.lift, lanterns.reach) == (None, None, None)
    assert [item.item_id for item in lanterns.items] == ["lantern"]
    assert "list of what belongs together" in lanterns.sentence
    assert need(found.needs, "Stoves").sources == ("behaviour", "knowledge")


def test_the_answer_as_json(shop: Probe) -> None:
    told = json.loads(json.dumps(shop.ask("tents").to_dict(), allow_nan=False))
    assert {"question", "understood", "cohort", "needs", "suppressed", "privacy"} <= set(told)
    assert told["question"] == "tents"
    assert told["understood"][0]["kind"] == "category"
    assert told["understood"][0]["name"] == ["Tents"]
    assert told["cohort"] == {"users": 120, "of": 300}
    assert told["privacy"] == {"min_users": 20, "epsilon": None}
    wanted = {"category", "users", "share", "base_rate", "lift", "lift_interval", "reach", "median_days", "source", "sentence", "items"}
    for one in told["needs"]:
        assert wanted <= set(one)
        assert all(set(item) == {"item_id", "title", "users", "lift", "lift_interval"} for item in one["items"])
    assert told["needs"][0]["source"] == "behaviour"


def test_the_other_way_round_stoves_are_needed_by_tent_buyers(shop: Probe) -> None:
    found = shop.ask("who would need stoves?")
    assert found.direction == "reverse"
    assert found.needs[0].category == ("Tents",)
    assert (found.needs[0].users, found.needs[0].of) == (STOVES, TENTS)


def test_first_time_buyers_had_it_once_or_never_before_the_period(shop: Probe) -> None:
    # Of 180 with books or sofas 60 have one of each; lamps and sofas are bought on the second day, by 60 of them after a lamp on the first.
    assert shop.ask("books or sofas", filters=Filters(first_time=True)).cohort == 120
    second = Filters(since="2023-11-15")
    assert len(shop.understand("lamps or sofas", second).cohort) == 160
    assert len(shop.understand("lamps or sofas", Filters(since="2023-11-15", first_time=True)).cohort) == 100


def test_two_groups_differ_where_they_were_made_to(shop: Probe) -> None:
    compared = shop.compare("tents", "books")
    assert [finding.cohort for finding in compared.cohorts] == [TENTS, 120]
    (lamps,) = compared.differences  # nobody of the one group has a stove, and nobody of the other a sofa
    assert lamps.category == ("Lamps",)
    assert lamps.users == (TENTS - STOVES, 60)
    assert lamps.share == pytest.approx((40 / 120, 60 / 120))
    assert lamps.ratio == pytest.approx(2 / 3)
    spread = math.sqrt(1 / 40 - 1 / 120 + 1 / 60 - 1 / 120)
    assert lamps.ratio_interval == pytest.approx((2 / 3 * math.exp(-1.959964 * spread), 2 / 3 * math.exp(1.959964 * spread)), rel=1e-5)
    assert lamps.fdr == pytest.approx(math.erfc(math.log(1.5) / spread / math.sqrt(2)))
    with pytest.raises(QueryError, match="k must be 1 to 100"):
        shop.compare("tents", "books", k=0)
    with pytest.raises(QueryError, match="compared by what they need next"):
        shop.compare("tents", "who needs books?")


@pytest.mark.parametrize(
    ("question", "filters", "words"),
    [
        ("tents and (", Filters(), "bracket|name|[(]"),
        ("canoes", Filters(), "nobody bought that"),
        ("qzxv wkjh", Filters(), "qzxv wkjh"),
        ("", Filters(), "[a-z]"),
        ("tents", Filters(since="2031-01-01"), "the data goes from 2023-11-14"),
        ("tents", Filters(min_price=9, max_price=3), "upside down"),
        ("tents", Filters(where=("title=nothing",)), "no item of 'tents' satisfies the filters"),
        ("tents and not tents", Filters(), "tents"),
    ],
)
def test_questions_that_cannot_be_answered_say_why(shop: Probe, question: str, filters: Filters, words: str) -> None:
    with pytest.raises(QueryError, match=words) as caught:
        shop.ask(question, filters=filters)
    assert not isinstance(caught.value, SuppressedError)


def test_an_ambiguous_name_says_its_choices(shop: Probe) -> None:
    found = shop.ask("pumps")
    assert found.understood[0]["name"] == ["Bikes", "Pumps"]
    assert any("Boats" in note and "could also be" in note for note in found.notes)


def test_a_group_of_few_is_not_told_of(shop: Probe) -> None:
    with pytest.raises(SuppressedError, match="fewer than 20"):
        shop.ask("kayaks")


def test_a_group_less_a_few_users_is_not_told_of(shop: Probe) -> None:
    shop.ask("tents")
    with pytest.raises(SuppressedError, match="an earlier one .*fewer than 20 users"):
        shop.ask("tents and not kayaks")
    assert Probe.open(shop.workspace, llm="none").ask("tents").cohort == TENTS, "an earlier answer may be repeated"


def test_the_same_noisy_question_is_answered_alike_for_nothing(shop: Probe) -> None:
    first = shop.ask("tents", epsilon=4)
    again = Probe.open(shop.workspace, llm="none").ask("tents", epsilon=4)
    assert again.to_dict() == first.to_dict()
    assert first.privacy["left"] == 6
    assert all(not one.items and one.median_days is None for one in first.needs)


def test_a_spent_budget_refuses(shop: Probe) -> None:
    shop.ask("tents", epsilon=8)
    with pytest.raises(BudgetSpentError, match="8 of 10 is spent"):
        shop.ask("lamps", epsilon=3)
    assert shop.privacy_budget.remaining == 2


@pytest.mark.parametrize("given", [{"k": 0}, {"k": 101}, {"level": 0}])
def test_bounds_are_said(shop: Probe, given: dict[str, int]) -> None:
    with pytest.raises(QueryError, match="1"):
        shop.ask("tents", **given)  # type: ignore[arg-type]


def users_in(value: Any) -> Iterator[int]:
    """Every number of users anywhere in an answer."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("users", "of", "reach") and inner is not None:
                yield inner
            elif name != "understood":
                yield from users_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from users_in(inner)


def test_no_figure_of_few_users_is_in_any_of_forty_answers(demo_workspace: Workspace, tmp_path: Path) -> None:
    probe = Probe.open(shutil.copytree(demo_workspace.path, tmp_path / "demo"), llm="none")
    names = [" > ".join(path) for path in probe.catalogue.tree.paths][:36]
    answered = 0
    for question in [*names, "phones", "who would need cases?", "phones or laptops", "phones and not cases"]:
        try:
            found = probe.ask(question, words=False)
        except QueryError:
            continue
        answered += 1
        assert all(number >= 20 for number in users_in(found.to_dict())), question
        for one in found.needs:
            if one.users is not None and one.of is not None:
                assert one.of - one.users == 0 or one.of - one.users >= 20
    assert answered >= 15
