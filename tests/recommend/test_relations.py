"""Declared relations propose candidates: a spare part without any shopper is recommended to the owner of a stove, with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import crossaisle
from crossaisle.app.cli.main import app
from crossaisle.data.records import Item, Rules
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.attribution.why import why
from crossaisle.recommend.recommender import Recommender
from crossaisle.recommend.served_list import leading_channel

ITEMS = {
    "tent": {"title": "Fell dome tent", "category": ["Camping"]},
    "stove": {"title": "Pyra gas stove", "category": ["Cooking"]},
    "pot": {"title": "Orb soup pot", "category": ["Cooking"]},
    "lamp": {"title": "Lumo desk lamp", "category": ["Office"]},
    "chair": {"title": "Plank office chair", "category": ["Office"]},
    "bed": {"title": "Woof dog bed", "category": ["Pets"]},
    "float": {"title": "Splash pool float", "category": ["Water"]},
    # Without any shopper, and with texts that resemble nothing:
    "ring": {"title": "Quorn ring 7", "category": ["Spares"]},
    "cable": {"title": "Zeta cable 40", "category": ["Cables"]},
    "poster": {"title": "Opera poster", "category": ["Prints"]},
}
HISTORIES = (
    {f"camper{n}": ["tent", "stove", "bed"] for n in range(12)}
    | {f"clerk{n}": ["lamp", "chair", "float"] for n in range(12)}
    | {"ann": ["tent", "stove"], "bob": ["stove", "lamp"]}
)
RELATIONS = """head,relation,tail
ring,Spare part of,stove
lamp,recommended with,cable
stove,similar to,poster
tent,needs,not-among-the-items
pot,goes_with,stove
late-mat,accessory_of,tent
"""


@pytest.fixture(scope="module")
def shops(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> tuple[Path, Path]:
    """The store with its relations, and without."""
    paths = []
    for relations in (RELATIONS, None):
        store, path = make_store(ITEMS, HISTORIES), tmp_path_factory.mktemp("relations") / "shop"
        if relations:
            (store / "relations.csv").write_text(relations, "utf-8")
        crossaisle.ingest(path, "files", [store])
        crossaisle.index(Workspace(path), settings)
        paths.append(path)
    return paths[0], paths[1]


@pytest.fixture(scope="module")
def recommender(shops: tuple[Path, Path], settings: Settings) -> Recommender:
    return Recommender.open(shops[0], llm="none", settings=settings)


def test_a_spare_part_without_shoppers_is_recommended_on_the_command_line(shops: tuple[Path, Path]) -> None:
    command = ["recommend", "--user", "ann", "-k", "2", "--llm", "none", "--json", "-w"]
    result = CliRunner().invoke(app, [*command, str(shops[0])])
    assert result.exit_code == 0, result.output
    entries = {entry["item_id"]: entry for entry in json.loads(result.output)["recommendations"]}
    assert set(entries) == {"ring", "bed"}, "the declared spare part, and what the campers buy"
    assert entries["ring"]["channels"]["relations"] == 1
    assert not {"associations", "popularity"} & set(entries["ring"]["channels"])
    about = entries["ring"]["explanation"]
    assert about["text"] == "The Quorn ring 7 is a spare part of the Pyra gas stove."
    assert about["verified"]
    assert about["evidence"][0]["text"] == "the store says of Quorn ring 7: it is a spare part of Pyra gas stove"
    assert about["evidence"][0]["item_id"] == "stove"
    assert "relations" not in entries["bed"]["channels"]
    without = json.loads(CliRunner().invoke(app, [*command, str(shops[1])]).output)["recommendations"]
    assert "ring" not in {entry["item_id"] for entry in without}
    assert all("relations" not in entry["channels"] for entry in without)


def test_the_anchor_is_the_history_item_of_the_relation(recommender: Recommender) -> None:
    recommended = {recommendation.item.item_id: recommendation for recommendation in recommender.recommend(user_id="bob", k=10)}
    assert (recommended["ring"].anchor, recommended["cable"].anchor) == ("stove", "lamp")
    assert recommended["cable"].channels["relations"] == 1
    assert recommended["ring"].channels["relations"] == pytest.approx(0.9), "an older item of the history"
    assert leading_channel(recommended["ring"]) == "relations"


def test_a_relation_of_another_name_is_stated_without_its_meaning(recommender: Recommender) -> None:
    about = next(r for r in recommender.recommend(items=["lamp"], k=3) if r.item.item_id == "cable").explanation
    assert about is not None
    assert about.text == "The Zeta cable 40 is listed by the store with the Lumo desk lamp."


def test_similar_items_and_items_with_the_same_category_are_not_proposed(recommender: Recommender) -> None:
    answer = recommender.recommend(items=["stove"], k=10)
    assert "pot" not in {recommendation.item.item_id for recommendation in answer}, "the stove's own category"
    assert all("relations" not in recommendation.channels for recommendation in answer if recommendation.item.item_id != "ring")
    other = recommender.recommend(items=["stove"], k=10, rules=Rules(scope="other"))
    assert {r.item.item_id for r in other if "relations" in r.channels} == {"ring"}


def test_why_shows_the_score_and_the_rank_of_the_relation(recommender: Recommender) -> None:
    channels = why(recommender, user_id="ann", item_id="ring").to_dict()["channels"]
    assert (channels["relations"]["score"], channels["relations"]["rank"]) == (1.0, 1)


def test_a_relation_counts_once_its_item_is_added(shops: tuple[Path, Path], tmp_path: Path, settings: Settings) -> None:
    import shutil

    shutil.copytree(shops[0], tmp_path / "shop")
    opened = Recommender.open(tmp_path / "shop", llm="none", settings=settings)
    assert "late-mat" not in {recommendation.item.item_id for recommendation in opened.recommend(items=["tent"], k=10)}
    extended, added, _ = opened.with_items([Item("late-mat", "Veil mat 3", ("Mats",))])
    assert added == 1
    answer = extended.recommend(items=["tent"], k=3)
    assert next(r for r in answer if r.item.item_id == "late-mat").channels["relations"] == 1
