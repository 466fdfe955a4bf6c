"""The documentation: its generated pages are current, its map of the code is complete, and the site builds with strict links."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def modules() -> set[str]:
    """Paths of all modules of the package except `__init__.py`."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    folders = [ROOT.joinpath(*name.split(".")[1:]) for name in packages if name != "crossaisle"]
    files = (file for folder in folders for file in folder.glob("*.py") if file.name != "__init__.py")
    return {file.relative_to(ROOT).as_posix() for file in files}


def listed_modules() -> set[str]:
    """Paths in the tables under "Where is what" of the design page; a heading names the folders that its table is relative to."""
    page = (DOCS / "design.md").read_text("utf-8")
    part = page.partition("## Where is what")[2].partition("## Where to add")[0]
    paths, folders = set(), [""]
    for line in part.splitlines():
        if line.startswith("### "):
            folders = re.findall(r"`([\w/]+)/`", line)
        for file in re.findall(r"`([\w/]+\.py)`", line.split("|")[1]) if line.startswith("| `") else []:
            if len(folders) == 1:
                paths.add(f"{folders[0]}/{file}")
            else:  # several folders with the same parent: the path starts with the name of one of them
                parent = next(folder.rpartition("/")[0] for folder in folders if folder.rpartition("/")[2] == file.split("/")[0])
                paths.add(f"{parent}/{file}")
    return {path for path in paths if not path.endswith("/__init__.py")}


def test_the_design_page_lists_every_module_and_no_other() -> None:
    assert listed_modules() == modules()


def test_every_file_named_in_the_design_page_exists() -> None:
    """The full paths in the text before and after the tables."""
    page = (DOCS / "design.md").read_text("utf-8")
    text = page.partition("## Where is what")[0] + page.partition("## Where to add")[2]
    named = {path for path in re.findall(r"`((?:\w+/)+[\w.]*)`", text) if not path.endswith((".NAME", "NAME.py", "STORE"))}
    assert len(named) > 30
    assert [path for path in sorted(named) if "NAME" not in path and not (ROOT / path).exists()] == []


def test_the_command_line_reference_is_current() -> None:
    result = subprocess.run([sys.executable, ROOT / "scripts" / "cli_reference.py", "--check"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    page = (DOCS / "cli.md").read_text("utf-8")
    for command in ("crossaisle recommend", "crossaisle judge compare", "crossaisle events forget-user"):
        assert f"\n## {command}\n" in page
    assert "`--max-price <float>`" in page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. The build is strict: a broken link, an unknown name or a page outside the navigation is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_the_site_builds_with_strict_links(site: Path) -> None:
    pages = {file.stem for file in DOCS.glob("*.md")} - {"index"}
    assert {folder.name for folder in site.iterdir() if (folder / "index.html").exists()} == pages


def test_the_site_loads_nothing_from_other_hosts(site: Path) -> None:
    external = r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"((?:https?:)?//[^\"]+)\""
    for file in site.rglob("*.html"):
        assert re.findall(external, file.read_text("utf-8")) == [], file


def test_the_python_reference_describes_the_public_names(site: Path) -> None:
    page = (site / "python" / "index.html").read_text("utf-8")
    for name in (
        "data.snapshots.ingest.ingest",
        "retrieval.index.builder.build",
        "recommend.recommender.Recommender.recommend",
        "data.records.Rules",
    ):
        assert f'id="crossaisle.{name}"' in page
    assert "max_per_category" in page


def test_the_members_listed_in_the_python_reference_exist() -> None:
    """mkdocstrings skips an unknown member without an error."""
    page = (DOCS / "python.md").read_text("utf-8")
    lists = re.findall(r"^::: (crossaisle[\w.]+)\.(\w+)\n    options:\n      members: \[(.+)\]", page, re.MULTILINE)
    assert lists
    for module, name, members in lists:
        documented = getattr(importlib.import_module(module), name)
        assert [member for member in members.split(", ") if not hasattr(documented, member)] == []


def test_comments_that_mark_generated_figures_are_not_visible(site: Path) -> None:
    """A page marks a generated figure with comments around it; only the figure is text."""
    page = (site / "scale" / "index.html").read_text("utf-8")
    text = re.sub(r"<!--.*?-->", "", page, flags=re.DOTALL)
    assert "fig ingest_scale" not in text
    assert re.search(r"<td>9,940,541 interactions</td>", text)
