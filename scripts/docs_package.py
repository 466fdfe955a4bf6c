"""MkDocs hook: makes the package `crossaisle` visible to mkdocstrings, without importing it.

The repository root is the package, and also holds the environment, tests and builds. The hook links only the folders that
pyproject.toml lists as packages into build/package/crossaisle.
"""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def on_startup(**_: object) -> None:
    """Links the package; this early because mkdocstrings looks for its paths when the configuration is read."""
    package = ROOT / "build" / "package" / "crossaisle"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    for folder in sorted({name.split(".")[1] for name in listed if "." in name}):
        (package / folder).symlink_to(ROOT / folder, target_is_directory=True)
    (package / "__init__.py").symlink_to(ROOT / "__init__.py")
