"""The README: its code runs and prints what is shown, its statements hold, its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from crossaisle import Workspace

ROOT = Path(__file__).parents[1]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_python_runs_and_prints_what_is_shown(tmp_path: Path, demo_workspace: Workspace) -> None:
    (code,), (shown,) = blocks("python"), blocks("text")
    (tmp_path / "demo-shop").symlink_to(demo_workspace.path)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    # The facts are the same everywhere; which phrasing a 4-bit model prefers may differ by processor.
    titles = re.compile(r"^\d\. .*$", re.MULTILINE)
    assert titles.findall(done.stdout) == titles.findall(shown)
    assert len(done.stdout.splitlines()) == len(shown.splitlines())


def figures(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))["figures"]
    return content


def test_it_is_short_and_quotes_measured_figures() -> None:
    readme = (ROOT / "README.md").read_bytes()
    assert len(readme) <= 8192
    assert readme.count(b"<!--fig ") >= 4  # that they equal their files is tested in test_benchmark_tables.py


def test_what_it_says_without_figures_holds() -> None:
    rankers = sorted((ROOT / "benchmarks" / "results").glob("ranker-*.json"))
    assert len(rankers) == 5
    assert [figures(path.stem)["ranker"]["vote"] for path in rankers] == [0] * 5  # the LLM has no weight
    systems = [figures(f"blend-{store}")["systems"] for store in ("courses", "movielens", "amazon14", "completejourney")]
    assert not any(f"blend without {part}" in each for part in ("graph", "complements") for each in systems)  # not trained by default
    grocer = systems[3]["blend"]["vs_best_baseline"]
    assert grocer["low"] < 0 < grocer["high"]
    assert figures("blend-completejourney")["best_baseline"].startswith("most popular")
    assert [each["blend"]["vs_best_baseline"]["low"] > 0 for each in systems] == [True, False, False, False]
    pairs = [figures(f"blend-pair-{pair}")["systems"] for pair in ("beauty-toys", "toys-beauty")]
    assert all(each["blend"]["vs_best_baseline"]["low"] > 0 for each in pairs)
    for setting in figures("blend-movielens")["new_items"][1:]:  # reserved slots cost more than they gain
        assert setting["all"]["minus_none"]["value"] < 0
    assert all(figures(name)["events"]["milliseconds"]["p95"] > 20 for name in ("serve", "serve-amx"))
    assert [figures(name)["recommend_without_llm"]["milliseconds"]["p95"] > 200 for name in ("serve", "serve-amx")] == [False, True]


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert len(links) > 20
    for link in links:
        path, _, anchor = link.partition("#")
        if "://" not in path:
            assert (ROOT / path).exists(), link
            if anchor:
                headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text("utf-8"), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}, link
