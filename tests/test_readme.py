"""The README's own code, run as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

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


def test_every_figure_comes_from_a_result_file() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    named = re.findall(r"benchmarks/results/([a-z0-9_-]+\.json)", readme)
    assert named
    assert all((ROOT / "benchmarks" / "results" / name).exists() for name in named)


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert links
    assert all((ROOT / link).exists() for link in links if "://" not in link)
