"""docs/benchmarks.md and every quoted figure equal the files of benchmarks/results/."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The script of a checkout, without this environment's packages."""
    command = [sys.executable, "-E", "-s", "-S", "scripts/benchmark_tables.py", *options]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of everything that the script reads, with a page of its own."""
    shutil.copytree(ROOT / "benchmarks" / "results", tmp_path / "benchmarks" / "results")
    (tmp_path / "scripts").mkdir()
    for name in (
        "benchmark_tables.py",
        "benchmark_page.py",
        "benchmark_quality.py",
        "benchmark_llm.py",
        "benchmark_cells.py",
        "benchmark_figures.py",
    ):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts" / name)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# A page\n", "utf-8")
    assert run(tmp_path).returncode == 0
    return tmp_path


def quote(checkout: Path, text: str) -> str:
    """Writes a page, fills it, and returns its text."""
    page = checkout / "README.md"
    page.write_text(text, "utf-8")
    done = run(checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    return page.read_text("utf-8")


def test_no_figure_differs_from_its_file() -> None:
    done = run(ROOT, "--check")
    assert done.stdout.splitlines()[-1:] == ["0 differences"], done.stdout + done.stderr
    assert done.returncode == 0


def test_a_changed_result_is_reported_and_then_filled(checkout: Path) -> None:
    text = quote(checkout, "About <!--fig graph_scale: training_seconds; .0f-->0<!--/fig--> s.\n")
    assert "-->162<!--" in text
    file = checkout / "benchmarks" / "results" / "graph_scale.json"
    record = json.loads(file.read_text("utf-8"))
    record["figures"]["training_seconds"] = 99.6
    file.write_text(json.dumps(record), "utf-8")
    checked = run(checkout, "--check")
    assert checked.returncode == 1
    assert "README.md:1: graph_scale.json: training_seconds is 100, quoted as 162" in checked.stdout
    assert "docs/benchmarks.md differs" in checked.stdout
    assert "-->162<!--" in (checkout / "README.md").read_text("utf-8")  # a check writes nothing
    assert run(checkout).returncode == 0
    assert "-->100<!--" in (checkout / "README.md").read_text("utf-8")
    assert run(checkout, "--check").stdout == "0 differences\n"


def test_an_edited_page_is_reported(checkout: Path) -> None:
    page = checkout / "docs" / "benchmarks.md"
    page.write_text(page.read_text("utf-8").replace("0.", "1.", 1), "utf-8")
    assert run(checkout, "--check").returncode == 1


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("associations_scale: scale/interactions; ,d", "10,000,000"),
        ("associations_scale: scale/seconds/all; .1f/60", "1.1"),
        ("associations_scale: onwards/seconds over onwards/seconds_from_the_start; +.0%", "-62 %"),
        ("probe_speed: warm_seconds/p50; .0f*1000", "84"),
        ("fusion_weights: shipped_minus_without_llm; ci:+.3f", "-0.006 [-0.016, +0.003]"),
        ("fusion_weights: shipped_minus_associations/value; +.3f", "0.000"),  # -0.0004
        ("blend-courses: best_baseline; s", "item-knn bm25"),
        ("blend-courses: systems/{best_baseline}/vs_best_baseline/value; .1f", "0.0"),
        ("blend-courses: new_items/1/places; d", "1"),
        ("blend-courses: systems/blend/by_history_length/31+; ci:.2f", "n/a"),
    ],
)
def test_a_figure_is_found_and_formatted(checkout: Path, source: str, expected: str) -> None:
    assert f"-->{expected}<!--" in quote(checkout, f"It is <!--fig {source}-->?<!--/fig-->\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<!--fig nowhere: cases; d-->1<!--/fig-->", "no file benchmarks/results/nowhere.json"),
        ("<!--fig cliques: no/such; d-->1<!--/fig-->", "no 'no/such' in benchmarks/results/cliques.json"),
        ("<!--fig cliques: users; ci:.1f-->1<!--/fig-->", "format 'ci:.1f' does not fit"),
        ("<!--fig cliques: users; .1x-->1<!--/fig-->", "no such format"),
        ("<!--fig cliques: users; d-->1", "a figure's mark is incomplete"),
        ("<!--fig cliques users d-->1<!--/fig-->", "a figure's mark is incomplete"),
    ],
)
def test_a_wrong_mark_is_an_error(checkout: Path, text: str, reason: str) -> None:
    (checkout / "README.md").write_text(f"Here: {text}\n", "utf-8")
    for options in ([], ["--check"]):
        done = run(checkout, *options)
        assert done.returncode == 1
        assert reason in done.stdout


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("NDCG@10 is 0.52 (benchmarks/results/x.json).", 1),
        ("It takes 38 s and 80 % of 2 cores (`benchmarks/results/x.json`).", 2),
        ("See [x](benchmarks/results/x.json):\n\n| a | b |\n| --- | --- |\n| .40 | 7 |\n", 1),
        ("See [x](benchmarks/results/x.json).\n\nElsewhere, 0.52 is a constant.", 0),
        ("`--novelty 0.5` of [version 0.1](benchmarks/results/x.json)", 1),
        ("Of 20 candidates it is <!--fig cliques: users; d-->1<!--/fig--> (benchmarks/results/cliques.json).", 0),
    ],
)
def test_figures_beside_a_results_file_need_a_mark(checkout: Path, text: str, count: int) -> None:
    (checkout / "README.md").write_text(f"# Title\n\n{text}\n", "utf-8")
    done = run(checkout)
    assert done.stdout.count("without a mark") == count
    assert done.returncode == (1 if count else 0)


def test_a_mark_may_not_begin_a_line(checkout: Path) -> None:
    (checkout / "README.md").write_text("Users:\n<!--fig cliques: users; d-->1<!--/fig-->\n", "utf-8")
    assert "README.md:2: a mark begins a line" in run(checkout).stdout


def test_a_results_file_without_a_section_is_an_error(checkout: Path) -> None:
    shutil.copy(checkout / "benchmarks" / "results" / "cliques.json", checkout / "benchmarks" / "results" / "new.json")
    done = run(checkout, "--check")
    assert done.returncode == 1
    assert "no section of scripts/benchmark_page.py uses new" in done.stdout
