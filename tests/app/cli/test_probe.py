"""`crossaisle probe` as a process: table, JSON, CSV, pictures, and one sentence for invalid input."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from crossaisle import Workspace
from crossaisle.app.service import csv_export
from crossaisle.recommend.segments.results import CategoryNeed, ItemNeed, SegmentResult

from ...command_line import assert_rejected, run


@pytest.fixture(scope="module")
def shop(demo_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(demo_workspace.path, tmp_path_factory.mktemp("cli") / "shop"))


def test_the_table(shop: Path) -> None:
    process = run("probe", "-w", shop, "phones", "--llm", "none")
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    for words in ("category: ", "they also need", "Cases", "reach"):
        assert words in process.stdout


def test_json_and_csv_have_the_same_figures(shop: Path) -> None:
    process = run("probe", "-w", shop, "phones", "--llm", "none", "--json")
    assert process.returncode == 0, process.stderr
    needs = json.loads(process.stdout)["needs"]
    table = run("probe", "-w", shop, "phones", "--llm", "none", "--csv")
    lines = [line for line in csv.DictReader(io.StringIO(table.stdout)) if not line["item_id"]]
    assert [line["category"] for line in lines] == [" > ".join(need["category"]) for need in needs]
    assert [line["users"] for line in lines] == ["" if need["users"] is None else str(need["users"]) for need in needs]
    assert len(needs) >= 3


@pytest.mark.parametrize("title", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "=a\r=b"])
def test_a_title_in_csv_is_never_a_formula(title: str) -> None:
    need = CategoryNeed((title, "b"), ("behaviour",), items=(ItemNeed("i1", title),), sentence=title)
    text = csv_export.segment_csv(SegmentResult("q", "next", (), 30, 60, (need,), 0, {}, "time", 90, 1, "bought").to_dict())
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert lines[1]["title"] == "'" + title.replace("\r", "\n")
    assert lines[0]["sentence"] == "'" + title.replace("\r", "\n")
    assert lines[0]["category"].startswith("'")


def test_plot_needs_no_question(shop: Path, tmp_path: Path) -> None:
    process = run("probe", "-w", shop, "--plot", tmp_path / "atlas.svg")
    assert process.returncode == 0, process.stderr
    assert process.stdout == ""
    assert "<svg" in (tmp_path / "atlas.svg").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["nothing to answer", "--plot"]),
        (["phones", "--json", "--csv"], ["take one"]),
        (["phones", "--against", "tents", "--epsilon", "1"], ["--against"]),
        (["qzxv wkjh"], ["qzxv wkjh"]),
        (["phones", "--since", "soon"], ["2024-01-31"]),
        (["phones", "--min-price", "9", "--max-price", "3"], ["upside down"]),
        (["phones", "--where", "size=9"], ["no column"]),
        (["phones", "--min-users", "100000"], ["fewer than 100000"]),
        (["phones", "--epsilon", "11"], ["budget"]),
        (["phones", "-k", "0"], ["k must be 1 to 100"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_invalid_questions(shop: Path, arguments: list[str], words: list[str]) -> None:
    assert_rejected(run("probe", "-w", shop, *arguments, "--llm", "none"), *words)
