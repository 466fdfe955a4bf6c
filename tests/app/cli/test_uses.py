"""`crossaisle uses` as a process: the list, one item, JSON, and one sentence for invalid input."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import crossaisle
from crossaisle import Workspace

from ...command_line import assert_rejected, run


@pytest.fixture(scope="module")
def shop(demo_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(demo_workspace.path, tmp_path_factory.mktemp("cli") / "shop"))


def test_the_list(shop: Path) -> None:
    process = run("uses", "-w", shop, "--top", "5")
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    assert re.search(r"5 of \d+ uses \(English patterns\)", process.stdout)
    for words in ("travelling", "users", "expected by chance: lift", "more"):
        assert words in process.stdout


def test_json_has_every_item_with_its_sentences(shop: Path) -> None:
    process = run("uses", "-w", shop, "--top", "100", "--json")
    assert process.returncode == 0, process.stderr
    answer = json.loads(process.stdout)
    assert answer["language"] == "English"
    assert answer["message"] is None
    assert answer["total"] == len(answer["uses"]) >= 60
    for use in answer["uses"]:
        assert len(use["items"]) >= 2
        assert all(item["title"] and item["support"] for item in use["items"])
        assert use["users"] is None or use["users"] == 0 or use["users"] >= 20
        if use["continued"] is not None:
            assert use["continued"] == 0 or use["continued"] >= 20
            assert use["continued"] == use["users"] or use["users"] - use["continued"] >= 20
            assert use["lift"] is None or use["low"] <= use["lift"] <= use["high"]
        assert (use["withheld"] is None) == (use["continued"] is not None)
    assert any(use["lift"] for use in answer["uses"])
    assert any(use["withheld"] for use in answer["uses"])


def test_the_uses_of_one_item(shop: Path) -> None:
    process = run("uses", "-w", shop, "--item", "CA-020", "--json")
    answer = json.loads(process.stdout)
    assert {"camping", "tent"} <= {use["name"] for use in answer["uses"]}
    assert all("CA-020" in {item["item_id"] for item in use["items"]} for use in answer["uses"])
    table = run("uses", "-w", shop, "--item", "CA-020").stdout
    assert "Mossgard LED Camping Lantern" in table


def test_invalid_input(shop: Path, tmp_path: Path) -> None:
    assert_rejected(run("uses", "-w", shop, "--item", "nope"), "no item 'nope'", "382")
    assert_rejected(run("uses", "-w", shop, "--top", "0"), "--top must be 1 or more")
    assert_rejected(run("uses", "-w", tmp_path / "none"), "crossaisle ingest")


def test_without_an_index_they_are_mined_now(tmp_path: Path, make_store: Callable[..., Path]) -> None:
    hostile = "It is \x1b[31mgood for camping and for the garden of the house."
    items = {name: {"title": f"{name} \u202e", "category": ["A"], "description": hostile} for name in ("x", "y")}
    crossaisle.ingest(tmp_path / "shop", "files", [make_store(items, {"ann": ["x"], "bob": ["y"]})])
    process = run("uses", "-w", tmp_path / "shop")
    assert process.returncode == 0, process.stderr
    assert "camping" in process.stdout
    assert "\x1b" not in process.stdout
    assert "\u202e" not in process.stdout


def test_a_store_without_uses_says_why(tmp_path: Path, make_store: Callable[..., Path]) -> None:
    items = {"Zelt": {"title": "Zelt", "category": ["A"], "description": "Das ist gut für den Urlaub und passt in den Wagen."}}
    crossaisle.ingest(tmp_path / "laden", "files", [make_store(items, {"ann": ["Zelt"]})])
    process = run("uses", "-w", tmp_path / "laden")
    assert process.returncode == 0
    assert " ".join(process.stdout.split()) == (
        "the texts of this store are in a language without use patterns; there are patterns for English"
    )
