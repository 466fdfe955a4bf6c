"""`Probe` in a store with known answers: tent buyers buy a stove the day after, and nobody else does."""

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
    by_user: dict[str, list[str]] = {}
    for n in range(TENTS):
        by_user[f"t{n}"] = [f"tent-{'ab'[n % 2]}", f"stove-{'ab'[n // 2 % 2]}"] if n < STOVES else [f"tent-{'ab'[n % 2]}", "lamp"]
        if n < 5:
            by_user[f"t{n}"].append("kayak")
    for n in range(180):
        by_user[f"o{n}"] = [["book", "lamp"], ["sofa", "book"], ["lamp", "sofa"]][n % 3] + (
            ["bike-pump", "boat-pump"] if n % 6 == 0 else []
        )
    return by_user


@pytest.fixture(scope="module")
def store_path(make_store: Store, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_store(items=ITEMS, histories=histories())
    (folder / "relations.csv").write_text("head,relation,tail\ntent-a,needs,lantern\nstove-a,accessory_of,tent-b\n")
    path = tmp_path_factory.mktemp("probe") / "shop"
    crossaisle.ingest(path, "files", [folder])
    crossaisle.index(Workspace(path), settings.with_(embedder="minilm"))
    return path


@pytest.fixture
def shop(store_path: Path, tmp_path: Path) -> Probe:
    """A copy with an empty query audit log."""
    return Probe.open(shutil.copytree(store_path, tmp_path / "shop"), llm="none")


def need(needs: tuple[CategoryNeed, ...], name: str) -> CategoryNeed:
    return next(category_need for category_need in needs if category_need.category[-1] == name)


def test_tent_buyers_need_stoves(shop: Probe) -> None:
    result = shop.ask("tents")
    assert (result.cohort, result.of) == (TENTS, TENTS + 180)
    stoves = result.needs[0]
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
    assert not {"Tents", "Books", "Sofas"} & {category_need.category[0] for category_need in result.needs}


def test_declared_relations_are_needs_from_knowledge(shop: Probe) -> None:
    result = shop.ask("tents")
    lanterns = need(result.needs, "Lanterns")
    assert lanterns.sources == ("knowledge",)
    assert (lanterns.users, lanterns.lift, lanterns.reach) == (None, None, None)
    assert [item.item_id for item in lanterns.items] == ["lantern"]
    assert "list of what belongs together" in lanterns.sentence
    assert need(result.needs, "Stoves").sources == ("behaviour", "knowledge")


def test_to_dict_of_a_result(shop: Probe) -> None:
    result = json.loads(json.dumps(shop.ask("tents").to_dict(), allow_nan=False))
    assert {"question", "understood", "cohort", "needs", "suppressed", "privacy"} <= set(result)
    assert result["question"] == "tents"
    assert result["understood"][0]["kind"] == "category"
    assert result["understood"][0]["name"] == ["Tents"]
    assert result["cohort"] == {"users": 120, "of": 300}
    assert result["privacy"] == {"min_users": 20, "epsilon": None}
    keys = {"category", "users", "share", "base_rate", "lift", "lift_interval", "reach", "median_days", "source", "sentence", "items"}
    for category_need in result["needs"]:
        assert keys <= set(category_need)
        assert all(set(item) == {"item_id", "title", "users", "lift", "lift_interval"} for item in category_need["items"])
    assert result["needs"][0]["source"] == "behaviour"


def test_reverse_question_finds_tent_buyers_for_stoves(shop: Probe) -> None:
    result = shop.ask("who would need stoves?")
    assert result.direction == "reverse"
    assert result.needs[0].category == ("Tents",)
    assert (result.needs[0].users, result.needs[0].of) == (STOVES, TENTS)


def test_first_time_buyers_bought_once_or_never_before_the_period(shop: Probe) -> None:
    # Of 180 with books or sofas 60 have one of each; lamps and sofas are bought on the second day, by 60 of them after a lamp on the first.
    assert shop.ask("books or sofas", filters=Filters(first_time=True)).cohort == 120
    second = Filters(since="2023-11-15")
    assert len(shop.understand("lamps or sofas", second).cohort) == 160
    assert len(shop.understand("lamps or sofas", Filters(since="2023-11-15", first_time=True)).cohort) == 100


def test_comparison_finds_the_constructed_difference(shop: Probe) -> None:
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
def test_unanswerable_questions_raise_an_error_with_the_reason(shop: Probe, question: str, filters: Filters, words: str) -> None:
    with pytest.raises(QueryError, match=words) as caught:
        shop.ask(question, filters=filters)
    assert not isinstance(caught.value, SuppressedError)


def test_a_note_lists_the_choices_of_an_ambiguous_name(shop: Probe) -> None:
    result = shop.ask("pumps")
    assert result.understood[0]["name"] == ["Bikes", "Pumps"]
    assert any("Boats" in note and "could also be" in note for note in result.notes)


def test_a_group_below_min_users_is_suppressed(shop: Probe) -> None:
    with pytest.raises(SuppressedError, match="fewer than 20"):
        shop.ask("kayaks")


def test_a_group_that_differs_by_few_users_is_suppressed(shop: Probe) -> None:
    shop.ask("tents")
    with pytest.raises(SuppressedError, match="an earlier one .*fewer than 20 users"):
        shop.ask("tents and not kayaks")
    assert Probe.open(shop.workspace, llm="none").ask("tents").cohort == TENTS, "an earlier question may be repeated"


def test_a_repeated_noisy_question_has_the_same_answer_and_costs_nothing(shop: Probe) -> None:
    first = shop.ask("tents", epsilon=4)
    again = Probe.open(shop.workspace, llm="none").ask("tents", epsilon=4)
    assert again.to_dict() == first.to_dict()
    assert first.privacy["left"] == 6
    assert all(not category_need.items and category_need.median_days is None for category_need in first.needs)


def test_a_question_beyond_the_budget_is_refused(shop: Probe) -> None:
    shop.ask("tents", epsilon=8)
    with pytest.raises(BudgetSpentError, match="8 of 10 is spent"):
        shop.ask("lamps", epsilon=3)
    assert shop.privacy_budget.remaining == 2


@pytest.mark.parametrize("given", [{"k": 0}, {"k": 101}, {"level": 0}])
def test_values_out_of_range_are_refused(shop: Probe, given: dict[str, int]) -> None:
    with pytest.raises(QueryError, match="1"):
        shop.ask("tents", **given)  # type: ignore[arg-type]


def users_in(value: Any) -> Iterator[int]:
    """Every number of users anywhere in a result."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("users", "of", "reach") and inner is not None:
                yield inner
            elif name != "understood":
                yield from users_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from users_in(inner)


def test_no_count_below_min_users_is_in_any_of_forty_results(demo_workspace: Workspace, tmp_path: Path) -> None:
    probe = Probe.open(shutil.copytree(demo_workspace.path, tmp_path / "demo"), llm="none")
    names = [" > ".join(path) for path in probe.catalogue.tree.paths][:36]
    answered = 0
    for question in [*names, "phones", "who would need cases?", "phones or laptops", "phones and not cases"]:
        try:
            result = probe.ask(question, words=False)
        except QueryError:
            continue
        answered += 1
        assert all(number >= 20 for number in users_in(result.to_dict())), question
        for category_need in result.needs:
            if category_need.users is not None and category_need.of is not None:
                assert category_need.of - category_need.users == 0 or category_need.of - category_need.users >= 20
    assert answered >= 15
