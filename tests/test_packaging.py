"""What a user gets: a wheel with every folder, nothing generic beside it, and a command that runs from it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

import crossaisle
from crossaisle.data import demo
from crossaisle.llm.models import bundled

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
NOT_SHIPPED = {"tests", "benchmarks", "notebooks", "docs", "scripts", "build", "dist"}


def shipped_folders() -> list[Path]:
    return sorted(
        file.parent
        for file in ROOT.rglob("__init__.py")
        if not any(part.startswith(".") or part in NOT_SHIPPED for part in file.relative_to(ROOT).parts)
    )


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints; its whole output where it fails. No path of this checkout is handed on."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_folder_of_code_is_listed() -> None:
    found = {".".join(["crossaisle", *folder.relative_to(ROOT).parts]) for folder in shipped_folders()}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == found
    folders_with_code = {file.parent for folder in shipped_folders() for file in folder.glob("*/*.py")} - {ROOT / n for n in NOT_SHIPPED}
    missing = {folder for folder in folders_with_code if not (folder / "__init__.py").exists() and not folder.name.startswith(".")}
    assert not missing, "folders with code and without __init__.py"


def test_the_root_holds_one_module() -> None:
    assert [file.name for file in ROOT.glob("*.py")] == ["__init__.py"]
    assert not (ROOT / "tests" / "__init__.py").exists()


def test_versions_agree() -> None:
    assert PYPROJECT["project"]["version"] == crossaisle.__version__


def test_what_building_needs_is_in_the_dev_extra() -> None:
    names = {requirement.split(">")[0].split("=")[0].strip() for requirement in PYPROJECT["project"]["optional-dependencies"]["dev"]}
    assert {"build", "pytest", "hypothesis", "ruff", "mypy"} <= names
    assert {requirement.split(">")[0].split("=")[0] for requirement in PYPROJECT["build-system"]["requires"]} <= names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built in a copy of the tree so that nothing is left in this one."""
    copy = tmp_path_factory.mktemp("tree") / "somewhere"
    ignore = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "docs", "notebooks", "benchmarks", "*.parquet")
    shutil.copytree(ROOT, copy, ignore=ignore)
    before = {path.name for path in ROOT.iterdir()}
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", copy.parent / "out", cwd=copy)
    assert not ({path.name for path in ROOT.iterdir()} - before) & {"build", "dist", "crossaisle.egg-info"}
    (built,) = (copy.parent / "out").iterdir()
    return built


def test_the_wheel_carries_every_file_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names, size = archive.namelist(), sum(part.compress_size for part in archive.infolist())
        meta = HeaderParser().parsestr(archive.read(f"crossaisle-{crossaisle.__version__}.dist-info/METADATA").decode())
    assert {name.split("/")[0] for name in names} == {"crossaisle", f"crossaisle-{crossaisle.__version__}.dist-info"}
    patterns, suffixes = ("*", "templates/*", "data/*.jsonl"), (".py", ".md", ".j2", ".jsonl", ".typed")
    files = {file for folder in shipped_folders() for pattern in patterns for file in folder.glob(pattern)}
    kept = [file for file in files if file.suffix in suffixes]
    expected = {file.relative_to(ROOT).as_posix() for file in kept if file.parent != ROOT or file.suffix in (".py", ".typed")}
    adapters = [file for file in (*bundled.EXPLAINER_ADAPTER.glob("*"), *demo.ADAPTER.glob("*")) if file.is_file()]
    expected |= {file.relative_to(ROOT).as_posix() for file in adapters} | {
        "recommend/ranking/prior.json",
        "recommend/evidence/justification.json",
    }
    assert {name.removeprefix("crossaisle/") for name in names if name.startswith("crossaisle/")} == expected
    assert {
        "prompts/templates/rank.v1.md",
        "data/demo/items.jsonl",
        "py.typed",
        "app/cli/main.py",
        "app/reports/templates/judge.html.j2",
    } <= expected
    weights = sum(file.stat().st_size for file in adapters if file.suffix == ".safetensors")
    assert {file.suffix for file in adapters} <= {".json", ".safetensors"}
    assert weights <= 5_000_000
    assert size < 1_000_000 + weights
    assert wheel.stat().st_size < 1_000_000 + weights
    assert meta["Version"] == crossaisle.__version__
    assert any(requirement.startswith("torch") for requirement in meta.get_all("Requires-Dist"))


def test_the_installed_command_answers_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, with the running one's libraries but without its link to this checkout."""
    home, elsewhere = tmp_path / "clean", tmp_path / "elsewhere"
    elsewhere.mkdir()
    venv.create(home, with_pip=False, symlinks=True)
    python, packages = home / "bin" / "python", home / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=elsewhere)
    # A folder named in a .pth file only joins sys.path: .pth files inside it, the editable install's among them, are not run.
    libraries = Path(pytest.__file__).parents[1]
    assert list(libraries.glob("__editable__*crossaisle*")) or (libraries / "crossaisle").is_dir()
    (packages / "libraries.pth").write_text(f"{libraries}\n")

    code = "import sys, crossaisle, crossaisle.data.demo as d; print([crossaisle.__file__, len(d.load_records('items')), sys.path, sys.meta_path])"
    said = run(python, "-c", code.replace("sys.meta_path", "[str(f) for f in sys.meta_path]"), cwd=elsewhere)
    file, items, path, finders = ast.literal_eval(said)
    assert Path(file).is_relative_to(packages)
    assert items > 100
    assert str(ROOT) not in path
    assert not [finder for finder in finders if "ditable" in finder]

    answer = run(home / "bin" / "crossaisle", "--help", cwd=elsewhere)
    assert "recommend" in answer
    assert "ingest" in answer
    run(python, "-c", "import crossaisle\nfor name in crossaisle.__all__: getattr(crossaisle, name)", cwd=elsewhere)
